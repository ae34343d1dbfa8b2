/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counters of an emulated device, if the process runs on one.
 *
 * The function that delivers them is looked up when first needed; on real hardware it is absent,
 * and there are no counters. Main thread.
 */
#ifndef TEST_VDPA_COUNTERS_H
#define TEST_VDPA_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

struct counters {
	uint64_t commands;	/* firmware commands */
	uint64_t pinned_bytes;	/* all bytes ever pinned */
	uint64_t dma_faults;
};

bool counters_present(void);

/** Take a snapshot without reading it, which costs little. free() it. NULL: no counters. */
char *counters_snapshot(void);

/** Read a snapshot. Returns 0, or -ENODATA if it is NULL or lacks a counter. */
int counters_read(const char *snapshot, struct counters *c);

#endif /* TEST_VDPA_COUNTERS_H */
