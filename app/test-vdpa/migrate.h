/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The benchmark "migrate": the guest moves from one device to another under traffic, and back.
 *
 * As a VMM does it: the source logs what it writes (SET_LOG_BASE, VHOST_F_LOG_ALL), pages are
 * copied to memory of the destination's own while the guest runs, first all, then those that were
 * written meanwhile; then the guest is held, the source stopped, the rest copied, and the
 * destination started with the source's ring indices. The guest's driver notices nothing: rings and
 * buffers are where they were. What the guest writes itself is logged on its side (net_track()), so
 * that pages which only the device writes depend on the device's log alone.
 *
 * Between the stop and the start all pages are compared; that time is taken out of the results.
 *
 * Owns: the second connection and the second memory. Main thread.
 */
#ifndef TEST_VDPA_MIGRATE_H
#define TEST_VDPA_MIGRATE_H

#include "bench.h"
#include "rig.h"

/** See struct bench_kind; rig->second is the destination's back-end. */
int migrate_run(struct rig *rig, struct bench_result *res);

#endif /* TEST_VDPA_MIGRATE_H */
