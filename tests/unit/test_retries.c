/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bound on recoveries of a virtqueue (retries.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "retries.h"

static void
test_so_many_at_once(void **state)
{
	struct mlx5p_retries retries = { .n = 0 };
	int i;

	(void)state;
	for (i = 0; i < MLX5P_RETRIES; i++)
		assert_true(mlx5p_retries_take(&retries, 5));
	assert_false(mlx5p_retries_take(&retries, 5));
	assert_false(mlx5p_retries_take(&retries, 5 + MLX5P_RETRY_MS - 1));
	/* What was refused did not count. */
	for (i = 0; i < MLX5P_RETRIES; i++)
		assert_true(mlx5p_retries_take(&retries, 5 + MLX5P_RETRY_MS));
	assert_false(mlx5p_retries_take(&retries, 5 + MLX5P_RETRY_MS));
}

static void
test_at_time_0(void **state)
{
	struct mlx5p_retries retries = { .n = 0 };
	int i;

	(void)state;
	for (i = 0; i < MLX5P_RETRIES; i++)
		assert_true(mlx5p_retries_take(&retries, 0));
	assert_false(mlx5p_retries_take(&retries, 0));
}

/* Never more than so many in any window, and a slow series goes on for ever. */
static void
test_window_slides(void **state)
{
	struct mlx5p_retries retries = { .n = 0 };
	uint64_t taken[100], now, n = 0;

	(void)state;
	for (now = 0; n < 100; now += 100) {
		if (mlx5p_retries_take(&retries, now))
			taken[n++] = now;
	}
	for (n = MLX5P_RETRIES; n < 100; n++)
		assert_true(taken[n] - taken[n - MLX5P_RETRIES] >= MLX5P_RETRY_MS);
	for (n = 0; n < 100; n++, now += MLX5P_RETRY_MS)
		assert_true(mlx5p_retries_take(&retries, now + MLX5P_RETRY_MS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_so_many_at_once),
		cmocka_unit_test(test_at_time_0),
		cmocka_unit_test(test_window_slides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
