/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "workers.h"

struct mlx5p_workers {
	pthread_mutex_t lock;
	pthread_cond_t work;       /* there are numbers to take, or it is time to leave */
	pthread_cond_t done;       /* the last call has returned */
	bool leave;
	/* The run: numbers from @next on are to be taken, @busy are being worked on. */
	void (*fn)(void *arg, uint32_t i);
	void *arg;
	uint32_t next, count, busy;
	unsigned int n;
	pthread_t threads[];
};

/* Take numbers until there are none left; with the lock held when it is called and when it
 * returns. */
static void
work(struct mlx5p_workers *w)
{
	while (w->next < w->count) {
		uint32_t i = w->next++;

		w->busy++;
		pthread_mutex_unlock(&w->lock);
		w->fn(w->arg, i);
		pthread_mutex_lock(&w->lock);
		w->busy--;
	}
	if (w->busy == 0)
		pthread_cond_signal(&w->done);
}

static void *
worker_loop(void *arg)
{
	struct mlx5p_workers *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->leave) {
		if (w->next == w->count)
			pthread_cond_wait(&w->work, &w->lock);
		else
			work(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* A thread of EAL's main one would be stuck on that one's processor; and signals are the
 * application's. */
static int
start_thread(struct mlx5p_workers *w)
{
	sigset_t all, before;
	cpu_set_t cpus;
	int i, ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&w->threads[w->n], NULL, worker_loop, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret != 0)
		return -ret;
	CPU_ZERO(&cpus);
	for (i = 0; i < CPU_SETSIZE; i++)
		CPU_SET(i, &cpus);
	pthread_setaffinity_np(w->threads[w->n], sizeof(cpus), &cpus);
	pthread_setname_np(w->threads[w->n], "mlx5p-conf");
	w->n++;
	return 0;
}

int
mlx5p_workers_create(unsigned int n, struct mlx5p_workers **out)
{
	struct mlx5p_workers *w = calloc(1, sizeof(*w) + n * sizeof(w->threads[0]));
	int ret;

	if (w == NULL)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->done, NULL);
	while (w->n < n) {
		ret = start_thread(w);
		if (ret < 0) {
			mlx5p_workers_destroy(w);
			return ret;
		}
	}
	*out = w;
	return 0;
}

void
mlx5p_workers_destroy(struct mlx5p_workers *w)
{
	unsigned int i;

	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->leave = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (i = 0; i < w->n; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->done);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void
mlx5p_workers_run(struct mlx5p_workers *w, uint32_t count, void (*fn)(void *arg, uint32_t i),
		void *arg)
{
	pthread_mutex_lock(&w->lock);
	w->fn = fn;
	w->arg = arg;
	w->next = 0;
	w->count = count;
	if (w->n > 0 && count > 1)
		pthread_cond_broadcast(&w->work);
	work(w);
	while (w->busy > 0)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
