/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of the vhost-user adaptor. Internal to it. */
#ifndef USER_LOG_H
#define USER_LOG_H

#include <rte_log.h>

extern int vhost_iotlb_user_logtype;

/** One line about connection @p u (struct vhost_iotlb_user). */
#define USER_LOG(level, u, fmt, ...) \
	rte_log(RTE_LOG_ ## level, vhost_iotlb_user_logtype, "vhost_iotlb: %s: " fmt "\n", \
		(u)->name, ## __VA_ARGS__)

#endif /* USER_LOG_H */
