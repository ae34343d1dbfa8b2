/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's two layers of memory (pins.c, aspace.c) against a card that only counts.
 */
#include <errno.h>
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

#undef ibv_reg_mr_iova

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define NULL_MKEY 0xffu

int mlx5p_logtype;

/* Guests of these tests are large and hold nothing. */
int __wrap_madvise(void *addr, size_t len, int advice);

int
__wrap_madvise(void *addr, size_t len, int advice)
{
	RTE_SET_USED(addr);
	RTE_SET_USED(len);
	RTE_SET_USED(advice);
	return 0;
}

/* ---- the card: counts what is registered, and refuses what it is told to ---- */

static struct {
	uint32_t next_mkey;
	unsigned int regs, deregs, klms, mkeys_destroyed;
	uint64_t bytes;            /* registered now */
	unsigned int fail_reg;     /* fail the n-th registration from now, 0: none */
	bool fail_klm;
	uint64_t start, len;       /* of the last indirect key */
	struct mlx5p_klm klm[64];
	uint32_t nklm;
} card;

struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
		int access);

struct ibv_mr *
ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova, unsigned int access)
{
	struct ibv_mr *mr;

	RTE_SET_USED(iova);
	assert_int_equal(access, IBV_ACCESS_LOCAL_WRITE);
	if (card.fail_reg != 0 && --card.fail_reg == 0) {
		errno = ENOMEM;
		return NULL;
	}
	mr = calloc(1, sizeof(*mr));
	assert_non_null(mr);
	mr->pd = pd;
	mr->addr = addr;
	mr->length = length;
	mr->lkey = card.next_mkey += 0x100;
	card.regs++;
	card.bytes += length;
	return mr;
}

struct ibv_mr *
ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova, int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, iova, access);
}

int
ibv_dereg_mr(struct ibv_mr *mr)
{
	card.deregs++;
	card.bytes -= mr->length;
	free(mr);
	return 0;
}

struct mlx5dv_devx_umem *
mlx5dv_devx_umem_reg(struct ibv_context *ctx, void *addr, size_t size, uint32_t access)
{
	struct ibv_mr *mr = ibv_reg_mr_iova2(NULL, addr, size, 0, access);

	RTE_SET_USED(ctx);
	return (void *)mr;
}

int
mlx5dv_devx_umem_dereg(struct mlx5dv_devx_umem *umem)
{
	return ibv_dereg_mr((void *)umem);
}

int
mlx5p_devx_create_umem_mkey(const struct mlx5p_hw *hw, uint32_t umem_id, uint64_t iova,
		uint64_t len, bool read_only, struct mlx5p_obj *o)
{
	RTE_SET_USED(hw);
	RTE_SET_USED(read_only);
	RTE_SET_USED(umem_id);
	RTE_SET_USED(iova);
	RTE_SET_USED(len);
	*o = (struct mlx5p_obj) { (void *)&card, card.next_mkey += 0x100 };
	return 0;
}

int
mlx5p_devx_create_klm(const struct mlx5p_hw *hw, uint64_t start, uint64_t len,
		const struct mlx5p_klm *klm, uint32_t n, struct mlx5p_obj *o)
{
	RTE_SET_USED(hw);
	if (card.fail_klm)
		return -EREMOTEIO;
	assert_true(n <= RTE_DIM(card.klm));
	card.klms++;
	card.start = start;
	card.len = len;
	card.nklm = n;
	memcpy(card.klm, klm, n * sizeof(*klm));
	*o = (struct mlx5p_obj) { (void *)&card, card.next_mkey += 0x100 };
	return 0;
}

void
mlx5p_devx_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what)
{
	RTE_SET_USED(hw);
	RTE_SET_USED(what);
	if (o->obj != NULL)
		card.mkeys_destroyed++;
	*o = (struct mlx5p_obj) { NULL, 0 };
}

/* ---- guests ---- */

static struct mlx5p_hw hw = { .name = "test", .null_mkey = NULL_MKEY };

static int
new_file(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

/* Guest addresses [gpa, gpa + len) show the file from @offset on. */
static void
add(struct vhost_iotlb *maps, uint64_t gpa, uint64_t len, int fd, uint64_t offset)
{
	struct vhost_iotlb_map map = {
		.start = gpa, .last = gpa + len - 1, .addr = 0, .perm = VHOST_ACCESS_RW,
		.backing = { .offset = offset, .fd = fd },
	};
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	map.backing.dev = st.st_dev;
	map.backing.ino = st.st_ino;
	assert_int_equal(vhost_iotlb_add(maps, &map), 0);
}

static struct vhost_iotlb *
new_maps(void)
{
	struct vhost_iotlb *maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);

	assert_non_null(maps);
	return maps;
}

static struct mlx5p_workers *workers;
static struct mlx5p_pins *pins;

static int
setup_threads(void **state, unsigned int threads)
{
	memset(&card, 0, sizeof(card));
	if (mlx5p_workers_get(-1, threads, &workers) < 0)
		return -1;
	pins = mlx5p_pins_create(&hw, MLX5P_MR_VERBS, workers);
	if (pins == NULL)
		return -1;
	*state = mlx5p_aspace_create(&hw, pins);
	return *state != NULL ? 0 : -1;
}

static int
setup(void **state)
{
	return setup_threads(state, 0);
}

static int
teardown(void **state)
{
	mlx5p_aspace_destroy(*state);
	mlx5p_pins_destroy(pins);
	mlx5p_workers_put(workers);
	return card.bytes == 0 && card.regs == card.deregs && card.mkeys_destroyed == card.klms ?
		0 : -1;
}

/* No queue uses an old key any more. */
static void
reap(struct mlx5p_aspace *as)
{
	mlx5p_aspace_reap(as);
	mlx5p_pins_sweep(pins);
}

/* Set and reap; return the pins made. */
static unsigned int
set(struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	unsigned int before = card.regs;

	assert_int_equal(mlx5p_aspace_set(as, maps), 0);
	reap(as);
	return card.regs - before;
}

/* ---- tests ---- */

static void
pins_are_cut_at_the_grid(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(3 * GIB);

	add(maps, 0, 2 * GIB + 512 * MIB, fd, 256 * MIB);
	assert_int_equal(set(*state, maps), 3); /* 768 MiB, 1 GiB, 768 MiB */
	assert_int_equal(card.bytes, 2 * GIB + 512 * MIB);
	assert_int_equal(card.nklm, 3);
	assert_int_equal(card.klm[0].address, 256 * MIB);
	assert_int_equal(card.klm[0].bytes, 768 * MIB);
	assert_int_equal(card.klm[1].address, GIB);
	assert_int_equal(card.klm[2].bytes, 768 * MIB);
	vhost_iotlb_destroy(maps);
	close(fd);
}

static void
the_same_table_does_nothing(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(GIB);

	add(maps, 0, GIB, fd, 0);
	set(*state, maps);
	assert_int_equal(set(*state, maps), 0);
	assert_int_equal(card.klms, 1);
	assert_int_equal(card.deregs, 0);
	vhost_iotlb_destroy(maps);
	close(fd);
}

static void
other_slices_of_a_file_pin_nothing(void **state)
{
	struct vhost_iotlb *whole = new_maps(), *sliced = new_maps();
	int fd = new_file(2 * GIB);

	add(whole, 0, 2 * GIB, fd, 0);
	add(sliced, 0, 4096, fd, 0);
	add(sliced, 4096, GIB, fd, 4096);
	add(sliced, 4096 + GIB, GIB - 4096, fd, 4096 + GIB);
	set(*state, whole);
	assert_int_equal(set(*state, sliced), 0);
	assert_int_equal(card.deregs, 0);
	vhost_iotlb_destroy(whole);
	vhost_iotlb_destroy(sliced);
	close(fd);
}

static void
a_file_at_another_guest_address_pins_nothing(void **state)
{
	struct vhost_iotlb *low = new_maps(), *high = new_maps();
	int fd = new_file(GIB);

	add(low, 0, GIB, fd, 0);
	add(high, 4 * GIB, GIB, fd, 0);
	set(*state, low);
	assert_int_equal(set(*state, high), 0);
	assert_int_equal(card.klms, 2);
	assert_int_equal(card.start, 4 * GIB);
	vhost_iotlb_destroy(low);
	vhost_iotlb_destroy(high);
	close(fd);
}

static void
another_file_behind_the_same_addresses_is_pinned_and_the_old_one_goes(void **state)
{
	struct vhost_iotlb *before = new_maps(), *after = new_maps();
	int fd1 = new_file(GIB), fd2 = new_file(GIB);

	add(before, 0, GIB, fd1, 0);
	add(after, 0, GIB, fd2, 0);
	set(*state, before);
	assert_int_equal(mlx5p_aspace_set(*state, after), 0);
	/* Queues may still know the old key: it stays until nobody does. */
	assert_int_equal(card.deregs, 0);
	assert_int_equal(card.bytes, 2 * GIB);
	reap(*state);
	assert_int_equal(card.deregs, 1);
	assert_int_equal(card.bytes, GIB);
	vhost_iotlb_destroy(before);
	vhost_iotlb_destroy(after);
	close(fd1);
	close(fd2);
}

static void
added_memory_pins_the_delta_alone(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(2 * GIB), dimm = new_file(256 * MIB);

	add(maps, 0, 2 * GIB, fd, 0);
	set(*state, maps);
	add(maps, 4 * GIB, 256 * MIB, dimm, 0);
	assert_int_equal(set(*state, maps), 1);
	assert_int_equal(card.bytes, 2 * GIB + 256 * MIB);
	assert_int_equal(vhost_iotlb_del(maps, 4 * GIB, UINT64_MAX), 0);
	assert_int_equal(set(*state, maps), 0);
	assert_int_equal(card.bytes, 2 * GIB);
	vhost_iotlb_destroy(maps);
	close(fd);
	close(dimm);
}

static void
more_of_a_file_pins_what_was_missing(void **state)
{
	struct vhost_iotlb *part = new_maps(), *more = new_maps();
	int fd = new_file(GIB);

	add(part, 0, 256 * MIB, fd, 256 * MIB);
	add(more, 0, GIB, fd, 0);
	set(*state, part);
	assert_int_equal(set(*state, more), 2); /* before and behind */
	assert_int_equal(card.bytes, GIB);
	assert_int_equal(card.nklm, 3);
	vhost_iotlb_destroy(part);
	vhost_iotlb_destroy(more);
	close(fd);
}

static void
holes_are_null_entries_of_at_most_2_gib(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(2 * MIB);

	add(maps, 0, MIB, fd, 0);
	add(maps, 5 * GIB, MIB, fd, MIB);
	assert_int_equal(set(*state, maps), 2); /* sweep order aside: two intervals, two pins */
	assert_int_equal(card.nklm, 5);
	assert_int_equal(card.klm[1].mkey, NULL_MKEY);
	assert_int_equal(card.klm[1].bytes, MLX5_KLM_MAX_BYTES);
	assert_int_equal(card.klm[2].mkey, NULL_MKEY);
	assert_int_equal(card.klm[3].mkey, NULL_MKEY);
	assert_int_equal((uint64_t)card.klm[1].bytes + card.klm[2].bytes + card.klm[3].bytes,
		5 * GIB - MIB);
	assert_int_equal(card.len, 5 * GIB + MIB);
	vhost_iotlb_destroy(maps);
	close(fd);
}

/* The entries of a hole are as many as the front-end likes, if nobody looks first. */
static void
maps_too_far_apart_for_a_key_are_refused_before_anything_is_made(void **state)
{
	static const uint64_t far[] = { MLX5P_KLM_MAX * 2 * GIB, UINT64_C(1) << 60, UINT64_MAX };
	struct mlx5p_hold hold = { 0 };
	struct vhost_iotlb *maps;
	int fd = new_file(2 * MIB);
	unsigned int i;

	for (i = 0; i < RTE_DIM(far); i++) {
		maps = new_maps();
		add(maps, 0, MIB, fd, 0);
		add(maps, far[i] - MIB + 1, MIB, fd, MIB);
		assert_int_equal(mlx5p_aspace_set(*state, maps), -E2BIG);
		assert_int_equal(mlx5p_aspace_plan(pins, maps, &hold), -E2BIG);
		assert_int_equal(card.regs, 0);
		vhost_iotlb_destroy(maps);
	}
	close(fd);
}

static void
a_failed_registration_leaves_everything_as_it_was(void **state)
{
	struct vhost_iotlb *before = new_maps(), *after = new_maps();
	int fd1 = new_file(GIB), fd2 = new_file(3 * GIB);
	uint32_t mkey;

	add(before, 0, GIB, fd1, 0);
	add(after, 0, 3 * GIB, fd2, 0);
	set(*state, before);
	mkey = mlx5p_aspace_mkey(*state);
	card.fail_reg = 3;
	assert_int_equal(mlx5p_aspace_set(*state, after), -ENOMEM);
	reap(*state);
	assert_int_equal(mlx5p_aspace_mkey(*state), mkey);
	assert_int_equal(card.bytes, GIB);
	assert_int_equal(card.mkeys_destroyed, 0);
	/* And it is still in force: the same table does nothing. */
	assert_int_equal(set(*state, before), 0);
	vhost_iotlb_destroy(before);
	vhost_iotlb_destroy(after);
	close(fd1);
	close(fd2);
}

static void
a_failed_indirect_key_leaves_everything_as_it_was(void **state)
{
	struct vhost_iotlb *before = new_maps(), *after = new_maps();
	int fd = new_file(2 * GIB);

	add(before, 0, GIB, fd, 0);
	add(after, 0, 2 * GIB, fd, 0);
	set(*state, before);
	card.fail_klm = true;
	assert_int_equal(mlx5p_aspace_set(*state, after), -EREMOTEIO);
	card.fail_klm = false;
	assert_int_equal(card.bytes, GIB);
	assert_int_equal(set(*state, after), 1);
	vhost_iotlb_destroy(before);
	vhost_iotlb_destroy(after);
	close(fd);
}

static void
an_empty_table_is_the_initial_mapping(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(GIB);

	add(maps, 0, GIB, fd, 0);
	set(*state, maps);
	vhost_iotlb_reset(maps);
	assert_int_equal(mlx5p_aspace_set(*state, maps), 0);
	assert_int_equal(mlx5p_aspace_mkey(*state), 0);
	assert_int_equal(mlx5p_pins_sweep(pins), GIB);
	assert_int_equal(card.bytes, 0);
	vhost_iotlb_destroy(maps);
	close(fd);
}

static void
a_pin_keeps_its_file_open(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	int fd = new_file(MIB);

	add(maps, 0, MIB, fd, 0);
	close(fd);
	/* The number now names nothing: only a descriptor of the pins' own helps the next table. */
	assert_int_equal(mlx5p_aspace_set(*state, maps), -EBADF);
	fd = new_file(MIB);
	vhost_iotlb_reset(maps);
	add(maps, 0, MIB, fd, 0);
	set(*state, maps);
	close(fd);
	assert_int_equal(set(*state, maps), 0);
	vhost_iotlb_destroy(maps);
}

static void
an_address_is_found_in_one_map_or_not_at_all(void **state)
{
	struct vhost_iotlb *maps = new_maps();
	struct vhost_iotlb_map map = { .start = 0x1000, .last = 0x1fff, .addr = 0x70000000,
		.perm = VHOST_ACCESS_RW, .backing.fd = -1 };
	uint64_t gpa = 0;

	RTE_SET_USED(state);
	assert_int_equal(vhost_iotlb_add(maps, &map), 0);
	assert_int_equal(mlx5p_aspace_gpa(maps, (void *)0x70000010, 16, &gpa), 0);
	assert_int_equal(gpa, 0x1010);
	assert_int_equal(mlx5p_aspace_gpa(maps, (void *)0x70000ff0, 16, &gpa), 0);
	assert_int_equal(mlx5p_aspace_gpa(maps, (void *)0x70000ff0, 17, &gpa), -EFAULT);
	assert_int_equal(mlx5p_aspace_gpa(maps, (void *)0x6fffffff, 1, &gpa), -EFAULT);
	assert_int_equal(mlx5p_aspace_gpa(maps, NULL, 1, &gpa), -EFAULT);
	vhost_iotlb_destroy(maps);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(pins_are_cut_at_the_grid),
		TEST(the_same_table_does_nothing),
		TEST(other_slices_of_a_file_pin_nothing),
		TEST(a_file_at_another_guest_address_pins_nothing),
		TEST(another_file_behind_the_same_addresses_is_pinned_and_the_old_one_goes),
		TEST(added_memory_pins_the_delta_alone),
		TEST(more_of_a_file_pins_what_was_missing),
		TEST(holes_are_null_entries_of_at_most_2_gib),
		TEST(maps_too_far_apart_for_a_key_are_refused_before_anything_is_made),
		TEST(a_failed_registration_leaves_everything_as_it_was),
		TEST(a_failed_indirect_key_leaves_everything_as_it_was),
		TEST(an_empty_table_is_the_initial_mapping),
		TEST(a_pin_keeps_its_file_open),
		TEST(an_address_is_found_in_one_map_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
