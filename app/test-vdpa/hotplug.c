/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "counters.h"
#include "hotplug.h"
#include "progress.h"
#include "withdrawn.h"

/* A device that is silent for so long, and four more packets, does not come back by itself. */
#define SILENT_NS (3 * CLOCK_S)
#define SILENT_PACKETS 4

struct hotplug {
	struct rig *rig;
	struct bench_result *res;
	struct mem_file region;		/* in the table, or withdrawn and watched */
	bool watching;
	uint32_t silent;		/* changes after which the device did not come back itself */
};

/* One change: when things happened, and the counters around it. */
struct change {
	uint64_t conf_ns, silence_ns;
	char *snap[SNAPS];
};

/* ---- the region ---- */

static void
forget_region(struct hotplug *h)
{
	if (h->watching)
		h->res->changed += withdrawn_check_file(&h->region);
	h->watching = false;
	mem_file_destroy(&h->region);
}

/* A new one, which nobody has seen. */
static int
make_region(struct hotplug *h)
{
	struct rig *r = h->rig;
	char err[128];
	int ret;

	forget_region(h);
	ret = mem_file_create(&h->region, r->args->backing, r->layout.cfg.plug_bytes, err,
			sizeof(err));
	if (ret != 0)
		return rig_fail(r, ret, "%s", err);
	net_prepare_plug(&r->guest.net, &h->region);
	return 0;
}

static bool
is_used(const struct net *net)
{
	return __atomic_load_n(&net->plug_rx, __ATOMIC_RELAXED) > 0 &&
		__atomic_load_n(&net->plug_tx, __ATOMIC_RELAXED) > 0;
}

static bool
is_left(const struct net *net)
{
	return __atomic_load_n(&net->in_plug, __ATOMIC_ACQUIRE) == 0;
}

/* The guest moves in. */
static int
use_region(struct hotplug *h)
{
	guest_use_plug(&h->rig->guest, &h->region);
	return rig_wait_turn(h->rig, is_used, "no traffic through the memory that was added");
}

/* It moves out, before the device loses the region. */
static int
leave_region(struct hotplug *h)
{
	int ret;

	guest_use_plug(&h->rig->guest, NULL);
	ret = rig_wait_turn(h->rig, is_left,
			"the device keeps buffers in the memory that is to be removed");
	if (ret != 0)
		return ret;
	withdrawn_fill_file(&h->region);
	h->watching = true;
	return 0;
}

/* ---- one change ---- */

/*
 * Wait for packets. A driver that has lost its rings with the old table gets them enabled anew, so
 * that its other figures can be had; that it needed this makes the run a failure.
 */
static int
wait_back(struct hotplug *h)
{
	struct rig *r = h->rig;
	unsigned int vq, on;
	int ret = rig_wait_next(r, SILENT_NS + SILENT_PACKETS * CLOCK_S / r->args->pps);

	if (ret != -ETIMEDOUT)
		return ret;
	h->silent++;
	ret = 0;
	for (on = 0; on <= 1; on++)
		for (vq = 0; ret == 0 && vq < 2u * r->args->pairs; vq++)
			ret = session_enable(&r->session, vq, on);
	if (ret != 0)
		return rig_fail(r, ret, "%s", r->session.err);
	return rig_wait_next(r, RIG_TRAFFIC_NS);
}

/* Send the table with or without the region, under traffic. */
static int
change_table(struct hotplug *h, bool add, struct change *c)
{
	struct rig *r = h->rig;
	struct vu_mem_table table;
	int ret;

	mem_table(r->mem, &r->slices, &table);
	if (add)
		mem_table_add(&table, r->layout.plug_gpa, &h->region);
	counters_mark(add ? "add memory" : "remove memory");
	/* No message stops the device by itself: nothing belongs to "close". */
	c->snap[SNAP_BEGIN] = counters_snapshot();
	c->snap[SNAP_CLOSED] = counters_snapshot();
	c->snap[SNAP_READY] = counters_snapshot();
	guest_disturb(&r->guest);
	ret = session_remem(&r->session, &table, &c->conf_ns);
	c->snap[SNAP_STARTED] = counters_snapshot();
	if (ret != 0)
		return rig_fail(r, ret, "%s", r->session.err);
	net_started(&r->guest.net);
	ret = wait_back(h);
	c->silence_ns = guest_silence_ns(&r->guest);
	return ret;
}

static int
change_memory(struct hotplug *h, bool add, struct change *c)
{
	int ret = add ? make_region(h) : leave_region(h);

	if (ret == 0)
		ret = change_table(h, add, c);
	if (ret == 0 && add)
		ret = use_region(h);
	if (ret == 0)
		ret = rig_settle(h->rig);
	c->snap[SNAP_END] = counters_snapshot();
	return ret;
}

/* ---- results ---- */

static double
last_of(const struct series *s)
{
	return s->v[s->n - 1];
}

static int
record_counters(struct bench_result *r, bool add, struct change *c)
{
	double commands;
	int ret = bench_record_counters(r, c->snap);

	if (ret != 0)
		return ret;
	commands = last_of(&r->commands_conf) + last_of(&r->commands_background);
	ret |= series_add(add ? &r->commands_add : &r->commands_remove, commands);
	ret |= series_add(add ? &r->pinned_add : &r->pinned_remove, last_of(&r->pinned_bytes));
	return ret ? -ENOMEM : 0;
}

static int
record(struct hotplug *h, bool add, struct change *c)
{
	struct bench_result *r = h->res;
	int ret = 0;

	ret |= series_add(&r->close_us, 0);
	ret |= series_add(&r->conf_us, (double)c->conf_ns / CLOCK_US);
	ret |= series_add(&r->blackout_us, (double)c->silence_ns / CLOCK_US);
	if (ret != 0)
		return rig_fail(h->rig, -ENOMEM, "no memory for the result");
	if (r->counted && record_counters(r, add, c) != 0)
		return rig_fail(h->rig, -ENODATA, "the emulated device's counters cannot be read");
	r->iterations++;
	progress_show("hotplug %u of %u, blackout %.1f ms", r->iterations,
			h->rig->args->iterations, (double)c->silence_ns / CLOCK_MS);
	return 0;
}

static int
iterate(struct hotplug *h, uint32_t i)
{
	struct change c = {0};
	bool add = i % 2 == 0;
	unsigned int s;
	int ret;

	snprintf(h->rig->stage, sizeof(h->rig->stage), "hotplug %u: ", i + 1);
	ret = change_memory(h, add, &c);
	if (ret == 0)
		ret = record(h, add, &c);
	for (s = 0; s < SNAPS; s++)
		free(c.snap[s]);
	return ret;
}

/* ---- the run ---- */

static int
first_start(struct rig *r)
{
	uint64_t ns;
	int ret;

	snprintf(r->stage, sizeof(r->stage), "first start: ");
	ret = rig_ready(r);
	if (ret == 0)
		ret = rig_go(r, &ns);
	if (ret == 0)
		ret = rig_wait_first(r);
	return ret ? ret : rig_settle(r);
}

int
hotplug_run(struct rig *r, struct bench_result *res)
{
	struct hotplug h = { .rig = r, .res = res, .region = { .fd = -1 } };
	struct rig_stop stop;
	uint32_t i;
	int ret = first_start(r);

	res->plugs = true;
	for (i = 0; ret == 0 && i < r->args->iterations; i++)
		ret = iterate(&h, i);
	if (ret == 0)
		ret = rig_finish(r, &stop);
	if (ret == 0 && h.silent > 0) {
		snprintf(r->stage, sizeof(r->stage), "hotplug: ");
		ret = rig_fail(r, -ETIMEDOUT, "no traffic after %u of %u changes of the memory "
				"table, until the rings were disabled and enabled", h.silent, i);
	}
	/* The guest may be in there still. */
	guest_pause(&r->guest);
	forget_region(&h);
	return ret;
}
