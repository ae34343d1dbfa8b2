/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a device.
 *
 * Owns: its pins (layer 1), its address spaces (layer 2), this driver's side of the IOTLB contract
 * (vhost_iotlb_dev.h: the parent's operations), the connection as its front-end, and how long pins
 * live after their maps:
 *
 *	persist=off		until the virtio reset
 *	persist=reset		until the connection's end
 *	persist=reconnect	until persist_timeout_ms after it, or until a connection brings
 *				other memory, before which they go
 *
 * Maps and the keys of address spaces never outlive the connection.
 *
 * A table that arrives is begun to be pinned on the configuration threads, long before the device
 * is started with it, which waits for what is under way. One that another table replaces, or whose
 * connection goes, leaves nothing.
 *
 * Locking: the device's lock, for all functions.
 */
#ifndef MLX5P_MEMORY_H
#define MLX5P_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <vhost_iotlb_user.h>

#include "aspace.h"
#include "pins.h"

struct mlx5p_args;
struct mlx5p_hw;
struct mlx5p_memory;
struct mlx5p_workers;

/* What memory asks of the device that it belongs to. */
struct mlx5p_memory_owner {
	/** All keys are about to go: no queue object may know one afterwards. Queues stand, or are to
	 * be stopped until there is a key again. */
	void (*forget_keys)(void *arg);
	/** @p mkey, and @p ring_mkey for rings (0: the same), are in force from now on: queues that
	 * run are switched to them. @return true: no queue object knows another one any more;
	 * false: none runs. NULL is allowed. */
	bool (*use_key)(void *arg, uint32_t mkey, uint32_t ring_mkey);
	/** Call mlx5p_memory_expire() once CLOCK_MONOTONIC reads @p when_ns; 0: no more. */
	void (*wake_at)(void *arg, uint64_t when_ns);
	/** The guest reset the device by its status, and says DRIVER_OK after that: stop and start
	 * it, as the vhost library would have it. */
	void (*stop)(void *arg);
	void (*start)(void *arg);
	/** The guest reset the device by its status; it has stopped. */
	void (*reset)(void *arg);
	void *arg;
	/** What the vhost library shows messages of a connection to; they are handed to
	 * vhost_iotlb_user_before() and after(). */
	const struct rte_vhost_user_extern_ops *hook;
};

/** @p args and @p owner are copied, @p workers register memory and outlive it. @return 0 or a
 * negative errno; then nothing is left. */
int mlx5p_memory_create(const struct mlx5p_hw *hw, const struct mlx5p_args *args,
		struct mlx5p_workers *workers, const struct mlx5p_memory_owner *owner,
		struct mlx5p_memory **memory);

/** A connection that is still there is released first, but no queue object is asked for: all are
 * gone. NULL is allowed. */
void mlx5p_memory_destroy(struct mlx5p_memory *memory);

/* ---- a connection ---- */

/** Connection @p vid is gone, or starts anew: what was pinned for a table of it that never came
 * into force is unpinned. */
void mlx5p_memory_withdraw(struct mlx5p_memory *memory, int vid);

/** Attach connection @p vid, unless it is. @return 0 or a negative errno, logged. */
int mlx5p_memory_attach(struct mlx5p_memory *memory, int vid);

/** Likewise, and bring the address space up to its memory table.
 * @return 0 or a negative errno, logged; then the maps are what they were. */
int mlx5p_memory_take(struct mlx5p_memory *memory, int vid);

/** Is a connection attached? */
bool mlx5p_memory_attached(const struct mlx5p_memory *memory);

/** Is connection @p vid attached, or none? */
bool mlx5p_memory_is_for(const struct mlx5p_memory *memory, int vid);

/** A virtio reset, unless a memory table changes; queues stand. */
void mlx5p_memory_virtio_reset(struct mlx5p_memory *memory);

/** The connection is gone: maps and keys go, with persist=reconnect pins stay for a while. Queues
 * stand. Not attached: nothing happens. */
void mlx5p_memory_release(struct mlx5p_memory *memory);

/** No queue uses a key other than the one in force any more: destroy those, and unpin what they
 * alone needed. */
void mlx5p_memory_reap(struct mlx5p_memory *memory);

/** It may be time to unpin what nobody came back for. A call too early or too late does nothing. */
void mlx5p_memory_expire(struct mlx5p_memory *memory);

/**
 * Unpin what waits for a front-end, now. What a connection's maps show is not touched: the card
 * may be at work there.
 * @param bytes gets how many were unpinned.
 * @return 0, or -EBUSY, logged: nothing waits, and a front-end needs all that is pinned.
 */
int mlx5p_memory_drop(struct mlx5p_memory *memory, uint64_t *bytes);

/** The key of the guest's memory, 0: no maps. */
uint32_t mlx5p_memory_mkey(const struct mlx5p_memory *memory);

/** The key of the guest's rings, 0: they have none of their own. */
uint32_t mlx5p_memory_ring_mkey(const struct mlx5p_memory *memory);

/** The maps of the guest's memory. Valid until they change. */
const struct vhost_iotlb *mlx5p_memory_maps(const struct mlx5p_memory *memory);

/* ---- seen ---- */

const struct mlx5p_pins *mlx5p_memory_pins(const struct mlx5p_memory *memory);

/** An address space, NULL if there is none with that number. */
const struct mlx5p_aspace *mlx5p_memory_aspace(const struct mlx5p_memory *memory,
		unsigned int asid);

/** The connection as a front-end, for the adaptor's functions. */
struct vhost_iotlb_user *mlx5p_memory_user(struct mlx5p_memory *memory);

/** What the driver is as a parent of the contract; the operations' argument is a struct
 * mlx5p_memory. Its conformance is tested by them. */
extern const struct vhost_iotlb_parent_ops mlx5p_memory_parent_ops;

/** The device of the contract: tables of its address spaces. */
const struct vhost_iotlb_dev *mlx5p_memory_iotlb(const struct mlx5p_memory *memory);

#endif /* MLX5P_MEMORY_H */
