/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "clock.h"
#include "counters.h"
#include "guest.h"
#include "progress.h"
#include "session.h"
#include "withdrawn.h"

#define TRAFFIC_TIMEOUT_NS (10 * CLOCK_S)	/* a driver that is not back by then won't come */
#define SETTLE_NS (50 * CLOCK_MS)		/* traffic between two resets, at least */
#define DRAIN_TIMEOUT_NS (3 * CLOCK_S)		/* for the last packets of a run */
#define POLL_NS (200 * CLOCK_US)
#define SMALL_PAGE 4096u

struct bench {
	const struct args *args;
	struct bench_result *res;
	struct layout layout;
	struct session session;
	struct guest guest;
	struct mem *mem;
	struct layout_slices slices;
	struct mem *next_mem;		/* from prepare() to the reset */
	struct mem *old_mem;		/* from the reset to retire(), or watched */
	bool watching;			/* old_mem is all poison */
	uint64_t changed;		/* places in withdrawn memory that were written */
	char stage[48];			/* what goes on, in front of every failure; may be empty */
};

/* One reset: when things happened, and the counters around them. */
enum { SNAP_BEGIN, SNAP_CLOSED, SNAP_READY, SNAP_STARTED, SNAP_END, SNAPS };

struct event {
	uint64_t close_ns, conf_ns, last_rx_ns;
	char *snap[SNAPS];
};

__attribute__((format(printf, 3, 4)))
static int
fail(struct bench *b, int ret, const char *fmt, ...)
{
	char *line = b->res->failed;
	size_t len = sizeof(b->res->failed), at;
	va_list ap;

	at = snprintf(line, len, "%s", b->stage);
	va_start(ap, fmt);
	vsnprintf(line + at, len - at, fmt, ap);
	va_end(ap);
	return ret;
}

static int
from_session(struct bench *b, int ret)
{
	return ret ? fail(b, ret, "%s", b->session.err) : 0;
}

/* ---- what differs between benchmarks ---- */

static int
remap_elsewhere(struct bench *b)
{
	char err[128];
	int ret = mem_map_again(&b->next_mem, b->mem, err, sizeof(err));

	return ret ? fail(b, ret, "%s", err) : 0;
}

/* Other regions over the same memory, which the table that is in force does not have. */
static int
remap_sliced(struct bench *b, uint32_t iteration)
{
	const struct layout *l = &b->layout;
	unsigned int choices = LAYOUT_MAX_SLICES - l->nspans + 1, i;
	uint64_t align = b->args->backing == MEM_HUGETLBFS || iteration % 4 == 1 ?
		l->cfg.page : SMALL_PAGE;
	struct layout_slices s;

	for (i = 0; i < 2 * choices; i++) {
		unsigned int n = l->nspans + (iteration / 2 + i) % choices;

		if (layout_slice(l, n, align, iteration + i, &s) != 0)
			continue;
		if (s.n == b->slices.n && memcmp(s.s, b->slices.s, s.n * sizeof(s.s[0])) == 0)
			continue;
		b->slices = s;
		return 0;
	}
	return fail(b, -ENOSPC, "%llu MiB of guest memory are too few for other regions",
			(unsigned long long)(l->cfg.bytes >> 20));
}

static int
remap_prepare(struct bench *b, uint32_t iteration)
{
	return iteration % 2 ? remap_sliced(b, iteration) : remap_elsewhere(b);
}

static void
remap_retire(struct bench *b)
{
	mem_destroy(b->old_mem);
	b->old_mem = NULL;
}

static void
end_watch(struct bench *b)
{
	if (b->watching)
		b->changed += withdrawn_check(b->old_mem);
	b->watching = false;
	mem_destroy(b->old_mem);
	b->old_mem = NULL;
}

static int
replace_prepare(struct bench *b, uint32_t iteration)
{
	char err[128];
	int ret;

	(void)iteration;
	end_watch(b);
	ret = mem_create(&b->next_mem, &b->layout, b->args->backing, err, sizeof(err));
	if (ret != 0)
		return fail(b, ret, "%s", err);
	net_prepare_mem(&b->guest.net, b->next_mem);
	return 0;
}

static void
replace_retire(struct bench *b)
{
	b->changed += withdrawn_fill(&b->guest.net, b->old_mem);
	b->watching = true;
}

static const struct bench_kind kinds[] = {
	{ .name = "reset" },
	{ .name = "remap", .prepare = remap_prepare, .retire = remap_retire },
	{ .name = "replace", .prepare = replace_prepare, .retire = replace_retire,
		.withdraws = true },
};

#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

const struct bench_kind *
bench_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < NKINDS; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

void
bench_names(char *buf, size_t len)
{
	size_t at = 0;
	unsigned int i;

	for (i = 0; i < NKINDS && at < len; i++)
		at += snprintf(buf + at, len - at, "%s%s", i ? ", " : "", kinds[i].name);
}

/* ---- waiting for traffic ---- */

static int
trouble(struct bench *b)
{
	if (fe_interrupted())
		return fail(b, -EINTR, "interrupted");
	if (guest_broken(&b->guest))
		return fail(b, -EIO, "%s", b->guest.net.fault);
	return 0;
}

/* Until the first packet is seen. */
static int
wait_first(struct bench *b)
{
	uint64_t end = clock_ns() + TRAFFIC_TIMEOUT_NS;

	while (guest_first_rx(&b->guest) == 0) {
		int ret = trouble(b);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return fail(b, -ETIMEDOUT, "no traffic %llu s after DRIVER_OK",
					TRAFFIC_TIMEOUT_NS / CLOCK_S);
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

/* Until traffic has been steady for a while, on all queue pairs. */
static int
settle(struct bench *b)
{
	/* At a low pace, it takes a pair several rounds to get its turn. */
	uint64_t rounds = 4 * CLOCK_S * b->args->pairs / b->args->pps;
	uint64_t start = clock_ns(), end = start + TRAFFIC_TIMEOUT_NS + rounds;
	int silent;

	while ((silent = net_silent_pair(&b->guest.net)) >= 0 || clock_ns() < start + SETTLE_NS) {
		int ret = trouble(b);

		if (ret != 0)
			return ret;
		if (clock_ns() > end)
			return fail(b, -ETIMEDOUT, "no traffic from queue pair %d", silent);
		clock_sleep_ns(POLL_NS);
	}
	return 0;
}

/* ---- starting and stopping ---- */

/* Everything up to the message that makes the device start. */
static int
make_ready(struct bench *b)
{
	struct vu_mem_table table;
	int ret;

	if (b->next_mem != NULL) {
		b->old_mem = b->mem;
		b->mem = b->next_mem;
		b->next_mem = NULL;
		net_bind(&b->guest.net, b->mem);
	}
	ret = net_reset(&b->guest.net, b->session.features);
	if (ret != 0)
		return fail(b, ret, "the guest's rings: %s", strerror(-ret));
	mem_table(b->mem, &b->slices, &table);
	return from_session(b, session_setup(&b->session, &b->guest.net, &table));
}

/* Let guest and device run. */
static int
go(struct bench *b, uint64_t *conf_ns)
{
	int ret;

	guest_set_active(&b->guest, b->args->enable_late ? 1 : b->args->pairs);
	guest_resume(&b->guest);
	ret = session_go(&b->session, conf_ns);
	if (ret == 0)
		ret = session_late(&b->session);
	if (ret != 0)
		return from_session(b, ret);
	guest_set_active(&b->guest, b->args->pairs);
	return 0;
}

/* Hold the guest and stop the device. */
static int
stop(struct bench *b, struct event *e)
{
	uint64_t stop_ns;
	int ret;

	guest_pause(&b->guest);
	stop_ns = clock_ns();
	e->last_rx_ns = guest_last_rx(&b->guest);
	ret = from_session(b, session_stop(&b->session, &e->close_ns));
	if (ret != 0)
		return ret;
	e->snap[SNAP_CLOSED] = counters_snapshot();
	if (net_stop(&b->guest.net, stop_ns) != 0)
		return fail(b, -EIO, "%s", b->guest.net.fault);
	if (b->next_mem != NULL && b->args->bench->withdraws)
		withdrawn_begin(&b->guest.net, b->mem);
	return from_session(b, session_reset(&b->session));
}

/* The gap, which a signal cuts short. */
static int
sleep_gap(struct bench *b)
{
	uint64_t end = clock_ns() + b->args->gap_ms * CLOCK_MS;

	while (clock_ns() < end) {
		uint64_t left = end - clock_ns();
		int ret = trouble(b);

		if (ret != 0)
			return ret;
		clock_sleep_ns(left < 100 * CLOCK_MS ? left : 100 * CLOCK_MS);
	}
	return 0;
}

static int
reset(struct bench *b, struct event *e)
{
	int ret;

	e->snap[SNAP_BEGIN] = counters_snapshot();
	ret = stop(b, e);
	if (ret == 0)
		ret = sleep_gap(b);
	if (ret == 0)
		ret = make_ready(b);
	if (ret != 0)
		return ret;
	e->snap[SNAP_READY] = counters_snapshot();
	ret = go(b, &e->conf_ns);
	e->snap[SNAP_STARTED] = counters_snapshot();
	if (ret == 0)
		ret = wait_first(b);
	if (ret == 0 && b->args->bench->retire != NULL)
		b->args->bench->retire(b);
	if (ret == 0)
		ret = settle(b);
	e->snap[SNAP_END] = counters_snapshot();
	return ret;
}

/* ---- results ---- */

static int
record_counters(struct bench_result *r, const struct event *e)
{
	struct counters c[SNAPS];
	uint64_t closing, starting, all;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < SNAPS; i++)
		if (counters_read(e->snap[i], &c[i]) != 0)
			return -ENODATA;
	closing = c[SNAP_CLOSED].commands - c[SNAP_BEGIN].commands;
	starting = c[SNAP_STARTED].commands - c[SNAP_READY].commands;
	all = c[SNAP_END].commands - c[SNAP_BEGIN].commands;
	ret |= series_add(&r->commands_close, closing);
	ret |= series_add(&r->commands_conf, starting);
	ret |= series_add(&r->commands_background, all - closing - starting);
	ret |= series_add(&r->pinned_bytes, c[SNAP_END].pinned_bytes - c[SNAP_BEGIN].pinned_bytes);
	return ret ? -ENOMEM : 0;
}

static int
record(struct bench *b, const struct event *e)
{
	struct bench_result *r = b->res;
	uint64_t blackout_ns = guest_first_rx(&b->guest) - e->last_rx_ns;
	int ret = 0;

	ret |= series_add(&r->close_us, (double)e->close_ns / CLOCK_US);
	ret |= series_add(&r->conf_us, (double)e->conf_ns / CLOCK_US);
	ret |= series_add(&r->blackout_us, (double)blackout_ns / CLOCK_US);
	if (ret != 0)
		return fail(b, -ENOMEM, "no memory for the result");
	if (r->counted && record_counters(r, e) != 0)
		return fail(b, -ENODATA, "the emulated device's counters cannot be read");
	r->iterations++;
	progress_show("%s %u of %u, blackout %.1f ms, %llu packets", b->args->bench->name,
			r->iterations, b->args->iterations, (double)blackout_ns / CLOCK_MS,
			(unsigned long long)__atomic_load_n(&b->guest.net.totals.received,
				__ATOMIC_RELAXED));
	return 0;
}

static int
iterate(struct bench *b, uint32_t i)
{
	struct event e = {0};
	unsigned int s;
	int ret = 0;

	snprintf(b->stage, sizeof(b->stage), "%s %u: ", b->args->bench->name, i + 1);
	if (b->args->bench->prepare != NULL)
		ret = b->args->bench->prepare(b, i);
	if (ret == 0)
		ret = reset(b, &e);
	if (ret == 0)
		ret = record(b, &e);
	for (s = 0; s < SNAPS; s++)
		free(e.snap[s]);
	return ret;
}

/* ---- the run ---- */

static int
first_start(struct bench *b)
{
	uint64_t ns;
	int ret;

	snprintf(b->stage, sizeof(b->stage), "first start: ");
	ret = make_ready(b);
	if (ret == 0)
		ret = go(b, &ns);
	if (ret == 0)
		ret = wait_first(b);
	if (ret == 0)
		ret = settle(b);
	return ret;
}

/* Let the last packets arrive, and stop for good. */
static int
finish(struct bench *b)
{
	struct event e = {0};
	bool all;
	int ret;

	snprintf(b->stage, sizeof(b->stage), "at the end: ");
	all = guest_drain(&b->guest, DRAIN_TIMEOUT_NS);
	ret = stop(b, &e);
	free(e.snap[SNAP_CLOSED]);
	if (ret == 0 && !all)
		ret = fail(b, -ETIMEDOUT, "the device left packets waiting for %llu s",
				DRAIN_TIMEOUT_NS / CLOCK_S);
	return ret;
}

static void
run(struct bench *b)
{
	struct bench_result *r = b->res;
	struct counters before, after;
	char *snap = counters_snapshot();
	uint32_t i;
	int ret;

	r->counted = counters_read(snap, &before) == 0;
	free(snap);
	ret = first_start(b);
	for (i = 0; ret == 0 && i < b->args->iterations; i++)
		ret = iterate(b, i);
	if (ret == 0)
		finish(b);
	guest_pause(&b->guest);
	net_settle(&b->guest.net, clock_ns());
	end_watch(b);
	progress_end();
	account_read(&b->guest.net.totals, &r->packets);
	r->packets.corrupt += b->changed;
	snap = counters_snapshot();
	if (r->counted && counters_read(snap, &after) == 0)
		r->dma_faults = after.dma_faults - before.dma_faults;
	free(snap);
}

static int
plan(struct bench *b)
{
	const struct args *a = b->args;
	struct net_cfg nc = { .pairs = a->pairs, .queue_size = a->queue_size, .packed = a->packed };
	struct layout_cfg lc = { .bytes = a->mem_bytes, .page = LAYOUT_PAGE,
		.regions = a->regions };
	uint64_t huge = a->backing == MEM_HUGETLBFS ? mem_hugepage_bytes() : 0;

	if (huge > lc.page)
		lc.page = huge;
	if (lc.bytes % lc.page != 0)
		return fail(b, -EINVAL, "--mem: must be a multiple of the hugepage, %llu MiB",
				(unsigned long long)(lc.page >> 20));
	net_layout(&nc, &lc);
	if (layout_init(&b->layout, &lc) != 0 ||
			(layout_slice(&b->layout, a->regions, lc.page, 0, &b->slices) != 0 &&
			 (a->backing == MEM_HUGETLBFS ||
			  layout_slice(&b->layout, a->regions, SMALL_PAGE, 0, &b->slices) != 0)))
		return fail(b, -EINVAL, "--mem: %llu MiB are too few for %u region%s, "
				"%u queue pair%s of %u", (unsigned long long)(lc.bytes >> 20),
				a->regions, a->regions == 1 ? "" : "s",
				a->pairs, a->pairs == 1 ? "" : "s", a->queue_size);
	return 0;
}

static int
make_guest(struct bench *b, const cpu_set_t *cpus)
{
	const struct args *a = b->args;
	struct net_cfg nc = { .pairs = a->pairs, .queue_size = a->queue_size, .packed = a->packed,
		.interrupts = a->interrupts };
	char err[128];
	int ret = mem_create(&b->mem, &b->layout, a->backing, err, sizeof(err));

	if (ret != 0)
		return fail(b, ret, "%s", err);
	ret = guest_create(&b->guest, &nc, &b->layout, a->pps, cpus);
	if (ret != 0) {
		mem_destroy(b->mem);
		return fail(b, ret, "the guest: %s", strerror(-ret));
	}
	net_prepare_mem(&b->guest.net, b->mem);
	net_bind(&b->guest.net, b->mem);
	return 0;
}

/* Connect, run, and take everything down again. Returns as bench_run(). */
static int
run_session(struct bench *b, const char *path, const cpu_set_t *cpus)
{
	int ret = from_session(b, session_open(&b->session, b->args, path));

	if (ret != 0)
		return ret == -ENOTSUP ? -EINVAL : 0;
	if (make_guest(b, cpus) != 0) {
		session_close(&b->session);
		return 0;
	}
	ret = session_mac(&b->session, b->guest.net.addr.dst);
	if (ret == 0 || ret == -ENODATA)	/* without one, any address does: wires loop */
		run(b);
	else
		from_session(b, ret);
	session_close(&b->session);
	guest_destroy(&b->guest);
	mem_destroy(b->next_mem);
	mem_destroy(b->mem);
	return 0;
}

int
bench_run(const struct args *args, const char *path, const cpu_set_t *cpus,
		struct bench_result *res)
{
	struct bench *b = calloc(1, sizeof(*b));
	int ret;

	*res = (struct bench_result){0};
	if (b == NULL) {
		snprintf(res->failed, sizeof(res->failed), "no memory");
		return 0;
	}
	b->args = args;
	b->res = res;
	ret = plan(b);
	if (ret == 0)
		ret = run_session(b, path, cpus);
	free(b);
	return ret;
}

void
bench_result_free(struct bench_result *res)
{
	series_free(&res->close_us);
	series_free(&res->conf_us);
	series_free(&res->blackout_us);
	series_free(&res->commands_close);
	series_free(&res->commands_conf);
	series_free(&res->commands_background);
	series_free(&res->pinned_bytes);
}

bool
bench_succeeded(const struct bench_result *res)
{
	return res->failed[0] == '\0' && res->packets.corrupt == 0 && res->packets.lost == 0 &&
		res->packets.duplicated == 0 && res->dma_faults == 0;
}
