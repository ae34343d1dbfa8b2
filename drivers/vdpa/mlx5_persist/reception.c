/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "reception.h"
#include "steer.h"
#include "workers.h"

struct mlx5p_reception {
	const struct mlx5p_hw *hw;
	struct mlx5p_workers *workers;
	struct mlx5p_steer *steer;
	pthread_mutex_t steer_lock; /* all use of it */
	struct mlx5p_job writing;
	pthread_mutex_t lock;      /* the following */
	uint32_t ids[MLX5P_MAX_QUEUES], n; /* what is to be written */
	bool changed, busy;
};

struct mlx5p_reception *
mlx5p_reception_create(const struct mlx5p_hw *hw, struct mlx5p_workers *workers)
{
	struct mlx5p_reception *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->steer = mlx5p_steer_create(hw);
	if (r->steer == NULL) {
		free(r);
		return NULL;
	}
	r->hw = hw;
	r->workers = workers;
	pthread_mutex_init(&r->steer_lock, NULL);
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void
mlx5p_reception_destroy(struct mlx5p_reception *r)
{
	if (r == NULL)
		return;
	mlx5p_reception_settle(r);
	mlx5p_steer_destroy(r->steer);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->steer_lock);
	free(r);
}

int
mlx5p_reception_set(struct mlx5p_reception *r, const uint32_t *ids, uint32_t n)
{
	int ret;

	pthread_mutex_lock(&r->steer_lock);
	ret = mlx5p_steer_set(r->steer, ids, n);
	pthread_mutex_unlock(&r->steer_lock);
	return ret;
}

/* As often as the list changed meanwhile. */
static void
write_table(void *arg, uint32_t i)
{
	uint32_t ids[MLX5P_MAX_QUEUES], n;
	struct mlx5p_reception *r = arg;

	RTE_SET_USED(i);
	pthread_mutex_lock(&r->lock);
	while (r->changed) {
		r->changed = false;
		n = r->n;
		memcpy(ids, r->ids, n * sizeof(ids[0]));
		pthread_mutex_unlock(&r->lock);
		if (mlx5p_reception_set(r, ids, n) < 0)
			MLX5P_LOG(WARNING, r->hw->name,
				"receive queues that joined get no packets");
		pthread_mutex_lock(&r->lock);
	}
	r->busy = false;
	pthread_mutex_unlock(&r->lock);
}

int
mlx5p_reception_set_later(struct mlx5p_reception *r, const uint32_t *ids, uint32_t n)
{
	bool busy;

	if (mlx5p_workers_count(r->workers) == 0)
		return mlx5p_reception_set(r, ids, n);
	pthread_mutex_lock(&r->lock);
	memcpy(r->ids, ids, n * sizeof(ids[0]));
	r->n = n;
	r->changed = true;
	busy = r->busy;
	r->busy = true;
	pthread_mutex_unlock(&r->lock);
	if (!busy) {
		mlx5p_reception_settle(r);
		mlx5p_workers_begin(r->workers, &r->writing, 1, write_table, r);
	}
	return 0;
}

void
mlx5p_reception_settle(struct mlx5p_reception *r)
{
	if (r != NULL)
		mlx5p_job_wait(&r->writing);
}

void
mlx5p_reception_forget(struct mlx5p_reception *r, uint32_t virtq_id)
{
	pthread_mutex_lock(&r->steer_lock);
	mlx5p_steer_forget(r->steer, virtq_id);
	pthread_mutex_unlock(&r->steer_lock);
}

void
mlx5p_reception_clear(struct mlx5p_reception *r)
{
	pthread_mutex_lock(&r->steer_lock);
	mlx5p_steer_clear(r->steer);
	pthread_mutex_unlock(&r->steer_lock);
}
