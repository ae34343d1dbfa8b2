/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: distributions are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "stats.h"

static void
add(struct series *s, double v)
{
	assert_int_equal(series_add(s, v), 0);
}

static void
test_no_samples(void **state)
{
	struct series s = {0};
	struct dist d;

	(void)state;
	assert_int_equal(series_dist(&s, &d), -ENODATA);
}

static void
test_one_sample(void **state)
{
	struct series s = {0};
	struct dist d;

	(void)state;
	add(&s, 7.5);
	assert_int_equal(series_dist(&s, &d), 0);
	assert_true(d.min == 7.5 && d.median == 7.5 && d.p99 == 7.5 && d.max == 7.5);
	series_free(&s);
}

static void
test_median_of_even_number_is_between(void **state)
{
	struct series s = {0};
	struct dist d;

	(void)state;
	add(&s, 40);
	add(&s, 10);
	add(&s, 30);
	add(&s, 20);
	assert_int_equal(series_dist(&s, &d), 0);
	assert_true(d.min == 10 && d.median == 25 && d.p99 == 40 && d.max == 40);
	series_free(&s);
}

/* The order in which samples came is no part of the result. */
static void
test_ranks_of_a_thousand(void **state)
{
	struct series s = {0};
	struct dist d;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		add(&s, 1 + (i * 617) % 1000);
	assert_int_equal(series_dist(&s, &d), 0);
	assert_true(d.min == 1 && d.median == 500.5 && d.p99 == 990 && d.max == 1000);
	assert_true(s.v[1] == 618);
	series_free(&s);
}

static void
test_p99_of_101_leaves_one_out(void **state)
{
	struct series s = {0};
	struct dist d;
	int i;

	(void)state;
	for (i = 1; i <= 101; i++)
		add(&s, i);
	assert_int_equal(series_dist(&s, &d), 0);
	assert_true(d.p99 == 100);
	series_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_samples),
		cmocka_unit_test(test_one_sample),
		cmocka_unit_test(test_median_of_even_number_is_between),
		cmocka_unit_test(test_ranks_of_a_thousand),
		cmocka_unit_test(test_p99_of_101_leaves_one_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
