/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices with a wire between them: what one sends, the other receives, and none itself.
 *
 * On emulated devices that is wire=pair; two ports of cards with a cable do as well, with
 * MLX5_TEST_DEVICE and MLX5_TEST_PEER.
 */
#include "traffic.h"

static struct dev *devs[2];
static struct pair p[2];

static int
setup_devs(void **state)
{
	(void)state;
	devs[0] = dev_open(true);
	devs[1] = devs[0] != NULL ? dev_open_peer(devs[0]) : NULL;
	return devs[1] != NULL ? 0 : -1;
}

static int
teardown_devs(void **state)
{
	int ret = dev_close(devs[0]);

	(void)state;
	return dev_close(devs[1]) == 0 ? ret : -1;
}

static int
setup(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < DIM(p); i++) {
		pair_create(&p[i], devs[i], 0, 0);
		pair_start(&p[i]);
	}
	return 0;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < DIM(p); i++)
		pair_discard(&p[i]);
	return 0;
}

static void
send_one(struct pair *from, struct pair *to, uint32_t len)
{
	struct vring_used_elem e;
	uint32_t seq = pair_post_tx(from, len);

	queue_kick(&from->tx);
	pair_expect(to, seq, len);
	assert_true(wait_until(ring_take(&from->tx.ring, &e)));
}

static void
what_one_sends_the_other_receives(void **state)
{
	unsigned int i, k;

	(void)state;
	for (i = 0; i < DIM(p); i++)
		pair_post_rx(&p[i], PAIR_SIZE);
	for (k = 0; k < PAIR_SIZE; k++) {
		send_one(&p[0], &p[1], FRAME_MIN + k * 20);
		send_one(&p[1], &p[0], FRAME_MAX - k * 20);
	}
	for (i = 0; i < DIM(p); i++)
		assert_int_equal(ring_pending(&p[i].rx.ring), 0);
}

static void
both_send_at_once(void **state)
{
	enum { ROUNDS = 200, BURST = PAIR_SIZE / 2, LEN = 700 };
	struct vring_used_elem e;
	uint32_t first[2];
	unsigned int i, k, round;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		/* Buffers first: a device sends what it finds while it looks at them. */
		for (i = 0; i < DIM(p); i++)
			pair_post_rx(&p[i], BURST);
		for (i = 0; i < DIM(p); i++) {
			first[i] = p[i].sent;
			for (k = 0; k < BURST; k++)
				pair_post_tx(&p[i], LEN);
		}
		queue_kick(&p[0].tx);
		queue_kick(&p[1].tx);
		for (i = 0; i < DIM(p); i++) {
			for (k = 0; k < BURST; k++) {
				pair_expect(&p[!i], first[i] + k, LEN);
				assert_true(wait_until(ring_take(&p[i].tx.ring, &e)));
			}
		}
	}
}

/* A device that is stopped loses what comes, and the sender does not notice. */
static void
a_receiver_that_stands_still_stops_nobody(void **state)
{
	struct vring_used_elem e;
	unsigned int k;

	(void)state;
	pair_post_rx(&p[1], 1);
	queue_go(&p[1].rx, SUSPEND);
	for (k = 0; k < PAIR_SIZE; k++)
		pair_post_tx(&p[0], 300);
	queue_kick(&p[0].tx);
	for (k = 0; k < PAIR_SIZE; k++)
		assert_true(wait_until(ring_take(&p[0].tx.ring, &e)));
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p[1].rx.ring), 0);
	if (!VIRTIO_CAP(devs[1], freeze_to_rdy_supported))
		return;
	queue_go(&p[1].rx, RDY);
	queue_kick(&p[1].rx);
	send_one(&p[0], &p[1], 400);
}

static void
no_access_went_wrong(void **state)
{
	(void)state;
	if (dma_faults() >= 0)
		assert_int_equal(dma_faults(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_one_sends_the_other_receives),
		TEST(both_send_at_once),
		TEST(a_receiver_that_stands_still_stops_nobody),
		cmocka_unit_test(no_access_went_wrong),
	};

	return cmocka_run_group_tests(tests, setup_devs, teardown_devs);
}
