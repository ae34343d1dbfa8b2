/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration threads (max_conf_threads): firmware commands wait most of the time, so that
 * several at once take little longer than one.
 *
 * Owns: a pool of threads for each NUMA node that has a device, shared by all devices of the
 * process that are on it, and "do it for each of these numbers". Threads are made when a device
 * asks for them, at its probe, and sleep while there is nothing to do. They run on the processors
 * of their node, whatever the thread that made them is bound to; signals are none of their
 * business.
 *
 * Several devices and threads may use a pool at a time. A user has at most as many of its threads
 * to one job as it asked for. A job that somebody waits for comes before those of
 * mlx5p_workers_begin(): their threads leave them for it after the number that they are at. Who
 * waits helps, except in mlx5p_job_await(): so a function that a job calls may itself run a job, and
 * no thread at all is enough.
 */
#ifndef MLX5P_WORKERS_H
#define MLX5P_WORKERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* One user's share of a pool. */
struct mlx5p_workers;

/* Called once for each number below a count, on any thread, in any order. */
typedef void (*mlx5p_work_fn)(void *arg, uint32_t i);

/* A job that goes on by itself. Its fields are the pool's; the memory is the caller's, and stays in
 * place from mlx5p_workers_begin() until mlx5p_job_wait() has returned. */
struct mlx5p_job {
	TAILQ_ENTRY(mlx5p_job) next_job;
	struct mlx5p_workers *workers; /* NULL: not begun, or waited for */
	mlx5p_work_fn fn;
	void *arg;
	uint32_t next, count;      /* numbers from @next on are to be taken... */
	uint32_t busy;             /* ...so many are being worked on */
	uint32_t helpers;          /* threads of the pool on it */
	bool listed;
	pthread_cond_t done;       /* the last call has returned */
};

/**
 * Take a share of the pool of @p numa_node (-1: unknown, all processors), which then has at least
 * @p n threads; 0 is fine.
 * @return 0 or a negative errno; then nothing is left.
 */
int mlx5p_workers_get(int numa_node, unsigned int n, struct mlx5p_workers **workers);

/** Give it back; its jobs are over. The last user's threads end. NULL is allowed. */
void mlx5p_workers_put(struct mlx5p_workers *workers);

/** How many threads a share has, besides its user's own. */
unsigned int mlx5p_workers_count(const struct mlx5p_workers *workers);

/** How many are worth having on this machine for a card on @p numa_node: max_conf_threads when it
 * is not given. */
unsigned int mlx5p_workers_default(int numa_node);

/** Call @p fn for each number below @p count, on the threads and on this one, and return when all
 * calls have. Allocates nothing. */
void mlx5p_workers_run(struct mlx5p_workers *workers, uint32_t count, mlx5p_work_fn fn, void *arg);

/**
 * Begin to call @p fn for each number below @p count, on the threads, and return at once. A share
 * without threads does it all in mlx5p_job_wait(), which must be called once. Allocates nothing.
 * @param job not in use: zero, or waited for.
 */
void mlx5p_workers_begin(struct mlx5p_workers *workers, struct mlx5p_job *job, uint32_t count,
		mlx5p_work_fn fn, void *arg);

/** Help with what nobody has begun yet and return when all calls have; at once if the job is zero
 * or was waited for. One thread waits for a job. */
void mlx5p_job_wait(struct mlx5p_job *job);

/** Likewise, but leave it to the threads, if the share has any: for what is long, and better done on
 * the card's own node. Not from within a job, which has one of them itself. */
void mlx5p_job_await(struct mlx5p_job *job);

/** Likewise with a hand, but what nobody has begun yet is never begun. */
void mlx5p_job_cancel(struct mlx5p_job *job);

#endif /* MLX5P_WORKERS_H */
