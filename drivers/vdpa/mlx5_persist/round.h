/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same for several queues, on the configured threads.
 *
 * Owns: a round: which queues, what is done for each, and the first error, after which none is
 * begun.
 *
 * Locking: the device's lock. What is done for a queue runs on any thread on behalf of the one that
 * holds it.
 */
#ifndef MLX5P_ROUND_H
#define MLX5P_ROUND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "events.h"

struct mlx5p_queues;

typedef bool (*mlx5p_queue_match)(const struct mlx5p_queues *queues, uint16_t queue);
typedef int (*mlx5p_queue_fn)(struct mlx5p_queues *queues, uint16_t queue);

struct mlx5p_round {
	struct mlx5p_queues *queues;
	mlx5p_queue_fn fn;
	uint16_t queue[MLX5P_MAX_QUEUES];
	uint32_t n;
	atomic_int ret;            /* the first error */
};

/** @p fn is to be called for each of the queues that @p match picks now. */
void mlx5p_round_plan(struct mlx5p_round *round, struct mlx5p_queues *queues,
		mlx5p_queue_match match, mlx5p_queue_fn fn);

/** Add those that @p match picks behind the others. */
void mlx5p_round_add(struct mlx5p_round *round, mlx5p_queue_match match);

/** Number @p i of @p round: a mlx5p_work_fn. */
void mlx5p_round_one(void *round, uint32_t i);

/** Do it. @return 0 or the first error. */
int mlx5p_round_run(struct mlx5p_round *round);

/** All of that. */
int mlx5p_round_of(struct mlx5p_queues *queues, mlx5p_queue_match match, mlx5p_queue_fn fn);

#endif /* MLX5P_ROUND_H */
