/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics of virtqueues: the card's virtio_q_counters, and what the driver counts, in the terms
 * of rte_vdpa.h.
 *
 * Locking: the device's lock.
 */
#ifndef MLX5P_STATS_H
#define MLX5P_STATS_H

#include <rte_vdpa.h>

struct mlx5p_virtq;

/** Fill up to @p size names. @return how many there are. */
int mlx5p_stats_names(struct rte_vdpa_stat_name *names, unsigned int size);

/** Fill up to @p n counters since the last reset. @return how many, or a negative errno: -EINVAL
 * for a queue that was never started or a card without counters. */
int mlx5p_stats_get(struct mlx5p_virtq *vq, struct rte_vdpa_stat *stats, unsigned int n);

/** Count from here. @return 0 or a negative errno. */
int mlx5p_stats_reset(struct mlx5p_virtq *vq);

#endif /* MLX5P_STATS_H */
