/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What DPDK calls: the operations of a vDPA device.
 *
 * Owns: the table of rte_vdpa_dev_ops and the hook for messages, the translation from the vhost
 * library's numbers to devices, which it holds during the call (registry.h), and what the device
 * offers to front-ends (features, protocol features, queues, doorbell page).
 *
 * Threads: the vhost library's, and the application's for statistics.
 */
#ifndef MLX5P_OPS_H
#define MLX5P_OPS_H

#include <rte_vhost.h>

#include "dpdk_sdk.h"

struct rte_vdpa_dev_ops *mlx5p_vdpa_ops(void);

/** What the vhost library shows messages of a connection to. */
const struct rte_vhost_user_extern_ops *mlx5p_message_hook(void);

#endif /* MLX5P_OPS_H */
