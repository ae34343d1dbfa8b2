/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vhost_types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "clock.h"
#include "counters.h"
#include "dirty.h"
#include "migrate.h"
#include "progress.h"

#define MAX_PASSES 8u		/* of the copy loop, before the guest is held whatever is left */
#define FEW_PAGES 256u		/* copied at once in less time than the rest of a switch takes */

struct migration {
	struct rig *rig;		/* its session is the source's */
	struct bench_result *res;
	struct session there;		/* the destination's */
	bool connected;			/* there is one */
	struct mem *mem;		/* the destination's */
	struct dirty_log device, guest;	/* who wrote */
	uint32_t *bases;
	const char *path[2];		/* of the source and the destination; swapped at each switch */
};

/* One move: when things happened. */
struct move {
	struct rig_stop stop;
	uint64_t conf_ns, down_ns, compare_ns;
	uint64_t passes, copied;
	char *snap[SNAPS];
};

/* ---- the destination ---- */

/* Connect to the other device, with the features that the guest has. */
static int
connect_there(struct migration *m)
{
	struct rig *r = m->rig;
	uint64_t needed = r->session.features;
	int ret;

	if (!backend_wait(1))
		return rig_fail(r, -ETIMEDOUT, "the driver does not let go of a connection");
	ret = session_open(&m->there, r->args, m->path[1]);
	if (ret != 0)
		return rig_fail(r, ret, "the destination: %s", m->there.err);
	m->connected = true;
	if ((m->there.offered & needed) != needed)
		return rig_fail(r, -ENOTSUP, "the destination does not offer features 0x%llx",
				(unsigned long long)(needed & ~m->there.offered));
	m->there.features = needed;
	return 0;
}

static void
disconnect_there(struct migration *m)
{
	if (m->connected)
		session_close(&m->there);
	m->connected = false;
}

/* Memory and logs of one move. */
static int
prepare(struct migration *m)
{
	struct rig *r = m->rig;
	char err[128];
	int ret = mem_create(&m->mem, &r->layout, r->args->backing, true, err, sizeof(err));

	if (ret != 0)
		return rig_fail(r, ret, "%s", err);
	ret = dirty_open(&m->device, &r->layout);
	if (ret == 0)
		ret = dirty_open(&m->guest, &r->layout);
	return ret ? rig_fail(r, ret, "a dirty log: %s", strerror(-ret)) : 0;
}

static void
clean_up(struct migration *m)
{
	guest_track(&m->rig->guest, NULL);
	dirty_close(&m->guest);
	dirty_close(&m->device);
	mem_destroy(m->mem);
	m->mem = NULL;
}

/* ---- the move ---- */

/* Copy under traffic until few pages are written in the time that copying takes. */
static int
copy_loop(struct migration *m, struct move *v)
{
	struct rig *r = m->rig;
	struct dirty_log *const logs[] = { &m->device, &m->guest };
	uint64_t copied;
	int ret;

	guest_track(&r->guest, &m->guest);
	ret = session_log(&r->session, &r->guest.net, &m->device);
	if (ret != 0)
		return rig_fail(r, ret, "%s", r->session.err);
	dirty_copy_all(r->mem, m->mem);
	do {
		ret = rig_trouble(r);
		if (ret != 0)
			return ret;
		copied = dirty_copy(logs, 2, r->mem, m->mem);
		v->copied += copied;
	} while (++v->passes < MAX_PASSES && copied > FEW_PAGES);
	return 0;
}

/* Hold the guest, stop the source, copy the rest; then look whether the copy is right. */
static int
leave(struct migration *m, struct move *v)
{
	struct rig *r = m->rig;
	struct dirty_log *const logs[] = { &m->device, &m->guest };
	uint64_t start;
	int ret = rig_stop_at(r, &v->stop, m->bases);

	if (ret != 0)
		return ret;
	v->snap[SNAP_CLOSED] = counters_snapshot();
	v->copied += dirty_copy(logs, 2, r->mem, m->mem);
	start = clock_ns();
	m->res->pages_different += dirty_compare(r->mem, m->mem);
	v->compare_ns = clock_ns() - start;
	/* The guest sees what had arrived before, so that the first packet is the destination's. */
	return rig_collect(r, &v->stop);
}

/* Let the guest go on at the destination, with the indices that its rings had. */
static int
arrive(struct migration *m, struct move *v)
{
	struct rig *r = m->rig;
	struct session source = r->session;
	const char *path = m->path[0];
	int ret;

	r->session = m->there;
	m->there = source;
	m->path[0] = m->path[1];
	m->path[1] = path;
	m->mem = rig_move(r, m->mem);
	ret = net_move(&r->guest.net);
	if (ret != 0)
		return rig_fail(r, ret, "the guest's rings: %s", strerror(-ret));
	ret = rig_ready_at(r, m->bases);
	if (ret != 0)
		return ret;
	v->snap[SNAP_READY] = counters_snapshot();
	ret = rig_start_held(r, &v->conf_ns);
	guest_resume(&r->guest);
	v->down_ns = clock_ns() - v->stop.begin_ns - v->compare_ns;
	v->snap[SNAP_STARTED] = counters_snapshot();
	return ret ? ret : rig_wait_first(r);
}

static int
record(struct migration *m, struct move *v)
{
	struct bench_result *res = m->res;
	struct rig *r = m->rig;
	uint64_t blackout_ns = guest_first_rx(&r->guest) - v->stop.last_rx_ns - v->compare_ns;
	int ret = 0;

	ret |= series_add(&res->close_us, (double)v->stop.close_ns / CLOCK_US);
	ret |= series_add(&res->conf_us, (double)v->conf_ns / CLOCK_US);
	ret |= series_add(&res->blackout_us, (double)blackout_ns / CLOCK_US);
	ret |= series_add(&res->downtime_us, (double)v->down_ns / CLOCK_US);
	if (ret != 0)
		return rig_fail(r, -ENOMEM, "no memory for the result");
	if (res->counted && bench_record_counters(res, v->snap) != 0)
		return rig_fail(r, -ENODATA, "the emulated device's counters cannot be read");
	res->iterations++;
	progress_show("migrate %u of %u, downtime %.1f ms, %llu pages in %llu passes",
			res->iterations, r->args->iterations, (double)v->down_ns / CLOCK_MS,
			(unsigned long long)v->copied, (unsigned long long)v->passes);
	return 0;
}

static int
move_guest(struct migration *m, struct move *v)
{
	int ret = prepare(m);

	if (ret == 0 && !m->connected)
		ret = connect_there(m);
	if (ret == 0)
		ret = copy_loop(m, v);
	v->snap[SNAP_BEGIN] = counters_snapshot();
	if (ret == 0)
		ret = leave(m, v);
	if (ret == 0)
		ret = arrive(m, v);
	if (ret == 0)
		ret = rig_settle(m->rig);
	v->snap[SNAP_END] = counters_snapshot();
	return ret ? ret : record(m, v);
}

static int
iterate(struct migration *m, uint32_t i)
{
	struct move v = {0};
	unsigned int s;
	int ret;

	snprintf(m->rig->stage, sizeof(m->rig->stage), "migrate %u: ", i + 1);
	ret = move_guest(m, &v);
	/* The source has gone with its memory. */
	disconnect_there(m);
	clean_up(m);
	for (s = 0; s < SNAPS; s++)
		free(v.snap[s]);
	return ret;
}

/* ---- the run ---- */

/* Both devices must offer what the guest gets, as management picks it for a pool of hosts. */
static int
agree(struct migration *m)
{
	struct rig *r = m->rig;
	uint64_t needed = r->session.features;
	int ret;

	r->session.features = 0;
	ret = connect_there(m);
	r->session.features = needed & m->there.offered;
	if (ret != 0)
		return ret;
	m->there.features = r->session.features;
	if (!session_can_log(&r->session) || !session_can_log(&m->there))
		return rig_fail(r, -ENOTSUP, "--bench migrate: the devices do not both offer "
				"VHOST_F_LOG_ALL and VHOST_USER_PROTOCOL_F_LOG_SHMFD");
	return 0;
}

static int
first_start(struct migration *m)
{
	struct rig *r = m->rig;
	uint64_t ns;
	int ret;

	snprintf(r->stage, sizeof(r->stage), "first start: ");
	ret = agree(m);
	if (ret == 0)
		ret = rig_ready(r);
	if (ret == 0)
		ret = rig_go(r, &ns);
	if (ret == 0)
		ret = rig_wait_first(r);
	return ret ? ret : rig_settle(r);
}

int
migrate_run(struct rig *r, struct bench_result *res)
{
	struct migration m = { .rig = r, .res = res, .path = { r->path, r->second } };
	struct rig_stop stop;
	uint32_t i;
	int ret;

	m.bases = calloc(2u * r->args->pairs, sizeof(*m.bases));
	if (m.bases == NULL)
		return rig_fail(r, -ENOMEM, "no memory for the rings' indices");
	res->migrated = true;
	ret = first_start(&m);
	for (i = 0; ret == 0 && i < r->args->iterations; i++)
		ret = iterate(&m, i);
	disconnect_there(&m);
	free(m.bases);
	return ret ? ret : rig_finish(r, &stop);
}
