/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often a virtqueue in error is brought back.
 *
 * Owns: the bound of MLX5P_RETRIES recoveries within MLX5P_RETRY_MS. It holds across virtio resets,
 * so that a guest that breaks its rings on purpose can't keep the firmware busy. Pure; the
 * virtqueue's owner serialises.
 */
#ifndef MLX5P_RETRIES_H
#define MLX5P_RETRIES_H

#include <stdbool.h>
#include <stdint.h>

/* As in NVIDIA's guide. */
#define MLX5P_RETRIES 3
#define MLX5P_RETRY_MS 3000

struct mlx5p_retries {
	uint64_t at_ms[MLX5P_RETRIES]; /* of the last ones */
	uint64_t n;                    /* ever */
};

/** May there be another one at @p now_ms, a clock that only goes forward? If so, it counts. */
bool mlx5p_retries_take(struct mlx5p_retries *retries, uint64_t now_ms);

#endif /* MLX5P_RETRIES_H */
