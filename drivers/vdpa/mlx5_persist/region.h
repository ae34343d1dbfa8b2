/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A direct memory region: memory of this process that the card can reach.
 *
 * Owns: its registration, by either of two ways. The memory stays mapped as long as it lives.
 *
 * Threads: any; no locks.
 */
#ifndef MLX5P_REGION_H
#define MLX5P_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "devx.h"

struct mlx5p_hw;

enum mlx5p_mr_backend {
	MLX5P_MR_VERBS,            /* ibv_reg_mr_iova() */
	MLX5P_MR_DEVX,             /* DevX umem and CREATE_MKEY */
};

struct mlx5p_region {
	uint32_t mkey;             /* 0: none */
	struct ibv_mr *mr;         /* verbs */
	struct mlx5dv_devx_umem *umem; /* DevX */
	struct mlx5p_obj devx_mkey;
};

/** Register @p len bytes from @p addr on, which the card reaches from @p iova on; @p read_only: it
 * may not write there.
 * @return 0 or a negative errno; then nothing is left. What it was for, the caller says. */
int mlx5p_region_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, void *addr,
		uint64_t len, uint64_t iova, bool read_only, struct mlx5p_region *region);

/** A no-op when there is none. */
void mlx5p_region_destroy(const struct mlx5p_hw *hw, struct mlx5p_region *region);

#endif /* MLX5P_REGION_H */
