/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: every packet ends in exactly one column of the ledger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "account.h"

#define LIMIT 1000

static struct account a;
static struct account_totals t;

static int
setup(void **state)
{
	(void)state;
	t = (struct account_totals){0};
	return account_init(&a, &t);
}

static int
teardown(void **state)
{
	(void)state;
	account_fini(&a);
	return 0;
}

static void
send(unsigned int n)
{
	while (n-- > 0)
		account_sent(&a);
}

static void
take(uint64_t from, uint64_t to, uint64_t now)
{
	for (; from < to; from++)
		account_taken(&a, from, now);
}

static void
arrive(uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		assert_true(account_arrived(&a, from, true));
}

static void
check(uint64_t received, uint64_t corrupt, uint64_t lost, uint64_t duplicated, uint64_t in_blackout)
{
	assert_int_equal(t.received, received);
	assert_int_equal(t.corrupt, corrupt);
	assert_int_equal(t.lost, lost);
	assert_int_equal(t.duplicated, duplicated);
	assert_int_equal(t.in_blackout, in_blackout);
}

static void
test_all_arrive(void **state)
{
	(void)state;
	send(100);
	assert_int_equal(a.outstanding, 100);
	arrive(0, 100);
	account_expire(&a, LIMIT * 10, LIMIT);
	account_stopped(&a);
	assert_int_equal(a.outstanding, 0);
	check(100, 0, 0, 0, 0);
}

static void
test_overtaken_in_its_flow_is_lost_at_once(void **state)
{
	(void)state;
	send(2 * FRAME_FLOWS);
	arrive(1, 2 * FRAME_FLOWS);
	account_expire(&a, 0, LIMIT);
	check(2 * FRAME_FLOWS - 1, 0, 1, 0, 0);
	assert_int_equal(a.outstanding, 0);
}

static void
test_overtaken_by_another_flow_is_not_lost(void **state)
{
	(void)state;
	send(FRAME_FLOWS);
	arrive(1, FRAME_FLOWS);
	account_expire(&a, 0, LIMIT);
	check(FRAME_FLOWS - 1, 0, 0, 0, 0);
	assert_int_equal(a.outstanding, 1);
}

static void
test_taken_and_late_is_lost(void **state)
{
	(void)state;
	send(3);
	take(0, 2, 5);
	account_expire(&a, 5 + LIMIT, LIMIT);
	check(0, 0, 0, 0, 0);
	account_expire(&a, 6 + LIMIT, LIMIT);
	check(0, 0, 2, 0, 0);
	assert_int_equal(a.outstanding, 1);
}

/* A device that takes nothing for a while, say because it is being set up, has lost nothing. */
static void
test_not_taken_is_never_lost(void **state)
{
	(void)state;
	send(3);
	account_expire(&a, 1000 * LIMIT, LIMIT);
	check(0, 0, 0, 0, 0);
}

static void
test_on_their_way_at_a_stop(void **state)
{
	(void)state;
	send(2 * FRAME_FLOWS);
	take(0, 2 * FRAME_FLOWS, 0);
	arrive(0, 3);
	arrive(FRAME_FLOWS + 5, FRAME_FLOWS + 6);
	account_stopped(&a);
	/* Packet 5 was overtaken before the stop; that is a loss. */
	check(4, 0, 1, 0, 2 * FRAME_FLOWS - 5);
	assert_int_equal(a.outstanding, 0);
	assert_int_equal(t.sent, t.received + t.lost + t.in_blackout);
}

static void
test_given_up_but_arrives(void **state)
{
	(void)state;
	send(2);
	take(0, 1, 0);
	account_expire(&a, 2 * LIMIT, LIMIT);
	account_stopped(&a);
	check(0, 0, 1, 0, 1);
	arrive(0, 2);
	check(2, 0, 0, 0, 0);
	arrive(0, 1);
	check(2, 0, 0, 1, 0);
}

static void
test_arrives_twice(void **state)
{
	(void)state;
	send(1);
	arrive(0, 1);
	arrive(0, 1);
	check(1, 0, 0, 1, 0);
	assert_int_equal(a.outstanding, 0);
}

static void
test_corrupt_is_not_received_nor_lost(void **state)
{
	(void)state;
	send(1);
	assert_true(account_arrived(&a, 0, false));
	account_stopped(&a);
	check(0, 1, 0, 0, 0);
}

static void
test_never_sent(void **state)
{
	(void)state;
	send(1);
	assert_false(account_arrived(&a, 1, true));
	assert_false(account_arrived(&a, UINT64_MAX, true));
	check(0, 2, 0, 0, 0);
	assert_int_equal(a.outstanding, 1);
}

/* Sequence numbers pass the window many times; what is older than it is a duplicate. */
static void
test_window_wraps(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 5 * ACCOUNT_WINDOW; i++) {
		send(1);
		take(i, i + 1, i);
		if (i != 7)
			arrive(i, i + 1);
		account_expire(&a, i, LIMIT);
	}
	check(5 * ACCOUNT_WINDOW - 1, 0, 1, 0, 0);
	arrive(3 * ACCOUNT_WINDOW, 3 * ACCOUNT_WINDOW + 1);
	check(5 * ACCOUNT_WINDOW - 1, 0, 1, 1, 0);
}

static void
test_window_overrun_is_a_loss(void **state)
{
	(void)state;
	send(ACCOUNT_WINDOW + 2);
	check(0, 0, 2, 0, 0);
	account_stopped(&a);
	check(0, 0, 2, 0, ACCOUNT_WINDOW);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overtaken_in_its_flow_is_lost_at_once, setup,
				teardown),
		cmocka_unit_test_setup_teardown(test_overtaken_by_another_flow_is_not_lost, setup,
				teardown),
		cmocka_unit_test_setup_teardown(test_taken_and_late_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_taken_is_never_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_on_their_way_at_a_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up_but_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arrives_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_corrupt_is_not_received_nor_lost, setup,
				teardown),
		cmocka_unit_test_setup_teardown(test_never_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window_wraps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window_overrun_is_a_loss, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
