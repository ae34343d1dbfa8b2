/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "clock.h"
#include "counters.h"
#include "hotplug.h"
#include "rig.h"

#define SETTLE_NS (50 * CLOCK_MS)		/* traffic between two resets, at least */
#define POLL_NS (200 * CLOCK_US)
#define SLEEP_SLICE_NS (100 * CLOCK_MS)		/* how late a signal is seen */
#define SMALL_PAGE 4096u

int
rig_fail(struct rig *r, int ret, const char *fmt, ...)
{
	size_t at = snprintf(r->err, sizeof(r->err), "%s", r->stage);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err + at, sizeof(r->err) - at, fmt, ap);
	va_end(ap);
	return ret;
}

static int
from_session(struct rig *r, int ret)
{
	return ret ? rig_fail(r, ret, "%s", r->session.err) : 0;
}

/* ---- waiting ---- */

int
rig_trouble(struct rig *r)
{
	if (fe_interrupted())
		return rig_fail(r, -EINTR, "interrupted");
	if (guest_broken(&r->guest))
		return rig_fail(r, -EIO, "%s", r->guest.net.fault);
	return 0;
}

int
rig_sleep(struct rig *r, uint64_t ns)
{
	uint64_t end = clock_ns() + ns, now;

	while ((now = clock_ns()) < end) {
		int ret = rig_trouble(r);

		if (ret != 0)
			return ret;
		clock_sleep_ns(end - now < SLEEP_SLICE_NS ? end - now : SLEEP_SLICE_NS);
	}
	return 0;
}

int
rig_wait_first(struct rig *r)
{
	uint64_t end = clock_ns() + RIG_TRAFFIC_NS;

	while (guest_first_rx(&r->guest) == 0) {
		int ret = rig_trouble(r);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return rig_fail(r, -ETIMEDOUT, "no traffic %llu s after DRIVER_OK",
					RIG_TRAFFIC_NS / CLOCK_S);
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

int
rig_wait_next(struct rig *r, uint64_t ns)
{
	uint64_t now = clock_ns(), end = now + ns;

	while (guest_last_rx(&r->guest) < now) {
		int ret = rig_trouble(r);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return rig_fail(r, -ETIMEDOUT, "no traffic for %llu s",
					(unsigned long long)(ns / CLOCK_S));
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

/* A receive ring gets at least one flow out of all that the guest sends, or none. */
static uint64_t
turn_ns(const struct rig *r)
{
	const struct net_cfg *cfg = &r->guest.net.cfg;

	return 2ull * net_rx_bufs(cfg) * cfg->pairs * FRAME_FLOWS * CLOCK_S / r->args->pps;
}

int
rig_wait_turn(struct rig *r, bool (*done)(const struct net *net), const char *what)
{
	uint64_t end = clock_ns() + RIG_TRAFFIC_NS + turn_ns(r);

	while (!done(&r->guest.net)) {
		int ret = rig_trouble(r);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return rig_fail(r, -ETIMEDOUT, "%s", what);
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

int
rig_settle(struct rig *r)
{
	/* At a low pace, it takes a pair several rounds to get its turn. */
	uint64_t rounds = 4 * CLOCK_S * r->args->pairs / r->args->pps;
	uint64_t start = clock_ns(), end = start + RIG_TRAFFIC_NS + rounds;
	int silent;

	while ((silent = net_silent_pair(&r->guest.net)) >= 0 || clock_ns() < start + SETTLE_NS) {
		int ret = rig_trouble(r);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return rig_fail(r, -ETIMEDOUT, "no traffic from queue pair %d", silent);
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

/* ---- starting and stopping ---- */

struct mem *
rig_move(struct rig *r, struct mem *mem)
{
	struct mem *old = r->mem;

	r->mem = mem;
	net_bind(&r->guest.net, mem);
	return old;
}

int
rig_ready_at(struct rig *r, const uint32_t *bases)
{
	struct vu_mem_table table;

	counters_mark("conf");
	mem_table(r->mem, &r->slices, &table);
	return from_session(r, session_setup(&r->session, &r->guest.net, &table, bases));
}

int
rig_ready(struct rig *r)
{
	int ret;

	counters_mark("conf");
	ret = net_reset(&r->guest.net, r->session.features);
	if (ret != 0)
		return rig_fail(r, ret, "the guest's rings: %s", strerror(-ret));
	return rig_ready_at(r, NULL);
}

/* Let the device run. */
static int
go(struct rig *r, uint64_t *conf_ns)
{
	int ret = session_go(&r->session, conf_ns);

	if (ret == 0)
		ret = session_late(&r->session);
	if (ret != 0)
		return from_session(r, ret);
	net_started(&r->guest.net);
	guest_set_active(&r->guest, r->args->pairs);
	return 0;
}

int
rig_go(struct rig *r, uint64_t *conf_ns)
{
	guest_set_active(&r->guest, r->args->enable_late ? 1 : r->args->pairs);
	guest_resume(&r->guest);
	return go(r, conf_ns);
}

int
rig_start_held(struct rig *r, uint64_t *conf_ns)
{
	return go(r, conf_ns);
}

int
rig_enable(struct rig *r, unsigned int vq, bool on)
{
	int ret;

	if (!on)
		guest_set_sending(&r->guest, vq, false);
	ret = from_session(r, session_enable(&r->session, vq, on));
	if (ret == 0 && on)
		guest_set_sending(&r->guest, vq, true);
	return ret;
}

int
rig_stop(struct rig *r, struct rig_stop *stop)
{
	return rig_stop_at(r, stop, NULL);
}

int
rig_stop_at(struct rig *r, struct rig_stop *stop, uint32_t *bases)
{
	counters_mark("close");
	guest_pause(&r->guest);
	stop->begin_ns = clock_ns();
	stop->last_rx_ns = guest_last_rx(&r->guest);
	return from_session(r, session_stop(&r->session, &stop->close_ns, bases));
}

int
rig_collect(struct rig *r, const struct rig_stop *stop)
{
	if (net_stop(&r->guest.net, stop->begin_ns) != 0)
		return rig_fail(r, -EIO, "%s", r->guest.net.fault);
	return 0;
}

int
rig_reset(struct rig *r)
{
	return from_session(r, session_reset(&r->session));
}

void
rig_disconnect(struct rig *r)
{
	counters_mark("cleanup");
	session_close(&r->session);
}

int
rig_reconnect(struct rig *r)
{
	int ret = session_open(&r->session, r->args, r->path);

	return from_session(r, ret);
}

int
rig_finish(struct rig *r, struct rig_stop *stop)
{
	bool all;
	int ret;

	snprintf(r->stage, sizeof(r->stage), "at the end: ");
	all = guest_drain(&r->guest, RIG_DRAIN_NS);
	ret = rig_stop(r, stop);
	if (ret == 0)
		ret = rig_collect(r, stop);
	if (ret == 0)
		ret = rig_reset(r);
	if (ret == 0 && !all)
		ret = rig_fail(r, -ETIMEDOUT, "the device left packets waiting for %llu s",
				RIG_DRAIN_NS / CLOCK_S);
	return ret;
}

void
rig_abandon(struct rig *r)
{
	guest_pause(&r->guest);
	net_settle(&r->guest.net, clock_ns());
}

/* ---- life ---- */

static int
plan(struct rig *r, const struct net_cfg *nc)
{
	const struct args *a = r->args;
	bool plugs = a->bench != NULL && a->bench->plugs;
	struct layout_cfg lc = { .bytes = a->mem_bytes, .page = LAYOUT_PAGE,
		.regions = a->regions };
	uint64_t huge = a->backing == MEM_HUGETLBFS ? mem_hugepage_bytes() : 0;

	if (huge > lc.page)
		lc.page = huge;
	if (lc.bytes % lc.page != 0)
		return rig_fail(r, -EINVAL, "--mem: must be a multiple of the hugepage, %llu MiB",
				(unsigned long long)(lc.page >> 20));
	if (plugs) {
		lc.plug_bytes = lc.bytes / HOTPLUG_SHARE;
		/* A table that is full has no room for what is added. */
		if (lc.regions == LAYOUT_MAX_SLICES)
			lc.regions--;
	}
	if (huge > 0 && lc.plug_bytes % huge != 0)
		return rig_fail(r, -EINVAL, "--mem: an eighth of it, which %s adds, must be a "
				"multiple of the hugepage, %llu MiB", a->bench->name,
				(unsigned long long)(huge >> 20));
	net_layout(nc, &lc);
	if (layout_init(&r->layout, &lc) != 0 ||
			(layout_slice(&r->layout, lc.regions, lc.page, 0, &r->slices) != 0 &&
			 (a->backing == MEM_HUGETLBFS ||
			  layout_slice(&r->layout, lc.regions, SMALL_PAGE, 0, &r->slices) != 0)))
		return rig_fail(r, -EINVAL, "--mem: %llu MiB are too few for %u region%s, "
				"%u queue pair%s of %u", (unsigned long long)(lc.bytes >> 20),
				a->regions, a->regions == 1 ? "" : "s",
				a->pairs, a->pairs == 1 ? "" : "s", a->queue_size);
	return 0;
}

static int
make_guest(struct rig *r, const struct net_cfg *nc, const cpu_set_t *cpus)
{
	char err[128];
	int ret = mem_create(&r->mem, &r->layout, r->args->backing, true, err, sizeof(err));

	if (ret != 0)
		return rig_fail(r, ret, "%s", err);
	ret = guest_create(&r->guest, nc, &r->layout, r->args->pps, cpus);
	if (ret != 0) {
		mem_destroy(r->mem);
		return rig_fail(r, ret, "the guest: %s", strerror(-ret));
	}
	net_prepare_mem(&r->guest.net, r->mem);
	net_bind(&r->guest.net, r->mem);
	return 0;
}

int
rig_open(struct rig *r, const struct args *args, const char *path, const cpu_set_t *cpus,
		bool plain)
{
	const struct net_cfg nc = { .pairs = args->pairs, .queue_size = args->queue_size,
		.packed = args->packed, .interrupts = args->interrupts, .plain = plain };
	int ret;

	*r = (struct rig){ .args = args, .path = path };
	ret = plan(r, &nc);
	if (ret != 0)
		return ret;
	ret = from_session(r, session_open(&r->session, args, path));
	if (ret != 0)
		return ret == -ENOTSUP ? -EINVAL : ret == -EINVAL ? -EIO : ret;
	ret = make_guest(r, &nc, cpus);
	if (ret != 0)
		goto err_session;
	ret = session_mac(&r->session, r->guest.net.addr.dst);
	if (ret != 0 && ret != -ENODATA) {	/* without one, any address does: wires loop */
		from_session(r, ret);
		goto err_guest;
	}
	return 0;

err_guest:
	guest_destroy(&r->guest);
	mem_destroy(r->mem);
err_session:
	session_close(&r->session);
	return ret == -EINVAL ? -EIO : ret;	/* -EINVAL is for arguments */
}

void
rig_close(struct rig *r)
{
	counters_mark("cleanup");
	session_close(&r->session);
	guest_destroy(&r->guest);
	mem_destroy(r->mem);
}
