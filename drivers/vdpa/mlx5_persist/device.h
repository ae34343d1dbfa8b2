/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vDPA device: the parts of the driver put together.
 *
 * Owns: what a device is made of, its life from probe to remove, and its life between the vhost
 * library's calls. Knows no bus: a bus glue hands in an opened RDMA device and arguments. The
 * operations that DPDK calls are in ops.c, which translates them to the functions below.
 *
 * Callers from outside find a device in registry.h and hold it meanwhile.
 *
 * Locking: every function below takes the device's lock, those that say so excepted; so does the
 * event thread for a queue in error. Under the lock nobody waits for the event thread, and no
 * function of the vhost library is called that takes a lock: some calls come with a ring's lock
 * held.
 */
#ifndef MLX5P_DEVICE_H
#define MLX5P_DEVICE_H

#include <stdbool.h>

#include <infiniband/verbs.h>
#include <rte_vhost.h>

#include "args.h"
#include "dpdk_sdk.h"

struct mlx5p_dev;
struct mlx5p_hw;
struct mlx5p_memory;

/**
 * Make a vDPA device of @p ctx, which it takes over also when it fails, and register it under the
 * name of @p rte_dev.
 * @return 0, or a negative errno, logged; then nothing is left.
 */
int mlx5p_dev_create(struct rte_device *rte_dev, const char *name, const struct mlx5p_args *args,
		struct ibv_context *ctx, struct mlx5p_dev **dev);

/** Undo it. @return 0; or -EBUSY, logged: it serves a front-end, and nothing is done. */
int mlx5p_dev_destroy(struct mlx5p_dev *dev);

/** Its card. Constant: no lock. */
const struct mlx5p_hw *mlx5p_dev_hw(const struct mlx5p_dev *dev);

/** Its arguments. Constant: no lock. */
const struct mlx5p_args *mlx5p_dev_args(const struct mlx5p_dev *dev);

/** How many virtqueues it has. Constant: no lock. */
uint32_t mlx5p_dev_nqueues(const struct mlx5p_dev *dev);

/** Is VIRTIO_F_ACCESS_PLATFORM offered? Constant: no lock. */
bool mlx5p_dev_offers_iommu(const struct mlx5p_dev *dev);

/* ---- connection @vid; all return 0 or a negative errno, logged. A socket takes several
 * connections, a device serves one: the others are refused until it is gone, and what they do
 * meanwhile does not touch it. ---- */

/** Take its memory and start the queues that it wants. -EBUSY: another one is served. */
int mlx5p_dev_conf(struct mlx5p_dev *dev, int vid);

/** Stop all queues: a virtio reset, unless a memory table changes. */
void mlx5p_dev_close(struct mlx5p_dev *dev, int vid);

/** It is gone, or its front-end sent RESET_OWNER. */
void mlx5p_dev_cleanup(struct mlx5p_dev *dev, int vid);

/** It wants a queue to run, or no more. */
int mlx5p_dev_want_queue(struct mlx5p_dev *dev, int vid, int queue, bool on);

/** Its features changed: a running device follows VHOST_F_LOG_ALL. */
int mlx5p_dev_set_features(struct mlx5p_dev *dev, int vid);

/** The vhost library handles a message of it: for the hooks of ops.h. */
enum rte_vhost_msg_result mlx5p_dev_before_message(struct mlx5p_dev *dev, int vid, void *msg);
enum rte_vhost_msg_result mlx5p_dev_after_message(struct mlx5p_dev *dev, int vid, void *msg);

/* ---- statistics of a queue: see stats.h ---- */

int mlx5p_dev_get_stats(struct mlx5p_dev *dev, int queue, struct rte_vdpa_stat *stats,
		unsigned int n);
int mlx5p_dev_reset_stats(struct mlx5p_dev *dev, int queue);

/* ---- memory, seen and dropped ---- */

/** Look at the device's memory (memory.h, "seen"; pins.h and aspace.h likewise), with the lock held
 * during @p fn. */
void mlx5p_dev_see_memory(struct mlx5p_dev *dev,
		void (*fn)(void *arg, const struct mlx5p_memory *memory), void *arg);

/** Unpin now what waits for a front-end to come back (persist=reconnect). @p bytes gets how many.
 * @return 0, or -EBUSY, logged: a connected front-end needs all that is pinned. */
int mlx5p_dev_drop(struct mlx5p_dev *dev, uint64_t *bytes);

#endif /* MLX5P_DEVICE_H */
