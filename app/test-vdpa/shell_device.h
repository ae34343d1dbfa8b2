/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the shell shows of vDPA devices, any in the process: capabilities and counters, through
 * DPDK's public API. No state; main thread.
 */
#ifndef TEST_VDPA_SHELL_DEVICE_H
#define TEST_VDPA_SHELL_DEVICE_H

#include <stdint.h>

#include <rte_vdpa.h>

#include <cmdline.h>

/** Show one device by name, or all. */
void shell_show_devices(struct cmdline *cl, const char *name);
/** Show the counters of a virtqueue. */
void shell_show_stats(struct cmdline *cl, const char *name, uint16_t queue);
/** Show what the emulated device has counted, if the process runs on one. */
void shell_show_counters(struct cmdline *cl);
/** Set the counters of @p queues virtqueues to 0. */
void shell_clear_stats(struct cmdline *cl, struct rte_vdpa_device *dev, uint16_t queues);

#endif /* TEST_VDPA_SHELL_DEVICE_H */
