/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's two layers of memory (pins.c, aspace.c) in lock-step with a model that is as simple
 * as can be: what each guest address shows. Random tables come, go, are prepared and called off,
 * and fail at any registration; after every step the card reads what the model says, byte by byte
 * at all edges, and has pinned no more than that.
 *
 * The grid of pins is made small (meson.build), so that tables of some KiB cross it often.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <vhost_iotlb.h>

#include "aspace.h"
#include "hw.h"

enum {
	STEPS = 3000,
	FILES = 3,
	FILE_SIZE = 160 << 10,
	SPACE = 512 << 10,         /* guest addresses that are used */
	MOST_MAPS = 10,
	KEYS = 1 << 16,            /* that a run makes, at most */
	NULL_KEY = KEYS,
};

int mlx5p_logtype;

static uint32_t seed;

/* Numerical Recipes' quick one: the same on every machine. */
static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * n) >> 32);
}

/* ---- the card: keys as lists of runs ---- */

struct direct {
	const uint8_t *addr;       /* NULL: there is no such key (any more) */
	uint64_t iova, len;
	bool read_only;
};

static struct {
	pthread_mutex_t lock;
	struct direct key[KEYS];
	uint32_t next;
	uint64_t bytes;
	uint32_t fail;             /* fail the n-th registration from now, 0: none */
	bool fail_klm;
	/* Indirect keys that are alive: the one in force, and those to be reaped. */
	struct {
		uint32_t id, n;
		uint64_t start, len;
		struct mlx5p_klm *klm;
	} indirect[8];
} card;

int
mlx5p_region_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, void *addr,
		uint64_t len, uint64_t iova, bool read_only, struct mlx5p_region *region)
{
	bool fails;

	RTE_SET_USED(hw);
	RTE_SET_USED(backend);
	pthread_mutex_lock(&card.lock);
	fails = card.fail != 0 && --card.fail == 0;
	if (!fails) {
		region->mkey = ++card.next;
		assert_true(region->mkey < KEYS);
		card.key[region->mkey] = (struct direct) { addr, iova, len, read_only };
		card.bytes += len;
	}
	pthread_mutex_unlock(&card.lock);
	return fails ? -EIO : 0;
}

void
mlx5p_region_destroy(const struct mlx5p_hw *hw, struct mlx5p_region *region)
{
	RTE_SET_USED(hw);
	pthread_mutex_lock(&card.lock);
	assert_non_null(card.key[region->mkey].addr);
	card.bytes -= card.key[region->mkey].len;
	card.key[region->mkey].addr = NULL;
	pthread_mutex_unlock(&card.lock);
}

int
mlx5p_devx_create_klm(const struct mlx5p_hw *hw, uint64_t start, uint64_t len,
		const struct mlx5p_klm *klm, uint32_t n, struct mlx5p_obj *o)
{
	unsigned int i = 0;

	RTE_SET_USED(hw);
	if (card.fail_klm)
		return -EREMOTEIO;
	while (card.indirect[i].id != 0)
		assert_true(++i < RTE_DIM(card.indirect));
	card.indirect[i].id = ++card.next;
	card.indirect[i].start = start;
	card.indirect[i].len = len;
	card.indirect[i].n = n;
	card.indirect[i].klm = malloc(n * sizeof(*klm));
	assert_non_null(card.indirect[i].klm);
	memcpy(card.indirect[i].klm, klm, n * sizeof(*klm));
	*o = (struct mlx5p_obj) { (void *)&card, card.next };
	return 0;
}

void
mlx5p_devx_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what)
{
	unsigned int i = 0;

	RTE_SET_USED(hw);
	RTE_SET_USED(what);
	if (o->obj == NULL)
		return;
	while (card.indirect[i].id != o->id)
		assert_true(++i < RTE_DIM(card.indirect));
	free(card.indirect[i].klm);
	memset(&card.indirect[i], 0, sizeof(card.indirect[i]));
	*o = (struct mlx5p_obj) { NULL, 0 };
}

/* What the card reads at @gpa by key @id: the byte, or -1 for a fault. @ro tells of its right. */
static int
card_read(uint32_t id, uint64_t gpa, bool *ro)
{
	const struct direct *direct;
	const struct mlx5p_klm *klm;
	unsigned int i = 0;
	uint64_t at;

	if (id == 0)
		return -1;
	while (card.indirect[i].id != id)
		assert_true(++i < RTE_DIM(card.indirect));
	if (gpa < card.indirect[i].start || gpa - card.indirect[i].start >= card.indirect[i].len)
		return -1;
	at = gpa - card.indirect[i].start;
	for (klm = card.indirect[i].klm; at >= klm->bytes; klm++)
		at -= klm->bytes;
	assert_true(klm < card.indirect[i].klm + card.indirect[i].n);
	if (klm->mkey == NULL_KEY)
		return -1;
	direct = &card.key[klm->mkey];
	assert_non_null(direct->addr);
	at += klm->address;
	assert_true(at >= direct->iova && at - direct->iova < direct->len);
	*ro = direct->read_only;
	return direct->addr[at - direct->iova];
}

/* ---- guests ---- */

static struct mlx5p_hw hw = { .name = "test", .null_mkey = NULL_KEY };
static struct mlx5p_workers *workers;
static struct mlx5p_pins *pins;
static struct mlx5p_aspace *as;

static struct {
	int fd;
	struct stat st;
	uint8_t *mem;              /* of random bytes */
} files[FILES];

/* Another file: the number of its inode may be one that was there before. */
static void
renew_file(unsigned int i)
{
	uint32_t at;

	if (files[i].mem != NULL) {
		munmap(files[i].mem, FILE_SIZE);
		close(files[i].fd);
	}
	files[i].fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(files[i].fd >= 0);
	assert_int_equal(ftruncate(files[i].fd, FILE_SIZE), 0);
	assert_int_equal(fstat(files[i].fd, &files[i].st), 0);
	files[i].mem = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, files[i].fd, 0);
	assert_true(files[i].mem != MAP_FAILED);
	for (at = 0; at < FILE_SIZE; at++)
		files[i].mem[at] = (uint8_t)rnd(256);
}

/* A map that may overlap others, of a byte up to the whole file, at odd places or even ones. */
static struct vhost_iotlb_map
random_map(void)
{
	static const uint32_t sizes[] = { 1, 4096, 16384, 65536, FILE_SIZE };
	uint32_t file = rnd(FILES), size = sizes[rnd(RTE_DIM(sizes))];
	uint32_t align = rnd(2) ? 4096 : 1;
	uint64_t start, offset;

	if (rnd(2))
		size = 1 + rnd(FILE_SIZE);
	start = rnd(SPACE - size) / align * align;
	offset = rnd(FILE_SIZE - size + 1) / align * align;
	return (struct vhost_iotlb_map) {
		.start = start, .last = start + size - 1,
		.perm = rnd(4) == 0 ? VHOST_ACCESS_RO : VHOST_ACCESS_RW,
		.backing = { .dev = files[file].st.st_dev, .ino = files[file].st.st_ino,
			.offset = offset, .fd = files[file].fd },
	};
}

/* Some maps come and some go, or all are others. */
static void
change(struct vhost_iotlb *maps)
{
	struct vhost_iotlb_map map;
	uint64_t start;
	unsigned int i;

	if (rnd(3) == 0)
		vhost_iotlb_reset(maps);
	for (i = rnd(3); i > 0; i--) {
		start = rnd(SPACE);
		assert_int_equal(vhost_iotlb_del(maps, start, start + rnd(SPACE / 4)), 0);
	}
	for (i = 1 + rnd(4); i > 0 && vhost_iotlb_count(maps) < MOST_MAPS; i--) {
		map = random_map();
		(void)vhost_iotlb_add(maps, &map); /* or it overlaps one */
	}
}

/* ---- the model: what an address shows ---- */

static void
assert_reads(const struct vhost_iotlb *maps, uint64_t gpa)
{
	const struct vhost_iotlb_map *map = vhost_iotlb_lookup(maps, gpa);
	bool ro = false;
	int is = card_read(mlx5p_aspace_mkey(as), gpa, &ro);
	unsigned int file = 0;

	if (map == NULL) {
		assert_int_equal(is, -1);
		return;
	}
	while (files[file].st.st_ino != map->backing.ino)
		assert_true(++file < FILES);
	assert_int_equal(is, files[file].mem[map->backing.offset + (gpa - map->start)]);
	assert_int_equal(ro, map->perm == VHOST_ACCESS_RO);
}

/* All edges, and some places between. */
static void
assert_shows(const struct vhost_iotlb *maps)
{
	const struct vhost_iotlb_map *map;
	unsigned int i;

	VHOST_IOTLB_FOREACH(map, maps) {
		assert_reads(maps, map->start);
		assert_reads(maps, map->start - 1); /* of 0: the last address there is */
		assert_reads(maps, map->last);
		assert_reads(maps, map->last + 1);
	}
	for (i = 0; i < 32; i++)
		assert_reads(maps, rnd(SPACE + 4096));
}

/* What pins may be there: those of @maps, whole, none twice. */
struct audit {
	const struct vhost_iotlb *maps;
	struct mlx5p_pin_info last;
	uint64_t bytes;
};

static void
audit_pin(void *arg, const struct mlx5p_pin_info *pin)
{
	struct audit *audit = arg;
	const struct vhost_iotlb_map *map;
	bool wanted = false;

	assert_string_equal(pin->state, "held");
	VHOST_IOTLB_FOREACH(map, audit->maps) {
		wanted |= map->backing.ino == pin->ino &&
			map->backing.offset < pin->offset + pin->len &&
			pin->offset < map->backing.offset + (map->last - map->start + 1);
	}
	assert_true(wanted);
	assert_true(pin->len <= MLX5P_PIN_GRID);
	assert_int_equal(pin->offset / MLX5P_PIN_GRID,
		(pin->offset + pin->len - 1) / MLX5P_PIN_GRID);
	/* In order and apart, or of another file; what is only to be read is another. */
	if (audit->last.ino == pin->ino &&
			card.key[audit->last.mkey].read_only == card.key[pin->mkey].read_only)
		assert_true(audit->last.offset + audit->last.len <= pin->offset);
	audit->last = *pin;
	audit->bytes += pin->len;
}

static void
assert_pinned(const struct vhost_iotlb *maps)
{
	struct audit audit = { .maps = maps };
	struct mlx5p_pins_stats stats;

	mlx5p_pins_walk(pins, audit_pin, &audit);
	mlx5p_pins_stats(pins, &stats);
	assert_int_equal(stats.bytes, audit.bytes);
	assert_int_equal(card.bytes, audit.bytes);
	assert_int_equal(stats.waiting, 0);
}

/* ---- the walk ---- */

struct walk {
	struct vhost_iotlb *maps;  /* in force */
	struct mlx5p_hold coming;  /* prepared for a table that is to come, if begun */
	bool begun;
};

static void
end_coming(struct walk *w)
{
	if (!w->begun)
		return;
	mlx5p_pins_cancel(&w->coming);
	mlx5p_pins_rollback(pins, &w->coming);
	w->begun = false;
}

/* Registration begins ahead of a table, as when its message arrives; another table may follow. */
static void
prepare(struct walk *w, const struct vhost_iotlb *next)
{
	struct mlx5p_hold hold = { .npieces = 0 };

	if (w->begun)
		mlx5p_pins_cancel(&w->coming);
	if (mlx5p_aspace_plan(pins, next, &hold) < 0) {
		mlx5p_pins_rollback(pins, &hold);
		end_coming(w);
		return;
	}
	end_coming(w);
	w->coming = hold;
	w->begun = true;
	mlx5p_pins_sweep(pins);
	mlx5p_pins_begin(pins, &w->coming);
}

/* A table that is to come into force, and may fail to. Does it? */
static bool
set(struct walk *w, struct vhost_iotlb *next)
{
	uint32_t key = mlx5p_aspace_mkey(as);
	int ret;

	card.fail_klm = rnd(16) == 0;
	if (w->begun)
		(void)mlx5p_pins_finish(&w->coming);
	ret = mlx5p_aspace_set(as, next);
	card.fail_klm = false;
	end_coming(w);
	if (ret == 0) {
		vhost_iotlb_destroy(w->maps);
		w->maps = next;
		return true;
	}
	assert_true(ret == -EIO || ret == -EREMOTEIO);
	assert_int_equal(mlx5p_aspace_mkey(as), key);
	vhost_iotlb_destroy(next);
	return false;
}

static void
step(struct walk *w)
{
	struct vhost_iotlb *next = vhost_iotlb_copy(w->maps);

	uint64_t bytes = card.bytes;
	bool in_force = false;

	assert_non_null(next);
	change(next);
	card.fail = rnd(8) == 0 ? 1 + rnd(8) : 0;
	while (rnd(3) == 0)
		prepare(w, next);
	if (rnd(8) == 0) {
		/* The other connection is gone before it started. */
		end_coming(w);
		vhost_iotlb_destroy(next);
	} else {
		in_force = set(w, next);
	}
	card.fail = 0;
	/* What did not come to be leaves nothing. */
	if (!in_force)
		assert_true(card.bytes <= bytes);
	assert_shows(w->maps);
	mlx5p_aspace_reap(as);
	if (rnd(2))
		mlx5p_pins_sweep_later(pins);
	mlx5p_pins_sweep(pins);
	assert_pinned(w->maps);
	assert_shows(w->maps);
}

/* The connection ends: pins wait, and other files may get the numbers of old ones. */
static void
reconnect(struct walk *w)
{
	unsigned int i;

	mlx5p_aspace_clear(as);
	vhost_iotlb_reset(w->maps);
	if (rnd(2))
		mlx5p_pins_sweep(pins);
	for (i = 0; i < FILES; i++) {
		if (rnd(3) == 0)
			renew_file(i);
	}
}

static void
walk(unsigned int threads, uint32_t from)
{
	struct walk w = { .maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0) };
	unsigned int i;

	assert_non_null(w.maps);
	seed = from;
	memset(&card, 0, sizeof(card));
	pthread_mutex_init(&card.lock, NULL);
	for (i = 0; i < FILES; i++)
		renew_file(i);
	assert_int_equal(mlx5p_workers_get(-1, threads, &workers), 0);
	pins = mlx5p_pins_create(&hw, MLX5P_MR_VERBS, workers);
	as = mlx5p_aspace_create(&hw, pins);
	for (i = 0; i < STEPS; i++) {
		if (rnd(20) == 0)
			reconnect(&w);
		step(&w);
	}
	mlx5p_aspace_destroy(as);
	mlx5p_pins_destroy(pins);
	mlx5p_workers_put(workers);
	assert_int_equal(card.bytes, 0);
	vhost_iotlb_destroy(w.maps);
}

static void
random_tables_show_what_the_model_says(void **state)
{
	RTE_SET_USED(state);
	walk(0, 1);
}

static void
random_tables_show_what_the_model_says_on_threads(void **state)
{
	RTE_SET_USED(state);
	walk(2, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_tables_show_what_the_model_says),
		cmocka_unit_test(random_tables_show_what_the_model_says_on_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
