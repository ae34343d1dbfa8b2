/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_tailq.h>

#include "hw.h"
#include "mlx5p_log.h"
#include "pins.h"

enum state { PLANNED, PINNED, FAILED };

/* Linux 5.14 */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#define POPULATE_STEP (UINT64_C(16) << 20)
/* So much is mapped around a page that is read, if it is in memory (Linux: fault_around_bytes). */
#define AROUND (UINT64_C(64) << 10)
/* Of small pages, so much is in memory or not, by the look of one of them. */
#define LOOK (UINT64_C(2) << 20)

/* A finer grid is for little memory on several threads; each pin is a key on the card. */
#define CELL_MIN (MLX5P_PIN_GRID >> 3)
enum { CELLS_PER_THREAD = 2 };

struct mlx5p_pin {
	struct file *file;
	uint64_t offset, len;      /* in the file */
	uint64_t gpa;              /* where a guest saw it, for messages */
	uint32_t holders;          /* pieces of holds */
	_Atomic enum state state;  /* the region is there once it says PINNED */
	int error;                 /* FAILED: why; -ECANCELED: called off */
	bool fresh;                /* no table that came into force has counted it yet */
	void *map;                 /* our mapping, from map_offset on; NULL: none yet */
	uint64_t map_offset, map_len;
	struct mlx5p_region region; /* its addresses are file offsets */
};

/* A backing file, to be written or only read by the card, and its pins in ascending order of
 * offset, none overlapping. */
struct file {
	TAILQ_ENTRY(file) next;
	dev_t dev;
	ino_t ino;
	bool read_only;
	int fd;                    /* ours */
	uint64_t block;            /* mappings start and end on multiples of this */
	struct mlx5p_pin **pins;
	uint32_t npins, room;
};

TAILQ_HEAD(file_list, file);

struct mlx5p_pins {
	const struct mlx5p_hw *hw;
	enum mlx5p_mr_backend backend;
	struct mlx5p_workers *workers;
	struct file_list files;
	struct mlx5p_pin **leaving; /* by mlx5p_pins_sweep_later(): in no file's list any more */
	uint32_t nleaving;
	struct mlx5p_job leave;
	struct mlx5p_pins_stats stats; /* the sums alone; the rest is counted when asked for */
};

struct mlx5p_pins *
mlx5p_pins_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend,
		struct mlx5p_workers *workers)
{
	struct mlx5p_pins *pins = calloc(1, sizeof(*pins));

	if (pins == NULL)
		return NULL;
	pins->hw = hw;
	pins->backend = backend;
	pins->workers = workers;
	TAILQ_INIT(&pins->files);
	return pins;
}

/* ---- files ---- */

static struct file *
file_find(const struct mlx5p_pins *pins, const struct mlx5p_extent *extent)
{
	struct file *file;

	TAILQ_FOREACH(file, &pins->files, next) {
		if (file->dev == extent->dev && file->ino == extent->ino &&
				file->read_only == extent->read_only)
			return file;
	}
	return NULL;
}

static int
file_get(struct mlx5p_pins *pins, const struct mlx5p_extent *extent, struct file **out)
{
	struct file *file = file_find(pins, extent);
	struct stat st;
	int ret;

	*out = file;
	if (file != NULL)
		return 0;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return -ENOMEM;
	file->fd = fcntl(extent->fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0 || fstat(file->fd, &st) < 0) {
		ret = -errno;
		MLX5P_LOG(ERR, pins->hw->name, "cannot keep guest memory file open: %s",
			strerror(errno));
		if (file->fd >= 0)
			close(file->fd);
		free(file);
		return ret;
	}
	file->dev = extent->dev;
	file->ino = extent->ino;
	file->read_only = extent->read_only;
	/* A huge page file says its page size here; others are mapped by the system's page. */
	file->block = RTE_MAX((uint64_t)st.st_blksize, (uint64_t)sysconf(_SC_PAGESIZE));
	TAILQ_INSERT_TAIL(&pins->files, file, next);
	*out = file;
	return 0;
}

static void
file_put(struct mlx5p_pins *pins, struct file *file)
{
	if (file->npins > 0)
		return;
	TAILQ_REMOVE(&pins->files, file, next);
	close(file->fd);
	free(file->pins);
	free(file);
}

/* The number of the first pin that ends behind @offset; that of pins, if none does. With an IOTLB
 * there may be thousands, in no order. */
static uint32_t
file_search(const struct file *file, uint64_t offset)
{
	uint32_t low = 0, high = file->npins, i;

	while (low < high) {
		i = low + (high - low) / 2;
		if (file->pins[i]->offset + file->pins[i]->len > offset)
			high = i;
		else
			low = i + 1;
	}
	return low;
}

/* Room for one more element in an array. @return it, or NULL, the array untouched. */
static void *
grow(void *array, uint32_t n, uint32_t *room, size_t size)
{
	uint32_t more = *room != 0 ? 2 * *room : 16;

	if (n < *room)
		return array;
	array = realloc(array, more * size);
	if (array != NULL)
		*room = more;
	return array;
}

/* The pin becomes that number @i. */
static int
file_insert(struct file *file, uint32_t i, struct mlx5p_pin *pin)
{
	struct mlx5p_pin **array = grow(file->pins, file->npins, &file->room, sizeof(*array));

	if (array == NULL)
		return -ENOMEM;
	file->pins = array;
	memmove(&array[i + 1], &array[i], (file->npins - i) * sizeof(*array));
	array[i] = pin;
	file->npins++;
	return 0;
}

/* ---- one pin ---- */

static int
pin_map(struct mlx5p_pin *pin)
{
	void *map = mmap(NULL, pin->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, pin->file->fd,
		pin->map_offset);

	if (map == MAP_FAILED)
		return -errno;
	pin->map = map;
	return 0;
}

static void
pin_unmap(struct mlx5p_pin *pin)
{
	if (pin->map != NULL)
		munmap(pin->map, pin->map_len);
	pin->map = NULL;
}

/* Read one page in each @step of [from, from + len), or all. @return 0 or -1. */
static int
read_pages(void *from, uint64_t len, uint64_t step, bool all)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	uint64_t at;
	int ret = 0;

	for (at = 0; at < len && ret == 0; at += step)
		ret = madvise(RTE_PTR_ADD(from, at), RTE_MIN(len - at, all ? step : page),
			MADV_POPULATE_READ);
	return ret;
}

/* Is the memory there, by the look of its last page? Where that is not told, it is. */
static bool
is_present(void *from, uint64_t len)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	unsigned char there;

	return mincore(RTE_PTR_ADD(from, len - page), page, &there) < 0 || (there & 1) != 0;
}

/* Of small pages: those around the one that is read, or what is to be made. */
static int
fill_small(void *from, uint64_t len)
{
	const bool all = !is_present(from, len);

	return read_pages(from, len, all ? LOOK : AROUND, all);
}

/* Reading a page maps those around it that are in memory, too; pinning would map one by one, which
 * takes several times as long. So one page in each neighbourhood is read. Reading all of them
 * would look at each, which takes about twice as long. What is not there yet is made here and not
 * by pinning: in steps, as whoever wants to map something waits for the end of one. Huge pages are
 * mapped whole, and quickly.
 * Where the kernel can't (before Linux 5.14) or a page can't be had, pinning finds out. */
static void
pin_populate(const struct mlx5p_pin *pin)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	uint64_t at, len;
	void *from;

	if (pin->file->block != page) {
		read_pages(pin->map, pin->map_len, POPULATE_STEP, true);
		return;
	}
	for (at = 0; at < pin->map_len; at += len) {
		from = RTE_PTR_ADD(pin->map, at);
		len = RTE_MIN(pin->map_len - at, LOOK);
		if (fill_small(from, len) < 0)
			return;
	}
}

/* Have the card reach it. */
static int
pin_register(const struct mlx5p_pins *pins, struct mlx5p_pin *pin)
{
	pin_populate(pin);
	return mlx5p_region_create(pins->hw, pins->backend,
		RTE_PTR_ADD(pin->map, pin->offset - pin->map_offset), pin->len, pin->offset,
		pin->file->read_only, &pin->region);
}

/* Undo it, if it was done, for a pin that nobody finds any more. */
static void
pin_free(struct mlx5p_pins *pins, struct mlx5p_pin *pin)
{
	if (pin->state == PINNED)
		mlx5p_region_destroy(pins->hw, &pin->region);
	pin_unmap(pin);
	free(pin);
}

/* Of pins that nobody holds: those that never came to be pinned; besides, those that no table in
 * force ever had; all. */
enum unheld { UNPINNED, UNUSED, ALL };

static bool
is_unheld(const struct mlx5p_pin *pin, enum unheld which)
{
	return pin->holders == 0 &&
		(which == ALL || pin->state != PINNED || (which == UNUSED && pin->fresh));
}

/* Nobody finds them any more: they are handed to @fn. Files may be left without any. */
static void
forget(struct mlx5p_pins *pins, enum unheld which,
		void (*fn)(struct mlx5p_pins *pins, struct mlx5p_pin *pin))
{
	struct file *file, *next;
	uint32_t i, kept;

	RTE_TAILQ_FOREACH_SAFE(file, &pins->files, next, next) {
		for (i = kept = 0; i < file->npins; i++) {
			if (is_unheld(file->pins[i], which))
				fn(pins, file->pins[i]);
			else
				file->pins[kept++] = file->pins[i];
		}
		file->npins = kept;
		file_put(pins, file);
	}
}

/* How many bytes are pinned. */
static uint64_t
count_bytes(const struct mlx5p_pins *pins)
{
	struct mlx5p_pins_stats stats;

	mlx5p_pins_stats(pins, &stats);
	return stats.bytes;
}

/* Unpin them. @return bytes. */
static uint64_t
drop(struct mlx5p_pins *pins, enum unheld which)
{
	uint64_t before = count_bytes(pins);

	forget(pins, which, pin_free);
	return before - count_bytes(pins);
}

static void
leave_one(void *arg, uint32_t i)
{
	struct mlx5p_pins *pins = arg;

	pin_free(pins, pins->leaving[i]);
}

/* What was begun by mlx5p_pins_sweep_later() has ended. */
static void
end_leave(struct mlx5p_pins *pins)
{
	mlx5p_job_wait(&pins->leave);
	free(pins->leaving);
	pins->leaving = NULL;
	pins->nleaving = 0;
}

uint64_t
mlx5p_pins_sweep(struct mlx5p_pins *pins)
{
	end_leave(pins);
	return drop(pins, ALL);
}

static uint32_t
count_waiting(const struct mlx5p_pins *pins)
{
	const struct file *file;
	uint32_t i, n = 0;

	TAILQ_FOREACH(file, &pins->files, next)
		for (i = 0; i < file->npins; i++)
			n += file->pins[i]->holders == 0;
	return n;
}

/* There is room. */
static void
leave_later(struct mlx5p_pins *pins, struct mlx5p_pin *pin)
{
	pins->leaving[pins->nleaving++] = pin;
}

void
mlx5p_pins_sweep_later(struct mlx5p_pins *pins)
{
	uint32_t n = count_waiting(pins);

	if (n == 0)
		return;
	end_leave(pins);
	if (mlx5p_workers_count(pins->workers) > 0)
		pins->leaving = calloc(n, sizeof(*pins->leaving));
	if (pins->leaving == NULL) {
		drop(pins, ALL);
		return;
	}
	forget(pins, ALL, leave_later);
	mlx5p_workers_begin(pins->workers, &pins->leave, pins->nleaving, leave_one, pins);
}

void
mlx5p_pins_destroy(struct mlx5p_pins *pins)
{
	if (pins == NULL)
		return;
	mlx5p_pins_sweep(pins);
	free(pins);
}

uint32_t
mlx5p_pin_mkey(const struct mlx5p_pin *pin)
{
	return pin->region.mkey;
}

/* ---- holds ---- */

static int
hold_piece(struct mlx5p_hold *hold, struct mlx5p_pin *pin, uint64_t offset, uint64_t end)
{
	struct mlx5p_piece *pieces = grow(hold->pieces, hold->npieces, &hold->room,
		sizeof(*pieces));

	if (pieces == NULL)
		return -ENOMEM;
	hold->pieces = pieces;
	pieces[hold->npieces++] = (struct mlx5p_piece) { pin, offset, end - offset };
	pin->holders++;
	return 0;
}

/* The hold is to register this pin. */
static int
hold_made(struct mlx5p_hold *hold, struct mlx5p_pin *pin)
{
	struct mlx5p_pin **made = grow(hold->made, hold->nmade, &hold->made_room, sizeof(*made));

	if (made == NULL)
		return -ENOMEM;
	hold->made = made;
	made[hold->nmade++] = pin;
	pin->error = 0;
	pin->state = PLANNED;
	return 0;
}

/* An extent that is planned. */
struct plan {
	struct mlx5p_hold *hold;
	const struct mlx5p_extent *extent;
	struct file *file;
	uint64_t cell;             /* the grid at which pins are cut */
};

static uint64_t
gpa_of(const struct plan *plan, uint64_t offset)
{
	return plan->extent->gpa + (offset - plan->extent->offset);
}

/* Plan a pin for [offset, end) of a file, which becomes that number @i, and hold it. */
static int
plan_pin(const struct plan *plan, uint64_t offset, uint64_t end, uint32_t i)
{
	struct mlx5p_hold *hold = plan->hold;
	struct file *file = plan->file;
	struct mlx5p_pin *pin = calloc(1, sizeof(*pin));
	int ret;

	if (pin == NULL)
		return -ENOMEM;
	*pin = (struct mlx5p_pin) {
		.file = file, .offset = offset, .len = end - offset, .fresh = true,
		.gpa = gpa_of(plan, offset),
		.map_offset = RTE_ALIGN_FLOOR(offset, file->block),
	};
	pin->map_len = RTE_ALIGN_CEIL(end, file->block) - pin->map_offset;
	ret = file_insert(file, i, pin);
	if (ret < 0) {
		free(pin);
		return ret;
	}
	ret = hold_piece(hold, pin, offset, end);
	return ret < 0 ? ret : hold_made(hold, pin);
}

/* Plan pins for the hole [offset, end) before pin number @i, which counts on. */
static int
fill_hole(const struct plan *plan, uint64_t offset, uint64_t end, uint32_t *i)
{
	int ret = 0;

	while (offset < end && ret == 0) {
		uint64_t cell_end = RTE_ALIGN_FLOOR(offset, plan->cell) + plan->cell;
		uint64_t stop = RTE_MIN(end, cell_end);

		ret = plan_pin(plan, offset, stop, (*i)++);
		offset = stop;
	}
	return ret;
}

/* Hold a pin that is there, from @offset to @stop. One that was called off is planned again. */
static int
hold_there(const struct plan *plan, struct mlx5p_pin *pin, uint64_t offset, uint64_t stop)
{
	int ret = hold_piece(plan->hold, pin, offset, stop);

	if (ret < 0 || pin->state != FAILED)
		return ret;
	if (pin->error != -ECANCELED)
		return pin->error;
	pin->gpa = gpa_of(plan, pin->offset);
	return hold_made(plan->hold, pin);
}

/* Hold what there is of the extent, plan what is missing. */
static int
plan_in_file(const struct plan *plan)
{
	uint64_t offset = plan->extent->offset, end = offset + plan->extent->len, stop;
	uint32_t i = file_search(plan->file, offset);
	struct mlx5p_pin *pin;
	int ret;

	for (; i < plan->file->npins && plan->file->pins[i]->offset < end; i++) {
		pin = plan->file->pins[i];
		ret = fill_hole(plan, offset, pin->offset, &i);
		if (ret < 0)
			return ret;
		offset = RTE_MAX(offset, pin->offset);
		stop = RTE_MIN(end, pin->offset + pin->len);
		ret = hold_there(plan, pin, offset, stop);
		if (ret < 0)
			return ret;
		offset = stop;
	}
	return fill_hole(plan, offset, end, &i);
}

static int
plan_extent(struct mlx5p_pins *pins, const struct mlx5p_extent *extent, uint64_t cell,
		struct mlx5p_hold *hold)
{
	struct plan plan = { .hold = hold, .extent = extent };
	uint64_t end = extent->offset + extent->len;
	int ret;

	/* Files end below 2^63: no mapping of ours wraps. */
	if (extent->len == 0 || end < extent->offset || end > INT64_MAX)
		return -EINVAL;
	ret = file_get(pins, extent, &plan.file);
	if (ret < 0)
		return ret;
	plan.cell = RTE_MAX(cell, plan.file->block);
	ret = plan_in_file(&plan);
	file_put(pins, plan.file); /* one that got no pin at all is not kept */
	return ret;
}

/* How much of an extent has no pin. */
static uint64_t
missing(const struct mlx5p_pins *pins, const struct mlx5p_extent *extent)
{
	const struct file *file = file_find(pins, extent);
	uint64_t end = extent->offset + extent->len, bytes = extent->len, from, to;
	uint32_t i;

	if (file == NULL)
		return bytes;
	for (i = file_search(file, extent->offset); i < file->npins &&
			file->pins[i]->offset < end; i++) {
		from = RTE_MAX(extent->offset, file->pins[i]->offset);
		to = RTE_MIN(end, file->pins[i]->offset + file->pins[i]->len);
		bytes -= from < to ? to - from : 0;
	}
	return bytes;
}

/* The grid for so many bytes to be pinned: every thread is to get several pins, so that all end at
 * about the same time. Threads beyond the processors have nothing to pin with. */
static uint64_t
choose_cell(const struct mlx5p_pins *pins, uint64_t bytes)
{
	uint64_t cell = MLX5P_PIN_GRID;
	uint64_t threads = RTE_MIN(mlx5p_workers_count(pins->workers) + 1ul,
		(unsigned long)sysconf(_SC_NPROCESSORS_ONLN));

	while (threads > 1 && cell > CELL_MIN && bytes / cell < threads * CELLS_PER_THREAD)
		cell /= 2;
	return cell;
}

int
mlx5p_pins_plan(struct mlx5p_pins *pins, const struct mlx5p_extent *extents, uint32_t n,
		struct mlx5p_hold *hold)
{
	uint64_t bytes = 0, cell;
	uint32_t i;
	int ret = 0;

	for (i = 0; i < n; i++)
		bytes += missing(pins, &extents[i]);
	cell = choose_cell(pins, bytes);
	for (i = 0; i < n && ret == 0; i++)
		ret = plan_extent(pins, &extents[i], cell, hold);
	return ret;
}

/* ---- registration ---- */

/* The first error of a hold is the one that is told. */
static void
pin_failed(struct mlx5p_hold *hold, struct mlx5p_pin *pin, int error)
{
	int none = 0;

	pin_unmap(pin);
	pin->error = error;
	atomic_store(&pin->state, FAILED);
	if (atomic_compare_exchange_strong(&hold->ret, &none, error))
		MLX5P_LOG(ERR, hold->pins->hw->name,
			"cannot register guest memory (guest address 0x%" PRIx64 ", %" PRIu64
			" bytes, inode %ju, offset 0x%" PRIx64 "): %s", pin->gpa, pin->len,
			(uintmax_t)pin->file->ino, pin->offset, strerror(-error));
}

static void
register_one(void *arg, uint32_t i)
{
	struct mlx5p_hold *hold = arg;
	struct mlx5p_pin *pin = hold->made[i];
	int ret;

	if (pin->state == FAILED)
		return; /* it could not be mapped */
	ret = atomic_load(&hold->ret) < 0 ? -ECANCELED : pin_register(hold->pins, pin);
	if (ret < 0)
		pin_failed(hold, pin, ret);
	else
		atomic_store(&pin->state, PINNED);
}

void
mlx5p_pins_begin(struct mlx5p_pins *pins, struct mlx5p_hold *hold)
{
	uint32_t i;
	int ret;

	hold->pins = pins;
	/* All mappings are made before the first page is pinned: they would have to wait for each
	 * other, pinning and mapping, as the process has one lock for both. */
	for (i = 0; i < hold->nmade; i++) {
		ret = pin_map(hold->made[i]);
		if (ret < 0)
			pin_failed(hold, hold->made[i], ret);
	}
	mlx5p_workers_begin(pins->workers, &hold->job, hold->nmade, register_one, hold);
}

int
mlx5p_pins_finish(struct mlx5p_hold *hold)
{
	uint32_t i;

	if (hold->pins == NULL)
		return 0;
	mlx5p_job_await(&hold->job);
	for (i = 0; i < hold->nmade; i++) {
		if (hold->made[i]->state == PINNED)
			hold->pins->stats.bytes_total += hold->made[i]->len;
	}
	hold->pins = NULL;
	return hold->ret;
}

void
mlx5p_pins_cancel(struct mlx5p_hold *hold)
{
	int none = 0;
	uint32_t i;

	atomic_compare_exchange_strong(&hold->ret, &none, -ECANCELED);
	mlx5p_pins_finish(hold);
	for (i = 0; i < hold->nmade; i++)
		hold->made[i]->error = -ECANCELED;
}

/* ---- ends of a hold ---- */

/* Let go of all pins. */
static void
hold_end(struct mlx5p_hold *hold)
{
	uint32_t i;

	for (i = 0; i < hold->npieces; i++)
		hold->pieces[i].pin->holders--;
	free(hold->pieces);
	free(hold->made);
	memset(hold, 0, sizeof(*hold));
}

void
mlx5p_pins_release(struct mlx5p_pins *pins, struct mlx5p_hold *hold)
{
	hold_end(hold);
	drop(pins, UNPINNED);
}

void
mlx5p_pins_rollback(struct mlx5p_pins *pins, struct mlx5p_hold *hold)
{
	/* What was pinned for it by another that it took the place of is as useless. */
	hold_end(hold);
	drop(pins, UNUSED);
}

/* ---- seen ---- */

void
mlx5p_pins_stats(const struct mlx5p_pins *pins, struct mlx5p_pins_stats *stats)
{
	const struct mlx5p_pin *pin;
	const struct file *file;
	uint32_t i;

	*stats = pins->stats;
	TAILQ_FOREACH(file, &pins->files, next) {
		stats->files++;
		for (i = 0; i < file->npins; i++) {
			pin = file->pins[i];
			if (pin->state != PINNED)
				continue;
			stats->pins++;
			stats->bytes += pin->len;
			stats->waiting += pin->holders == 0;
			stats->bytes_waiting += pin->holders == 0 ? pin->len : 0;
		}
	}
}

void
mlx5p_pins_count(struct mlx5p_pins *pins, const struct mlx5p_hold *hold)
{
	struct mlx5p_pins_stats *stats = &pins->stats;
	uint32_t i;

	for (i = 0; i < hold->npieces; i++) {
		const struct mlx5p_piece *piece = &hold->pieces[i];
		bool fresh = piece->pin->fresh;

		*(fresh ? &stats->misses : &stats->hits) += 1;
		*(fresh ? &stats->miss_bytes : &stats->hit_bytes) += piece->len;
	}
	for (i = 0; i < hold->npieces; i++)
		hold->pieces[i].pin->fresh = false;
}

static const char *
state_name(const struct mlx5p_pin *pin)
{
	switch (pin->state) {
	case PINNED:
		return pin->holders > 0 ? "held" : "waiting";
	case PLANNED:
		return "planned";
	default:
		return "failed";
	}
}

void
mlx5p_pins_walk(const struct mlx5p_pins *pins,
		void (*fn)(void *arg, const struct mlx5p_pin_info *pin), void *arg)
{
	const struct mlx5p_pin *pin;
	const struct file *file;
	struct mlx5p_pin_info info;
	uint32_t i;

	TAILQ_FOREACH(file, &pins->files, next) {
		for (i = 0; i < file->npins; i++) {
			pin = file->pins[i];
			info = (struct mlx5p_pin_info) {
				.dev = file->dev, .ino = file->ino,
				.offset = pin->offset, .len = pin->len,
				.mkey = pin->state == PINNED ? pin->region.mkey : 0,
				.holders = pin->holders, .state = state_name(pin),
			};
			fn(arg, &info);
		}
	}
}
