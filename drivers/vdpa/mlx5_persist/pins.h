/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layer 1 of memory: pins.
 *
 * Owns: direct memory regions. A pin is an interval of a backing file (device, inode, offset,
 * length) that the card can reach; it never crosses a boundary of a fixed grid of MLX5P_PIN_GRID
 * bytes, and where there is too little memory to keep all threads busy with as much at a time, of a
 * finer one. It is keyed by what the memory is, not by where a process maps it or at which guest
 * address it shows: its own addresses are file offsets. So one pin serves any guest address, and a
 * table that slices the same file differently finds everything there.
 *
 * The driver maps each pin by itself, from its own duplicate of the file's descriptor: it depends
 * on nobody's mapping, and an inode number can't be recycled while a pin of it lives.
 *
 * Pins are counted and shared. Who needs some (the key of an address space, a table to come) has a
 * hold on them; a pin that nobody holds waits: for the next that wants the same memory, or for
 * mlx5p_pins_sweep().
 *
 *	PLANNED		wanted, not registered yet: gone with its last holder
 *	PINNED		registered, on the card's side a direct memory key
 *	FAILED		not registered, for a reason or because somebody called it off: gone with
 *			its last holder
 *
 *	PLANNED -> PINNED, FAILED	on the threads, from begin() to finish() or cancel()
 *	FAILED -> PLANNED		mlx5p_pins_plan(), of one that was called off
 *
 * Use: plan() all that is wanted, begin() to register it, finish(), then release() what was held
 * before, or rollback(). From begin() on until finish() or cancel() nothing is planned.
 *
 * Locking: none; the caller serialises (configuration calls of one device). The configuration
 * threads touch nothing but the pins that they register.
 */
#ifndef MLX5P_PINS_H
#define MLX5P_PINS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "region.h"
#include "workers.h"

struct mlx5p_hw;
struct mlx5p_pin;
struct mlx5p_pins;

/* The grid: a multiple of every page size of interest, so that huge pages stay whole. (A test makes
 * it small.) */
#ifndef MLX5P_PIN_GRID
#define MLX5P_PIN_GRID (UINT64_C(1) << 30)
#endif

/* An interval of a file. */
struct mlx5p_extent {
	dev_t dev;
	ino_t ino;
	int fd;                    /* open on that file; borrowed */
	uint64_t offset, len;      /* bytes */
	uint64_t gpa;              /* where a guest sees offset: for messages */
	bool read_only;            /* the card may not write there: pins of its own */
};

/* A part of an extent that lies in one pin: [offset, offset + len) of its file, which are the
 * addresses of the pin's key, too. */
struct mlx5p_piece {
	struct mlx5p_pin *pin;
	uint64_t offset, len;
};

/* Pins that somebody needs. Zero it to begin with; its fields are for reading. It stays in place
 * from begin() to finish() or cancel(). */
struct mlx5p_hold {
	struct mlx5p_piece *pieces; /* all extents in the order in which they were planned */
	uint32_t npieces, room;
	struct mlx5p_pin **made;   /* of them, those that were not there */
	uint32_t nmade, made_room;
	struct mlx5p_pins *pins;   /* the following from begin() on */
	struct mlx5p_job job;
	atomic_int ret;            /* the first error: nothing is begun after it */
};

/** @p workers register; they outlive the pins. */
struct mlx5p_pins *mlx5p_pins_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend,
		struct mlx5p_workers *workers);

/** Unpin everything and free. Nobody has a hold any more. NULL is allowed. */
void mlx5p_pins_destroy(struct mlx5p_pins *pins);

/**
 * Hold @p n extents; where no pins are, some are planned. Failed, what was planned stays until
 * mlx5p_pins_rollback().
 * @return 0; -EINVAL (empty, or off the end of 64 bits); -ENOMEM; why a pin of another hold could
 *         not be registered; or another negative errno, logged.
 */
int mlx5p_pins_plan(struct mlx5p_pins *pins, const struct mlx5p_extent *extents, uint32_t n,
		struct mlx5p_hold *hold);

/** Begin to register what @p hold planned, on the configuration threads. Allocates nothing. */
void mlx5p_pins_begin(struct mlx5p_pins *pins, struct mlx5p_hold *hold);

/** Help with it and wait for its end. Not begun: nothing to do. @return 0, or a negative errno,
 * logged with what of the guest's memory can't be registered; then mlx5p_pins_rollback(). */
int mlx5p_pins_finish(struct mlx5p_hold *hold);

/** Begin no more of it and wait for what is under way; then it may be planned by somebody else. For
 * mlx5p_pins_rollback(). */
void mlx5p_pins_cancel(struct mlx5p_hold *hold);

/** End a hold and unpin what was pinned for it, or for one that it took the place of, unless
 * somebody else holds it, or had it in force (mlx5p_pins_count()). */
void mlx5p_pins_rollback(struct mlx5p_pins *pins, struct mlx5p_hold *hold);

/** End a hold. Pins that it was the last to have wait. */
void mlx5p_pins_release(struct mlx5p_pins *pins, struct mlx5p_hold *hold);

/** Unpin what waits, and wait for what mlx5p_pins_sweep_later() began. @return how many bytes. */
uint64_t mlx5p_pins_sweep(struct mlx5p_pins *pins);

/** Likewise, on the configuration threads, if there are any, without waiting: nobody finds these
 * pins any more. */
void mlx5p_pins_sweep_later(struct mlx5p_pins *pins);

/** The direct key of a pin that is registered. */
uint32_t mlx5p_pin_mkey(const struct mlx5p_pin *pin);

/* ---- seen ---- */

struct mlx5p_pins_stats {
	uint32_t files;            /* with a pin */
	uint32_t pins;             /* registered */
	uint32_t waiting;          /* of them, held by nobody */
	uint64_t bytes;            /* registered now */
	uint64_t bytes_waiting;
	uint64_t bytes_total;      /* registered since the probe */
	/* What the tables that came into force wanted: found pinned (hit) or pinned for them
	 * (miss), in bytes and in pieces of a pin. */
	uint64_t hit_bytes, miss_bytes;
	uint64_t hits, misses;
};

void mlx5p_pins_stats(const struct mlx5p_pins *pins, struct mlx5p_pins_stats *stats);

/** Count the pieces of a hold that came into force as hits and misses. */
void mlx5p_pins_count(struct mlx5p_pins *pins, const struct mlx5p_hold *hold);

struct mlx5p_pin_info {
	dev_t dev;
	ino_t ino;
	uint64_t offset, len;      /* bytes, in the file */
	uint32_t mkey;             /* 0: none yet */
	uint32_t holders;
	const char *state;         /* "held", "waiting", "planned" or "failed" */
};

/** Call @p fn for each pin, by file and in the order of offsets. */
void mlx5p_pins_walk(const struct mlx5p_pins *pins,
		void (*fn)(void *arg, const struct mlx5p_pin_info *pin), void *arg);

#endif /* MLX5P_PINS_H */
