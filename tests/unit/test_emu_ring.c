/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: packets through split rings, what a bad ring does, doorbells, and an idle device.
 */
#include <time.h>

#include "emu_card.h"

enum {
	RX = 0,
	TX = 1,
	SIZE = 16,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	FRAME = 100,
	BUF = 2048,
};

/* A receive and a transmit queue over the loop wire, everything steered to the receive queue. */
struct pair {
	struct card *card;
	struct queue rx, tx;
	uint32_t counters;         /* of tx */
};

static void
pair_start(struct pair *p, struct card *card, uint16_t size, bool rdy)
{
	struct queue *rx = &p->rx;

	p->card = card;
	p->counters = card_counters(card);
	queue_create(card, &p->rx, RX, size);
	queue_create_with(card, &p->tx, TX, size, NULL, p->counters);
	steer_all(card, &rx, 1);
	if (!rdy)
		return;
	assert_int_equal(queue_set_state(&p->rx, MLX5_VIRTQ_STATE_RDY), 0);
	assert_int_equal(queue_set_state(&p->tx, MLX5_VIRTQ_STATE_RDY), 0);
	card_kick(card);
}

static uint8_t
pattern(unsigned int seed, unsigned int i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* A virtio header and a frame of @p len bytes. */
static uint8_t *
make_packet(struct card *card, unsigned int seed, uint32_t len)
{
	uint8_t *p = card_alloc(card, HDR + len, 2);
	uint32_t i;

	for (i = 0; i < len; i++)
		p[HDR + i] = pattern(seed, i);
	return p;
}

static void
check_frame(const uint8_t *frame, unsigned int seed, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		assert_int_equal(frame[i], pattern(seed, i));
}

/* Chop [p, p + len) into pieces of the given lengths; the last takes the rest. */
static unsigned int
chop(struct seg *segs, uint8_t *p, uint32_t len, const uint32_t *lens, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		segs[i] = (struct seg){ p, i + 1 < n ? lens[i] : len };
		p += segs[i].len;
		len -= segs[i].len;
	}
	return n;
}

static uint8_t *
add_rx(struct pair *p, uint32_t len)
{
	uint8_t *buf = card_alloc(p->card, len, 2);
	struct seg seg = { buf, len };

	queue_add(&p->rx, RING_DIRECT, &seg, 1, true);
	return buf;
}

static void
add_tx(struct pair *p, unsigned int seed, uint32_t len)
{
	struct seg seg = { make_packet(p->card, seed, len), HDR + len };

	queue_add(&p->tx, RING_DIRECT, &seg, 1, false);
}

static uint64_t
counter(struct pair *p, unsigned int off, unsigned int width)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};

	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, p->counters);
	assert_int_equal(card_cmd(p->card, MLX5_CMD_OP_QUERY_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(query_virtio_q_counters_out)), 0);
	return prm_get(PRM_ADDR(query_virtio_q_counters_out, p->card->out, counters), off, width);
}
#define COUNTER(p, f) \
	counter((p), PRM_virtio_q_counters__##f##__OFF, PRM_virtio_q_counters__##f##__WIDTH)

static void
quiet(void)
{
	usleep(CARD_QUIET_MS * 1000);
}

/* ---- traffic ---- */

static void
a_frame_comes_back(void **state)
{
	struct emu_vring_used_elem e;
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state, SIZE, true);
	buf = add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	e = queue_used(&p.rx, 0);
	assert_int_equal(e.id, 0);
	assert_int_equal(e.len, HDR + FRAME);
	check_frame(buf + HDR, 1, FRAME);
	/* Header: all zero but num_buffers, which is 1. */
	assert_int_equal(buf[10], 1);
	buf[10] = 0;
	assert_memory_equal(buf, (uint8_t[HDR]){0}, HDR);
	/* The device wrote nothing into what it sent. */
	assert_int_equal(queue_used(&p.tx, 0).len, 0);
	assert_int_equal(COUNTER(&p, received_desc), 1);
	assert_int_equal(COUNTER(&p, completed_desc), 1);
	assert_int_equal(p.card->dev->tx_packets, 1);
	assert_int_equal(p.card->dev->rx_packets, 1);
	assert_int_equal(p.card->dev->rx_drops, 0);
}

/* How both ends lay out a packet. */
static const struct {
	enum ring_kind kind;
	unsigned int n;
	uint32_t lens[6];
} layouts[] = {
	{ RING_DIRECT, 1, { 0 } },
	{ RING_DIRECT, 2, { HDR } },
	{ RING_DIRECT, 3, { HDR, 14 } },
	{ RING_DIRECT, 3, { 5, 3 } },              /* a header in pieces */
	{ RING_DIRECT, 6, { 1, 1, 1, 1, 1 } },
	{ RING_INDIRECT, 1, { 0 } },
	{ RING_INDIRECT, 2, { HDR } },
	{ RING_INDIRECT, 5, { HDR, 1, 2, 3 } },
};

static void
every_layout_carries_every_other(void **state)
{
	const unsigned int n = DIM(layouts);
	struct seg segs[6];
	unsigned int i, j, t = 0;
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state, SIZE, true);
	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++, t++) {
			buf = card_alloc(p.card, HDR + FRAME, 2);
			chop(segs, buf, HDR + FRAME, layouts[i].lens, layouts[i].n);
			queue_add(&p.rx, layouts[i].kind, segs, layouts[i].n, true);
			chop(segs, make_packet(p.card, t, FRAME), HDR + FRAME, layouts[j].lens,
				layouts[j].n);
			queue_add(&p.tx, layouts[j].kind, segs, layouts[j].n, false);
			card_kick(p.card);
			WAIT_FOR(queue_used_idx(&p.rx) == t + 1);
			assert_int_equal(queue_used(&p.rx, (uint16_t)t).len, HDR + FRAME);
			check_frame(buf + HDR, t, FRAME);
		}
	}
}

/* Virtio 1.x, 2.7.5.3.1: normal descriptors, then one that refers to a table. */
static void
a_chain_may_end_in_an_indirect_table(void **state)
{
	struct emu_vring_desc *table;
	struct seg seg;
	struct pair p;
	uint8_t *pkt, *buf;

	pair_start(&p, *state, SIZE, true);
	buf = add_rx(&p, BUF);
	pkt = make_packet(p.card, 5, FRAME);
	table = card_alloc(p.card, 2 * sizeof(*table), 16);
	table[0] = (struct emu_vring_desc){ card_gpa(p.card, pkt + HDR), 40, DESC_NEXT, 1 };
	table[1] = (struct emu_vring_desc){ card_gpa(p.card, pkt + HDR + 40), FRAME - 40, 0, 0 };
	p.tx.desc[1] = (struct emu_vring_desc){
		/* WRITE has no meaning beside INDIRECT: a device ignores it. */
		card_gpa(p.card, table), 2 * sizeof(*table), DESC_INDIRECT | DESC_WRITE, 0
	};
	seg = (struct seg){ pkt, HDR };
	p.tx.desc[0] = (struct emu_vring_desc){ card_gpa(p.card, seg.addr), seg.len, DESC_NEXT, 1 };
	queue_add_head(&p.tx, 0);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	check_frame(buf + HDR, 5, FRAME);
}

static void
the_header_without_version_1_has_10_bytes(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)], *buf, *pkt;
	struct queue *rx;
	struct seg seg;
	struct pair p;

	pair_start(&p, *state, SIZE, false);
	rx = &p.rx;
	for (; rx != NULL; rx = rx == &p.rx ? &p.tx : NULL) {
		queue_fill_modify(rx, MLX5_VIRTQ_MODIFY_VIRTIO_VERSION | MLX5_VIRTQ_MODIFY_STATE,
			in);
		PRM_SET(virtio_net_q_object, PRM_ADDR(create_virtio_net_q_in, in, obj_context),
			state, MLX5_VIRTQ_STATE_RDY);
		assert_int_equal(queue_modify(rx, in), 0);
	}
	buf = add_rx(&p, BUF);
	memset(buf, 0xee, BUF);
	pkt = make_packet(p.card, 9, FRAME);
	seg = (struct seg){ pkt + 2, HDR - 2 + FRAME };
	queue_add(&p.tx, RING_DIRECT, &seg, 1, false);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	assert_int_equal(queue_used(&p.rx, 0).len, 10 + FRAME);
	assert_memory_equal(buf, (uint8_t[10]){0}, 10);
	check_frame(buf + 10, 9, FRAME);
}

/* Thousands of frames through few descriptors, over the end of rings and of 16-bit indices. */
static void
many_frames_arrive_once_each_and_in_order(void **state)
{
	enum { N = 20000, START = 65500, MASK = 63 };
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)], *rxb, *txb;
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	unsigned int sent = 0, done = 0, got = 0, posted = 0, i;
	uint16_t start = START;
	struct queue *q;
	struct seg seg;
	struct pair p;

	pair_start(&p, *state, 64, false);
	rxb = card_alloc(p.card, 64 * 256, 64);
	txb = card_alloc(p.card, 64 * 256, 64);
	for (q = &p.rx; q != NULL; q = q == &p.rx ? &p.tx : NULL) {
		queue_fill_modify(q, MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_USED_IDX |
			MLX5_VIRTQ_MODIFY_STATE, in);
		PRM_SET(virtio_net_q_object, obj, hw_available_index, START);
		PRM_SET(virtio_net_q_object, obj, hw_used_index, START);
		PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
		q->avail[1] = q->used[1] = htole16(START);
		assert_int_equal(queue_modify(q, in), 0);
	}
	while (got < N) {
		for (; posted < N && posted < got + 64; posted++) {
			seg = (struct seg){ rxb + (posted & MASK) * 256, 256 };
			queue_add(&p.rx, RING_DIRECT, &seg, 1, true);
		}
		done += (uint16_t)(queue_used_idx(&p.tx) - (uint16_t)(start + done));
		for (; sent < posted && sent < done + 64; sent++) {
			for (i = 0; i < 64; i++)
				txb[(sent & MASK) * 256 + HDR + i] = pattern(sent, i);
			seg = (struct seg){ txb + (sent & MASK) * 256, HDR + 64 };
			queue_add(&p.tx, RING_DIRECT, &seg, 1, false);
		}
		card_kick(p.card);
		/* A whole burst is published in the receive queue first: all that we wait for may be
		 * the transmit descriptors. */
		WAIT_FOR(queue_used_idx(&p.rx) != (uint16_t)(start + got) ||
			queue_used_idx(&p.tx) != (uint16_t)(start + done));
		for (; queue_used_idx(&p.rx) != (uint16_t)(start + got); got++) {
			assert_int_equal(queue_used(&p.rx, (uint16_t)(start + got)).id, got & MASK);
			check_frame(rxb + (got & MASK) * 256 + HDR, got, 64);
		}
	}
	assert_int_equal(p.card->dev->rx_drops, 0);
	assert_int_equal(PRM_GET(virtio_net_q_object, queue_query(&p.rx), hw_used_index),
		(uint16_t)(start + N));
}

static void
a_frame_that_does_not_fit_is_dropped_and_the_buffer_waits(void **state)
{
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state, SIZE, true);
	buf = add_rx(&p, HDR + FRAME - 1);
	add_tx(&p, 1, FRAME);
	add_tx(&p, 2, FRAME - 1);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	WAIT_FOR(queue_used_idx(&p.tx) == 2);
	check_frame(buf + HDR, 2, FRAME - 1);
	assert_int_equal(p.card->dev->rx_drops, 1);
	assert_int_equal(p.card->dev->rx_packets, 1);
}

static void
a_frame_without_a_buffer_is_dropped(void **state)
{
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	WAIT_FOR(p.card->dev->rx_drops == 1);
	assert_int_equal(queue_state(&p.rx), MLX5_VIRTQ_STATE_RDY);
}

static void
what_is_no_frame_is_consumed_and_goes_nowhere(void **state)
{
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	add_rx(&p, BUF);
	add_tx(&p, 1, 13);
	add_tx(&p, 2, EMU_FRAME_MAX + 1);
	add_tx(&p, 3, 14);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.tx) == 3);
	assert_int_equal(p.card->dev->tx_packets, 1);
	assert_int_equal(queue_state(&p.tx), MLX5_VIRTQ_STATE_RDY);
}

static void
the_longest_frame_passes(void **state)
{
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state, SIZE, true);
	buf = add_rx(&p, HDR + EMU_FRAME_MAX);
	add_tx(&p, 1, EMU_FRAME_MAX);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	check_frame(buf + HDR, 1, EMU_FRAME_MAX);
}

static void
the_null_wire_takes_frames_and_returns_none(void **state)
{
	struct card *card = card_new("wire=null");
	struct pair p;

	(void)state;
	pair_start(&p, card, SIZE, true);
	add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(card);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	assert_int_equal(card->dev->tx_packets, 1);
	assert_int_equal(card->dev->rx_packets + card->dev->rx_drops, 0);
	card_free(card);
}

/* ---- doorbells and states ---- */

static void
a_queue_does_not_start_without_a_doorbell(void **state)
{
	struct pair p;

	pair_start(&p, *state, SIZE, false);
	add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	quiet();
	assert_int_equal(queue_set_state(&p.rx, MLX5_VIRTQ_STATE_RDY), 0);
	/* Rung before the queue was ready, seen or not: not for this queue. */
	card_kick(p.card);
	assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_RDY), 0);
	quiet();
	assert_int_equal(queue_used_idx(&p.tx), 0);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
}

static void
a_suspended_queue_does_nothing_until_it_is_resumed_and_rung(void **state)
{
	const void *obj;
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	add_rx(&p, BUF);
	add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_SUSPEND), 0);
	add_tx(&p, 2, FRAME);
	card_kick(p.card);
	quiet();
	assert_int_equal(queue_used_idx(&p.tx), 1);
	obj = queue_query(&p.tx);
	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_available_index), 1);
	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_used_index), 1);
	assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_RDY), 0);
	quiet();
	assert_int_equal(queue_used_idx(&p.tx), 1);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.tx) == 2);
	WAIT_FOR(queue_used_idx(&p.rx) == 2);
}

/* A command finds every queue at rest: what was taken is completed, and the driver can see it. */
static void
suspend_under_traffic_leaves_nothing_in_flight(void **state)
{
	unsigned int round, i;
	const void *obj;
	struct seg seg;
	struct pair p;
	uint8_t *pkt;
	uint16_t used;

	pair_start(&p, *state, 256, true);
	pkt = make_packet(p.card, 1, FRAME);
	seg = (struct seg){ pkt, HDR + FRAME };
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 200; i++)
			queue_add(&p.tx, RING_DIRECT, &seg, 1, false);
		card_kick(p.card);
		usleep(round % 50);
		assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_SUSPEND), 0);
		used = queue_used_idx(&p.tx);
		obj = queue_query(&p.tx);
		assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_available_index), used);
		assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_used_index), used);
		assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_RDY), 0);
		card_kick(p.card);
		WAIT_FOR(queue_used_idx(&p.tx) == le16toh(p.tx.avail[1]));
	}
}

/* ---- what a bad ring does ---- */

enum { BAD_DESCRIPTOR = 2, INVALID_BUFFER = 3, LIST_EXCEEDS_LIMIT = 4, INTERNAL = 5 };

/* The transmit queue is in error for this reason, said so once, and the receive queue goes on. */
static void
check_failed(struct pair *p, unsigned int type)
{
	const void *q;

	card_kick(p->card);
	WAIT_FOR(card_events(p->card, MLX5_EVENT_TYPE_OBJECT_CHANGE, p->tx.id) == 1);
	assert_int_equal(queue_state(&p->tx), MLX5_VIRTQ_STATE_ERR);
	q = PRM_ADDR(virtio_net_q_object, queue_query(&p->tx), virtio_q_context);
	assert_int_equal(PRM_GET(virtio_q, q, error_type), type);
	assert_int_equal(COUNTER(p, bad_desc_errors), type == BAD_DESCRIPTOR);
	assert_int_equal(COUNTER(p, invalid_buffer), type == INVALID_BUFFER);
	assert_int_equal(COUNTER(p, exceed_max_chain), type == LIST_EXCEEDS_LIMIT);
	assert_int_equal(COUNTER(p, error_cqes), type == INTERNAL);
	assert_int_equal(queue_state(&p->rx), MLX5_VIRTQ_STATE_RDY);
	/* It stays there, whatever is rung, and can be destroyed. */
	card_kick(p->card);
	quiet();
	assert_int_equal(card_events(p->card, MLX5_EVENT_TYPE_OBJECT_CHANGE, p->tx.id), 1);
	assert_int_equal(queue_destroy(&p->tx), 0);
}

/* A chain of one descriptor, made by hand. */
static void
add_desc(struct pair *p, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	p->tx.desc[0] = (struct emu_vring_desc){ htole64(gpa), htole32(len), htole16(flags),
		htole16(next) };
	queue_add_head(&p->tx, 0);
}

/* A table of one descriptor, behind one in the ring. */
static void
add_table(struct pair *p, struct emu_vring_desc entry, uint32_t len, uint16_t more_flags)
{
	struct emu_vring_desc *table = card_alloc(p->card, sizeof(*table), 16);

	*table = entry;
	add_desc(p, card_gpa(p->card, table), len, DESC_INDIRECT | more_flags, 0);
}

#define BAD_RING(name, type, ...) \
	static void \
	name(void **state) \
	{ \
		struct pair p; \
		pair_start(&p, *state, SIZE, true); \
		__VA_ARGS__; \
		check_failed(&p, type); \
	}

BAD_RING(a_head_outside_the_table_fails, BAD_DESCRIPTOR, queue_add_head(&p.tx, SIZE))
BAD_RING(an_index_that_runs_ahead_fails, BAD_DESCRIPTOR, p.tx.avail[1] = htole16(SIZE + 1))
BAD_RING(an_index_that_runs_back_fails, BAD_DESCRIPTOR, p.tx.avail[1] = htole16(UINT16_MAX))
BAD_RING(an_empty_descriptor_fails, BAD_DESCRIPTOR, add_desc(&p, CARD_GPA, 0, 0, 0))
BAD_RING(a_descriptor_to_write_in_a_transmit_queue_fails, BAD_DESCRIPTOR,
	add_desc(&p, CARD_GPA, 64, DESC_WRITE, 0))
BAD_RING(a_chain_shorter_than_the_header_fails, BAD_DESCRIPTOR,
	add_desc(&p, CARD_GPA, HDR - 1, 0, 0))
BAD_RING(a_next_outside_the_table_fails, BAD_DESCRIPTOR,
	add_desc(&p, CARD_GPA, 64, DESC_NEXT, SIZE))
BAD_RING(a_loop_fails, LIST_EXCEEDS_LIMIT, add_desc(&p, CARD_GPA, 64, DESC_NEXT, 0))
BAD_RING(a_buffer_outside_the_key_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM, 64, 0, 0))
BAD_RING(a_buffer_that_leaves_the_key_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM - 32, 64, 0, 0))
BAD_RING(a_buffer_that_wraps_around_fails, INVALID_BUFFER, add_desc(&p, UINT64_MAX - 31, 64, 0, 0))
BAD_RING(an_indirect_table_that_is_empty_fails, BAD_DESCRIPTOR,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, 0, 0 }, 0, 0))
BAD_RING(an_indirect_table_of_odd_length_fails, BAD_DESCRIPTOR,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, 0, 0 }, 17, 0))
BAD_RING(an_indirect_table_larger_than_the_queue_fails, LIST_EXCEEDS_LIMIT,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, 0, 0 }, 16 * (SIZE + 1), 0))
BAD_RING(an_indirect_table_out_of_reach_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM, 16, DESC_INDIRECT, 0))
BAD_RING(next_beside_indirect_fails, BAD_DESCRIPTOR,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, 0, 0 }, 16, DESC_NEXT))
BAD_RING(a_nested_indirect_table_fails, BAD_DESCRIPTOR,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 16, DESC_INDIRECT, 0 }, 16, 0))
BAD_RING(a_next_outside_an_indirect_table_fails, BAD_DESCRIPTOR,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, DESC_NEXT, 1 }, 16, 0))
BAD_RING(a_loop_in_an_indirect_table_fails, LIST_EXCEEDS_LIMIT,
	add_table(&p, (struct emu_vring_desc){ CARD_GPA, 64, DESC_NEXT, 0 }, 16, 0))
BAD_RING(memory_that_goes_under_the_buffer_fails, INVALID_BUFFER,
	p.card->gone = card_alloc(p.card, EMU_PAGE, EMU_PAGE);
	add_desc(&p, card_gpa(p.card, p.card->gone), 64, 0, 0))

static void
memory_that_goes_under_the_ring_fails(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	assert_int_equal(queue_set_state(&p.tx, MLX5_VIRTQ_STATE_SUSPEND), 0);
	p.tx.used = card_alloc(p.card, EMU_PAGE, EMU_PAGE);
	queue_fill_modify(&p.tx, MLX5_VIRTQ_MODIFY_ADDRS | MLX5_VIRTQ_MODIFY_STATE, in);
	PRM_SET(virtio_q, ctx, desc_addr, card_gpa(p.card, p.tx.desc));
	PRM_SET(virtio_q, ctx, available_addr, card_gpa(p.card, p.tx.avail));
	PRM_SET(virtio_q, ctx, used_addr, card_gpa(p.card, p.tx.used));
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(queue_modify(&p.tx, in), 0);
	p.card->gone = (uint8_t *)p.tx.used;
	add_tx(&p, 1, FRAME);
	check_failed(&p, INTERNAL);
}

static void
a_key_that_is_destroyed_under_a_queue_fails_it(void **state)
{
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	assert_int_equal(card_destroy(p.card, MLX5_CMD_OP_DESTROY_MKEY,
		p.card->mkey >> EMU_MKEY_INDEX_SHIFT), 0);
	add_tx(&p, 2, FRAME);
	check_failed(&p, INTERNAL);
}

/* What was done before the bad chain is done, and the index says where it stopped. */
static void
chains_before_a_bad_one_are_completed(void **state)
{
	const void *obj;
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	add_rx(&p, BUF);
	add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	add_tx(&p, 2, FRAME);
	queue_add_head(&p.tx, 77);
	add_tx(&p, 3, FRAME);
	card_kick(p.card);
	WAIT_FOR(card_events(p.card, MLX5_EVENT_TYPE_OBJECT_CHANGE, p.tx.id) == 1);
	assert_int_equal(queue_used_idx(&p.tx), 2);
	WAIT_FOR(queue_used_idx(&p.rx) == 2);
	obj = queue_query(&p.tx);
	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_available_index), 2);
	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_used_index), 2);
}

static void
a_receive_queue_fails_alone(void **state)
{
	struct seg seg;
	struct pair p;

	pair_start(&p, *state, SIZE, true);
	seg = (struct seg){ card_alloc(p.card, BUF, 2), BUF };
	queue_add(&p.rx, RING_DIRECT, &seg, 1, false);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(card_events(p.card, MLX5_EVENT_TYPE_OBJECT_CHANGE, p.rx.id) == 1);
	add_tx(&p, 2, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.tx) == 2);
	assert_int_equal(queue_state(&p.rx), MLX5_VIRTQ_STATE_ERR);
	assert_int_equal(queue_state(&p.tx), MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(p.card->dev->rx_drops, 2);
}

/* ---- dirty pages ---- */

static void
written_pages_are_marked_dirty(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)], *map, *buf;
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	uint64_t page, used;
	struct pair p;
	size_t i;

	pair_start(&p, *state, SIZE, true);
	/* A bit for every page from guest address 0 on. */
	map = card_alloc(p.card, (CARD_GPA + CARD_MEM) / EMU_PAGE / 8, 64);
	queue_fill_modify(&p.rx, MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, in);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_mkey, p.card->mkey);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_addr, card_gpa(p.card, map));
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_size, (CARD_GPA + CARD_MEM) / EMU_PAGE / 8);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_dump_enable, 1);
	assert_int_equal(queue_modify(&p.rx, in), 0);
	card_alloc(p.card, EMU_PAGE, EMU_PAGE);
	buf = add_rx(&p, BUF);
	add_tx(&p, 1, FRAME);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	assert_int_equal(queue_set_state(&p.rx, MLX5_VIRTQ_STATE_SUSPEND), 0);
	page = card_gpa(p.card, buf) / EMU_PAGE;
	used = card_gpa(p.card, p.rx.used) / EMU_PAGE;
	assert_int_not_equal(page, used);
	for (i = 0; i < (CARD_GPA + CARD_MEM) / EMU_PAGE; i++)
		assert_int_equal(map[i / 8] >> i % 8 & 1, i == page || i == used);
}

/* ---- interrupts and idling ---- */

static unsigned int
completions(struct card *card, const struct evq *e)
{
	return card_events(card, MLX5_EVENT_TYPE_COMP, e->cqn);
}

static void
a_used_buffer_raises_an_event_unless_the_driver_wants_none(void **state)
{
	struct card *card = *state;
	struct queue tx, *q = &tx;
	struct seg seg;
	struct evq e;

	evq_create(card, &e, 4, true);
	evq_start(card, &e);
	queue_create_with(card, q, TX, SIZE, &e, 0);
	evq_arm(card, &e, 0);
	assert_int_equal(queue_set_state(q, MLX5_VIRTQ_STATE_RDY), 0);
	seg = (struct seg){ card_alloc(card, HDR + FRAME, 2), HDR + FRAME };
	q->avail[0] = htole16(AVAIL_NO_INTERRUPT);
	queue_add(q, RING_DIRECT, &seg, 1, false);
	card_kick(card);
	WAIT_FOR(queue_used_idx(q) == 1);
	quiet();
	assert_int_equal(evq_counter(&e, 0), UINT16_MAX);
	q->avail[0] = 0;
	queue_add(q, RING_DIRECT, &seg, 1, false);
	card_kick(card);
	WAIT_FOR(completions(card, &e) == 1);
	assert_int_equal(evq_counter(&e, 0), 0);
}

/* CPU time of an idle device with queues ready and a CQ to watch: under 2 % of a core. */
static void
an_idle_device_costs_next_to_nothing(void **state)
{
	const struct timespec second = { .tv_sec = 1 };
	const int64_t most_ns = 20 * 1000 * 1000;
	struct timespec t0, t1;
	int64_t ns = INT64_MAX;
	struct pair p;
	struct evq e;
	int attempt;

	pair_start(&p, *state, SIZE, true);
	evq_create(p.card, &e, 4, true);
	quiet();
	/* In one second out of several: on a busy machine, waking up costs more. */
	for (attempt = 0; attempt < 10 && ns > most_ns; attempt++) {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
		nanosleep(&second, NULL);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
		ns = (t1.tv_sec - t0.tv_sec) * INT64_C(1000000000) + t1.tv_nsec - t0.tv_nsec;
	}
	print_message("idle: %.2f %% of a core\n", (double)ns / 1e7);
	assert_in_range(ns, 0, most_ns);
}

static void
a_command_is_not_held_up_by_traffic(void **state)
{
	struct timespec t0, t1;
	unsigned int i, n = 0;
	struct pair p;
	int64_t total = 0, ns;
	struct seg seg;

	pair_start(&p, *state, 256, true);
	seg = (struct seg){ make_packet(p.card, 1, FRAME), HDR + FRAME };
	for (i = 0; i < 256; i++)
		queue_add(&p.tx, RING_DIRECT, &seg, 1, false);
	for (i = 0; i < 300; i++) {
		for (; (uint16_t)(n - queue_used_idx(&p.tx)) < 200; n++)
			queue_add(&p.tx, RING_DIRECT, &seg, 1, false);
		card_kick(p.card);
		clock_gettime(CLOCK_MONOTONIC, &t0);
		queue_query(&p.tx);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		ns = (t1.tv_sec - t0.tv_sec) * INT64_C(1000000000) + t1.tv_nsec - t0.tv_nsec;
		total += ns;
	}
	print_message("a command under traffic: %.0f us\n", (double)total / i / 1000);
	/* A turn's worth of packets; the bound is for one that waits until there is no more traffic. */
	assert_in_range(total / i, 0, 50 * 1000 * 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, card_setup, card_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frame_comes_back),
		TEST(every_layout_carries_every_other),
		TEST(a_chain_may_end_in_an_indirect_table),
		TEST(the_header_without_version_1_has_10_bytes),
		TEST(many_frames_arrive_once_each_and_in_order),
		TEST(a_frame_that_does_not_fit_is_dropped_and_the_buffer_waits),
		TEST(a_frame_without_a_buffer_is_dropped),
		TEST(what_is_no_frame_is_consumed_and_goes_nowhere),
		TEST(the_longest_frame_passes),
		cmocka_unit_test(the_null_wire_takes_frames_and_returns_none),
		TEST(a_queue_does_not_start_without_a_doorbell),
		TEST(a_suspended_queue_does_nothing_until_it_is_resumed_and_rung),
		TEST(suspend_under_traffic_leaves_nothing_in_flight),
		TEST(a_head_outside_the_table_fails),
		TEST(an_index_that_runs_ahead_fails),
		TEST(an_index_that_runs_back_fails),
		TEST(an_empty_descriptor_fails),
		TEST(a_descriptor_to_write_in_a_transmit_queue_fails),
		TEST(a_chain_shorter_than_the_header_fails),
		TEST(a_next_outside_the_table_fails),
		TEST(a_loop_fails),
		TEST(a_buffer_outside_the_key_fails),
		TEST(a_buffer_that_leaves_the_key_fails),
		TEST(a_buffer_that_wraps_around_fails),
		TEST(an_indirect_table_that_is_empty_fails),
		TEST(an_indirect_table_of_odd_length_fails),
		TEST(an_indirect_table_larger_than_the_queue_fails),
		TEST(an_indirect_table_out_of_reach_fails),
		TEST(next_beside_indirect_fails),
		TEST(a_nested_indirect_table_fails),
		TEST(a_next_outside_an_indirect_table_fails),
		TEST(a_loop_in_an_indirect_table_fails),
		TEST(memory_that_goes_under_the_buffer_fails),
		TEST(memory_that_goes_under_the_ring_fails),
		TEST(a_key_that_is_destroyed_under_a_queue_fails_it),
		TEST(chains_before_a_bad_one_are_completed),
		TEST(a_receive_queue_fails_alone),
		TEST(written_pages_are_marked_dirty),
		TEST(a_used_buffer_raises_an_event_unless_the_driver_wants_none),
		TEST(an_idle_device_costs_next_to_nothing),
		TEST(a_command_is_not_held_up_by_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
