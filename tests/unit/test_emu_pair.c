/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: two devices of one process, each at an end of a cable.
 */
#include <errno.h>

#include "emu_card.h"

enum {
	RX = 0,
	TX = 1,
	SIZE = 256,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	BUF = 2048,
	FRAME = 200,
	/* More frames of the greatest length than a cable holds. */
	FLOOD = 1000,
};

/* A device with a receive and a transmit queue. */
struct port {
	struct card *card;
	struct queue rx, tx;
	uint8_t *rx_bufs, *tx_bufs;
	unsigned int posted, sent, got;
};

static void
port_start(struct port *p, struct card *card)
{
	struct queue *rx = &p->rx;

	memset(p, 0, sizeof(*p));
	p->card = card;
	queue_create(card, &p->rx, RX, SIZE);
	queue_create(card, &p->tx, TX, SIZE);
	steer_all(card, &rx, 1);
	p->rx_bufs = card_alloc(card, (size_t)SIZE * BUF, 64);
	p->tx_bufs = card_alloc(card, (size_t)SIZE * BUF, 64);
	assert_int_equal(queue_set_state(&p->rx, MLX5_VIRTQ_STATE_RDY), 0);
	assert_int_equal(queue_set_state(&p->tx, MLX5_VIRTQ_STATE_RDY), 0);
	card_kick(card);
}

static void
post_rx(struct port *p)
{
	struct seg seg;

	for (; p->posted < p->got + SIZE; p->posted++) {
		seg = (struct seg){ p->rx_bufs + p->posted % SIZE * BUF, BUF };
		queue_add(&p->rx, RING_DIRECT, &seg, 1, true);
	}
}

/* Make the next frame available: its number and a pattern of it. */
static void
post_tx(struct port *p, uint32_t len)
{
	uint8_t *buf = p->tx_bufs + p->sent % SIZE * BUF;
	struct seg seg = { buf, HDR + len };
	uint32_t i;

	WAIT_FOR((uint16_t)(p->sent - queue_used_idx(&p->tx)) < SIZE);
	memcpy(buf + HDR, &p->sent, sizeof(p->sent));
	for (i = sizeof(p->sent); i < len; i++)
		buf[HDR + i] = (uint8_t)(p->sent + i);
	queue_add(&p->tx, RING_DIRECT, &seg, 1, false);
	p->sent++;
}

/* Take what has arrived; frames come in order, each whole. */
static void
take(struct port *p)
{
	const uint8_t *buf;
	uint32_t i, len;

	for (; queue_used_idx(&p->rx) != (uint16_t)p->got; p->got++) {
		len = queue_used(&p->rx, (uint16_t)p->got).len - HDR;
		buf = p->rx_bufs + p->got % SIZE * BUF + HDR;
		assert_memory_equal(buf, &p->got, sizeof(p->got));
		for (i = sizeof(p->got); i < len; i++)
			assert_int_equal(buf[i], (uint8_t)(p->got + i));
	}
}

static void
connect(struct card *a, struct card *b)
{
	struct emu_dev *devs[] = { a->dev, b->dev };
	char err[256] = "";

	if (emu_devs_connect(devs, DIM(devs), err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

static void
pair_new(struct port *p)
{
	struct card *a = card_new("name=a,wire=pair:b"), *b = card_new("name=b");

	connect(a, b);
	port_start(&p[0], a);
	port_start(&p[1], b);
}

static void
pair_free(struct port *p)
{
	card_free(p[0].card);
	card_free(p[1].card);
}

static void
frames_arrive_at_the_other_end_alone(void **state)
{
	struct port p[2];
	unsigned int i;

	(void)state;
	pair_new(p);
	for (i = 0; i < 2; i++) {
		post_rx(&p[0]);
		post_rx(&p[1]);
		post_tx(&p[i], FRAME);
		card_kick(p[i].card);
		WAIT_FOR(queue_used_idx(&p[!i].rx) == 1);
		take(&p[!i]);
		assert_int_equal(queue_used_idx(&p[i].rx), i);
		assert_int_equal(p[i].card->dev->tx_packets, 1);
		assert_int_equal(p[!i].card->dev->rx_packets, 1);
	}
	pair_free(p);
}

/* Both devices send as fast as they can: nobody waits for the other, and what arrives is in order,
 * over the end of the cable's queue many times. */
static void
traffic_passes_both_ways_at_once(void **state)
{
	enum { N = 30000 };
	struct port p[2];
	unsigned int i, k;

	(void)state;
	pair_new(p);
	while (p[0].got < N || p[1].got < N) {
		for (i = 0; i < 2; i++) {
			post_rx(&p[i]);
			for (k = 0; k < 32 && p[i].sent < N && p[i].sent < p[!i].got + SIZE; k++)
				post_tx(&p[i], 64 + p[i].sent % 1400);
			card_kick(p[i].card);
		}
		for (i = 0; i < 2; i++) {
			WAIT_FOR(p[i].got == N || p[i].got == p[!i].sent ||
				queue_used_idx(&p[i].rx) != (uint16_t)p[i].got);
			take(&p[i]);
		}
	}
	for (i = 0; i < 2; i++) {
		assert_int_equal(p[i].card->dev->rx_drops, 0);
		assert_int_equal(p[i].card->dev->rx_packets, N);
	}
	pair_free(p);
}

static void
a_frame_without_a_buffer_is_dropped_where_it_arrives(void **state)
{
	struct port p[2];

	(void)state;
	pair_new(p);
	post_tx(&p[0], FRAME);
	card_kick(p[0].card);
	WAIT_FOR(p[1].card->dev->rx_drops == 1);
	assert_int_equal(p[0].card->dev->rx_drops, 0);
	assert_int_equal(p[0].card->dev->tx_packets, 1);
	pair_free(p);
}

/* The receiver does not get to run: its lock is held. The sender goes on, what has no room is
 * dropped and counted, and no frame is both. */
static void
a_cable_that_is_full_drops_at_the_receiver(void **state)
{
	uint32_t len = EMU_FRAME_MAX;
	uint8_t *frame;
	struct port p[2];
	unsigned int i;
	struct seg seg;

	(void)state;
	pair_new(p);
	frame = card_alloc(p[0].card, HDR + len, 64);
	emu_dev_lock(p[1].card->dev);
	for (i = 0; i < FLOOD; i++) {
		seg = (struct seg){ frame, HDR + len };
		WAIT_FOR((uint16_t)(i - queue_used_idx(&p[0].tx)) < SIZE);
		queue_add(&p[0].tx, RING_DIRECT, &seg, 1, false);
		card_kick(p[0].card);
	}
	WAIT_FOR(queue_used_idx(&p[0].tx) == FLOOD);
	/* Nothing arrived, and commands to the sender are not held up. */
	assert_int_equal(queue_state(&p[0].tx), MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(p[1].card->dev->rx_drops, 0);
	emu_dev_unlock(p[1].card->dev);
	/* No buffers: those that were on their way are dropped as well. */
	WAIT_FOR(p[1].card->dev->rx_drops == FLOOD);
	assert_int_equal(p[0].card->dev->tx_packets, FLOOD);
	/* And the cable works on. */
	post_rx(&p[1]);
	card_kick(p[1].card);
	post_tx(&p[1], FRAME);
	post_rx(&p[0]);
	card_kick(p[1].card);
	WAIT_FOR(queue_used_idx(&p[0].rx) == 1);
	take(&p[0]);
	pair_free(p);
}

/* A receiver that sleeps is woken: an idle pair is not slower than a pause. */
static void
a_sleeping_receiver_is_woken(void **state)
{
	struct port p[2];
	unsigned int i;

	(void)state;
	pair_new(p);
	post_rx(&p[1]);
	for (i = 0; i < 20; i++) {
		usleep(10 * 1000);
		post_tx(&p[0], FRAME);
		card_kick(p[0].card);
		WAIT_FOR(queue_used_idx(&p[1].rx) == i + 1);
	}
	take(&p[1]);
	pair_free(p);
}

static void
one_end_may_go_under_traffic(void **state)
{
	struct port p[2];
	unsigned int gone, i;

	(void)state;
	for (gone = 0; gone < 2; gone++) {
		pair_new(p);
		for (i = 0; i < SIZE; i++) {
			post_tx(&p[!gone], 1000);
			card_kick(p[!gone].card);
			if (i == SIZE / 2)
				card_free(p[gone].card);
		}
		/* It sends into the void, and still obeys. */
		WAIT_FOR(queue_used_idx(&p[!gone].tx) == SIZE);
		assert_int_equal(queue_state(&p[!gone].tx), MLX5_VIRTQ_STATE_RDY);
		card_free(p[!gone].card);
	}
}

static void
a_pair_that_is_not_connected_sends_nowhere(void **state)
{
	struct card *card = card_new("wire=pair:nosuch");
	struct port p;
	char err[256];

	(void)state;
	assert_int_equal(emu_devs_connect(&card->dev, 1, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "nosuch"));
	port_start(&p, card);
	post_rx(&p);
	post_tx(&p, FRAME);
	card_kick(card);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	assert_int_equal(queue_used_idx(&p.rx), 0);
	card_free(card);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_at_the_other_end_alone),
		cmocka_unit_test(traffic_passes_both_ways_at_once),
		cmocka_unit_test(a_frame_without_a_buffer_is_dropped_where_it_arrives),
		cmocka_unit_test(a_cable_that_is_full_drops_at_the_receiver),
		cmocka_unit_test(a_sleeping_receiver_is_woken),
		cmocka_unit_test(one_end_may_go_under_traffic),
		cmocka_unit_test(a_pair_that_is_not_connected_sends_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
