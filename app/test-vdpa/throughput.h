/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The benchmark "throughput": a guest that sends and receives plain packets as fast as it goes.
 *
 * The wire decides what is checked. If it brings back what the guest sends, the ledger follows
 * every packet as in all benchmarks. If it does not (a sink, a generator, another host), packets
 * that the device has taken are done; packets that arrive from others are counted, not judged.
 *
 * Main thread.
 */
#ifndef TEST_VDPA_THROUGHPUT_H
#define TEST_VDPA_THROUGHPUT_H

#include "bench.h"
#include "rig.h"

/** See struct bench_kind. */
int throughput_run(struct rig *rig, struct bench_result *res);

#endif /* TEST_VDPA_THROUGHPUT_H */
