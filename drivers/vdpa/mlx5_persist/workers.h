/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration threads (max_conf_threads): firmware commands wait most of the time, so that
 * several at once take little longer than one.
 *
 * Owns: the threads, asleep between runs, and "do it for all of these, on all of them, and wait".
 * They run on all processors.
 *
 * Threads: one run at a time; the caller serialises.
 */
#ifndef MLX5P_WORKERS_H
#define MLX5P_WORKERS_H

#include <stdint.h>

struct mlx5p_workers;

/** @p n threads besides the caller's; 0 is fine. @return 0 or a negative errno; then nothing is
 * left. */
int mlx5p_workers_create(unsigned int n, struct mlx5p_workers **workers);

/** NULL is allowed. */
void mlx5p_workers_destroy(struct mlx5p_workers *workers);

/** Call @p fn for each number below @p count, on the threads and on this one, in any order, and
 * return when all calls have. */
void mlx5p_workers_run(struct mlx5p_workers *workers, uint32_t count,
		void (*fn)(void *arg, uint32_t i), void *arg);

#endif /* MLX5P_WORKERS_H */
