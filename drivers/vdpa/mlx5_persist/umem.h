/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of ours that the card uses: queue buffers, doorbell records.
 *
 * Owns: a zeroed, page-aligned buffer on the card's NUMA node and its registration (DevX umem).
 */
#ifndef MLX5P_UMEM_H
#define MLX5P_UMEM_H

#include <stddef.h>
#include <stdint.h>

#include <infiniband/mlx5dv.h>

struct mlx5p_hw;

struct mlx5p_umem {
	struct mlx5dv_devx_umem *umem; /* NULL: none */
	void *buf;
	size_t size;
};

/** @return 0, -ENOMEM, or the errno of the registration; logged. */
int mlx5p_umem_create(const struct mlx5p_hw *hw, struct mlx5p_umem *m, size_t size);

/** A no-op when there is none. */
void mlx5p_umem_destroy(const struct mlx5p_hw *hw, struct mlx5p_umem *m);

#endif /* MLX5P_UMEM_H */
