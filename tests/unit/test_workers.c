/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration threads (workers.c): every number once, all of them done at the end, and really at
 * the same time; jobs of several users and jobs that go on by themselves.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers.h"

enum { MOST = 300, RUNS = 200 };

struct tally {
	atomic_uint times[MOST];
	atomic_uint total;
};

static void
count(void *arg, uint32_t i)
{
	struct tally *tally = arg;

	atomic_fetch_add(&tally->times[i], 1);
	atomic_fetch_add(&tally->total, 1);
}

static void
run(struct mlx5p_workers *w, uint32_t n)
{
	static struct tally tally;
	uint32_t i;

	for (i = 0; i < MOST; i++)
		atomic_store(&tally.times[i], 0);
	atomic_store(&tally.total, 0);
	mlx5p_workers_run(w, n, count, &tally);
	assert_int_equal(tally.total, n);
	for (i = 0; i < MOST; i++)
		assert_int_equal(tally.times[i], i < n);
}

static void
test_each_once(void **state)
{
	static const unsigned int threads[] = { 0, 1, 3, 17 };
	struct mlx5p_workers *w;
	unsigned int i, j;

	(void)state;
	for (i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
		assert_int_equal(mlx5p_workers_get(-1, threads[i], &w), 0);
		for (j = 0; j < RUNS; j++)
			run(w, j % 7 == 0 ? MOST : j % 5);
		mlx5p_workers_put(w);
	}
}

static void
meet(void *arg, uint32_t i)
{
	(void)i;
	pthread_barrier_wait(arg);
}

/* With fewer than that at the same time this would not come back. */
static void
test_at_the_same_time(void **state)
{
	pthread_barrier_t barrier;
	struct mlx5p_workers *w;
	int i;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 4, &w), 0);
	pthread_barrier_init(&barrier, NULL, 5);
	for (i = 0; i < RUNS; i++)
		mlx5p_workers_run(w, 5, meet, &barrier);
	pthread_barrier_destroy(&barrier);
	mlx5p_workers_put(w);
}

static void
on_caller(void *arg, uint32_t i)
{
	(void)i;
	assert_true(pthread_equal(*(pthread_t *)arg, pthread_self()));
}

static void
test_no_threads(void **state)
{
	pthread_t self = pthread_self();
	struct mlx5p_workers *w;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 0, &w), 0);
	mlx5p_workers_run(w, 10, on_caller, &self);
	mlx5p_workers_put(w);
	mlx5p_workers_put(NULL);
}

static void
test_never_used(void **state)
{
	struct mlx5p_workers *w;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 256, &w), 0);
	mlx5p_workers_run(w, 0, on_caller, NULL);
	mlx5p_workers_put(w);
}

/* ---- several users of one pool ---- */

static unsigned int
threads_alive(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int n = 0;
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void
test_shared(void **state)
{
	unsigned int before = threads_alive();
	struct mlx5p_workers *a, *b, *none;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 3, &a), 0);
	assert_int_equal(mlx5p_workers_get(-1, 5, &b), 0);
	assert_int_equal(mlx5p_workers_get(-1, 0, &none), 0);
	assert_int_equal(mlx5p_workers_get(-1, 257, &none), -EINVAL);
	assert_int_equal(threads_alive(), before + 5);
	assert_int_equal(mlx5p_workers_count(a), 3);
	assert_int_equal(mlx5p_workers_count(b), 5);
	mlx5p_workers_put(b);
	run(a, MOST);
	mlx5p_workers_put(a);
	mlx5p_workers_put(none);
	/* A joined thread may be listed for a moment longer. */
	while (threads_alive() != before)
		sched_yield();
}

/* How many are in it at once, at most. */
struct crowd {
	atomic_uint now, most;
};

static void
enter(void *arg, uint32_t i)
{
	struct crowd *crowd = arg;
	unsigned int now = atomic_fetch_add(&crowd->now, 1) + 1;
	unsigned int most = atomic_load(&crowd->most);

	(void)i;
	while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now))
		;
	sched_yield();
	atomic_fetch_sub(&crowd->now, 1);
}

/* The threads of another user are not one's own. */
static void
test_share_is_a_bound(void **state)
{
	struct crowd crowd = { 0 };
	struct mlx5p_workers *a, *b;
	int i;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 8, &b), 0);
	assert_int_equal(mlx5p_workers_get(-1, 1, &a), 0);
	for (i = 0; i < RUNS; i++)
		mlx5p_workers_run(a, 16, enter, &crowd);
	assert_in_range(crowd.most, 1, 2);
	mlx5p_workers_put(a);
	mlx5p_workers_put(b);
}

/* ---- jobs that go on by themselves ---- */

static void
test_async(void **state)
{
	static struct tally tally;
	struct mlx5p_job job = { 0 };
	struct mlx5p_workers *w;

	(void)state;
	mlx5p_job_wait(&job); /* never begun */
	assert_int_equal(mlx5p_workers_get(-1, 2, &w), 0);
	mlx5p_workers_begin(w, &job, MOST, count, &tally);
	/* Nobody waits: the threads get there by themselves. */
	while (atomic_load(&tally.total) < MOST)
		sched_yield();
	mlx5p_job_wait(&job);
	mlx5p_job_wait(&job); /* once is enough, twice does nothing */
	mlx5p_workers_begin(w, &job, 0, count, &tally);
	mlx5p_job_wait(&job);
	assert_int_equal(tally.total, MOST);
	mlx5p_workers_put(w);
}

static void
test_async_without_threads(void **state)
{
	pthread_t self = pthread_self();
	struct mlx5p_workers *w;
	struct mlx5p_job job;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 0, &w), 0);
	mlx5p_workers_begin(w, &job, 10, on_caller, &self);
	mlx5p_job_wait(&job);
	mlx5p_workers_put(w);
}

struct gate {
	pthread_barrier_t in, out;
};

static void
pass_gate(void *arg, uint32_t i)
{
	struct gate *gate = arg;

	(void)i;
	pthread_barrier_wait(&gate->in);
	pthread_barrier_wait(&gate->out);
}

/* All threads are stuck in a job: whoever waits for another one does it alone. */
static void
test_run_beside_a_long_job(void **state)
{
	struct mlx5p_workers *w;
	struct mlx5p_job job;
	struct gate gate;

	(void)state;
	assert_int_equal(mlx5p_workers_get(-1, 2, &w), 0);
	pthread_barrier_init(&gate.in, NULL, 3);
	pthread_barrier_init(&gate.out, NULL, 3);
	mlx5p_workers_begin(w, &job, 2, pass_gate, &gate);
	pthread_barrier_wait(&gate.in);
	run(w, MOST);
	pthread_barrier_wait(&gate.out);
	mlx5p_job_wait(&job);
	pthread_barrier_destroy(&gate.in);
	pthread_barrier_destroy(&gate.out);
	mlx5p_workers_put(w);
}

/* What is called off is not begun; what has begun comes to its end first. */
static void
test_cancel(void **state)
{
	static struct tally tally;
	struct mlx5p_workers *w;
	struct mlx5p_job job = { .workers = NULL };
	unsigned int i;

	(void)state;
	mlx5p_job_cancel(&job); /* never begun */
	assert_int_equal(mlx5p_workers_get(-1, 0, &w), 0);
	mlx5p_workers_begin(w, &job, MOST, count, &tally);
	mlx5p_job_cancel(&job); /* without threads: nothing has begun */
	assert_int_equal(tally.total, 0);
	mlx5p_workers_put(w);
	assert_int_equal(mlx5p_workers_get(-1, 2, &w), 0);
	for (i = 0; i < RUNS; i++) {
		atomic_store(&tally.total, 0);
		mlx5p_workers_begin(w, &job, MOST, count, &tally);
		while (atomic_load(&tally.total) < i % 3)
			sched_yield();
		mlx5p_job_cancel(&job);
		assert_in_range(tally.total, i % 3, MOST);
		mlx5p_job_wait(&job); /* it is over */
	}
	mlx5p_workers_put(w);
}

struct turns {
	pthread_barrier_t begun, both;
	atomic_bool awaited;
	atomic_uint before, after; /* numbers of the job that nobody waits for */
};

static void
hold_up(void *arg, uint32_t i)
{
	struct turns *turns = arg;

	if (i == 0)
		pthread_barrier_wait(&turns->begun);
	while (!atomic_load(&turns->awaited))
		sched_yield();
	atomic_fetch_add(&turns->before, 1);
}

static void
meet_in_turn(void *arg, uint32_t i)
{
	struct turns *turns = arg;

	(void)i;
	atomic_store(&turns->awaited, true);
	pthread_barrier_wait(&turns->both);
	atomic_store(&turns->after, turns->before);
	pthread_barrier_wait(&turns->both);
}

/* The only thread leaves a job that nobody waits for after the number that it is at. */
static void
test_waited_for_first(void **state)
{
	struct turns turns = { .awaited = false };
	struct mlx5p_workers *w;
	struct mlx5p_job job;

	(void)state;
	pthread_barrier_init(&turns.begun, NULL, 2);
	pthread_barrier_init(&turns.both, NULL, 2);
	assert_int_equal(mlx5p_workers_get(-1, 1, &w), 0);
	mlx5p_workers_begin(w, &job, MOST, hold_up, &turns);
	pthread_barrier_wait(&turns.begun);
	mlx5p_workers_run(w, 2, meet_in_turn, &turns);
	assert_int_equal(turns.after, 1);
	mlx5p_job_wait(&job);
	assert_int_equal(turns.before, MOST);
	mlx5p_workers_put(w);
	pthread_barrier_destroy(&turns.begun);
	pthread_barrier_destroy(&turns.both);
}

/* ---- all of it at once ---- */

enum { USERS = 4, DEPTH = 3 };

struct nested {
	struct mlx5p_workers *w;
	atomic_uint *total;
	unsigned int depth;
};

static void
descend(void *arg, uint32_t i)
{
	struct nested *n = arg;
	struct nested below = { n->w, n->total, n->depth - 1 };

	(void)i;
	if (n->depth == 0)
		atomic_fetch_add(n->total, 1);
	else
		mlx5p_workers_run(n->w, 3, descend, &below);
}

static void *
use(void *arg)
{
	struct mlx5p_workers *w;
	atomic_uint total = 0;
	struct nested n = { .total = &total };
	struct mlx5p_job job;
	unsigned int i, want = 0;

	(void)arg;
	for (i = 0; i < RUNS / 4; i++) {
		assert_int_equal(mlx5p_workers_get(i % 2 ? -1 : 0, i % 5, &w), 0);
		n.w = w;
		n.depth = i % DEPTH;
		mlx5p_workers_begin(w, &job, 3, descend, &n);
		mlx5p_workers_run(w, 3, descend, &n);
		mlx5p_job_wait(&job);
		mlx5p_workers_put(w);
		want += 2 * (n.depth == 0 ? 3 : n.depth == 1 ? 9 : 27);
		assert_int_equal(total, want);
	}
	return NULL;
}

static void
test_stress(void **state)
{
	pthread_t threads[USERS];
	int i;

	(void)state;
	for (i = 0; i < USERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use, NULL), 0);
	for (i = 0; i < USERS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- where they run, and how many there are ---- */

struct sight {
	cpu_set_t cpus;
	atomic_bool done;
};

static void
see_cpus(void *arg, uint32_t i)
{
	struct sight *sight = arg;

	(void)i;
	pthread_getaffinity_np(pthread_self(), sizeof(sight->cpus), &sight->cpus);
	atomic_store(&sight->done, true);
}

/* A thread of EAL has one processor; what it starts here has its own. */
static void
test_affinity(void **state)
{
	struct sight sight = { .done = false };
	struct mlx5p_workers *w;
	cpu_set_t before, one;
	struct mlx5p_job job;
	int cpu;

	(void)state;
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	for (cpu = 0; !CPU_ISSET(cpu, &before); cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
	assert_int_equal(mlx5p_workers_get(-1, 1, &w), 0);
	mlx5p_workers_begin(w, &job, 1, see_cpus, &sight);
	while (!atomic_load(&sight.done))
		sched_yield();
	mlx5p_job_wait(&job);
	mlx5p_workers_put(w);
	assert_true(CPU_COUNT(&sight.cpus) >= CPU_COUNT(&before));
	pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
}

struct by {
	pthread_t self;
	atomic_uint self_calls, calls;
};

static void
note_thread(void *arg, uint32_t i)
{
	struct by *by = arg;

	(void)i;
	atomic_fetch_add(&by->calls, 1);
	if (pthread_equal(pthread_self(), by->self))
		atomic_fetch_add(&by->self_calls, 1);
}

/* Who awaits a job has no hand in it, unless nobody else has. */
static void
test_await(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 0; n <= 2; n++) {
		struct by by = { .self = pthread_self() };
		struct mlx5p_workers *w;
		struct mlx5p_job job;

		assert_int_equal(mlx5p_workers_get(-1, n, &w), 0);
		mlx5p_workers_begin(w, &job, 100, note_thread, &by);
		mlx5p_job_await(&job);
		mlx5p_job_await(&job); /* it is over */
		assert_int_equal(by.calls, 100);
		assert_int_equal(by.self_calls, n == 0 ? 100 : 0);
		mlx5p_workers_put(w);
	}
}

static void
test_default(void **state)
{
	(void)state;
	assert_in_range(mlx5p_workers_default(-1), 8, 16);
	assert_in_range(mlx5p_workers_default(0), 8, 16);
	assert_in_range(mlx5p_workers_default(100000), 8, 16); /* no such node */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_at_the_same_time),
		cmocka_unit_test(test_no_threads),
		cmocka_unit_test(test_never_used),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_share_is_a_bound),
		cmocka_unit_test(test_async),
		cmocka_unit_test(test_async_without_threads),
		cmocka_unit_test(test_run_beside_a_long_job),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_waited_for_first),
		cmocka_unit_test(test_stress),
		cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_await),
		cmocka_unit_test(test_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
