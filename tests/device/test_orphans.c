/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages that leave their file while they are registered: a hole is punched, or the file is cut off.
 *
 * What becomes of DMA then is told by MLX5_TEST_ORPHANS: "kept" (a card: it goes to the pinned
 * page, which the file has no more), "followed" (the emulated device: to the file's page of now),
 * "fault" (the emulated device, checking: the queue goes into error). Nothing crashes in any case.
 */
#include <fcntl.h>
#include <unistd.h>

#include "events.h"
#include "traffic.h"

enum { LEN = 300, INVALID_BUFFER = 3, INTERNAL = 5, PAGE = 4096 };

static struct pair p;
static struct channel ch;

static enum { KEPT, FOLLOWED, FAULT }
expected(void)
{
	const char *what = getenv("MLX5_TEST_ORPHANS");

	if (what == NULL || strcmp(what, "kept") == 0)
		return KEPT;
	if (strcmp(what, "followed") == 0)
		return FOLLOWED;
	assert_string_equal(what, "fault");
	return FAULT;
}

static int
setup(void **state)
{
	pair_create(&p, *state, 0, 0);
	ch = channel_create(*state);
	channel_subscribe(&ch, &p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, 1);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, 2);
	pair_start(&p);
	pair_exchange(&p, 3);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	channel_discard(&ch);
	pair_discard(&p);
	return 0;
}

/* Take the file's pages behind [at, at + len) away. */
static void
punch(const uint8_t *at, size_t len)
{
	size_t off = (size_t)(at - p.mem.va);

	assert_int_equal(fallocate(p.mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		off / PAGE * PAGE, (len + PAGE - 1) / PAGE * PAGE), 0);
}

static void
expect_broken(struct queue *q, uint64_t cookie, uint8_t error_type, int64_t faults)
{
	assert_true(wait_until(virtq_state(&q->vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&q->vq).error_type, error_type);
	assert_int_equal(channel_wait(&ch, WAIT_MS), cookie);
	assert_true(faults < 0 || dma_faults() > faults);
}

static void
a_hole_under_a_transmit_buffer(void **state)
{
	uint8_t *buf = pair_tx_buf(&p, p.sent % PAIR_SIZE);
	int64_t faults = dma_faults();
	struct vring_used_elem e;
	uint32_t seq;

	(void)state;
	pair_post_rx(&p, 1);
	memset(buf, 0, NET_HDR);
	memset(buf + NET_HDR, 0x11, LEN);
	punch(buf, 1);
	/* The frame is in the file's page of now. */
	seq = pair_post_tx(&p, LEN);
	queue_kick(&p.tx);
	switch (expected()) {
	case KEPT:
		assert_true(wait_until(ring_take(&p.rx.ring, &e)));
		assert_int_equal(e.len, NET_HDR + LEN);
		assert_int_equal(pair_rx_buf(&p, 0)[NET_HDR + LEN - 1], 0x11);
		break;
	case FOLLOWED:
		pair_expect(&p, seq, LEN);
		break;
	case FAULT:
		expect_broken(&p.tx, 2, INVALID_BUFFER, faults);
		assert_int_equal(virtq_state(&p.rx.vq), MLX5_VIRTQ_STATE_RDY);
		break;
	}
}

static void
a_hole_under_a_receive_buffer(void **state)
{
	int64_t faults = dma_faults();
	struct vring_used_elem e;

	(void)state;
	pair_post_rx(&p, 1);
	punch(pair_rx_buf(&p, 0), 1);
	pair_post_tx(&p, LEN);
	queue_kick(&p.tx);
	switch (expected()) {
	case KEPT:
		assert_true(wait_until(ring_take(&p.rx.ring, &e)));
		assert_int_equal(pair_rx_buf(&p, 0)[NET_HDR], 0);
		break;
	case FOLLOWED:
		pair_expect(&p, 3, LEN);
		break;
	case FAULT:
		expect_broken(&p.rx, 1, INVALID_BUFFER, faults);
		assert_int_equal(virtq_state(&p.tx.vq), MLX5_VIRTQ_STATE_RDY);
		break;
	}
}

/* The pages of the file are gone, not replaced: a fault of the emulated device in either mode. */
static void
a_file_that_is_cut_off_under_its_queues(void **state)
{
	int64_t faults = dma_faults();

	(void)state;
	if (expected() == KEPT)
		skip();
	assert_int_equal(ftruncate(p.mem.fd, 0), 0);
	queue_kick(&p.tx);
	expect_broken(&p.tx, 2, INTERNAL, faults);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hole_under_a_transmit_buffer),
		TEST(a_hole_under_a_receive_buffer),
		TEST(a_file_that_is_cut_off_under_its_queues),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}
