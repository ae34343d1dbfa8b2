/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which devices there are, for threads that come from outside: the vhost library's, the
 * application's, telemetry's.
 *
 * Owns: the list of devices, each one's registration with the vhost library, and the holds on them.
 * Who found a device holds it until he is done, and a device that is being removed waits for all who
 * do. From then on nobody finds it. Devices are known by what callers have in their hands, which is
 * compared and never looked into: what a vid leads to may be freed.
 *
 * Threads: any. No function may be called with a device's lock held. A thread that holds a device
 * waits for no thread that removes it; with that, a hold may be taken with any lock of the vhost
 * library. Between taking a hold and giving it back there is no cancellation point but where the
 * driver makes one: notifier.h ends a thread that asks for the doorbell page.
 */
#ifndef MLX5P_REGISTRY_H
#define MLX5P_REGISTRY_H

#include <stdbool.h>
#include <sys/queue.h>

#include "dpdk_sdk.h"

struct mlx5p_dev;

/* A device's place in the list; its memory is the device's. */
struct mlx5p_entry {
	TAILQ_ENTRY(mlx5p_entry) next;
	struct mlx5p_dev *dev;
	const char *name;
	const struct rte_device *rte_dev;
	struct rte_vdpa_device *vdpa;
	unsigned int holders;
	bool leaves;               /* being removed: nobody finds it */
};

/** Register @p rte_dev with the vhost library and list its device @p dev, known as @p name, which
 * has to work by now. @return 0, or -ENODEV: the library did not take it. */
int mlx5p_registry_add(struct mlx5p_entry *entry, struct mlx5p_dev *dev, const char *name,
		struct rte_device *rte_dev, struct rte_vdpa_dev_ops *ops);

/** Undo it: nobody finds the device any more, and when this returns nobody holds it. */
void mlx5p_registry_remove(struct mlx5p_entry *entry);

/** Call @p fn with the name of each device. It calls no function of this file. */
void mlx5p_registry_names(void (*fn)(void *arg, const char *name), void *arg);

/** The device of that name, held. NULL: there is none. */
struct mlx5p_dev *mlx5p_registry_hold_name(const char *name);

/** The device of connection @p vid, held. NULL: it has none of ours. */
struct mlx5p_dev *mlx5p_registry_hold_vid(int vid);

/** The device that the vhost library knows as @p vdpa, held. NULL: it is none of ours. */
struct mlx5p_dev *mlx5p_registry_hold_vdpa(const struct rte_vdpa_device *vdpa);

/** Give a hold back. */
void mlx5p_registry_release(struct mlx5p_dev *dev);

/** The device of a bus device, not held: for the bus, which removes it. NULL: it is none of ours. */
struct mlx5p_dev *mlx5p_registry_find(const struct rte_device *rte_dev);

#endif /* MLX5P_REGISTRY_H */
