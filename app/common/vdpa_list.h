/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vDPA devices of this process.
 *
 * Owns: finding them through DPDK's public API, which has no list of its own: EAL's device iterator
 * walks the class "vdpa" over every bus, so any vendor's device shows, whatever bus it sits on.
 * Call after rte_eal_init(), from the main thread; no locks, no state.
 */
#ifndef VDPA_LIST_H
#define VDPA_LIST_H

#include <rte_vdpa.h>

/**
 * Collect the vDPA devices in the order in which their buses list them.
 *
 * @param devs
 *   Gets the first @p max devices; may be NULL when @p max is 0.
 * @return
 *   How many devices there are, which may be more than @p max.
 */
unsigned int vdpa_list(struct rte_vdpa_device **devs, unsigned int max);

/** Name of a device, as rte_vdpa_find_device_by_name() takes it. */
const char *vdpa_list_name(struct rte_vdpa_device *dev);

#endif /* VDPA_LIST_H */
