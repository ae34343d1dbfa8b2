/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>
#include <vhost_iotlb_user.h>

#include "ahead.h"
#include "args.h"
#include "dirty.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "path.h"
#include "queues_inside.h"
#include "reception.h"
#include "round.h"

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
	mlx5p_ahead_init(q, args);
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
	mlx5p_ahead_end(q);
	for (i = 0; i < q->n; i++)
		mlx5p_virtq_free(&q->virtqs[i]);
	mlx5p_reception_destroy(q->reception);
	free(q->virtqs);
	free(q);
}

/* ---- which the event thread looks at ---- */

void
mlx5p_queues_watch(struct mlx5p_queues *q, uint16_t queue)
{
	unsigned int top = atomic_load(&q->top);

	while (top <= queue && !atomic_compare_exchange_weak(&q->top, &top, queue + 1u))
		;
}

/* ---- which queues packets go to ---- */

uint32_t
mlx5p_queues_receivers(const struct mlx5p_queues *q, enum mlx5p_virtq_state state,
		const struct mlx5p_virtq *without, uint32_t *ids)
{
	uint32_t i, n = 0;

	for (i = 0; i < q->n; i++) {
		const struct mlx5p_virtq *vq = &q->virtqs[i];

		if (mlx5p_is_receive(i) && vq->state == state && vq != without)
			ids[n++] = vq->obj.id;
	}
	return n;
}

int
mlx5p_queues_steer(struct mlx5p_queues *q, enum mlx5p_virtq_state state,
		const struct mlx5p_virtq *without)
{
	uint32_t ids[MLX5P_MAX_QUEUES];
	uint32_t n = mlx5p_queues_receivers(q, state, without, ids);

	return mlx5p_reception_set(q->reception, ids, n);
}

/* A receive queue joined those that run. It needs no packets before the others have any; but the
 * only one needs them now: what comes meanwhile would be lost. */
static int
steer_later(struct mlx5p_queues *q)
{
	uint32_t ids[MLX5P_MAX_QUEUES];
	uint32_t n = mlx5p_queues_receivers(q, MLX5P_VIRTQ_RUNNING, NULL, ids);

	if (n > 1)
		return mlx5p_reception_set_later(q->reception, ids, n);
	mlx5p_reception_settle(q->reception);
	return mlx5p_reception_set(q->reception, ids, n);
}

/* ---- dropping them ---- */

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
	mlx5p_ahead_end(q);
	mlx5p_ahead_forget_renewal(q);
	q->conn.guest.mkey = q->conn.guest.ring_mkey = 0;
	mlx5p_reception_clear(q->reception);
	mlx5p_round_of(q, knows_memory, drop_queue);
}

void
mlx5p_queues_drop_stale(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	uint32_t i;

	mlx5p_ahead_end(q);
	for (i = 0; i < q->n; i++) {
		if (knows_memory(q, i) && knows_other_keys(&q->virtqs[i], mkey, ring_mkey))
			mlx5p_virtq_drop(&q->virtqs[i]);
	}
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
	mlx5p_queues_watch(q, queue);
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
	return mlx5p_is_receive(queue) && is_wanted(q, queue);
}

static bool
is_wanted_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !mlx5p_is_receive(queue) && is_wanted(q, queue);
}

int
mlx5p_queues_start(struct mlx5p_queues *q, const struct mlx5p_conn *conn)
{
	int ret;

	mlx5p_ahead_start(q);
	q->conn = *conn;
	ret = mlx5p_round_of(q, is_wanted_receive, start_queue);
	if (ret == 0)
		ret = mlx5p_queues_steer(q, MLX5P_VIRTQ_RUNNING, NULL);
	if (ret == 0)
		ret = mlx5p_round_of(q, is_wanted_transmit, start_queue);
	return ret;
}

static bool
is_started_receive(const struct mlx5p_queues *q, uint16_t queue)
{
	return mlx5p_is_receive(queue) && is_started(q, queue);
}

static bool
is_started_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !mlx5p_is_receive(queue) && is_started(q, queue);
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
	return mlx5p_is_receive(queue) && is_running(q, queue);
}

static bool
is_running_transmit(const struct mlx5p_queues *q, uint16_t queue)
{
	return !mlx5p_is_receive(queue) && is_running(q, queue);
}

/* No receive queue stops before every transmit queue stands. Where those stand can be asked for
 * beside that: last, as it is one command where a receive queue takes two. */
static void
stop_queues(struct mlx5p_queues *q, mlx5p_queue_match receive, mlx5p_queue_match transmit)
{
	struct mlx5p_round halts, stops;

	mlx5p_ahead_end(q);
	/* What a queue is changes when it is halted: they are picked before. */
	mlx5p_round_plan(&halts, q, transmit, halt_queue);
	mlx5p_round_plan(&stops, q, receive, stop_queue);
	mlx5p_round_add(&stops, transmit);
	mlx5p_round_run(&halts);
	mlx5p_round_run(&stops);
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
	bool running;
	int ret = 0;

	mlx5p_ahead_wait(q);
	running = vq->state == MLX5P_VIRTQ_RUNNING;
	if (on && running)
		return 0;
	if (on) {
		ret = start_queue(q, queue);
		return ret == 0 && mlx5p_is_receive(queue) ? steer_later(q) : ret;
	}
	mlx5p_reception_settle(q->reception);
	/* Packets go elsewhere before the queue stops. */
	if (running && mlx5p_is_receive(queue))
		ret = mlx5p_queues_steer(q, MLX5P_VIRTQ_RUNNING, vq);
	if (is_started(q, queue))
		stop_queue(q, queue);
	if (!q->env.reuse && vq->state == MLX5P_VIRTQ_SUSPENDED)
		mlx5p_ahead_renew_one(q, queue);
	return ret;
}

int
mlx5p_queues_want(struct mlx5p_queues *q, int vid, uint16_t queue, bool on, bool now)
{
	mlx5p_wants_set(&q->wants, vid, q->conn.vid, queue, on);
	if (now)
		return switch_queue(q, queue, on);
	if (vid == q->conn.vid)
		mlx5p_ahead_unwanted(q);
	return 0;
}

/* ---- while they run ---- */

void
mlx5p_queues_recover(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_ahead_end(q);
	/* Destroying the object took it off the table, which leaves packets to the other queues. */
	if (mlx5p_virtq_recover(&q->virtqs[queue]) && mlx5p_is_receive(queue))
		mlx5p_queues_steer(q, MLX5P_VIRTQ_RUNNING, NULL);
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
	mlx5p_ahead_end(q);
	q->conn.guest.bitmap = *bitmap;
	/* One that goes down is taken off the table with its object. */
	mlx5p_round_of(q, is_running, set_bitmap);
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
	return mlx5p_is_receive(queue) && q->virtqs[queue].paused;
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
	return mlx5p_is_receive(queue) && waits_for_key(q, queue);
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
	mlx5p_ahead_end(q);
	mlx5p_round_of(q, waits_for_key_receive, start_waiting);
	mlx5p_queues_steer(q, MLX5P_VIRTQ_RUNNING, NULL);
	mlx5p_round_of(q, waits_for_key, start_waiting);
}

bool
mlx5p_queues_set_mkey(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	struct mlx5p_guest *guest = &q->conn.guest;
	uint32_t i;

	mlx5p_ahead_end(q);
	for (i = 0; i < q->n && !is_running(q, i); i++)
		;
	if (i == q->n)
		return false;
	if (guest->mkey != mkey || guest->ring_mkey != ring_mkey) {
		guest->mkey = mkey;
		guest->ring_mkey = ring_mkey;
		mlx5p_round_of(q, is_running_nowhere, stop_queue);
		mlx5p_round_of(q, is_running_transmit, pause_queue);
		mlx5p_round_of(q, is_running, pause_queue);
		mlx5p_round_of(q, is_paused_receive, go_on);
		mlx5p_round_of(q, is_paused, go_on);
		mlx5p_queues_steer(q, MLX5P_VIRTQ_RUNNING, NULL);
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
