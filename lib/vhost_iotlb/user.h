/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the vhost-user adaptor share: vhost_user.c, the connection, and user_hook.c,
 * its messages. Internal to it. Threads: as vhost_iotlb_user.h.
 */
#ifndef USER_H
#define USER_H

#include "vhost_iotlb_user.h"

struct user_backings;

/** Feature bits: VIRTIO_F_ACCESS_PLATFORM, whose name changed with time, and VHOST_F_LOG_ALL. */
#define USER_F_ACCESS_PLATFORM (UINT64_C(1) << 33)
#define USER_F_LOG_ALL (UINT64_C(1) << 26)

/** Use the IOTLB, or no more, as negotiated. Returns 0 or -ENOMEM. */
int
user_follow_features(struct vhost_iotlb_user *u);

/** The vhost library's memory table as a table of ours, to be destroyed by the caller, and how many
 * regions it has. Returns 0 or a negative errno, logged. */
int
user_read_table(const struct vhost_iotlb_user *u, struct vhost_iotlb **table,
		unsigned int *regions);

/** The vhost library's memory table as a source of backing, to be freed by the caller; NULL: none,
 * or no memory. */
struct user_backings *
user_read_backings(const struct vhost_iotlb_user *u);

/** Tell the device what the IOTLB maps. Returns 0 or the error of the parent, logged. */
int
user_push_iotlb(struct vhost_iotlb_user *u);

#endif /* USER_H */
