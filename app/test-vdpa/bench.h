/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The benchmarks: a guest under traffic that is reset again and again, and what that cost.
 *
 * Owns: the guest, its memory and the session while a benchmark runs. Main thread.
 */
#ifndef TEST_VDPA_BENCH_H
#define TEST_VDPA_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "args.h"
#include "stats.h"

struct bench;
struct bench_result;
struct rig;

/* A benchmark: a run of its own, or what it does around the resets that the others share. */
struct bench_kind {
	const char *name;
	/* The whole run on an open rig. Returns 0, or a negative errno with a line in rig->err. */
	int (*run)(struct rig *rig, struct bench_result *res);
	/* Get what the next reset brings, under traffic. Returns like run(). May be NULL, like the
	 * next one. */
	int (*prepare)(struct bench *b, uint32_t iteration);
	/* Traffic flows again: deal with what the reset left. */
	void (*retire)(struct bench *b);
	/* The memory is another one afterwards: the old is withdrawn, and watched. */
	bool withdraws;
	/* Plain packets (net.h): speed is what counts. */
	bool plain;
	/* It takes a second device. */
	bool two;
	/* Memory is plugged in while it runs (layout.h). */
	bool plugs;
	/* The front-end closes the connection at each reset, and makes a new one. */
	bool reconnects;
	/* Likewise, and each connection brings a guest that is new, memory and all: what is measured
	 * begins with its memory table. */
	bool starts;
};

struct bench_result {
	uint32_t iterations;		/* that were completed; all else covers them */
	struct series close_us, conf_us, blackout_us, downtime_us;
	bool counted;			/* the process has counters, which the next five need */
	struct series commands_close, commands_conf, commands_background;
	struct series pinned_bytes;
	uint64_t dma_faults;
	uint64_t changed;		/* places in withdrawn memory that were written */
	bool plugs;			/* the next four have a meaning; they need counters, too */
	struct series pinned_add, pinned_remove, commands_add, commands_remove;
	bool migrated;			/* the next one, and downtime_us, have a meaning */
	uint64_t pages_different;	/* between the source's and the destination's memory */
	bool measured;			/* the next three are */
	bool one_way;			/* the wire brings nothing back */
	double tx_mpps, rx_mpps;	/* as the guest saw it, own packets and others' */
	struct account_totals packets;
	char failed[288];		/* why the run ended early; empty: it did not */
};

/** By name; NULL if there is none. */
const struct bench_kind *bench_find(const char *name);
/** All names, with @p between in between. */
void bench_names(char *buf, size_t len, const char *between);

/**
 * Run a benchmark against the vhost-user back-end at @p path, and the one at @p second if it takes
 * two. @p cpus: where a guest without an
 * lcore of its own may run. Returns 0: it ran, @p res is good (and says whether it failed);
 * -EINVAL: the arguments do not fit the device, res->failed says how; nothing ran.
 */
int bench_run(const struct args *args, const char *path, const char *second, const cpu_set_t *cpus,
		struct bench_result *res);
void bench_result_free(struct bench_result *res);

/* Snapshots of the counters around a stop and a start. */
enum bench_snap { SNAP_BEGIN, SNAP_CLOSED, SNAP_READY, SNAP_STARTED, SNAP_END, SNAPS };

/** Add what the counters say of one iteration. Returns 0, -ENODATA or -ENOMEM. */
int bench_record_counters(struct bench_result *res, char *const snap[SNAPS]);

/** Whether the run is a success: it did not fail, and no packet was harmed. */
bool bench_succeeded(const struct bench_result *res);

#endif /* TEST_VDPA_BENCH_H */
