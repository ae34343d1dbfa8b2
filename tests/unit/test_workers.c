/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration threads (workers.c): every number once, all of them done at the end, and really at
 * the same time.
 */
#include <pthread.h>
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
		assert_int_equal(mlx5p_workers_create(threads[i], &w), 0);
		for (j = 0; j < RUNS; j++)
			run(w, j % 7 == 0 ? MOST : j % 5);
		mlx5p_workers_destroy(w);
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
	assert_int_equal(mlx5p_workers_create(4, &w), 0);
	pthread_barrier_init(&barrier, NULL, 5);
	for (i = 0; i < RUNS; i++)
		mlx5p_workers_run(w, 5, meet, &barrier);
	pthread_barrier_destroy(&barrier);
	mlx5p_workers_destroy(w);
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
	assert_int_equal(mlx5p_workers_create(0, &w), 0);
	mlx5p_workers_run(w, 10, on_caller, &self);
	mlx5p_workers_destroy(w);
	mlx5p_workers_destroy(NULL);
}

static void
test_never_used(void **state)
{
	struct mlx5p_workers *w;

	(void)state;
	assert_int_equal(mlx5p_workers_create(256, &w), 0);
	mlx5p_workers_run(w, 0, on_caller, NULL);
	mlx5p_workers_destroy(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_at_the_same_time),
		cmocka_unit_test(test_no_threads),
		cmocka_unit_test(test_never_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
