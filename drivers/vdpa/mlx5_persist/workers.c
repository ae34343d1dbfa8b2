/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <numa.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "workers.h"

/* max_conf_threads takes no more. */
enum { MOST_THREADS = 256 };

/* Threads by default. A command that sleeps in firmware takes no processor, so that even one core
 * keeps several of them going; how many run at once is the card's limit, and public figures see no
 * more than about 15 times the speed of one (suspend: 37 ms for 32 queues, 2.5 ms at once). Each
 * needs a little of a processor before and after. */
enum { THREADS_PER_CPU = 8, MOST_DEFAULT = 16 };

/* Applications that lock their memory, as testpmd does, pay for stacks that nobody uses. */
enum { STACK_BYTES = 1 << 20 };

struct pool {
	LIST_ENTRY(pool) next;
	int numa_node;
	unsigned int users;
	pthread_mutex_t lock;      /* the following, and the jobs */
	pthread_cond_t work;       /* there is a job, or it is time to leave */
	bool leave;
	TAILQ_HEAD(, mlx5p_job) jobs; /* with numbers to take */
	unsigned int n;
	pthread_t threads[MOST_THREADS];
};

struct mlx5p_workers {
	struct pool *pool;
	unsigned int n;
};

/* One for each node, by the devices' common wish. */
static LIST_HEAD(, pool) pools = LIST_HEAD_INITIALIZER(pools);
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- jobs; with the pool's lock held ---- */

static void
list_job(struct mlx5p_job *job, bool first)
{
	struct pool *pool = job->workers->pool;
	uint32_t i;

	job->listed = job->workers->n > 0 && job->count > (first ? 1 : 0);
	if (!job->listed)
		return;
	if (first)
		TAILQ_INSERT_HEAD(&pool->jobs, job, next_job);
	else
		TAILQ_INSERT_TAIL(&pool->jobs, job, next_job);
	for (i = 0; i < job->workers->n && i < job->count; i++)
		pthread_cond_signal(&pool->work);
}

/* Numbers before @next are taken. */
static void
take_until(struct mlx5p_job *job, uint32_t next)
{
	job->next = next;
	if (job->next == job->count && job->listed) {
		TAILQ_REMOVE(&job->workers->pool->jobs, job, next_job);
		job->listed = false;
	}
}

/* The next number of a job that has one. When the last call returns, whoever waits may free the job
 * as soon as the lock is released. */
static void
work(struct pool *pool, struct mlx5p_job *job)
{
	uint32_t i = job->next;

	take_until(job, i + 1);
	job->busy++;
	pthread_mutex_unlock(&pool->lock);
	job->fn(job->arg, i);
	pthread_mutex_lock(&pool->lock);
	job->busy--;
	if (job->busy == 0 && job->next == job->count)
		pthread_cond_signal(&job->done);
}

static void
finish(struct pool *pool, struct mlx5p_job *job, bool help)
{
	while (help && job->next < job->count)
		work(pool, job);
	while (job->busy > 0 || job->next < job->count)
		pthread_cond_wait(&job->done, &pool->lock);
}

/* The first job that takes one more thread. */
static struct mlx5p_job *
find_job(struct pool *pool)
{
	struct mlx5p_job *job;

	TAILQ_FOREACH(job, &pool->jobs, next_job) {
		if (job->helpers < job->workers->n)
			return job;
	}
	return NULL;
}

static void *
worker_loop(void *arg)
{
	struct pool *pool = arg;
	struct mlx5p_job *job;

	pthread_mutex_lock(&pool->lock);
	while (!pool->leave) {
		job = find_job(pool);
		if (job == NULL) {
			pthread_cond_wait(&pool->work, &pool->lock);
			continue;
		}
		job->helpers++;
		work(pool, job);
		job->helpers--;
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- pools; with pools_lock held ---- */

/* The processors of a node; all where that is not known. @return how many of the node's. */
static unsigned int
node_cpus(int numa_node, cpu_set_t *cpus)
{
	struct bitmask *mask;
	unsigned int i, n = 0;

	CPU_ZERO(cpus);
	if (numa_node >= 0 && numa_available() >= 0) {
		mask = numa_allocate_cpumask();
		if (mask != NULL && numa_node_to_cpus(numa_node, mask) == 0) {
			for (i = 0; i < mask->size && i < CPU_SETSIZE; i++) {
				if (numa_bitmask_isbitset(mask, i))
					CPU_SET(i, cpus);
			}
		}
		if (mask != NULL)
			numa_free_cpumask(mask);
		n = CPU_COUNT(cpus);
	}
	for (i = 0; n == 0 && i < CPU_SETSIZE; i++)
		CPU_SET(i, cpus);
	return n;
}

/* Where a thread may not run on its node, it runs anywhere. */
static void
bind_thread(pthread_t thread, int numa_node)
{
	cpu_set_t cpus;

	node_cpus(numa_node, &cpus);
	if (pthread_setaffinity_np(thread, sizeof(cpus), &cpus) == 0)
		return;
	node_cpus(-1, &cpus);
	pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
}

static int
start_thread(struct pool *pool)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&pool->threads[pool->n], &attr, worker_loop, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (ret != 0)
		return -ret;
	bind_thread(pool->threads[pool->n], pool->numa_node);
	pthread_setname_np(pool->threads[pool->n], "mlx5p-conf");
	pool->n++;
	return 0;
}

static struct pool *
find_pool(int numa_node)
{
	struct pool *pool;

	LIST_FOREACH(pool, &pools, next) {
		if (pool->numa_node == numa_node)
			return pool;
	}
	pool = calloc(1, sizeof(*pool));
	if (pool == NULL)
		return NULL;
	pool->numa_node = numa_node;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	TAILQ_INIT(&pool->jobs);
	LIST_INSERT_HEAD(&pools, pool, next);
	return pool;
}

/* If nobody uses it. */
static void
reap_pool(struct pool *pool)
{
	unsigned int i;

	if (pool->users > 0)
		return;
	LIST_REMOVE(pool, next);
	pthread_mutex_lock(&pool->lock);
	pool->leave = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (i = 0; i < pool->n; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int
mlx5p_workers_get(int numa_node, unsigned int n, struct mlx5p_workers **out)
{
	struct mlx5p_workers *w;
	struct pool *pool;
	int ret = 0;

	if (n > MOST_THREADS)
		return -EINVAL;
	w = malloc(sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&pools_lock);
	pool = find_pool(numa_node);
	if (pool == NULL)
		ret = -ENOMEM;
	while (ret == 0 && pool->n < n)
		ret = start_thread(pool);
	if (ret == 0) {
		*w = (struct mlx5p_workers) { .pool = pool, .n = n };
		pool->users++;
	} else if (pool != NULL) {
		reap_pool(pool);
	}
	pthread_mutex_unlock(&pools_lock);
	if (ret < 0) {
		free(w);
		return ret;
	}
	*out = w;
	return 0;
}

void
mlx5p_workers_put(struct mlx5p_workers *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&pools_lock);
	w->pool->users--;
	reap_pool(w->pool);
	pthread_mutex_unlock(&pools_lock);
	free(w);
}

unsigned int
mlx5p_workers_count(const struct mlx5p_workers *w)
{
	return w->n;
}

unsigned int
mlx5p_workers_default(int numa_node)
{
	cpu_set_t cpus;
	unsigned int n = node_cpus(numa_node, &cpus);
	unsigned int threads = (n > 0 ? n : sysconf(_SC_NPROCESSORS_ONLN)) * THREADS_PER_CPU;

	return threads > MOST_DEFAULT ? MOST_DEFAULT : threads;
}

/* ---- jobs, from outside ---- */

static void
init_job(struct mlx5p_job *job, struct mlx5p_workers *w, uint32_t count, mlx5p_work_fn fn,
		void *arg)
{
	*job = (struct mlx5p_job) { .workers = w, .fn = fn, .arg = arg, .count = count };
	pthread_cond_init(&job->done, NULL);
}

void
mlx5p_workers_run(struct mlx5p_workers *w, uint32_t count, mlx5p_work_fn fn, void *arg)
{
	struct mlx5p_job job;

	init_job(&job, w, count, fn, arg);
	pthread_mutex_lock(&w->pool->lock);
	list_job(&job, true);
	finish(w->pool, &job, true);
	pthread_mutex_unlock(&w->pool->lock);
	pthread_cond_destroy(&job.done);
}

void
mlx5p_workers_begin(struct mlx5p_workers *w, struct mlx5p_job *job, uint32_t count,
		mlx5p_work_fn fn, void *arg)
{
	init_job(job, w, count, fn, arg);
	pthread_mutex_lock(&w->pool->lock);
	list_job(job, false);
	pthread_mutex_unlock(&w->pool->lock);
}

static void
end_job(struct mlx5p_job *job, bool cancel, bool help)
{
	struct pool *pool;

	if (job->workers == NULL)
		return;
	pool = job->workers->pool;
	pthread_mutex_lock(&pool->lock);
	if (cancel)
		take_until(job, job->count);
	finish(pool, job, help);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&job->done);
	job->workers = NULL;
}

void
mlx5p_job_wait(struct mlx5p_job *job)
{
	end_job(job, false, true);
}

void
mlx5p_job_await(struct mlx5p_job *job)
{
	end_job(job, false, job->workers != NULL && job->workers->n == 0);
}

void
mlx5p_job_cancel(struct mlx5p_job *job)
{
	end_job(job, true, true);
}
