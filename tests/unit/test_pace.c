/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the driver's event thread polls and for how long it sleeps (pace.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pace.h"

/* An event, and then the polls of a thread that finds what @found says; returns how many there were
 * until it gave up, or @n. */
static unsigned int
polls(struct mlx5p_pace *pace, const uint32_t *found, unsigned int n)
{
	unsigned int i;

	mlx5p_pace_traffic(pace);
	for (i = 0; i < n && pace->polling; i++)
		mlx5p_pace_polled(pace, found[i]);
	return i;
}

static void
test_interrupts_never_poll(void **state)
{
	struct mlx5p_pace pace;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_INTERRUPT, 0, 16);
	assert_false(pace.polling);
	mlx5p_pace_traffic(&pace);
	assert_false(pace.polling);
}

static void
test_timers_begin_asleep(void **state)
{
	struct mlx5p_pace pace;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_FIXED_TIMER, 100, 16);
	assert_false(pace.polling);
	mlx5p_pace_traffic(&pace);
	assert_true(pace.polling);
	assert_int_equal(pace.delay_us, 100);
}

static void
test_patience(void **state)
{
	const uint32_t nothing[10] = { 0 }, late[10] = { 0, 0, 0, 1, 0, 0, 0, 0 };
	struct mlx5p_pace pace;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_FIXED_TIMER, 0, 4);
	assert_int_equal(polls(&pace, nothing, 10), 4);
	assert_false(pace.polling);
	/* Polls in a row: what is found in between starts the count again, and so does an event. */
	assert_int_equal(polls(&pace, late, 10), 8);
	assert_int_equal(polls(&pace, nothing, 10), 4);
}

static void
test_fixed_delay(void **state)
{
	const uint32_t found[] = { 0, 7, 1, 0, 1000 };
	struct mlx5p_pace pace;
	unsigned int i;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_FIXED_TIMER, 50, 16);
	mlx5p_pace_traffic(&pace);
	for (i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		mlx5p_pace_polled(&pace, found[i]);
		assert_int_equal(pace.delay_us, 50);
	}
}

static void
test_delay_that_adapts(void **state)
{
	const struct { uint32_t found, delay_us; } steps[] = {
		{ 0, 20 }, { 0, 30 }, { 0, 40 }, { 1, 40 }, { 4, 10 }, { 100, 0 }, { 0, 10 },
	};
	struct mlx5p_pace pace;
	unsigned int i;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_DYNAMIC_TIMER, 10, 16);
	mlx5p_pace_traffic(&pace);
	assert_int_equal(pace.delay_us, 10);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		mlx5p_pace_polled(&pace, steps[i].found);
		assert_int_equal(pace.delay_us, steps[i].delay_us);
	}
	/* Traffic that goes on does not start it again; a new start does. */
	mlx5p_pace_traffic(&pace);
	assert_int_equal(pace.delay_us, 10);
	while (pace.polling)
		mlx5p_pace_polled(&pace, 0);
	mlx5p_pace_traffic(&pace);
	assert_int_equal(pace.delay_us, 10);
}

static void
test_delay_has_an_end(void **state)
{
	struct mlx5p_pace pace;
	unsigned int i;

	(void)state;
	mlx5p_pace_init(&pace, MLX5P_EVENT_DYNAMIC_TIMER, UINT32_MAX / 2, 16);
	mlx5p_pace_traffic(&pace);
	for (i = 0; i < 8; i++)
		mlx5p_pace_polled(&pace, 0);
	assert_int_equal(pace.delay_us, UINT32_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interrupts_never_poll),
		cmocka_unit_test(test_timers_begin_asleep),
		cmocka_unit_test(test_patience),
		cmocka_unit_test(test_fixed_delay),
		cmocka_unit_test(test_delay_that_adapts),
		cmocka_unit_test(test_delay_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
