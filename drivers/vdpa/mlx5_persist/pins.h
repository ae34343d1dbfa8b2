/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layer 1 of memory: pins.
 *
 * Owns: direct memory regions. A pin is an interval of a backing file (device, inode, offset,
 * length) that the card can reach; it never crosses a boundary of a fixed grid of MLX5P_PIN_GRID
 * bytes. It is keyed by what the memory is, not by where a process maps it or at which guest
 * address it shows: its own addresses are file offsets. So one pin serves any guest address, and a
 * table that slices the same file differently finds everything there.
 *
 * The driver maps each pin by itself, from its own duplicate of the file's descriptor: it depends
 * on nobody's mapping, and an inode number can't be recycled while a pin of it lives.
 *
 * Use: mark(), then acquire() all that is wanted, then sweep() what nobody wanted, or rollback().
 * Locking: none; the caller serialises (configuration calls of one device).
 */
#ifndef MLX5P_PINS_H
#define MLX5P_PINS_H

#include <stdint.h>
#include <sys/types.h>

#include "region.h"

struct mlx5p_hw;
struct mlx5p_pins;

/* The grid: a multiple of every page size of interest, so that huge pages stay whole. */
#define MLX5P_PIN_GRID (UINT64_C(1) << 30)

/* An interval of a file. */
struct mlx5p_extent {
	dev_t dev;
	ino_t ino;
	int fd;                    /* open on that file; borrowed */
	uint64_t offset, len;      /* bytes */
};

/* Part of an extent that one key reaches: [address, address + len). */
struct mlx5p_piece {
	uint32_t mkey;
	uint64_t address;
	uint64_t len;
};

struct mlx5p_pins *mlx5p_pins_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend);

/** Unpin everything and free. */
void mlx5p_pins_destroy(struct mlx5p_pins *pins);

/** Nothing is wanted and nothing is new from here on. */
void mlx5p_pins_mark(struct mlx5p_pins *pins);

/**
 * Want an extent: pin what of it is not pinned yet. Partly failed, what was pinned stays until
 * mlx5p_pins_rollback().
 * @return 0; -EINVAL (empty, or off the end of 64 bits); or a negative errno, logged.
 */
int mlx5p_pins_acquire(struct mlx5p_pins *pins, const struct mlx5p_extent *extent);

/** Unpin what was pinned since mlx5p_pins_mark(); all of the rest is wanted again. */
void mlx5p_pins_rollback(struct mlx5p_pins *pins);

/** Unpin what was not wanted since mlx5p_pins_mark(). */
void mlx5p_pins_sweep(struct mlx5p_pins *pins);

/**
 * The piece at the start of a pinned extent: as much of it as one pin holds.
 * @return 0, or -ENOENT when the first byte is not pinned.
 */
int mlx5p_pins_piece(const struct mlx5p_pins *pins, const struct mlx5p_extent *extent,
		struct mlx5p_piece *piece);

/** Bytes that are pinned now. */
uint64_t mlx5p_pins_bytes(const struct mlx5p_pins *pins);

#endif /* MLX5P_PINS_H */
