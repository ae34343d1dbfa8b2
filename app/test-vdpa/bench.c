/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "bench.h"
#include "clock.h"
#include "counters.h"
#include "hotplug.h"
#include "migrate.h"
#include "progress.h"
#include "rig.h"
#include "throughput.h"
#include "withdrawn.h"

#define SMALL_PAGE 4096u

struct bench {
	const struct args *args;
	struct bench_result *res;
	struct rig rig;
	struct mem *next_mem;		/* from prepare() to the reset */
	struct mem *old_mem;		/* from the reset to retire(), or watched */
	bool watching;			/* old_mem is all poison */
};

/* One reset: when things happened, and the counters around them. */
struct event {
	struct rig_stop stop;
	uint64_t conf_ns;
	uint64_t gone_ns;		/* the last packet before the blackout, or what began it */
	char *snap[SNAPS];
};

/* ---- what differs between benchmarks ---- */

static int
remap_elsewhere(struct bench *b)
{
	char err[128];
	int ret = mem_map_again(&b->next_mem, b->rig.mem, err, sizeof(err));

	return ret ? rig_fail(&b->rig, ret, "%s", err) : 0;
}

/* Other regions over the same memory, which the table that is in force does not have. */
static int
remap_sliced(struct bench *b, uint32_t iteration)
{
	const struct layout *l = &b->rig.layout;
	unsigned int choices = LAYOUT_MAX_SLICES - l->nspans + 1, i;
	uint64_t align = b->args->backing == MEM_HUGETLBFS || iteration % 4 == 1 ?
		l->cfg.page : SMALL_PAGE;
	struct layout_slices s;

	for (i = 0; i < 2 * choices; i++) {
		unsigned int n = l->nspans + (iteration / 2 + i) % choices;

		if (layout_slice(l, n, align, iteration + i, &s) != 0)
			continue;
		if (s.n == b->rig.slices.n && memcmp(s.s, b->rig.slices.s, s.n * sizeof(s.s[0])) == 0)
			continue;
		b->rig.slices = s;
		return 0;
	}
	return rig_fail(&b->rig, -ENOSPC, "%llu MiB of guest memory are too few for other regions",
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
		b->res->changed += withdrawn_check(b->old_mem);
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
	ret = mem_create(&b->next_mem, &b->rig.layout, b->args->backing, true, err, sizeof(err));
	if (ret != 0)
		return rig_fail(&b->rig, ret, "%s", err);
	net_prepare_mem(&b->rig.guest.net, b->next_mem);
	return 0;
}

static void
replace_retire(struct bench *b)
{
	b->res->changed += withdrawn_fill(&b->rig.guest.net, b->old_mem);
	b->watching = true;
}

static const struct bench_kind kinds[] = {
	{ .name = "reset" },
	{ .name = "remap", .prepare = remap_prepare, .retire = remap_retire },
	{ .name = "replace", .prepare = replace_prepare, .retire = replace_retire,
		.withdraws = true },
	{ .name = "hotplug", .run = hotplug_run, .plugs = true },
	{ .name = "reconnect", .reconnects = true },
	{ .name = "start", .reconnects = true, .starts = true },
	{ .name = "migrate", .run = migrate_run, .two = true },
	{ .name = "throughput", .run = throughput_run, .plain = true },
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
bench_names(char *buf, size_t len, const char *between)
{
	size_t at = 0;
	unsigned int i;

	for (i = 0; i < NKINDS && at < len; i++)
		at += snprintf(buf + at, len - at, "%s%s", i ? between : "", kinds[i].name);
}

/* ---- resets ---- */

/* Hold the guest and stop the device. */
static int
stop(struct bench *b, struct event *e)
{
	int ret = rig_stop(&b->rig, &e->stop);

	if (ret != 0)
		return ret;
	e->snap[SNAP_CLOSED] = counters_snapshot();
	ret = rig_collect(&b->rig, &e->stop);
	if (ret != 0)
		return ret;
	if (b->next_mem != NULL && b->args->bench->withdraws)
		withdrawn_begin(&b->rig.guest.net, b->rig.mem);
	return rig_reset(&b->rig);
}

/* Everything up to the message that makes the device start, in the memory that comes next. */
static int
make_ready(struct bench *b)
{
	if (b->next_mem != NULL) {
		b->old_mem = rig_move(&b->rig, b->next_mem);
		b->next_mem = NULL;
	}
	return rig_ready(&b->rig);
}

/* The guest and its memory are gone with the connection; here is another one. */
static int
new_guest(struct bench *b)
{
	struct rig *r = &b->rig;
	struct mem *mem;
	char err[128];
	int ret;

	if (!backend_wait(0))
		return rig_fail(r, -ETIMEDOUT, "the driver does not let go of the connection");
	mem_destroy(r->mem);
	r->mem = NULL;
	ret = mem_create(&mem, &r->layout, b->args->backing, !b->args->untouched, err, sizeof(err));
	if (ret != 0)
		return rig_fail(r, ret, "%s", err);
	net_prepare_mem(&r->guest.net, mem);
	rig_move(r, mem);
	return 0;
}

/* From the stop to where the start begins. */
static int
pause_between(struct bench *b)
{
	const struct bench_kind *kind = b->args->bench;
	int ret;

	if (kind->reconnects)
		rig_disconnect(&b->rig);
	ret = rig_sleep(&b->rig, b->args->gap_ms * CLOCK_MS);
	if (ret == 0 && kind->starts)
		ret = new_guest(b);
	if (ret == 0 && kind->reconnects)
		ret = rig_reconnect(&b->rig);
	return ret;
}

static int
start(struct bench *b, struct event *e)
{
	bool starts = b->args->bench->starts;
	int ret;

	if (starts)
		e->snap[SNAP_READY] = counters_snapshot();
	ret = make_ready(b);
	if (ret != 0)
		return ret;
	if (!starts)
		e->snap[SNAP_READY] = counters_snapshot();
	ret = rig_go(&b->rig, &e->conf_ns);
	e->snap[SNAP_STARTED] = counters_snapshot();
	e->gone_ns = e->stop.last_rx_ns;
	if (starts) {
		e->gone_ns = b->rig.session.table_ns;
		e->conf_ns = b->rig.session.up_ns - e->gone_ns;
	}
	return ret ? ret : rig_wait_first(&b->rig);
}

static int
reset(struct bench *b, struct event *e)
{
	int ret;

	e->snap[SNAP_BEGIN] = counters_snapshot();
	ret = stop(b, e);
	if (ret == 0)
		ret = pause_between(b);
	if (ret == 0)
		ret = start(b, e);
	if (ret == 0 && b->args->bench->retire != NULL)
		b->args->bench->retire(b);
	if (ret == 0)
		ret = rig_settle(&b->rig);
	e->snap[SNAP_END] = counters_snapshot();
	return ret;
}

/* ---- results ---- */

int
bench_record_counters(struct bench_result *r, char *const snap[SNAPS])
{
	struct counters c[SNAPS];
	uint64_t closing, starting, all;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < SNAPS; i++)
		if (counters_read(snap[i], &c[i]) != 0)
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
	uint64_t blackout_ns = guest_first_rx(&b->rig.guest) - e->gone_ns;
	int ret = 0;

	ret |= series_add(&r->close_us, (double)e->stop.close_ns / CLOCK_US);
	ret |= series_add(&r->conf_us, (double)e->conf_ns / CLOCK_US);
	ret |= series_add(&r->blackout_us, (double)blackout_ns / CLOCK_US);
	if (ret != 0)
		return rig_fail(&b->rig, -ENOMEM, "no memory for the result");
	if (r->counted && bench_record_counters(r, e->snap) != 0)
		return rig_fail(&b->rig, -ENODATA, "the emulated device's counters cannot be read");
	r->iterations++;
	progress_show("%s %u of %u, blackout %.1f ms, %llu packets", b->args->bench->name,
			r->iterations, b->args->iterations, (double)blackout_ns / CLOCK_MS,
			(unsigned long long)__atomic_load_n(&b->rig.guest.net.totals.received,
				__ATOMIC_RELAXED));
	return 0;
}

static int
iterate(struct bench *b, uint32_t i)
{
	struct event e = {0};
	unsigned int s;
	int ret = 0;

	snprintf(b->rig.stage, sizeof(b->rig.stage), "%s %u: ", b->args->bench->name, i + 1);
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

	snprintf(b->rig.stage, sizeof(b->rig.stage), "first start: ");
	ret = make_ready(b);
	if (ret == 0)
		ret = rig_go(&b->rig, &ns);
	if (ret == 0)
		ret = rig_wait_first(&b->rig);
	if (ret == 0)
		ret = rig_settle(&b->rig);
	return ret;
}

static int
run_iterations(struct bench *b)
{
	int ret = first_start(b);
	struct rig_stop stop;
	uint32_t i;

	for (i = 0; ret == 0 && i < b->args->iterations; i++)
		ret = iterate(b, i);
	return ret ? ret : rig_finish(&b->rig, &stop);
}

/* Returns 0: it ran; -EINVAL: the device lacks what the benchmark needs, and nothing ran. */
static int
run(struct bench *b)
{
	struct bench_result *r = b->res;
	struct counters before, after;
	char *snap = counters_snapshot();
	int ret;

	r->counted = counters_read(snap, &before) == 0;
	free(snap);
	ret = b->args->bench->run != NULL ? b->args->bench->run(&b->rig, r) : run_iterations(b);
	if (ret != 0)
		snprintf(r->failed, sizeof(r->failed), "%s", b->rig.err);
	rig_abandon(&b->rig);
	end_watch(b);
	progress_end();
	account_read(&b->rig.guest.net.totals, &r->packets);
	r->packets.corrupt += r->changed;
	snap = counters_snapshot();
	if (r->counted && counters_read(snap, &after) == 0)
		r->dma_faults = after.dma_faults - before.dma_faults;
	free(snap);
	return ret == -ENOTSUP ? -EINVAL : 0;
}

int
bench_run(const struct args *args, const char *path, const char *second, const cpu_set_t *cpus,
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
	ret = rig_open(&b->rig, args, path, cpus, args->bench->plain);
	if (ret == 0) {
		b->rig.second = second;
		ret = run(b);
		mem_destroy(b->next_mem);
		rig_close(&b->rig);
	} else {
		snprintf(res->failed, sizeof(res->failed), "%s", b->rig.err);
	}
	free(b);
	return ret == -EINVAL ? ret : 0;
}

void
bench_result_free(struct bench_result *res)
{
	series_free(&res->close_us);
	series_free(&res->conf_us);
	series_free(&res->blackout_us);
	series_free(&res->downtime_us);
	series_free(&res->commands_close);
	series_free(&res->commands_conf);
	series_free(&res->commands_background);
	series_free(&res->pinned_bytes);
	series_free(&res->pinned_add);
	series_free(&res->pinned_remove);
	series_free(&res->commands_add);
	series_free(&res->commands_remove);
}

bool
bench_succeeded(const struct bench_result *res)
{
	return res->failed[0] == '\0' && res->packets.corrupt == 0 && res->packets.lost == 0 &&
		res->packets.duplicated == 0 && res->dma_faults == 0 &&
		res->pages_different == 0;
}
