/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>

#include "dirty.h"
#include "hw.h"
#include "mlx5p_log.h"

/* Entries of the indirect key for the longest log that dirty_bitmap_size can say. */
#define MAX_ENTRIES 2

/* An indirect key with the addresses of the region below it. */
static int
wrap(const struct mlx5p_hw *hw, uint64_t addr, uint64_t len, struct mlx5p_dirty *dirty)
{
	struct mlx5p_klm klm[MAX_ENTRIES];
	uint64_t at, bytes;
	uint32_t n = 0;

	for (at = 0; at < len; at += bytes) {
		bytes = RTE_MIN(len - at, MLX5_KLM_MAX_BYTES);
		klm[n++] = (struct mlx5p_klm) { addr + at, bytes, dirty->region.mkey };
	}
	return mlx5p_devx_create_klm(hw, addr, len, klm, n, &dirty->mkey);
}

bool
mlx5p_dirty_reachable(int vid)
{
	uint64_t features = 0, addr = 0, len = 0, page = sysconf(_SC_PAGESIZE), start;

	if (rte_vhost_get_negotiated_features(vid, &features) < 0 ||
			!RTE_VHOST_NEED_LOG(features) ||
			rte_vhost_get_log_base(vid, &addr, &len) < 0 || addr == 0 || len == 0)
		return false;
	/* It writes nothing back and fails where there is no mapping. */
	start = RTE_ALIGN_FLOOR(addr, page);
	return msync((void *)(uintptr_t)start, addr + len - start, MS_ASYNC) == 0;
}

int
mlx5p_dirty_open(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, int vid,
		struct mlx5p_dirty *dirty)
{
	uint64_t addr = 0, len = 0;
	int ret;

	*dirty = (struct mlx5p_dirty) { .bitmap = { .mkey = 0 } };
	if (rte_vhost_get_log_base(vid, &addr, &len) < 0 || addr == 0 || len == 0) {
		MLX5P_LOG(ERR, hw->name, "the front-end wants dirty pages logged and gave no log");
		return -ENODEV;
	}
	if (len > UINT32_MAX) {
		MLX5P_LOG(ERR, hw->name, "the front-end's dirty log is too long: %" PRIu64 " bytes",
			len);
		return -E2BIG;
	}
	ret = mlx5p_region_create(hw, backend, (void *)(uintptr_t)addr, len, addr, false,
		&dirty->region);
	if (ret < 0) {
		MLX5P_LOG(ERR, hw->name, "cannot register the dirty log (%" PRIu64 " bytes): %s",
			len, strerror(-ret));
		return ret;
	}
	ret = wrap(hw, addr, len, dirty);
	if (ret < 0) {
		mlx5p_region_destroy(hw, &dirty->region);
		return ret;
	}
	dirty->bitmap = (struct mlx5p_bitmap) { .mkey = dirty->mkey.id, .size = len, .addr = addr };
	return 0;
}

void
mlx5p_dirty_close(const struct mlx5p_hw *hw, struct mlx5p_dirty *dirty)
{
	mlx5p_devx_destroy(hw, &dirty->mkey, "indirect mkey of the dirty log");
	mlx5p_region_destroy(hw, &dirty->region);
	dirty->bitmap = (struct mlx5p_bitmap) { .mkey = 0 };
}
