/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The benchmark "hotplug": memory that is added to a running guest, and taken away again.
 *
 * The region has a file of its own, as a VMM's DIMM has. The guest moves half of its buffers there,
 * and back before it gives the region up. What was taken away is filled with poison and watched
 * until the next region comes. Main thread.
 */
#ifndef TEST_VDPA_HOTPLUG_H
#define TEST_VDPA_HOTPLUG_H

#include "bench.h"
#include "rig.h"

#define HOTPLUG_SHARE 8		/* the region is that part of the guest's memory */

/** The run; see struct bench_kind. */
int hotplug_run(struct rig *rig, struct bench_result *res);

#endif /* TEST_VDPA_HOTPLUG_H */
