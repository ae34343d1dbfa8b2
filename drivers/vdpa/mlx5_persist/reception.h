/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where received packets go, as several threads say it.
 *
 * Owns: a device's steering (steer.h), whose use it serialises, and the writing of its table behind
 * the back of whoever has no need to wait for that.
 *
 * Threads: mlx5p_reception_set() and mlx5p_reception_forget() any; all other functions those of one
 * that configures the device.
 */
#ifndef MLX5P_RECEPTION_H
#define MLX5P_RECEPTION_H

#include <stdint.h>

struct mlx5p_hw;
struct mlx5p_reception;
struct mlx5p_workers;

/** @p workers write the table later; they outlive it. NULL: no memory. */
struct mlx5p_reception *mlx5p_reception_create(const struct mlx5p_hw *hw,
		struct mlx5p_workers *workers);

/** NULL is allowed. */
void mlx5p_reception_destroy(struct mlx5p_reception *reception);

/** As mlx5p_steer_set(). */
int mlx5p_reception_set(struct mlx5p_reception *reception, const uint32_t *virtq_ids, uint32_t n);

/** Likewise, in the background; what is said before it has begun replaces it. At once, if there is
 * no thread to do it. @return 0 or a negative errno, logged; nothing but a line in the background. */
int mlx5p_reception_set_later(struct mlx5p_reception *reception, const uint32_t *virtq_ids,
		uint32_t n);

/** Wait for that. NULL is allowed. */
void mlx5p_reception_settle(struct mlx5p_reception *reception);

/** As mlx5p_steer_forget(). */
void mlx5p_reception_forget(struct mlx5p_reception *reception, uint32_t virtq_id);

/** As mlx5p_steer_clear(). */
void mlx5p_reception_clear(struct mlx5p_reception *reception);

#endif /* MLX5P_RECEPTION_H */
