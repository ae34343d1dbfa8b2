/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_user: a vhost-user connection as a front-end of the contract.
 *
 * Owns: the translation of what DPDK's vhost library tells a vDPA driver (a memory table, a stop,
 * the end of the connection) into operations of vhost_iotlb_dev.h. The only part of the library
 * that knows DPDK; it uses the public API of rte_vhost.h and the log.
 *
 * The driver calls, in this order:
 *	attach		when it first hears of the connection (set_features or dev_conf)
 *	sync_table	in dev_conf, before anything uses guest memory
 *	virtio_reset	in dev_close, once the queues have stopped
 *	detach		when the connection is gone (dev_cleanup, or a destroyed device)
 * sync_table and virtio_reset may alternate as often as they like between attach and detach.
 * sync_table belongs in dev_conf and nowhere else: the vhost library reads its table without asking
 * whether there is one, and before SET_MEM_TABLE there is none.
 *
 * Threads: as vhost_iotlb_dev.h: the driver serialises the calls about one device. No function may
 * be called with a lock held that rte_vhost_get_mem_table() needs; it takes none today.
 *
 * Log: type "lib.vhost.iotlb". One line for every problem, with the device's name.
 */
#ifndef VHOST_IOTLB_USER_H
#define VHOST_IOTLB_USER_H

#include <stdbool.h>

#include "vhost_iotlb_dev.h"

/** Room for a device's name in a log line. */
#define VHOST_IOTLB_USER_NAME 64

/** One connection. Zero it once (static or calloc) and leave its fields to the functions below. */
struct vhost_iotlb_user {
	int vid;                            /* the vhost library's number of the connection */
	struct vhost_iotlb_fe *fe;          /* NULL: not attached */
	bool persist;                       /* IOTLB_PERSIST was asked for */
	char name[VHOST_IOTLB_USER_NAME];   /* device, for log lines */
};

/** What a table did. */
struct vhost_iotlb_user_sync {
	unsigned int regions;               /* in the memory table */
	unsigned int changed;               /* unmaps and maps it differed by; 0: nobody called */
};

/**
 * Attach connection @p vid to @p dev as its front-end. vhost-user front-ends have no
 * backend-feature message and never relied on a reset that clears maps, so IOTLB_PERSIST is
 * acknowledged for them where it is offered; with @p persist false it is not, and every virtio
 * reset drops all maps: the old behaviour, for comparison. Attached to the same connection already:
 * nothing happens.
 * Returns 0, -EBUSY (another front-end has the device, or @p u another connection), or another
 * negative errno.
 */
int
vhost_iotlb_user_attach(struct vhost_iotlb_user *u, int vid, struct vhost_iotlb_dev *dev,
		const char *name, bool persist);

/** Is it attached? */
static inline bool
vhost_iotlb_user_attached(const struct vhost_iotlb_user *u)
{
	return u->fe != NULL;
}

/**
 * Take the connection's memory table and make it address space 0. A region becomes a map of its
 * guest physical addresses; its backing is the file of its descriptor, by device and inode, and the
 * place in it. @p sync, unless NULL, tells what came of it.
 *
 * Returns 0; -ENOTCONN: not attached; -ENODEV: the connection has no table; -EINVAL: a region is
 * empty, wraps, has no descriptor, is no regular file, lies beyond the end of its file, or overlaps
 * another (one line each); or the error of the parent. On an error the old table is in force.
 */
int
vhost_iotlb_user_sync_table(struct vhost_iotlb_user *u, struct vhost_iotlb_user_sync *sync);

/** The virtio device was reset or stopped. Returns 0, -ENOTCONN or the error of the parent. */
int
vhost_iotlb_user_virtio_reset(struct vhost_iotlb_user *u);

/** The connection is gone: release the front-end. All maps end. Not attached: nothing happens. */
void
vhost_iotlb_user_detach(struct vhost_iotlb_user *u);

#endif /* VHOST_IOTLB_USER_H */
