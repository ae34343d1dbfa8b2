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

struct pin {
	TAILQ_ENTRY(pin) next;
	uint64_t offset, len;      /* in the file */
	void *map;                 /* our mapping, from map_offset on */
	uint64_t map_offset, map_len;
	struct mlx5p_region region; /* its addresses are file offsets */
	bool wanted, fresh;        /* since mlx5p_pins_mark() */
};

TAILQ_HEAD(pin_list, pin);

/* A backing file and its pins in ascending order of offset, none overlapping. */
struct file {
	TAILQ_ENTRY(file) next;
	dev_t dev;
	ino_t ino;
	int fd;                    /* ours */
	uint64_t block;            /* mappings start and end on multiples of this */
	struct pin_list pins;
};

TAILQ_HEAD(file_list, file);

struct mlx5p_pins {
	const struct mlx5p_hw *hw;
	enum mlx5p_mr_backend backend;
	struct file_list files;
	uint64_t bytes;
};

struct mlx5p_pins *
mlx5p_pins_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend)
{
	struct mlx5p_pins *pins = calloc(1, sizeof(*pins));

	if (pins == NULL)
		return NULL;
	pins->hw = hw;
	pins->backend = backend;
	TAILQ_INIT(&pins->files);
	return pins;
}

/* ---- files ---- */

static struct file *
file_find(const struct mlx5p_pins *pins, const struct mlx5p_extent *extent)
{
	struct file *file;

	TAILQ_FOREACH(file, &pins->files, next) {
		if (file->dev == extent->dev && file->ino == extent->ino)
			return file;
	}
	return NULL;
}

static struct file *
file_get(struct mlx5p_pins *pins, const struct mlx5p_extent *extent)
{
	struct file *file = file_find(pins, extent);
	struct stat st;

	if (file != NULL)
		return file;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return NULL;
	file->fd = fcntl(extent->fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0 || fstat(file->fd, &st) < 0) {
		MLX5P_LOG(ERR, pins->hw->name, "cannot keep guest memory file open: %s",
			strerror(errno));
		if (file->fd >= 0)
			close(file->fd);
		free(file);
		return NULL;
	}
	file->dev = extent->dev;
	file->ino = extent->ino;
	/* A huge page file says its page size here; others are mapped by the system's page. */
	file->block = RTE_MAX((uint64_t)st.st_blksize, (uint64_t)sysconf(_SC_PAGESIZE));
	TAILQ_INIT(&file->pins);
	TAILQ_INSERT_TAIL(&pins->files, file, next);
	return file;
}

static void
file_put(struct mlx5p_pins *pins, struct file *file)
{
	if (!TAILQ_EMPTY(&file->pins))
		return;
	TAILQ_REMOVE(&pins->files, file, next);
	close(file->fd);
	free(file);
}

/* ---- one pin ---- */

/* Pin [offset, offset + len) of a file and list it before @next (NULL: at the end). */
static int
pin_create(struct mlx5p_pins *pins, struct file *file, uint64_t offset, uint64_t len,
		struct pin *next)
{
	struct pin *pin = calloc(1, sizeof(*pin));
	int ret;

	if (pin == NULL)
		return -ENOMEM;
	pin->offset = offset;
	pin->len = len;
	pin->wanted = pin->fresh = true;
	pin->map_offset = RTE_ALIGN_FLOOR(offset, file->block);
	pin->map_len = RTE_ALIGN_CEIL(offset + len, file->block) - pin->map_offset;
	pin->map = mmap(NULL, pin->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd,
		pin->map_offset);
	if (pin->map == MAP_FAILED) {
		ret = -errno;
		goto free;
	}
	ret = mlx5p_region_create(pins->hw, pins->backend,
		RTE_PTR_ADD(pin->map, offset - pin->map_offset), len, offset, &pin->region);
	if (ret < 0)
		goto unmap;
	if (next != NULL)
		TAILQ_INSERT_BEFORE(next, pin, next);
	else
		TAILQ_INSERT_TAIL(&file->pins, pin, next);
	pins->bytes += len;
	return 0;
unmap:
	munmap(pin->map, pin->map_len);
free:
	free(pin);
	MLX5P_LOG(ERR, pins->hw->name,
		"cannot register guest memory (inode %ju, offset 0x%" PRIx64 ", %" PRIu64
		" bytes): %s",
		(uintmax_t)file->ino, offset, len, strerror(-ret));
	return ret;
}

static void
pin_destroy(struct mlx5p_pins *pins, struct file *file, struct pin *pin)
{
	mlx5p_region_destroy(pins->hw, &pin->region);
	munmap(pin->map, pin->map_len);
	pins->bytes -= pin->len;
	TAILQ_REMOVE(&file->pins, pin, next);
	free(pin);
}

/* ---- all of them ---- */

static bool
is_any(const struct pin *pin)
{
	(void)pin;
	return true;
}

static bool
is_fresh(const struct pin *pin)
{
	return pin->fresh;
}

static bool
is_unwanted(const struct pin *pin)
{
	return !pin->wanted;
}

/* Unpin every pin that @match picks, and forget files without pins. */
static void
drop(struct mlx5p_pins *pins, bool (*match)(const struct pin *pin))
{
	struct file *file, *next_file;
	struct pin *pin, *next_pin;

	RTE_TAILQ_FOREACH_SAFE(file, &pins->files, next, next_file) {
		RTE_TAILQ_FOREACH_SAFE(pin, &file->pins, next, next_pin) {
			if (match(pin))
				pin_destroy(pins, file, pin);
		}
		file_put(pins, file);
	}
}

void
mlx5p_pins_destroy(struct mlx5p_pins *pins)
{
	if (pins == NULL)
		return;
	drop(pins, is_any);
	free(pins);
}

void
mlx5p_pins_mark(struct mlx5p_pins *pins)
{
	struct file *file;
	struct pin *pin;

	TAILQ_FOREACH(file, &pins->files, next)
		TAILQ_FOREACH(pin, &file->pins, next)
			pin->wanted = pin->fresh = false;
}

void
mlx5p_pins_rollback(struct mlx5p_pins *pins)
{
	struct file *file;
	struct pin *pin;

	drop(pins, is_fresh);
	TAILQ_FOREACH(file, &pins->files, next)
		TAILQ_FOREACH(pin, &file->pins, next)
			pin->wanted = true;
}

void
mlx5p_pins_sweep(struct mlx5p_pins *pins)
{
	drop(pins, is_unwanted);
}

/* Pin the hole [offset, end) before @next, cut at the grid. */
static int
fill_hole(struct mlx5p_pins *pins, struct file *file, uint64_t offset, uint64_t end,
		struct pin *next)
{
	int ret = 0;

	while (offset < end && ret == 0) {
		uint64_t cell_end = RTE_ALIGN_FLOOR(offset, MLX5P_PIN_GRID) + MLX5P_PIN_GRID;
		uint64_t stop = RTE_MIN(end, cell_end);

		ret = pin_create(pins, file, offset, stop - offset, next);
		offset = stop;
	}
	return ret;
}

int
mlx5p_pins_acquire(struct mlx5p_pins *pins, const struct mlx5p_extent *extent)
{
	uint64_t offset = extent->offset, end = offset + extent->len;
	struct file *file;
	struct pin *pin;
	int ret = 0;

	/* Files end below 2^63: no mapping of ours wraps. */
	if (extent->len == 0 || end < offset || end > INT64_MAX)
		return -EINVAL;
	file = file_get(pins, extent);
	if (file == NULL)
		return -ENOMEM;
	TAILQ_FOREACH(pin, &file->pins, next) {
		if (pin->offset + pin->len <= offset)
			continue;
		if (pin->offset >= end)
			break;
		ret = fill_hole(pins, file, offset, pin->offset, pin);
		if (ret < 0)
			goto out;
		pin->wanted = true;
		offset = pin->offset + pin->len;
	}
	ret = fill_hole(pins, file, offset, end, pin);
out:
	file_put(pins, file); /* one that got no pin at all is not kept */
	return ret;
}

int
mlx5p_pins_piece(const struct mlx5p_pins *pins, const struct mlx5p_extent *extent,
		struct mlx5p_piece *piece)
{
	const struct file *file = file_find(pins, extent);
	const struct pin *pin;

	if (file == NULL)
		return -ENOENT;
	TAILQ_FOREACH(pin, &file->pins, next) {
		if (extent->offset < pin->offset || extent->offset >= pin->offset + pin->len)
			continue;
		piece->mkey = pin->region.mkey;
		piece->address = extent->offset;
		piece->len = RTE_MIN(extent->len, pin->offset + pin->len - extent->offset);
		return 0;
	}
	return -ENOENT;
}

uint64_t
mlx5p_pins_bytes(const struct mlx5p_pins *pins)
{
	return pins->bytes;
}
