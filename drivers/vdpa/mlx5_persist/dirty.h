/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty log of a live migration, as the card reaches it.
 *
 * Owns: the registration of the log that the front-end shares (VHOST_USER_SET_LOG_BASE; a bit for
 * each 4 KiB of guest physical memory) and a memory key over it. Which queues mark their writes
 * there is queues.h's matter. What the device writes into rings is logged when they stop (ring.h).
 *
 * Locking: the device's lock.
 */
#ifndef MLX5P_DIRTY_H
#define MLX5P_DIRTY_H

#include <stdbool.h>

#include "devx.h"
#include "region.h"

struct mlx5p_dirty {
	struct mlx5p_region region;
	struct mlx5p_obj mkey;     /* indirect, over the region, as in NVIDIA's driver */
	struct mlx5p_bitmap bitmap; /* bitmap.mkey is 0 when there is no log */
};

/** Does connection @p vid have its writes logged, and can this process write to the log? Releases
 * of the vhost library after 22.11.0 forget the offset of a log within its file: they map too
 * little of it. */
bool mlx5p_dirty_reachable(int vid);

/** Register the log of connection @p vid. @return 0; -ENODEV: it has none; or a negative errno,
 * logged; then nothing is left. */
int mlx5p_dirty_open(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, int vid,
		struct mlx5p_dirty *dirty);

/** No running queue marks its writes there. A no-op when there is none. */
void mlx5p_dirty_close(const struct mlx5p_hw *hw, struct mlx5p_dirty *dirty);

#endif /* MLX5P_DIRTY_H */
