/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "progress.h"
#include "throughput.h"

#define PROBE_NS (500 * CLOCK_MS)	/* a wire that has brought nothing back by then won't */
#define TAKE_TIMEOUT_NS (10 * CLOCK_S)	/* for the device to take its first packets */
#define WARM_UP_NS (100 * CLOCK_MS)
#define POLL_NS CLOCK_MS
#define STEP_NS (100 * CLOCK_MS)	/* how often progress is shown */
#define MPPS_PER_PPNS 1000.0		/* packets a nanosecond in millions a second */

/* What the guest has counted so far, and when. */
struct sample {
	uint64_t ns, tx, rx;
};

static void
take_sample(const struct net *n, struct sample *s)
{
	uint16_t i;

	*s = (struct sample){ .ns = clock_ns(), .rx = __atomic_load_n(&n->seen, __ATOMIC_RELAXED) };
	for (i = 0; i < n->cfg.pairs; i++)
		s->tx += __atomic_load_n(&n->pair[i].taken, __ATOMIC_RELAXED);
}

/* First pair of which the device has taken nothing, or -1. */
static int
stuck_pair(const struct net *n)
{
	uint16_t i;

	for (i = 0; i < n->cfg.pairs; i++)
		if (__atomic_load_n(&n->pair[i].taken, __ATOMIC_RELAXED) == 0)
			return i;
	return -1;
}

/* Send at the usual pace, and see whether anything of it comes back. */
static int
probe_wire(struct rig *r)
{
	uint64_t start = clock_ns(), now;
	const struct net *n = &r->guest.net;
	struct account_totals t;
	int stuck;

	for (;;) {
		int ret = rig_sleep(r, POLL_NS);

		if (ret != 0)
			return ret;
		account_read(&n->totals, &t);
		if (t.received + t.corrupt > 0)
			return rig_settle(r);
		now = clock_ns();
		stuck = stuck_pair(n);
		if (stuck < 0 && now > start + PROBE_NS)
			break;
		if (stuck >= 0 && now > start + TAKE_TIMEOUT_NS)
			return rig_fail(r, -ETIMEDOUT, "the device takes no packet of queue pair %d",
					stuck);
	}
	guest_go_one_way(&r->guest);
	return 0;
}

static int
start(struct rig *r, struct bench_result *res)
{
	uint64_t ns;
	int ret;

	snprintf(r->stage, sizeof(r->stage), "first start: ");
	ret = rig_ready(r);
	if (ret == 0)
		ret = rig_go(r, &ns);
	if (ret == 0 && series_add(&res->conf_us, (double)ns / CLOCK_US) != 0)
		ret = rig_fail(r, -ENOMEM, "no memory for the result");
	if (ret == 0)
		ret = probe_wire(r);
	return ret;
}

static int
measure(struct rig *r, struct bench_result *res)
{
	const struct net *n = &r->guest.net;
	struct sample first, last;
	uint64_t end;
	int ret;

	snprintf(r->stage, sizeof(r->stage), "throughput: ");
	guest_set_flat_out(&r->guest, true);
	ret = rig_sleep(r, WARM_UP_NS);
	take_sample(n, &first);
	last = first;
	end = first.ns + r->args->seconds * CLOCK_S;
	while (ret == 0 && last.ns < end) {
		ret = rig_sleep(r, end - last.ns < STEP_NS ? end - last.ns : STEP_NS);
		take_sample(n, &last);
		progress_show("throughput %.0f of %u s, %llu packets sent, %llu received",
				(double)(last.ns - first.ns) / CLOCK_S, r->args->seconds,
				(unsigned long long)(last.tx - first.tx),
				(unsigned long long)(last.rx - first.rx));
	}
	guest_set_flat_out(&r->guest, false);
	if (ret != 0)
		return ret;
	res->measured = true;
	res->tx_mpps = MPPS_PER_PPNS * (last.tx - first.tx) / (last.ns - first.ns);
	res->rx_mpps = MPPS_PER_PPNS * (last.rx - first.rx) / (last.ns - first.ns);
	return 0;
}

int
throughput_run(struct rig *r, struct bench_result *res)
{
	struct rig_stop stop;
	int ret = start(r, res);

	if (ret == 0)
		ret = measure(r, res);
	res->one_way = r->guest.net.one_way;
	if (ret == 0)
		ret = rig_finish(r, &stop);
	if (ret != 0)
		return ret;
	if (series_add(&res->close_us, (double)stop.close_ns / CLOCK_US) != 0)
		return rig_fail(r, -ENOMEM, "no memory for the result");
	res->iterations = 1;
	return 0;
}
