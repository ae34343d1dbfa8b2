/* SPDX-License-Identifier: BSD-3-Clause */
#include "retries.h"

bool
mlx5p_retries_take(struct mlx5p_retries *retries, uint64_t now_ms)
{
	/* The slot of the one that lies MLX5P_RETRIES back. */
	uint64_t *slot = &retries->at_ms[retries->n % MLX5P_RETRIES];

	if (retries->n >= MLX5P_RETRIES && now_ms - *slot < MLX5P_RETRY_MS)
		return false;
	*slot = now_ms;
	retries->n++;
	return true;
}
