/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>

#include <rte_common.h>

#include "ahead.h"
#include "args.h"
#include "clock.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "queues_inside.h"
#include "reception.h"
#include "round.h"
#include "wants.h"
#include "workers.h"

void
mlx5p_ahead_init(struct mlx5p_queues *q, const struct mlx5p_args *args)
{
	q->ahead.count = RTE_MIN(2 * args->queues, q->n);
	q->ahead.size = args->queue_size;
	q->ahead.after_ms = args->rewind_ms;
}

/* ---- the end of it ---- */

void
mlx5p_queues_settle(struct mlx5p_queues *q)
{
	mlx5p_ahead_wait(q);
	mlx5p_reception_settle(q->reception);
}

void
mlx5p_ahead_wait(struct mlx5p_queues *q)
{
	mlx5p_job_wait(&q->ahead.making);
}

void
mlx5p_ahead_end(struct mlx5p_queues *q)
{
	atomic_store(&q->ahead.hurry, true);
	mlx5p_job_cancel(&q->ahead.rewinding);
	mlx5p_queues_settle(q);
	atomic_store(&q->ahead.hurry, false);
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

static void
set_time(struct mlx5p_queues *q, uint64_t when_ns)
{
	if (when_ns != q->ahead.at)
		mlx5p_events_timer(q->env.events, MLX5P_TIMER_AHEAD, when_ns);
	q->ahead.at = when_ns;
}

static void
set_time_later(struct mlx5p_queues *q)
{
	set_time(q, mlx5p_now_ns() + q->ahead.after_ms * MLX5P_NS_IN_MS);
}

static bool
has_background(const struct mlx5p_queues *q)
{
	return q->ahead.after_ms != 0 && mlx5p_workers_count(q->workers) > 0;
}

void
mlx5p_queues_rewind_later(struct mlx5p_queues *q)
{
	if (has_background(q) && q->env.reuse && q->env.rewind)
		set_time_later(q);
}

/* ---- making them ahead ---- */

/* Asked for, or used by a guest that was here, which is likely to come back with as many. */
static bool
is_expected(const struct mlx5p_queues *q, uint16_t queue)
{
	return queue < q->ahead.count || (q->ahead.after_ms != 0 && q->virtqs[queue].size != 0);
}

/* Likewise with the rings that it had. */
static int
prepare_queue(struct mlx5p_queues *q, uint16_t queue)
{
	struct mlx5p_virtq *vq = &q->virtqs[queue];

	if (atomic_load(&q->ahead.hurry))
		return 0;
	return mlx5p_virtq_prepare(vq, vq->size != 0 ? vq->size : q->ahead.size);
}

static int
prepare(struct mlx5p_queues *q)
{
	int ret;

	if (q->ahead.count > 0)
		mlx5p_queues_watch(q, q->ahead.count - 1);
	ret = mlx5p_round_of(q, is_expected, prepare_queue);
	if (ret < 0 || atomic_load(&q->ahead.hurry))
		return ret;
	return mlx5p_queues_steer(q, MLX5P_VIRTQ_INIT, NULL);
}

int
mlx5p_queues_prepare(struct mlx5p_queues *q)
{
	mlx5p_ahead_end(q);
	return q->ahead.count > 0 ? prepare(q) : 0;
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
	if (q->ahead.at == 0 || mlx5p_now_ns() < q->ahead.at)
		return;
	q->ahead.at = 0;
	mlx5p_ahead_end(q);
	if (q->ahead.vacant) {
		mlx5p_workers_begin(q->workers, &q->ahead.making, 1, prepare_all, q);
		return;
	}
	mlx5p_round_plan(&q->ahead.to_rewind, q, stands_off, rewind_queue);
	mlx5p_workers_begin(q->workers, &q->ahead.rewinding, q->ahead.to_rewind.n, mlx5p_round_one,
		&q->ahead.to_rewind);
}

void
mlx5p_queues_vacate(struct mlx5p_queues *q)
{
	uint32_t i;

	set_time(q, 0);
	mlx5p_ahead_end(q);
	q->ahead.vacant = true;
	for (i = 0; i < q->n; i++)
		q->virtqs[i].ring = (struct mlx5p_ring) { .size = 0 };
	if (atomic_load(&q->top) == 0)
		return;
	if (has_background(q))
		set_time_later(q);
	else if (q->ahead.count > 0)
		mlx5p_workers_begin(q->workers, &q->ahead.making, 1, prepare_all, q);
}

/* ---- making them anew ---- */

/* It ran, and has no object that can go on. */
static bool
is_spent(const struct mlx5p_queues *q, uint16_t queue)
{
	const struct mlx5p_virtq *vq = &q->virtqs[queue];

	return queue != q->ahead.keeper && vq->ring.size != 0 && vq->size != 0 &&
		(vq->state == MLX5P_VIRTQ_SUSPENDED || vq->state == MLX5P_VIRTQ_NONE);
}

/* That it is not there when it is wanted costs time: the next start says what is wrong. */
static int
renew_queue(struct mlx5p_queues *q, uint16_t queue)
{
	mlx5p_virtq_renew(&q->virtqs[queue], q->ahead.renew_mkey, q->ahead.renew_ring_mkey, true);
	return 0;
}

/* A receive queue that has an object, @q->n if there is none. */
static uint32_t
find_keeper(const struct mlx5p_queues *q)
{
	uint32_t i;

	for (i = 0; i < q->n; i++) {
		if (mlx5p_is_receive(i) && q->virtqs[i].state == MLX5P_VIRTQ_SUSPENDED)
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
	q->ahead.keeper = q->n;
	if (mlx5p_queues_receivers(q, MLX5P_VIRTQ_SUSPENDED, NULL, ids) > 1) {
		q->ahead.keeper = find_keeper(q);
		mlx5p_reception_set(q->reception, &q->virtqs[q->ahead.keeper].obj.id, 1);
	} else {
		mlx5p_reception_set(q->reception, NULL, 0);
	}
	mlx5p_round_of(q, is_spent, renew_queue);
	if (q->ahead.keeper < q->n) {
		mlx5p_queues_steer(q, MLX5P_VIRTQ_INIT, NULL);
		renew_queue(q, q->ahead.keeper);
	}
	mlx5p_queues_steer(q, MLX5P_VIRTQ_INIT, NULL);
	q->ahead.keeper = q->n;
}

/* All rings stopped. */
static void
begin_renewal(struct mlx5p_queues *q)
{
	q->ahead.renewal_due = false;
	mlx5p_ahead_end(q);
	mlx5p_workers_begin(q->workers, &q->ahead.making, 1, renew_all, q);
}

static void
renew_one(void *arg, uint32_t i)
{
	struct mlx5p_queues *q = arg;

	RTE_SET_USED(i);
	mlx5p_virtq_renew(&q->virtqs[q->ahead.renewed], q->conn.guest.mkey,
		q->conn.guest.ring_mkey, false);
}

void
mlx5p_ahead_renew_one(struct mlx5p_queues *q, uint16_t queue)
{
	q->ahead.renewed = queue;
	mlx5p_workers_begin(q->workers, &q->ahead.making, 1, renew_one, q);
}

void
mlx5p_ahead_unwanted(struct mlx5p_queues *q)
{
	if (q->ahead.renewal_due && !mlx5p_wants_any(&q->wants, q->conn.vid))
		begin_renewal(q);
}

void
mlx5p_ahead_forget_renewal(struct mlx5p_queues *q)
{
	q->ahead.renewal_due = false;
}

void
mlx5p_queues_renew(struct mlx5p_queues *q, uint32_t mkey, uint32_t ring_mkey)
{
	q->ahead.renewal_due = !q->env.reuse;
	q->ahead.renew_mkey = mkey;
	q->ahead.renew_ring_mkey = ring_mkey;
	mlx5p_ahead_unwanted(q);
}

/* ---- a start ---- */

void
mlx5p_ahead_start(struct mlx5p_queues *q)
{
	set_time(q, 0);
	mlx5p_ahead_end(q);
	q->ahead.vacant = false;
	q->ahead.renewal_due = false;
}
