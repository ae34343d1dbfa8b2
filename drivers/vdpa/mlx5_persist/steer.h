/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering: which receive queue a packet goes to.
 *
 * Owns: the receive queue table (RQT), one TIR a hash type, and the flow rules that lead packets of
 * each type to its TIR. Rules and TIRs are made once and stay; what changes is the table's list of
 * queues.
 *
 * Locking: none; configuration calls of one device.
 */
#ifndef MLX5P_STEER_H
#define MLX5P_STEER_H

#include <stdint.h>

struct mlx5p_hw;
struct mlx5p_steer;

struct mlx5p_steer *mlx5p_steer_create(const struct mlx5p_hw *hw);
void mlx5p_steer_destroy(struct mlx5p_steer *steer);

/**
 * Spread packets over these virtqueue objects. Nothing is done when they are those it spreads over
 * already; none at all ends reception.
 * @return 0 or a negative errno, logged; steering is as before then, or off if it was being made.
 */
int mlx5p_steer_set(struct mlx5p_steer *steer, const uint32_t *virtq_ids, uint32_t n);

/** Spread over one queue less, if it is listed. */
void mlx5p_steer_forget(struct mlx5p_steer *steer, uint32_t virtq_id);

/** End reception and release everything on the card: no table lists any queue. What the card
 * does not let go stays, with what that one needs, and is used by the next mlx5p_steer_set(). */
void mlx5p_steer_clear(struct mlx5p_steer *steer);

#endif /* MLX5P_STEER_H */
