/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counters of an emulated device and the marks in its trace, if the process runs on one.
 *
 * The functions behind them are looked up when needed; on real hardware they are absent: there are
 * no counters, and marks do nothing. Main thread.
 */
#ifndef TEST_VDPA_COUNTERS_H
#define TEST_VDPA_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

struct counters {
	uint64_t commands;	/* firmware commands */
	uint64_t pinned_bytes;	/* all bytes ever pinned */
	uint64_t pinned_now;	/* bytes that are pinned */
	uint64_t alive;		/* objects of the device that exist */
	uint64_t dma_faults;
};

bool counters_present(void);

/** Take a snapshot without reading it, which costs little. free() it. NULL: no counters. */
char *counters_snapshot(void);

/** Read a snapshot. Returns 0, or -ENODATA if it is NULL or lacks a counter. */
int counters_read(const char *snapshot, struct counters *c);

/** Firmware commands belong to another phase from here on: a line in the device's trace. */
void counters_mark(const char *phase);

#endif /* TEST_VDPA_COUNTERS_H */
