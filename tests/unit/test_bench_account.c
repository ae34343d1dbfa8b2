/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: every packet ends in exactly one column of the ledger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "account.h"

#define LIMIT 1000
#define QUEUE_SIZE 256
#define TRANSIT ACCOUNT_TRANSIT_NS
#define STOP (100 * TRANSIT)
#define BACK (200 * TRANSIT)		/* when it sees a frame again */

static struct account a;
static struct account_totals t;

static int
setup(void **state)
{
	(void)state;
	t = (struct account_totals){0};
	return account_init(&a, &t, QUEUE_SIZE);
}

/* The guest has seen a frame before, so that nothing but a stop begins a blackout. */
static int
setup_running(void **state)
{
	int ret = setup(state);

	if (ret == 0)
		account_back(&a, 0);
	return ret;
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
	account_stopped(&a, STOP);
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
	take(0, 2 * FRAME_FLOWS, STOP - TRANSIT);
	arrive(0, 3);
	arrive(FRAME_FLOWS + 5, FRAME_FLOWS + 6);
	account_stopped(&a, STOP);
	/* Packet 5 was overtaken before the stop; that is a loss. */
	check(4, 0, 1, 0, 2 * FRAME_FLOWS - 5);
	assert_int_equal(a.outstanding, 0);
	assert_int_equal(t.sent, t.received + t.lost + t.in_blackout);
}

/* The device had them long before the stop: a receive queue is dead, say. */
static void
test_taken_long_before_a_stop_is_lost(void **state)
{
	(void)state;
	send(4);
	take(0, 2, STOP - TRANSIT - 1);
	take(2, 3, STOP + 1);
	account_stopped(&a, STOP);
	check(0, 0, 2, 0, 2);
}

/* A device that sends before it can receive: what it takes so early falls into the blackout. */
static void
test_sent_before_the_device_is_back_is_in_the_blackout(void **state)
{
	(void)state;
	account_stopped(&a, STOP);
	send(3 * FRAME_FLOWS);
	take(0, FRAME_FLOWS, BACK - 2 * LIMIT);
	account_expire(&a, BACK, LIMIT);
	check(0, 0, 0, 0, FRAME_FLOWS);
	/* The first frame is back; it overtook one that the guest learns of only now. */
	arrive(2 * FRAME_FLOWS + 1, 2 * FRAME_FLOWS + 2);
	account_back(&a, BACK);
	take(FRAME_FLOWS, 3 * FRAME_FLOWS, BACK + TRANSIT);
	account_expire(&a, BACK + TRANSIT + 2 * LIMIT, LIMIT);
	check(1, 0, 0, 0, 3 * FRAME_FLOWS - 1);
	assert_int_equal(a.outstanding, 0);
	assert_int_equal(t.sent, t.received + t.lost + t.in_blackout);
}

static void
test_sent_after_the_device_is_back_is_lost(void **state)
{
	(void)state;
	account_stopped(&a, STOP);
	send(FRAME_FLOWS);
	account_back(&a, BACK);
	send(FRAME_FLOWS + 1);
	arrive(2 * FRAME_FLOWS, 2 * FRAME_FLOWS + 1);
	account_expire(&a, BACK, LIMIT);
	/* Overtaken are one from before and one from after, which waits its turn. */
	check(1, 0, 0, 0, 1);
	take(0, 2 * FRAME_FLOWS, BACK + 1);
	account_expire(&a, BACK + 2 + LIMIT, LIMIT);
	check(1, 0, FRAME_FLOWS, 0, FRAME_FLOWS);
}

/* Sent in the blackout, but still the guest's well after it: what happens then is no excuse. */
static void
test_taken_well_after_the_device_is_back_is_lost(void **state)
{
	(void)state;
	account_stopped(&a, STOP);
	send(2);
	account_back(&a, BACK);
	take(0, 1, BACK + TRANSIT);
	take(1, 2, BACK + TRANSIT + 1);
	account_expire(&a, BACK + TRANSIT + 2 + LIMIT, LIMIT);
	check(0, 0, 1, 0, 1);
}

static void
test_blackouts_end_one_by_one(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 1; i <= 3; i++) {
		uint64_t now = i * STOP;

		account_stopped(&a, now);
		send(FRAME_FLOWS);
		account_back(&a, now + LIMIT);
		send(FRAME_FLOWS);
		take(a.next_seq - FRAME_FLOWS, a.next_seq, now + LIMIT);
		account_expire(&a, now + 3 * LIMIT, LIMIT);
		/* Nothing is given up behind a frame that was never taken. */
		assert_int_equal(t.in_blackout, (i - 1) * FRAME_FLOWS);
	}
	account_stopped(&a, i * STOP);
	check(0, 0, 3 * FRAME_FLOWS, 0, 3 * FRAME_FLOWS);
	assert_int_equal(t.sent, t.lost + t.in_blackout);
}

static void
test_in_the_blackout_but_arrives(void **state)
{
	(void)state;
	account_stopped(&a, STOP);
	send(2);
	take(0, 2, BACK - 2 * LIMIT);
	account_expire(&a, BACK, LIMIT);
	check(0, 0, 0, 0, 2);
	account_back(&a, BACK);
	arrive(0, 2);
	check(2, 0, 0, 0, 0);
}

/* Before the first frame of all, the device is down as well. */
static void
test_before_the_first_frame(void **state)
{
	(void)state;
	send(3);
	take(0, 2, 0);
	account_expire(&a, LIMIT + 1, LIMIT);
	account_stopped(&a, 0);
	check(0, 0, 0, 0, 3);
}

static void
test_given_up_but_arrives(void **state)
{
	(void)state;
	send(2);
	take(0, 1, 0);
	account_expire(&a, 2 * LIMIT, LIMIT);
	account_stopped(&a, STOP);
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
	account_stopped(&a, STOP);
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
	account_stopped(&a, STOP);
	check(0, 0, 2, 0, ACCOUNT_WINDOW);
}

/* A ring may hold more frames than the window of small ones: none is given up before its time. */
static void
test_window_grows_with_rings(void **state)
{
	const uint32_t big = 32768, outstanding = 2 * big;
	uint32_t i;

	(void)state;
	account_fini(&a);
	assert_int_equal(account_init(&a, &t, big), 0);
	account_back(&a, 0);
	send(outstanding);
	check(0, 0, 0, 0, 0);
	for (i = 0; i < outstanding; i++)
		arrive(i, i + 1);
	check(outstanding, 0, 0, 0, 0);
}

static void
test_forgotten_is_neither_lost_nor_on_its_way(void **state)
{
	(void)state;
	send(10);
	take(0, 5, 1);
	arrive(0, 2);
	account_forget(&a);
	assert_int_equal(a.outstanding, 0);
	account_expire(&a, 1 + 2 * LIMIT, LIMIT);
	account_stopped(&a, STOP);
	check(2, 0, 0, 0, 0);
}

#define running(test) cmocka_unit_test_setup_teardown(test, setup_running, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		running(test_all_arrive),
		running(test_overtaken_in_its_flow_is_lost_at_once),
		running(test_overtaken_by_another_flow_is_not_lost),
		running(test_taken_and_late_is_lost),
		running(test_not_taken_is_never_lost),
		running(test_on_their_way_at_a_stop),
		running(test_taken_long_before_a_stop_is_lost),
		running(test_sent_before_the_device_is_back_is_in_the_blackout),
		running(test_sent_after_the_device_is_back_is_lost),
		running(test_taken_well_after_the_device_is_back_is_lost),
		running(test_blackouts_end_one_by_one),
		running(test_in_the_blackout_but_arrives),
		cmocka_unit_test_setup_teardown(test_before_the_first_frame, setup, teardown),
		running(test_given_up_but_arrives),
		running(test_arrives_twice),
		running(test_corrupt_is_not_received_nor_lost),
		running(test_never_sent),
		running(test_window_wraps),
		running(test_window_grows_with_rings),
		running(test_window_overrun_is_a_loss),
		running(test_forgotten_is_neither_lost_nor_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
