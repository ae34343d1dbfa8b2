/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's parents for the conformance suite of lib/vhost_iotlb.
 *
 * Owns: the driver's memory (memory.h) on an emulated card, which is opened with the first scenario
 * through the emulator's rdma-core face, linked in. What the device reaches is asked of the card
 * itself: it reads by the key that the driver gives to its queues.
 */
#ifndef CONFORMANCE_MLX5_H
#define CONFORMANCE_MLX5_H

#include "conformance.h"

/** With its default arguments, and with mr_backend=devx. */
extern const struct vhost_iotlb_conf_adapter conformance_mlx5, conformance_mlx5_devx;

/** Close the card, if it was opened. */
void conformance_mlx5_close(void);

#endif /* CONFORMANCE_MLX5_H */
