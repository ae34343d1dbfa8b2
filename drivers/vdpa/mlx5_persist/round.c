/* SPDX-License-Identifier: BSD-3-Clause */
#include "queues_inside.h"
#include "round.h"
#include "workers.h"

void
mlx5p_round_add(struct mlx5p_round *round, mlx5p_queue_match match)
{
	uint32_t i;

	for (i = 0; i < round->queues->n; i++) {
		if (match(round->queues, i))
			round->queue[round->n++] = i;
	}
}

void
mlx5p_round_plan(struct mlx5p_round *round, struct mlx5p_queues *queues, mlx5p_queue_match match,
		mlx5p_queue_fn fn)
{
	round->queues = queues;
	round->fn = fn;
	round->n = 0;
	round->ret = 0;
	mlx5p_round_add(round, match);
}

void
mlx5p_round_one(void *arg, uint32_t i)
{
	struct mlx5p_round *round = arg;
	int none = 0, ret;

	if (atomic_load(&round->ret) < 0)
		return;
	ret = round->fn(round->queues, round->queue[i]);
	if (ret < 0)
		atomic_compare_exchange_strong(&round->ret, &none, ret);
}

int
mlx5p_round_run(struct mlx5p_round *round)
{
	mlx5p_workers_run(round->queues->workers, round->n, mlx5p_round_one, round);
	return round->ret;
}

int
mlx5p_round_of(struct mlx5p_queues *queues, mlx5p_queue_match match, mlx5p_queue_fn fn)
{
	struct mlx5p_round round;

	mlx5p_round_plan(&round, queues, match, fn);
	return mlx5p_round_run(&round);
}
