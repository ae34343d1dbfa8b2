/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_user: a vhost-user connection as a front-end of the contract.
 *
 * Owns: the translation of what DPDK's vhost library tells a vDPA driver, and of the messages that
 * it shows to a hook, into operations of vhost_iotlb_dev.h; and the refusal of messages that would
 * harm. The only part of the library that knows DPDK; it uses the public API of rte_vhost.h and the
 * log.
 *
 * The driver calls:
 *	attach		when it first hears of the connection (set_features), and in dev_conf
 *	sync_table	in dev_conf, before anything uses guest memory
 *	stopped		in dev_close, once the queues have stopped
 *	reset_owner	in dev_cleanup, to learn whether the connection is gone
 *	detach		when it is, or when the device goes and takes its connection along
 *	before, after	from the hooks that it hands to attach
 * sync_table and stopped may alternate as often as they like between attach and the end.
 * sync_table belongs in dev_conf and nowhere else: the vhost library reads its table without asking
 * whether there is one, and before SET_MEM_TABLE there is none.
 *
 * The hook: rte_vhost_extern_callback_register() has one slot for each connection, with no way to
 * ask who has it. attach takes it, and replaces what an application put there. Messages that come
 * before SET_FEATURES are not seen.
 *
 * Threads: as vhost_iotlb_dev.h: the driver serialises the calls about one device, those from the
 * hooks included. Some come with locks of rings held by the vhost library: nothing is called here
 * that takes one, and callbacks must not, either.
 *
 * Log: type "lib.vhost.iotlb". One line for every problem, with the device's name; at INFO one for
 * every message that changed something.
 */
#ifndef VHOST_IOTLB_USER_H
#define VHOST_IOTLB_USER_H

#include <stdbool.h>

#include <rte_vhost.h>

#include "vhost_iotlb_dev.h"

/** Room for a device's name in a log line. */
#define VHOST_IOTLB_USER_NAME 64

/** What the driver is asked to do in the midst of messages. All are optional, and run within the
 * call of vhost_iotlb_user_after(). */
struct vhost_iotlb_user_ops {
	/** A memory table arrived, which the next dev_conf is likely to ask for: registration may
	 * begin. What fails, fails again then. Descriptors and host addresses end with the call. */
	void (*table)(void *arg, const struct vhost_iotlb *table);
	/** The guest reset the device by its status, while the vhost library thinks that it runs:
	 * stop it, as in dev_close. */
	void (*stop)(void *arg);
	/** DRIVER_OK after stop: start it, as in dev_conf. */
	void (*start)(void *arg);
	/** The guest reset the device by its status. It has stopped, by stop or before: where the
	 * next start finds its rings, it is likely to begin with them anew. */
	void (*reset)(void *arg);
};

/** How a connection is served. Pointers outlive the attachment. */
struct vhost_iotlb_user_conf {
	/** The device, for log lines. */
	const char *name;
	/** Acknowledge IOTLB_PERSIST. vhost-user front-ends have no backend-feature message and
	 * never relied on a reset that clears maps. false: every virtio reset drops all maps, the
	 * old behaviour, for comparison. */
	bool persist;
	/** VIRTIO_F_ACCESS_PLATFORM is offered (C10). Where it is negotiated, IOTLB messages make the
	 * maps, of I/O addresses, and the memory table only says what backs them. Takes the hook. */
	bool iommu;
	/** Hooks of the driver, which call vhost_iotlb_user_before() and after(). NULL: none, then
	 * messages are not seen. */
	const struct rte_vhost_user_extern_ops *hook;
	const struct vhost_iotlb_user_ops *ops;    /* NULL: none */
	void *arg;                                 /* of ops */
};

/** Where a ring lies, in I/O addresses. Of a packed ring: the descriptors, the driver area, the
 * device area. */
struct vhost_iotlb_user_ring {
	uint64_t desc, avail, used;
};

struct user_iotlb;

/** What is known of the vhost library's memory table. */
enum vhost_iotlb_user_table {
	VHOST_IOTLB_USER_TABLE_UNKNOWN,            /* it may have come before attach */
	VHOST_IOTLB_USER_TABLE_NONE,               /* none, or the library failed to take one */
	VHOST_IOTLB_USER_TABLE_HERE,
};

/** One connection. Zero it once (static or calloc) and leave its fields to the functions below. */
struct vhost_iotlb_user {
	int vid;                            /* the vhost library's number of the connection */
	struct vhost_iotlb_fe *fe;          /* NULL: not attached */
	struct vhost_iotlb_user_conf conf;
	uint32_t handling;                  /* the message between before and after, 0: none */
	bool refused;                       /* that message */
	enum vhost_iotlb_user_table table;
	bool used;                          /* since the last reset: a stop is one more */
	bool status_stop;                   /* stopped by status; the vhost library does not know */
	bool owner_reset;                   /* RESET_OWNER came on this connection */
	struct user_iotlb *iotlb;           /* NULL: not in use */
	bool limbo;                         /* RESET_OWNER, or the end: after() tells */
	char name[VHOST_IOTLB_USER_NAME];   /* device, for log lines */
};

/** What a table did. */
struct vhost_iotlb_user_sync {
	unsigned int regions;               /* in the memory table */
	unsigned int changed;               /* unmaps and maps it differed by; 0: nobody called */
};

/**
 * Attach connection @p vid to @p dev as its front-end. Attached to the same connection already:
 * nothing happens.
 * Returns 0, -EBUSY (another front-end has the device, or @p u another connection), or another
 * negative errno, logged.
 */
int
vhost_iotlb_user_attach(struct vhost_iotlb_user *u, int vid, struct vhost_iotlb_dev *dev,
		const struct vhost_iotlb_user_conf *conf);

/** Is it attached? */
static inline bool
vhost_iotlb_user_attached(const struct vhost_iotlb_user *u)
{
	return u->fe != NULL;
}

/**
 * Was the last RESET_OWNER not confirmed yet by after()? A message that the vhost library refuses
 * may end the connection, and nothing shows which of both it was: the driver asks again a while
 * after dev_cleanup, and detaches if it is so still. The next attach does it in any case.
 */
static inline bool
vhost_iotlb_user_in_limbo(const struct vhost_iotlb_user *u)
{
	return u->fe != NULL && u->limbo;
}

/** Is it attached to connection @p vid, or free for it? */
bool
vhost_iotlb_user_is_for(const struct vhost_iotlb_user *u, int vid);

/**
 * Take the connection's memory table and make it address space 0; or, where IOTLB messages make the
 * maps, those. A region becomes a map of its
 * guest physical addresses; its backing is the file of its descriptor, by device and inode, and the
 * place in it. @p sync, unless NULL, tells what came of it.
 *
 * Returns 0; -ENOTCONN: not attached; -ENODEV: the connection has no table; -EINVAL: a region is
 * empty, wraps, has no descriptor, is no regular file, lies beyond the end of its file, or overlaps
 * another (one line each); or the error of the parent. On an error the old table is in force.
 */
int
vhost_iotlb_user_sync_table(struct vhost_iotlb_user *u, struct vhost_iotlb_user_sync *sync);

/** Do IOTLB messages make the maps? */
static inline bool
vhost_iotlb_user_iotlb(const struct vhost_iotlb_user *u)
{
	return u->fe != NULL && u->iotlb != NULL;
}

/** Where the front-end put ring @p index, in I/O addresses; NULL: it did not, or the IOTLB is not
 * in use. Valid until the next message. */
const struct vhost_iotlb_user_ring *
vhost_iotlb_user_ring(const struct vhost_iotlb_user *u, uint32_t index);

/**
 * The device has stopped. That is a virtio reset, once for each stop, unless it makes way for a
 * memory table that changes (C1: then a map operation follows).
 * Returns 0, -ENOTCONN or the error of the parent.
 */
int
vhost_iotlb_user_stopped(struct vhost_iotlb_user *u);

/**
 * The vhost library cleans up after the connection (dev_cleanup): is that because of RESET_OWNER?
 * Then it was a virtio reset, and all maps stay; else the connection is gone, and detach is due.
 */
bool
vhost_iotlb_user_reset_owner(struct vhost_iotlb_user *u);

/** Release the front-end. All maps end. Not attached: nothing happens. */
void
vhost_iotlb_user_detach(struct vhost_iotlb_user *u);

/**
 * The vhost library is about to handle message @p msg of connection @p vid, or has handled it with
 * success: for the hooks pre_msg_handle and post_msg_handle, which return what these return. A
 * connection that is not attached: nothing happens.
 */
enum rte_vhost_msg_result
vhost_iotlb_user_before(struct vhost_iotlb_user *u, int vid, void *msg);

enum rte_vhost_msg_result
vhost_iotlb_user_after(struct vhost_iotlb_user *u, int vid, void *msg);

#endif /* VHOST_IOTLB_USER_H */
