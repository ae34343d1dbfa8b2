/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a reset left as it was: one line at INFO a reset.
 *
 * Owns: the state of memory and queues before the device was stopped, from that stop to the next
 * start of the same connection. A change of the memory table of a running device is a stop and a
 * start, too.
 *
 * Locking: the device's lock, for all functions.
 */
#ifndef MLX5P_RESTART_H
#define MLX5P_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "aspace.h"
#include "pins.h"

struct mlx5p_memory;
struct mlx5p_queues;

struct mlx5p_restart {
	bool stopped;              /* the next ones are known */
	struct mlx5p_pins_stats pins;
	struct mlx5p_aspace_stats aspace;
	uint64_t queues_made;
};

/** The device is about to be stopped. Costs nothing unless INFO is logged. */
void mlx5p_restart_stop(struct mlx5p_restart *r, const struct mlx5p_memory *memory,
		const struct mlx5p_queues *queues);

/** It runs again: say what was kept and what was not, and why. The first start of a connection says
 * nothing. */
void mlx5p_restart_done(struct mlx5p_restart *r, const char *name,
		const struct mlx5p_memory *memory, const struct mlx5p_queues *queues);

/** The connection is gone. */
void mlx5p_restart_forget(struct mlx5p_restart *r);

#endif /* MLX5P_RESTART_H */
