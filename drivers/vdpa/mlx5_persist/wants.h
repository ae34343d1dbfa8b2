/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queues front-ends want to run.
 *
 * Owns: that of two connections, because the next one may begin before the end of the last is
 * noticed.
 *
 * Locking: none; configuration calls of one device.
 */
#ifndef MLX5P_WANTS_H
#define MLX5P_WANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"

enum { MLX5P_NOBODY = -1, MLX5P_CONNECTIONS = 2 };

struct mlx5p_wants {
	struct {
		int vid;           /* MLX5P_NOBODY: free */
		bool queue[MLX5P_MAX_QUEUES];
	} of[MLX5P_CONNECTIONS];
};

void mlx5p_wants_init(struct mlx5p_wants *wants);

/** Connection @p vid wants @p queue, or no more. If it is new, it takes the place of one that is
 * gone, or else of the one that is not @p served. */
void mlx5p_wants_set(struct mlx5p_wants *wants, int vid, int served, uint16_t queue, bool on);

/** Does it? */
bool mlx5p_wants_queue(const struct mlx5p_wants *wants, int vid, uint16_t queue);

/** Does it want any? */
bool mlx5p_wants_any(const struct mlx5p_wants *wants, int vid);

/** It is gone. */
void mlx5p_wants_forget(struct mlx5p_wants *wants, int vid);

#endif /* MLX5P_WANTS_H */
