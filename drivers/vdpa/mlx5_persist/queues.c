/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>
#include <vhost_iotlb_user.h>

#include "args.h"
#include "dirty.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "path.h"
#include "queues.h"
#include "reception.h"
#include "wants.h"
#include "workers.h"

#define NS_IN_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Some queues, and what to do for each on the configured threads. */
struct round {
	struct mlx5p_queues *q;
	uint16_t queues[MLX5P_MAX_QUEUES];
	uint32_t n;
	int (*fn)(struct mlx5p_queues *q, uint16_t queue);
	atomic_int ret;            /* the first error: none is begun after it */
};

struct mlx5p_queues {
	struct mlx5p_virtq_env env;
	struct mlx5p_workers *workers;
	struct mlx5p_reception *reception;
	struct mlx5p_virtq *virtqs;
	uint32_t n;
	struct mlx5p_wants wants;
	uint32_t ahead;            /* the first so many are made before a front-end comes... */
	uint16_t ahead_size;       /* ...for rings of this size */
	atomic_uint top;           /* queues from here on never had an event queue */
	struct mlx5p_conn conn;    /* of the last start */

	/* In the background: stopped queues are changed ahead of their start. It owns those that it
	 * has begun, until settle() takes them all. */
	struct mlx5p_job rewinding;
	struct round to_rewind;
	uint32_t rewind_ms;        /* from a reset or the connection's end on; 0: never */
	uint64_t ahead_at;         /* CLOCK_MONOTONIC in ns; 0: not */
	bool vacant;               /* no front-end: it is queues that are to be made then */

	/* In the background: queues are made ahead or anew. It owns them until settle(). */
	struct mlx5p_job making;
	atomic_bool hurry;         /* somebody waits: nothing more is made ahead */
	bool renewal_due;          /* not begun yet */
	uint32_t renew_mkey, renew_ring_mkey;
	uint32_t renewed;          /* the one of renew_one() */
	uint32_t keeper;           /* a receive queue that the table lists meanwhile */
};

/* virtio-net: even queues receive, odd ones transmit (virtio 1.2, section 5.1.2). */
static bool
is_receive(uint32_t queue)
{
	return queue % 2 == 0;
}

uint32_t
mlx5p_queues_count(const struct mlx5p_queues *q)
{
	return q->n;
}

uint32_t
mlx5p_queues_running(const struct mlx5p_queues *q)
{
	uint32_t i, n = 0;

	for (i = 0; i < q->n; i++)
		n += q->virtqs[i].state == MLX5P_VIRTQ_RUNNING;
	return n;
}

uint64_t
mlx5p_queues_made(const struct mlx5p_queues *q)
{
	return atomic_load(&q->env.made);
}

bool
mlx5p_queues_resume(const struct mlx5p_queues *q)
{
	return atomic_load(&q->env.reuse);
}

struct mlx5p_virtq *
mlx5p_queues_get(struct mlx5p_queues *q, uint16_t queue)
{
	return &q->virtqs[queue];
}

/* ---- in the background ---- */

void
mlx5p_queues_settle(struct mlx5p_queues *q)
{
	mlx5p_job_wait(&q->making);
	mlx5p_reception_settle(q->reception);
}

/* All queues are the caller's. What is changed or made ahead of a start has no time left; what is
 * made anew is needed in any case. */
static void
settle(struct mlx5p_queues *q)
{
	atomic_store(&q->hurry, true);
	mlx5p_job_cancel(&q->rewinding);
	mlx5p_queues_settle(q);
	atomic_store(&q->hurry, false);
}

/* ---- making them ---- */

static void
unlist(void *arg, uint32_t virtq_id)
{
	struct mlx5p_queues *q = arg;

	mlx5p_reception_forget(q->reception, virtq_id);
}

/* Once, so that an operator knows what a reset costs on this card. */
static void
log_path(const struct mlx5p_hw *hw, bool reuse)
{
	char text[512];

	if (mlx5p_path_describe(&hw->caps, reuse, text, sizeof(text)))
		MLX5P_LOG(INFO, hw->name, "path of a reset: %s", text);
	else
		MLX5P_LOG(NOTICE, hw->name, "path of a reset: %s", text);
}

int
mlx5p_queues_create(struct mlx5p_hw *hw, struct mlx5p_events *events,
		struct mlx5p_workers *workers, const struct mlx5p_args *args,
		struct mlx5p_queues **out)
{
	const struct mlx5p_caps *caps = &hw->caps;
	struct mlx5p_queues *q = calloc(1, sizeof(*q));
	uint32_t n = RTE_MIN(RTE_ALIGN_FLOOR(caps->max_num_virtio_queues, 2), MLX5P_MAX_QUEUES);

	if (q == NULL)
		return -ENOMEM;
	q->env = (struct mlx5p_virtq_env) {
		.hw = hw,
		.events = events,
		.moderation = args->moderation,
		.interrupts = args->event_mode == MLX5P_EVENT_INTERRUPT,
		.changeable = mlx5p_path_changeable(caps),
		.reuse = args->reuse_queues && mlx5p_path_resumes(caps),
		.rewind = true,
		.unlist = unlist,
		.unlist_arg = q,
	};
	q->workers = workers;
	q->rewind_ms = args->rewind_ms;
	q->ahead = RTE_MIN(2 * args->queues, n);
	q->ahead_size = args->queue_size;
	q->reception = mlx5p_reception_create(hw, workers);
	q->conn.vid = MLX5P_NOBODY;
	mlx5p_wants_init(&q->wants);
	q->virtqs = calloc(n, sizeof(*q->virtqs));
	if (q->reception == NULL || q->virtqs == NULL) {
		mlx5p_queues_destroy(q);
		return -ENOMEM;
	}
	for (; q->n < n; q->n++)
		mlx5p_virtq_init(&q->virtqs[q->n], &q->env, q->n);
	log_path(hw, args->reuse_queues);
	*out = q;
	return 0;
}

void
mlx5p_queues_destroy(struct mlx5p_queues *q)
{
	uint32_t i;

	if (q == NULL)
		return;
	settle(q);
	for (i = 0; i < q->n; i++)
		mlx5p_virtq_free(&q->virtqs[i]);
	mlx5p_reception_destroy(q->reception);
	free(q->virtqs);
	free(q);
}

/* ---- for several queues, on the configured threads ---- */

static void
round_one(void *arg, uint32_t i)
{
	struct round *round = arg;
	int none = 0, ret;

	if (atomic_load(&round->ret) < 0)
		return;
	ret = round->fn(round->q, round->queues[i]);
	if (ret < 0)
		atomic_compare_exchange_strong(&round->ret, &none, ret);
}

/* Behind those that are in it. */
static void
add_to_round(struct round *round, bool (*match)(const struct mlx5p_queues *q, uint16_t queue))
{
	uint32_t i;

	for (i = 0; i < round->q->n; i++) {
		if (match(round->q, i))
			round->queues[round->n++] = i;
	}
}

/* @fn is to be called for each of the queues that @match picks. */
static void
plan_round(struct mlx5p_queues *q, struct round *round,
		bool (*match)(const struct mlx5p_queues *q, uint16_t queue),
		int (*fn)(struct mlx5p_queues *q, uint16_t queue))
{
	round->q = q;
	round->fn = fn;
	round->n = 0;
	round->ret = 0;
	add_to_round(round, match);
}

/* @fn for each of the queues that @match picks. @return 0 or the first error. */
static int
for_queues(struct mlx5p_queues *q, bool (*match)(const struct mlx5p_queues *q, uint16_t queue),
		int (*fn)(struct mlx5p_queues *q, uint16_t queue))
{
	struct round round;

	plan_round(q, &round, match, fn);
	mlx5p_workers_run(q->workers, round.n, round_one, &round);
	return round.ret;
}

/* ---- which queues packets go to ---- */

static uint32_t
list_receivers(const struct mlx5p_queues *q, enum mlx5p_virtq_state state,
		const struct mlx5p_virtq *without, uint32_t *ids)
{
	uint32_t i, n = 0;

	for (i = 0; i < q->n; i++) {
		const struct mlx5p_virtq *vq = &q->virtqs[i];

		if (is_receive(i) && vq->state == state && vq != without)
			ids[n++] = vq->obj.id;
	}
	return n;
}

/* Lead packets to the receive queues in @state, @without left out. */
static int
steer_to(struct mlx5p_queues *q, enum mlx5p_virtq_state state, const struct mlx5p_virtq *without)
{
	uint32_t ids[MLX5P_MAX_QUEUES];

	return mlx5p_reception_set(q->reception, ids, list_receivers(q, state, without, ids));
}

/* A receive queue joined those that run. It needs no packets before the others have any; but the
 * only one needs them now: what comes meanwhile would be lost. */
static int
steer_later(struct mlx5p_queues *q)
{
	uint32_t ids[MLX5P_MAX_QUEUES];
	uint32_t n = list_receivers(q, MLX5P_VIRTQ_RUNNING, NULL, ids);

	if (n > 1)
		return mlx5p_reception_set_later(q->reception, ids, n);
	mlx5p_reception_settle(q->reception);
	return mlx5p_reception_set(q->reception, ids, n);
}

/* ---- changing them ahead of a start ---- */

static bool
stands_off(const struct mlx5p_queues *q, uint16_t queue)
{
	return mlx5p_virtq_stands_off(&q->virtqs[queue]);
}

static int
rewind_queue(struct mlx5p_queues *q, uint16_t queue)
{
	return mlx5p_virtq_rewind(&q->virtqs[queue]);
}

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_IN_S + now.tv_nsec;
}

static void
ahead_at(struct mlx5p_queues *q, uint64_t when_ns)
{
	if (when_ns != q->ahead_at)
		mlx5p_events_timer(q->env.events, MLX5P_TIMER_AHEAD, when_ns);
	q->ahead_at = when_ns;
}

static void
ahead_later(struct mlx5p_queues *q)
{
	ahead_at(q, now_ns() + q->rewind_ms * NS_PER_MS);
}

static bool
has_background(const struct mlx5p_queues *q)
{
	return q->rewind_ms != 0 && mlx5p_workers_count(q->workers) > 0;
}

void
mlx5p_queues_rewind_later(struct mlx5p_queues *q)
{
	if (has_background(q) && q->env.reuse && q->env.rewind)
		ahead_later(q);
}

/* ---- making them ahead, and dropping them ---- */

/* The event thread looks at this queue from here on. */
static void
raise_top(struct mlx5p_queues *q, uint16_t queue)
{
	unsigned int top = atomic_load(&q->top);

	while (top <= queue && !atomic_compare_exchange_weak(&q->top, &top, queue + 1u))
		;
}

/* Asked for, or used by a guest that was here, which is likely to come back with as many. */
static bool
is_expected(const struct mlx5p_queues *q, uint16_t queue)
{
	return queue < q->ahead || (q->rewind_ms != 0 && q->virtqs[queue].size != 0);
}

/* Likewise with the rings that it had. */
static int
prepare_queue(struct mlx5p_queues *q, uint16_t queue)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];

	if (atomic_load(&q->hurry))
		return 0;
	return mlx5p_virtq_prepare(vq, vq->size != 0 ? vq->size : q->ahead_size);
}

static int
prepare(struct mlx5p_queues *q)
{
	int ret;

	if (q->ahead > 0)
		raise_top(q, q->ahead - 1);
	ret = for_queues(q, is_expected, prepare_queue);
	if (ret < 0 || atomic_load(&q->hurry))
		return ret;
	return steer_to(q, MLX5P_VIRTQ_INIT, NULL);
}

int
mlx5p_queues_prepare(struct mlx5p_queues *q)
{
	settle(q);
	return q->ahead > 0 ? prepare(q) : 0;
}

static void
prepare_all(void *arg, uint32_t i)
{
	struct mlx5p_queues *q = arg;

	RTE_SET_USED(i);
	if (prepare(q) < 0)
		MLX5P_LOG(WARNING, q->env.hw->name,
			"queues of the next front-end are not made ahead of it");
}

void
mlx5p_queues_get_ahead(struct mlx5p_queues *q)
{
	if (q->ahead_at == 0 || now_ns() < q->ahead_at)
		return;
	q->ahead_at = 0;
	settle(q);
	if (q->vacant) {
		mlx5p_workers_begin(q->workers, &q->making, 1, prepare_all, q);
		return;
	}
	plan_round(q, &q->to_rewind, stands_off, rewind_queue);
	mlx5p_workers_begin(q->workers, &q->rewinding, q->to_rewind.n, round_one, &q->to_rewind);
}

void
mlx5p_queues_vacate(struct mlx5p_queues *q)
{
	uint32_t i;

	ahead_at(q, 0);
	settle(q);
	q->vacant = true;
	for (i = 0; i < q->n; i++)
		q->virtqs[i].ring = (struct mlx5p_ring) { .size = 0 };
	if (atomic_load(&q->top) == 0)
		return;
	if (has_background(q))
		ahead_later(q);
	else if (q->ahead > 0)
		mlx5p_workers_begin(q->workers, &q->making, 1, prepare_all, q);
}

static bool
knows_other_keys(const struct mlx5p_virtq *vq, uint32_t mkey, uint32_t ring_mkey)
{
	return vq->attr.mkey != mkey || (vq->attr.ring_mkey != 0 && vq->attr.ring_mkey != ring_mkey);
}

/* Stopped, with an object that knows memory. */
static bool
knows_memory(const struct mlx5p_queues *q, uint16_t queue)
{
	const struct mlx5p_virtq *vq = &q->virtqs[queue];

	return vq->state == MLX5P_VIRTQ_SUSPENDED ||
		(vq->state == MLX5P_VIRTQ_INIT && vq->attr.mkey != 0);
}

static int
drop_queue(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_drop(&q->virtqs[queue]);
	return 0;
}

void
mlx5p_queues_drop(struct mlx5p_queues *q)
{
	settle(q);
	q->renewal_due = false;
	q->conn.guest.mkey = q->conn.guest.ring_mkey = 0;
	mlx5p_reception_clear(q->reception);
	for_queues(q, knows_memory, drop_queue);
}

void
mlx5p_queues_drop_stale(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	uint32_t i;

	settle(q);
	for (i = 0; i < q->n; i++) {
		if (knows_memory(q, i) && knows_other_keys(&q->virtqs[i], mkey, ring_mkey))
			mlx5p_virtq_drop(&q->virtqs[i]);
	}
}

/* ---- making them anew ---- */

/* It ran, and has no object that can go on. */
static bool
is_spent(const struct mlx5p_queues *q, uint16_t queue)
{
	const struct mlx5p_virtq *vq = &q->virtqs[queue];

	return queue != q->keeper && vq->ring.size != 0 && vq->size != 0 &&
		(vq->state == MLX5P_VIRTQ_SUSPENDED || vq->state == MLX5P_VIRTQ_NONE);
}

/* That it is not there when it is wanted costs time: the next start says what is wrong. */
static int
renew_queue(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_renew(&q->virtqs[queue], q->renew_mkey, q->renew_ring_mkey, true);
	return 0;
}

/* A receive queue that has an object, @q->n if there is none. */
static uint32_t
find_keeper(const struct mlx5p_queues *q)
{
	uint32_t i;

	for (i = 0; i < q->n; i++) {
		if (is_receive(i) && q->virtqs[i].state == MLX5P_VIRTQ_SUSPENDED)
			break;
	}
	return i;
}

/* No table may list an object that is destroyed, and none is remade for nothing: it lists one queue
 * while the others are made anew, then those. One queue alone has no such others. */
static void
renew_all(void *arg, uint32_t i)
{
	struct mlx5p_queues *q = arg;
	uint32_t ids[MLX5P_MAX_QUEUES];

	RTE_SET_USED(i);
	q->keeper = q->n;
	if (list_receivers(q, MLX5P_VIRTQ_SUSPENDED, NULL, ids) > 1) {
		q->keeper = find_keeper(q);
		mlx5p_reception_set(q->reception, &q->virtqs[q->keeper].obj.id, 1);
	} else {
		mlx5p_reception_set(q->reception, NULL, 0);
	}
	for_queues(q, is_spent, renew_queue);
	if (q->keeper < q->n) {
		steer_to(q, MLX5P_VIRTQ_INIT, NULL);
		renew_queue(q, q->keeper);
	}
	steer_to(q, MLX5P_VIRTQ_INIT, NULL);
	q->keeper = q->n;
}

/* All rings stopped. */
static void
begin_renewal(struct mlx5p_queues *q)
{
	q->renewal_due = false;
	settle(q);
	mlx5p_workers_begin(q->workers, &q->making, 1, renew_all, q);
}

/* A ring that was switched off, alone: it goes on where it stopped. */
static void
renew_one(void *arg, uint32_t i)
{
	struct mlx5p_queues *q = arg;

	RTE_SET_USED(i);
	mlx5p_virtq_renew(&q->virtqs[q->renewed], q->conn.guest.mkey, q->conn.guest.ring_mkey,
		false);
}

/* ---- what a front-end wants ---- */

static bool
is_wanted(const struct mlx5p_queues *q, uint16_t queue)
{
	return mlx5p_wants_queue(&q->wants, q->conn.vid, queue);
}

void
mlx5p_queues_want_none(struct mlx5p_queues *q, int vid)
{
	mlx5p_wants_forget(&q->wants, vid);
	if (q->conn.vid == vid)
		q->conn.vid = MLX5P_NOBODY;
}

void
mlx5p_queues_renew(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	q->renewal_due = !q->env.reuse;
	q->renew_mkey = mkey;
	q->renew_ring_mkey = ring_mkey;
	if (q->renewal_due && !mlx5p_wants_any(&q->wants, q->conn.vid))
		begin_renewal(q);
}

/* ---- start and stop ---- */

/* With an IOTLB, the vhost library may find a ring in memory before the device can: there is no map
 * yet, or a batch is open. */
static bool
is_reachable(const struct mlx5p_conn *conn, const struct mlx5p_ring *ring)
{
	return conn->guest.mkey != 0 &&
		(conn->user == NULL || mlx5p_ring_is_mapped(conn->maps, ring));
}

/* One that is not reachable waits for mlx5p_queues_go_on(). */
static int
start_queue(struct mlx5p_queues *q, uint16_t queue)
{
	const struct mlx5p_conn *conn = &q->conn;
	const struct vhost_iotlb_user_ring *told = NULL;
	struct mlx5p_ring ring;
	int ret;

	if (conn->user != NULL)
		told = vhost_iotlb_user_ring(conn->user, queue);
	ret = mlx5p_ring_read(q->env.hw->name, conn->vid, queue, conn->guest.features,
		told != NULL ? NULL : conn->maps, &ring);
	if (ret < 0)
		return ret;
	if (told != NULL) {
		ring.desc = told->desc;
		ring.avail = told->avail;
		ring.used = told->used;
	}
	if (!is_reachable(conn, &ring))
		return 0;
	raise_top(q, queue);
	return mlx5p_virtq_start(&q->virtqs[queue], &ring, &conn->guest);
}

static bool
is_started(const struct mlx5p_queues *q, uint16_t queue)
{
	return q->virtqs[queue].state == MLX5P_VIRTQ_RUNNING ||
		q->virtqs[queue].state == MLX5P_VIRTQ_DOWN;
}

static int
stop_queue(struct mlx5p_queues *q, uint16_t queue)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];
	uint16_t index;

	if (mlx5p_virtq_stop(vq, &index) == 0)
		rte_vhost_set_vring_base(q->conn.vid, queue, index, index);
	if (mlx5p_dirty_reachable(q->conn.vid))
		mlx5p_ring_log(q->conn.vid, &vq->ring);
	return 0; /* it stands in any case */
}

static bool
is_wanted_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_receive(queue) && is_wanted(q, queue);
}

static bool
is_wanted_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !is_receive(queue) && is_wanted(q, queue);
}

int
mlx5p_queues_start(struct mlx5p_queues *q, const struct mlx5p_conn *conn)
{
	int ret;

	ahead_at(q, 0);
	settle(q);
	q->vacant = false;
	q->renewal_due = false;
	q->conn = *conn;
	ret = for_queues(q, is_wanted_receive, start_queue);
	if (ret == 0)
		ret = steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
	if (ret == 0)
		ret = for_queues(q, is_wanted_transmit, start_queue);
	return ret;
}

static bool
is_started_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_receive(queue) && is_started(q, queue);
}

static bool
is_started_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !is_receive(queue) && is_started(q, queue);
}

static int
halt_queue(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_halt(&q->virtqs[queue]);
	return 0;
}

static bool
is_running(const struct mlx5p_queues *q, uint16_t queue)
{
	return q->virtqs[queue].state == MLX5P_VIRTQ_RUNNING;
}

static bool
is_running_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_receive(queue) && is_running(q, queue);
}

static bool
is_running_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !is_receive(queue) && is_running(q, queue);
}

/* No receive queue stops before every transmit queue stands. Where those stand can be asked for
 * beside that: last, as it is one command where a receive queue takes two. */
static void
stop_queues(struct mlx5p_queues *q, bool (*receive)(const struct mlx5p_queues *q, uint16_t queue),
		bool (*transmit)(const struct mlx5p_queues *q, uint16_t queue))
{
	struct round halts, stops;

	settle(q);
	/* What a queue is changes when it is halted: they are picked before. */
	plan_round(q, &halts, transmit, halt_queue);
	plan_round(q, &stops, receive, stop_queue);
	add_to_round(&stops, transmit);
	mlx5p_workers_run(q->workers, halts.n, round_one, &halts);
	mlx5p_workers_run(q->workers, stops.n, round_one, &stops);
}

void
mlx5p_queues_stop(struct mlx5p_queues *q)
{
	stop_queues(q, is_started_receive, is_started_transmit);
}

void
mlx5p_queues_stand(struct mlx5p_queues *q)
{
	stop_queues(q, is_running_receive, is_running_transmit);
}

/* A ring comes or goes while the device runs. */
static int
switch_queue(struct mlx5p_queues *q, uint16_t queue, bool on)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];
	bool running = vq->state == MLX5P_VIRTQ_RUNNING;
	int ret = 0;

	mlx5p_job_wait(&q->making);
	if (on && running)
		return 0;
	if (on) {
		ret = start_queue(q, queue);
		return ret == 0 && is_receive(queue) ? steer_later(q) : ret;
	}
	mlx5p_reception_settle(q->reception);
	/* Packets go elsewhere before the queue stops. */
	if (running && is_receive(queue))
		ret = steer_to(q, MLX5P_VIRTQ_RUNNING, vq);
	if (is_started(q, queue))
		stop_queue(q, queue);
	if (!q->env.reuse && vq->state == MLX5P_VIRTQ_SUSPENDED) {
		q->renewed = queue;
		mlx5p_workers_begin(q->workers, &q->making, 1, renew_one, q);
	}
	return ret;
}

int
mlx5p_queues_want(struct mlx5p_queues *q, int vid, uint16_t queue, bool on, bool now)
{
	mlx5p_wants_set(&q->wants, vid, q->conn.vid, queue, on);
	if (now)
		return switch_queue(q, queue, on);
	if (q->renewal_due && vid == q->conn.vid && !mlx5p_wants_any(&q->wants, vid))
		begin_renewal(q);
	return 0;
}

/* ---- while they run ---- */

void
mlx5p_queues_recover(struct mlx5p_queues *q, uint16_t queue)
{
	settle(q);
	/* Destroying the object took it off the table, which leaves packets to the other queues. */
	if (mlx5p_virtq_recover(&q->virtqs[queue]) && is_receive(queue))
		steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
}

/* What it is, q->conn says; a refusal is that queue's own. */
static int
set_bitmap(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_set_bitmap(&q->virtqs[queue], &q->conn.guest.bitmap);
	return 0;
}

void
mlx5p_queues_set_bitmap(struct mlx5p_queues *q, const struct mlx5p_bitmap *bitmap)
{
	settle(q);
	q->conn.guest.bitmap = *bitmap;
	/* One that goes down is taken off the table with its object. */
	for_queues(q, is_running, set_bitmap);
}

/* The map of its ring is gone: it would fault at once. The vhost library will say that it is not
 * wanted any more. */
static bool
is_running_nowhere(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_running(q, queue) && q->conn.user != NULL &&
		!mlx5p_ring_is_mapped(q->conn.maps, &q->virtqs[queue].ring);
}

static bool
is_paused_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_receive(queue) && q->virtqs[queue].paused;
}

static bool
is_paused(const struct mlx5p_queues *q, uint16_t queue)
{
	return q->virtqs[queue].paused;
}

static int
pause_queue(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_pause(&q->virtqs[queue]);
	return 0;
}

/* What the key is, q->conn says; a failure is that queue's own. */
static int
go_on(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_go_on(&q->virtqs[queue], q->conn.guest.mkey, q->conn.guest.ring_mkey);
	return 0;
}

/* Wanted, and standing, with a ring that the vhost library has found in memory. Where it has not,
 * it says so to mlx5p_queues_want() by and by. */
static bool
waits_for_key(const struct mlx5p_queues *q, uint16_t queue)
{
	struct rte_vhost_vring vring;

	return is_wanted(q, queue) && !is_started(q, queue) &&
		rte_vhost_get_vhost_vring(q->conn.vid, queue, &vring) == 0 &&
		vring.desc != NULL && vring.avail != NULL && vring.used != NULL;
}

static bool
waits_for_key_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return is_receive(queue) && waits_for_key(q, queue);
}

static int
start_waiting(struct mlx5p_queues *q, uint16_t queue)
{
	start_queue(q, queue);
	return 0;
}

void
mlx5p_queues_go_on(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	uint32_t i;

	q->conn.guest.mkey = mkey;
	q->conn.guest.ring_mkey = ring_mkey;
	for (i = 0; i < q->n && !waits_for_key(q, i); i++)
		;
	if (i == q->n)
		return;
	settle(q);
	for_queues(q, waits_for_key_receive, start_waiting);
	steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
	for_queues(q, waits_for_key, start_waiting);
}

bool
mlx5p_queues_set_mkey(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	struct mlx5p_guest *guest = &q->conn.guest;
	uint32_t i;

	settle(q);
	for (i = 0; i < q->n && !is_running(q, i); i++)
		;
	if (i == q->n)
		return false;
	if (guest->mkey != mkey || guest->ring_mkey != ring_mkey) {
		guest->mkey = mkey;
		guest->ring_mkey = ring_mkey;
		for_queues(q, is_running_nowhere, stop_queue);
		for_queues(q, is_running_transmit, pause_queue);
		for_queues(q, is_running, pause_queue);
		for_queues(q, is_paused_receive, go_on);
		for_queues(q, is_paused, go_on);
		steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
	}
	mlx5p_queues_drop_stale(q, mkey, ring_mkey);
	return true;
}

/* ---- event thread ---- */

uint32_t
mlx5p_queues_poll(struct mlx5p_queues *q)
{
	uint32_t i, top = atomic_load(&q->top), found, most = 0;

	for (i = 0; i < top; i++) {
		found = mlx5p_virtq_poll(&q->virtqs[i]);
		most = RTE_MAX(most, found);
	}
	return most;
}

void
mlx5p_queues_arm(struct mlx5p_queues *q)
{
	uint32_t i, top = atomic_load(&q->top);

	for (i = 0; i < top; i++)
		mlx5p_virtq_arm(&q->virtqs[i]);
}
