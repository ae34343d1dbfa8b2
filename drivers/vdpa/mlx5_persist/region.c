/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "hw.h"
#include "mlx5p_log.h"
#include "region.h"

int
mlx5p_region_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, void *addr,
		uint64_t len, uint64_t iova, bool read_only, struct mlx5p_region *region)
{
	const int access = read_only ? 0 : IBV_ACCESS_LOCAL_WRITE;
	int ret;

	*region = (struct mlx5p_region) { .mkey = 0 };
	if (backend == MLX5P_MR_VERBS) {
		region->mr = ibv_reg_mr_iova(hw->pd, addr, len, iova, access);
		if (region->mr == NULL)
			return errno ? -errno : -EIO;
		region->mkey = region->mr->lkey;
		return 0;
	}
	region->umem = mlx5dv_devx_umem_reg(hw->ctx, addr, len, access);
	if (region->umem == NULL)
		return errno ? -errno : -EIO;
	ret = mlx5p_devx_create_umem_mkey(hw, region->umem->umem_id, iova, len, read_only,
		&region->devx_mkey);
	if (ret < 0) {
		mlx5dv_devx_umem_dereg(region->umem);
		region->umem = NULL;
		return ret;
	}
	region->mkey = region->devx_mkey.id;
	return 0;
}

void
mlx5p_region_destroy(const struct mlx5p_hw *hw, struct mlx5p_region *region)
{
	int ret = 0;

	if (region->mr != NULL)
		ret = ibv_dereg_mr(region->mr);
	mlx5p_devx_destroy(hw, &region->devx_mkey, "direct mkey");
	if (region->umem != NULL)
		ret = mlx5dv_devx_umem_dereg(region->umem);
	if (ret)
		MLX5P_LOG(ERR, hw->name, "cannot unpin memory: %s", strerror(errno));
	*region = (struct mlx5p_region) { .mkey = 0 };
}
