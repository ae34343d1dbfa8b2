/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vDPA device: the parts of the driver put together.
 *
 * Owns: what a device is made of, its life between the vhost library's calls (dev_conf, dev_close,
 * dev_cleanup, set_vring_state) and this driver's side of the IOTLB contract. Knows no bus: a bus glue
 * hands in an opened RDMA device and arguments.
 *
 * Locking: every operation takes the device's lock; the event thread does not.
 */
#ifndef MLX5P_DEVICE_H
#define MLX5P_DEVICE_H

#include <infiniband/verbs.h>

#include "args.h"
#include "dpdk_sdk.h"

struct mlx5p_dev;

/**
 * Make a vDPA device of @p ctx, which it takes over also when it fails, and register it under the name
 * of @p rte_dev.
 * @return 0, or a negative errno, logged; then nothing is left.
 */
int mlx5p_dev_create(struct rte_device *rte_dev, const char *name, const struct mlx5p_args *args,
		struct ibv_context *ctx, struct mlx5p_dev **dev);

/** Undo it. A connection that is still there is released first. */
void mlx5p_dev_destroy(struct mlx5p_dev *dev);

/** The device of a bus device, NULL if it is none of ours. */
struct mlx5p_dev *mlx5p_dev_find(const struct rte_device *rte_dev);

#endif /* MLX5P_DEVICE_H */
