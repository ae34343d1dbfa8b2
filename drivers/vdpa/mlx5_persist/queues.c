/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>

#include "args.h"
#include "dirty.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "queues.h"
#include "steer.h"
#include "workers.h"

enum { NOBODY = -1, CONNECTIONS = 2 };

/* The queues that a connection wants to run. */
struct wants {
	int vid;                   /* NOBODY: free */
	bool queue[MLX5P_MAX_QUEUES];
};

struct mlx5p_queues {
	struct mlx5p_virtq_env env;
	struct mlx5p_workers *workers;
	struct mlx5p_steer *steer;
	pthread_mutex_t unlist_lock; /* the table, while workers destroy queues */
	struct mlx5p_virtq *virtqs;
	uint32_t n;
	struct wants wants[CONNECTIONS];
	uint32_t ahead;            /* the first so many are made before a front-end comes... */
	uint16_t ahead_size;       /* ...for rings of this size */
	atomic_uint top;           /* queues from here on never had an event queue */
	struct mlx5p_conn conn;    /* of the last start */
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

struct mlx5p_virtq *
mlx5p_queues_get(struct mlx5p_queues *q, uint16_t queue)
{
	return &q->virtqs[queue];
}

bool
mlx5p_queues_reusable(const struct mlx5p_queues *q)
{
	return q->env.reuse;
}

/* ---- making them ---- */

static void
unlist(void *arg, uint32_t virtq_id)
{
	struct mlx5p_queues *q = arg;

	pthread_mutex_lock(&q->unlist_lock);
	mlx5p_steer_forget(q->steer, virtq_id);
	pthread_mutex_unlock(&q->unlist_lock);
}

/* Other addresses and indices, maybe another key, features and ring type, in one modify: of an
 * object that never ran. One that is suspended needs freeze_to_rdy_supported besides. */
static bool
can_modify(const struct mlx5p_caps *caps)
{
	return caps->virtio_net_q_addr_modify && caps->virtio_q_index_modify &&
		caps->vnet_modify_ext;
}

int
mlx5p_queues_create(struct mlx5p_hw *hw, struct mlx5p_events *events,
		struct mlx5p_workers *workers, const struct mlx5p_args *args,
		struct mlx5p_queues **out)
{
	const struct mlx5p_caps *caps = &hw->caps;
	struct mlx5p_queues *q = calloc(1, sizeof(*q));
	uint32_t i, n = RTE_MIN(RTE_ALIGN_FLOOR(caps->max_num_virtio_queues, 2), MLX5P_MAX_QUEUES);

	if (q == NULL)
		return -ENOMEM;
	pthread_mutex_init(&q->unlist_lock, NULL);
	q->env = (struct mlx5p_virtq_env) {
		.hw = hw,
		.events = events,
		.moderation = args->moderation,
		.interrupts = args->event_mode == MLX5P_EVENT_INTERRUPT,
		.modify = can_modify(caps),
		.reuse = args->reuse_queues && can_modify(caps) && caps->freeze_to_rdy_supported,
		.unlist = unlist,
		.unlist_arg = q,
	};
	q->workers = workers;
	q->ahead = RTE_MIN(2 * args->queues, n);
	q->ahead_size = args->queue_size;
	q->steer = mlx5p_steer_create(hw);
	q->conn.vid = NOBODY;
	for (i = 0; i < CONNECTIONS; i++)
		q->wants[i].vid = NOBODY;
	q->virtqs = calloc(n, sizeof(*q->virtqs));
	if (q->steer == NULL || q->virtqs == NULL) {
		mlx5p_queues_destroy(q);
		return -ENOMEM;
	}
	for (; q->n < n; q->n++)
		mlx5p_virtq_init(&q->virtqs[q->n], &q->env, q->n);
	*out = q;
	return 0;
}

void
mlx5p_queues_destroy(struct mlx5p_queues *q)
{
	uint32_t i;

	if (q == NULL)
		return;
	for (i = 0; i < q->n; i++)
		mlx5p_virtq_free(&q->virtqs[i]);
	mlx5p_steer_destroy(q->steer);
	pthread_mutex_destroy(&q->unlist_lock);
	free(q->virtqs);
	free(q);
}

/* ---- for several queues, on the configured threads ---- */

struct round {
	struct mlx5p_queues *q;
	uint16_t queues[MLX5P_MAX_QUEUES];
	uint32_t n;
	int (*fn)(struct mlx5p_queues *q, uint16_t queue);
	atomic_int ret;            /* the first error: none is begun after it */
};

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

/* @fn for each of the queues that @match picks. @return 0 or the first error. */
static int
for_queues(struct mlx5p_queues *q, bool (*match)(const struct mlx5p_queues *q, uint16_t queue),
		int (*fn)(struct mlx5p_queues *q, uint16_t queue))
{
	struct round round = { .q = q, .fn = fn };
	uint32_t i;

	for (i = 0; i < q->n; i++) {
		if (match(q, i))
			round.queues[round.n++] = i;
	}
	mlx5p_workers_run(q->workers, round.n, round_one, &round);
	return round.ret;
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

/* Lead packets to the receive queues in @state, @without left out. */
static int
steer_to(struct mlx5p_queues *q, enum mlx5p_virtq_state state, const struct mlx5p_virtq *without)
{
	uint32_t ids[MLX5P_MAX_QUEUES], i, n = 0;

	for (i = 0; i < q->n; i++) {
		const struct mlx5p_virtq *vq = &q->virtqs[i];

		if (is_receive(i) && vq->state == state && vq != without)
			ids[n++] = vq->obj.id;
	}
	return mlx5p_steer_set(q->steer, ids, n);
}

static bool
is_ahead(const struct mlx5p_queues *q, uint16_t queue)
{
	return queue < q->ahead;
}

/* A guest that was here is likely to come back with the rings that it had. */
static int
prepare_queue(struct mlx5p_queues *q, uint16_t queue)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];

	return mlx5p_virtq_prepare(vq, vq->size != 0 ? vq->size : q->ahead_size);
}

int
mlx5p_queues_prepare(struct mlx5p_queues *q)
{
	int ret;

	if (q->ahead == 0)
		return 0;
	raise_top(q, q->ahead - 1);
	ret = for_queues(q, is_ahead, prepare_queue);
	return ret < 0 ? ret : steer_to(q, MLX5P_VIRTQ_INIT, NULL);
}

static bool
is_suspended(const struct mlx5p_queues *q, uint16_t queue)
{
	return q->virtqs[queue].state == MLX5P_VIRTQ_SUSPENDED;
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
	mlx5p_steer_clear(q->steer);
	for_queues(q, is_suspended, drop_queue);
}

void
mlx5p_queues_drop_stale(struct mlx5p_queues *q, uint32_t mkey)
{
	uint32_t i;

	for (i = 0; i < q->n; i++) {
		if (is_suspended(q, i) && q->virtqs[i].attr.mkey != mkey)
			mlx5p_virtq_drop(&q->virtqs[i]);
	}
}

/* ---- what a front-end wants ---- */

/* Where it is remembered what @vid wants, -1: nowhere. */
static int
slot_of(const struct mlx5p_queues *q, int vid)
{
	int i;

	for (i = 0; i < CONNECTIONS; i++) {
		if (q->wants[i].vid == vid)
			return i;
	}
	return -1;
}

/* What @vid wants. A new one takes a free place, or that of one that is not served. */
static struct wants *
wants_of(struct mlx5p_queues *q, int vid)
{
	int slot = slot_of(q, vid);

	if (slot < 0)
		slot = slot_of(q, NOBODY);
	if (slot < 0)
		slot = q->wants[0].vid == q->conn.vid ? 1 : 0;
	if (q->wants[slot].vid != vid)
		q->wants[slot] = (struct wants) { .vid = vid };
	return &q->wants[slot];
}

static bool
is_wanted(const struct mlx5p_queues *q, uint16_t queue)
{
	int slot = slot_of(q, q->conn.vid);

	return slot >= 0 && q->wants[slot].queue[queue];
}

void
mlx5p_queues_want_none(struct mlx5p_queues *q, int vid)
{
	int slot = slot_of(q, vid);

	if (slot >= 0)
		q->wants[slot].vid = NOBODY;
	if (q->conn.vid == vid)
		q->conn.vid = NOBODY;
}

/* ---- start and stop ---- */

static int
start_queue(struct mlx5p_queues *q, uint16_t queue)
{
	const struct mlx5p_conn *conn = &q->conn;
	struct mlx5p_ring ring;
	int ret;

	ret = mlx5p_ring_read(q->env.hw->name, conn->vid, queue, conn->guest.features, conn->maps,
		&ring);
	if (ret < 0)
		return ret;
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

	q->conn = *conn;
	ret = for_queues(q, is_wanted_receive, start_queue);
	if (ret == 0)
		ret = steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
	if (ret == 0)
		ret = for_queues(q, is_wanted_transmit, start_queue);
	return ret;
}

static bool
is_started_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !is_receive(queue) && is_started(q, queue);
}

void
mlx5p_queues_stop(struct mlx5p_queues *q)
{
	for_queues(q, is_started_transmit, stop_queue);
	for_queues(q, is_started, stop_queue);
}

/* A ring comes or goes while the device runs. */
static int
switch_queue(struct mlx5p_queues *q, uint16_t queue, bool on)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];
	bool running = vq->state == MLX5P_VIRTQ_RUNNING;
	int ret = 0;

	if (on && running)
		return 0;
	if (on) {
		ret = start_queue(q, queue);
		return ret == 0 && is_receive(queue) ? steer_to(q, MLX5P_VIRTQ_RUNNING, NULL) : ret;
	}
	/* Packets go elsewhere before the queue stops. */
	if (running && is_receive(queue))
		ret = steer_to(q, MLX5P_VIRTQ_RUNNING, vq);
	if (is_started(q, queue))
		stop_queue(q, queue);
	if (!q->env.reuse && vq->state == MLX5P_VIRTQ_SUSPENDED)
		mlx5p_virtq_drop(vq);
	return ret;
}

int
mlx5p_queues_want(struct mlx5p_queues *q, int vid, uint16_t queue, bool on, bool now)
{
	wants_of(q, vid)->queue[queue] = on;
	return now ? switch_queue(q, queue, on) : 0;
}

/* ---- while they run ---- */

void
mlx5p_queues_recover(struct mlx5p_queues *q, uint16_t queue)
{
	/* Destroying the object took it off the table, which leaves packets to the other queues. */
	if (mlx5p_virtq_recover(&q->virtqs[queue]) && is_receive(queue))
		steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
}

static bool
is_running(const struct mlx5p_queues *q, uint16_t queue)
{
	return q->virtqs[queue].state == MLX5P_VIRTQ_RUNNING;
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
	q->conn.guest.bitmap = *bitmap;
	for_queues(q, is_running, set_bitmap);
	steer_to(q, MLX5P_VIRTQ_RUNNING, NULL);
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
