/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: packets through packed rings, wrap counters over everything that keeps a queue, and
 * what a bad ring does.
 */
#include "emu_card.h"

enum {
	RX = 0,
	TX = 1,
	SIZE = 16,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	FRAME = 100,
	BUF = 2048,
	WRAP = 1 << 15,
	AVAIL = 1 << 7,
	USED = 1 << 15,
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
};

/* A packed ring as its driver sees it. */
struct ring {
	struct queue q;            /* its split ring lies idle */
	struct emu_packed_desc *desc;
	uint16_t *driver, *device; /* event suppression: desc, flags */
	uint16_t next, used;       /* indices with wrap counters */
	uint16_t len[SIZE * 64];   /* descriptors of a chain, by id */
};

static uint16_t
advance(const struct ring *r, uint16_t index, uint16_t n)
{
	uint16_t pos = (uint16_t)((index & ~WRAP) + n);

	return pos < r->q.size ? (uint16_t)(index + n) :
		(uint16_t)((pos - r->q.size) | ((index & WRAP) ^ WRAP));
}

/* An empty ring in new memory, at an index: what lies before it was used in this lap, the rest in the
 * one before. */
static void
ring_place(struct card *card, struct ring *r, uint16_t index)
{
	bool this_lap;
	uint16_t i;

	r->desc = card_alloc(card, r->q.size * sizeof(*r->desc), 16);
	r->next = r->used = index;
	for (i = 0; i < r->q.size; i++) {
		this_lap = i < (index & ~WRAP);
		if (this_lap == ((index & WRAP) != 0))
			r->desc[i].flags = htole16(AVAIL | USED);
	}
}

/* The mailbox of a good CREATE. */
static void
ring_fill(struct card *card, struct ring *r, uint16_t index, uint16_t size, uint16_t start,
		uint8_t *in)
{
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	memset(r, 0, sizeof(*r));
	queue_fill(card, &r->q, index, size, in);
	ring_place(card, r, start);
	r->driver = card_alloc(card, 2 * sizeof(*r->driver), 4);
	r->device = card_alloc(card, 2 * sizeof(*r->device), 4);
	PRM_SET(virtio_q, ctx, virtio_q_type, MLX5_VIRTQ_TYPE_PACKED);
	PRM_SET(virtio_q, ctx, desc_addr, card_gpa(card, r->desc));
	PRM_SET(virtio_q, ctx, available_addr, card_gpa(card, r->driver));
	PRM_SET(virtio_q, ctx, used_addr, card_gpa(card, r->device));
	PRM_SET(virtio_net_q_object, obj, hw_available_index, start);
	PRM_SET(virtio_net_q_object, obj, hw_used_index, start);
}

static void
ring_create(struct card *card, struct ring *r, uint16_t index, uint16_t size, uint16_t start,
		const struct evq *e, uint32_t counters)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *ctx = PRM_ADDR(virtio_net_q_object,
		PRM_ADDR(create_virtio_net_q_in, in, obj_context), virtio_q_context);

	ring_fill(card, r, index, size, start, in);
	PRM_SET(virtio_q, ctx, counter_set_id, counters);
	if (e != NULL) {
		PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_QP);
		PRM_SET(virtio_q, ctx, event_qpn_or_msix, e->fw);
	}
	assert_int_equal(queue_try_create(&r->q, in), 0);
}

/* Flags of a descriptor that is available at an index. */
static uint16_t
avail_flags(uint16_t index)
{
	return index & WRAP ? AVAIL : USED;
}

/* Write a descriptor but for its flags, which make it available. */
static void
put_desc(struct ring *r, uint16_t index, uint64_t gpa, uint32_t len, uint16_t id)
{
	struct emu_packed_desc *d = &r->desc[index & ~WRAP];

	d->addr = htole64(gpa);
	d->len = htole32(len);
	d->id = htole16(id);
}

static void
put_flags(struct ring *r, uint16_t index, uint16_t flags)
{
	__atomic_store_n(&r->desc[index & ~WRAP].flags, htole16(flags | avail_flags(index)),
		__ATOMIC_RELEASE);
}

/* Make a chain of @p n pieces available. The head's flags go last. */
static void
ring_add(struct ring *r, enum ring_kind kind, const struct seg *segs, unsigned int n, bool write,
		uint16_t id)
{
	uint16_t flags = write ? DESC_WRITE : 0, at = r->next, i;
	struct card *card = r->q.card;
	struct emu_packed_desc *table;

	r->len[id] = kind == RING_INDIRECT ? 1 : (uint16_t)n;
	r->next = advance(r, at, r->len[id]);
	if (kind == RING_INDIRECT) {
		table = card_alloc(card, n * sizeof(*table), 16);
		for (i = 0; i < n; i++)
			table[i] = (struct emu_packed_desc){ htole64(card_gpa(card, segs[i].addr)),
				htole32(segs[i].len), 0xdead, htole16(flags) };
		put_desc(r, at, card_gpa(card, table), n * (uint32_t)sizeof(*table), id);
		put_flags(r, at, DESC_INDIRECT);
		return;
	}
	for (i = (uint16_t)n; i-- > 0;) {
		/* The id of the last descriptor counts. */
		put_desc(r, advance(r, at, i), card_gpa(card, segs[i].addr), segs[i].len,
			i + 1u == n ? id : 0xdead);
		put_flags(r, advance(r, at, i), flags | (i + 1u < n ? DESC_NEXT : 0));
	}
}

/* The next completion, if there is one. */
static bool
ring_used(struct ring *r, uint16_t *id, uint32_t *len)
{
	const struct emu_packed_desc *d = &r->desc[r->used & ~WRAP];
	uint16_t flags = le16toh(__atomic_load_n(&d->flags, __ATOMIC_ACQUIRE));
	bool wrap = r->used & WRAP;

	if (((flags & AVAIL) != 0) != wrap || ((flags & USED) != 0) != wrap)
		return false;
	*id = le16toh(d->id);
	*len = le32toh(d->len);
	assert_int_equal((flags & DESC_WRITE) != 0, *len > 0);
	r->used = advance(r, r->used, r->len[*id]);
	return true;
}

/* Wait for the completion of chain @p id; returns its length. */
static uint32_t
ring_wait(struct ring *r, uint16_t id)
{
	bool used = false;
	uint32_t len = 0;
	uint16_t got = 0;

	WAIT_FOR(used || (used = ring_used(r, &got, &len)));
	assert_int_equal(got, id);
	return len;
}

static void
check_indices(struct ring *r, uint16_t index)
{
	const void *obj = queue_query(&r->q);

	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_available_index), index);
	assert_int_equal(PRM_GET(virtio_net_q_object, obj, hw_used_index), index);
}

/* ---- a pair over the loop wire ---- */

struct pair {
	struct card *card;
	struct ring rx, tx;
	uint32_t counters;         /* of tx */
};

static void
pair_start_at(struct pair *p, struct card *card, uint16_t size, uint16_t start)
{
	struct queue *rx = &p->rx.q;

	p->card = card;
	p->counters = card_counters(card);
	ring_create(card, &p->rx, RX, size, start, NULL, 0);
	ring_create(card, &p->tx, TX, size, start, NULL, p->counters);
	steer_all(card, &rx, 1);
	assert_int_equal(queue_set_state(&p->rx.q, MLX5_VIRTQ_STATE_RDY), 0);
	assert_int_equal(queue_set_state(&p->tx.q, MLX5_VIRTQ_STATE_RDY), 0);
	card_kick(card);
}

static void
pair_start(struct pair *p, struct card *card)
{
	pair_start_at(p, card, SIZE, WRAP);
}

static uint8_t
pattern(unsigned int seed, unsigned int i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static void
fill_frame(uint8_t *frame, unsigned int seed, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		frame[i] = pattern(seed, i);
}

static void
check_frame(const uint8_t *frame, unsigned int seed, uint32_t len)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		assert_int_equal(frame[i], pattern(seed, i));
}

static uint8_t *
make_packet(struct card *card, unsigned int seed, uint32_t len)
{
	uint8_t *p = card_alloc(card, HDR + len, 2);

	fill_frame(p + HDR, seed, len);
	return p;
}

static uint8_t *
add_rx(struct pair *p, uint32_t len, uint16_t id)
{
	uint8_t *buf = card_alloc(p->card, len, 2);
	struct seg seg = { buf, len };

	ring_add(&p->rx, RING_DIRECT, &seg, 1, true, id);
	return buf;
}

static void
add_tx(struct pair *p, unsigned int seed, uint32_t len, uint16_t id)
{
	struct seg seg = { make_packet(p->card, seed, len), HDR + len };

	ring_add(&p->tx, RING_DIRECT, &seg, 1, false, id);
}

/* Chop [p, p + len) into pieces of the given lengths; the last takes the rest. */
static void
chop(struct seg *segs, uint8_t *p, uint32_t len, const uint32_t *lens, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		segs[i] = (struct seg){ p, i + 1 < n ? lens[i] : len };
		p += segs[i].len;
		len -= segs[i].len;
	}
}

static void
quiet(void)
{
	usleep(CARD_QUIET_MS * 1000);
}

/* ---- traffic ---- */

static void
a_frame_comes_back(void **state)
{
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state);
	buf = add_rx(&p, BUF, 7);
	add_tx(&p, 1, FRAME, 9);
	card_kick(p.card);
	assert_int_equal(ring_wait(&p.rx, 7), HDR + FRAME);
	assert_int_equal(ring_wait(&p.tx, 9), 0);
	check_frame(buf + HDR, 1, FRAME);
	assert_int_equal(buf[EMU_VIRTIO_NET_HDR_NUM_BUFFERS], 1);
	check_indices(&p.rx, WRAP | 1);
	check_indices(&p.tx, WRAP | 1);
	/* What only the driver writes, and the device's event suppression: notify me. */
	assert_int_equal(p.tx.driver[0] | p.tx.driver[1], 0);
	assert_int_equal(p.tx.device[0] | p.tx.device[1], 0);
}

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

/* Chains begin and end at all places of a ring of 16, so that they wrap at each of their pieces. */
static void
every_layout_carries_every_other(void **state)
{
	struct seg segs[6];
	unsigned int i, j, t = 0;
	uint16_t id;
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state);
	for (i = 0; i < DIM(layouts); i++) {
		for (j = 0; j < DIM(layouts); j++, t++) {
			id = (uint16_t)(t * 5 % 64);
			buf = card_alloc(p.card, HDR + FRAME, 2);
			chop(segs, buf, HDR + FRAME, layouts[i].lens, layouts[i].n);
			ring_add(&p.rx, layouts[i].kind, segs, layouts[i].n, true, id);
			chop(segs, make_packet(p.card, t, FRAME), HDR + FRAME, layouts[j].lens,
				layouts[j].n);
			ring_add(&p.tx, layouts[j].kind, segs, layouts[j].n, false, id);
			card_kick(p.card);
			assert_int_equal(ring_wait(&p.rx, id), HDR + FRAME);
			assert_int_equal(ring_wait(&p.tx, id), 0);
			check_frame(buf + HDR, t, FRAME);
		}
	}
}

/* Direct descriptors, then one that refers to a table: it is the last, and has the id. */
static void
a_chain_may_end_in_an_indirect_table(void **state)
{
	struct emu_packed_desc *table;
	uint8_t *pkt, *buf;
	struct pair p;

	pair_start(&p, *state);
	buf = add_rx(&p, BUF, 0);
	pkt = make_packet(p.card, 5, FRAME);
	table = card_alloc(p.card, 2 * sizeof(*table), 16);
	table[0] = (struct emu_packed_desc){ card_gpa(p.card, pkt + HDR), 40, 0, 0 };
	/* Flags but WRITE have no meaning in a table. */
	table[1] = (struct emu_packed_desc){ card_gpa(p.card, pkt + HDR + 40), FRAME - 40, 0,
		DESC_NEXT | DESC_INDIRECT };
	put_desc(&p.tx, WRAP | 1, card_gpa(p.card, table), 2 * sizeof(*table), 3);
	/* WRITE has no meaning beside INDIRECT. */
	put_flags(&p.tx, WRAP | 1, DESC_INDIRECT | DESC_WRITE);
	put_desc(&p.tx, WRAP, card_gpa(p.card, pkt), HDR, 77);
	put_flags(&p.tx, WRAP, DESC_NEXT);
	p.tx.len[3] = 2;
	card_kick(p.card);
	ring_wait(&p.rx, 0);
	ring_wait(&p.tx, 3);
	check_frame(buf + HDR, 5, FRAME);
	check_indices(&p.tx, WRAP | 2);
}

static void
a_chain_may_fill_the_ring(void **state)
{
	struct seg segs[SIZE];
	uint32_t lens[SIZE];
	unsigned int i, round;
	uint8_t *buf;
	struct pair p;

	for (i = 0; i < SIZE; i++)
		lens[i] = 3;
	/* From position 5 on, so that it wraps. */
	pair_start_at(&p, *state, SIZE, 5);
	for (round = 0; round < 3; round++) {
		buf = card_alloc(p.card, HDR + FRAME, 2);
		chop(segs, buf, HDR + FRAME, lens, SIZE);
		ring_add(&p.rx, RING_DIRECT, segs, SIZE, true, 1);
		chop(segs, make_packet(p.card, round, FRAME), HDR + FRAME, lens, SIZE);
		ring_add(&p.tx, RING_DIRECT, segs, SIZE, false, 2);
		card_kick(p.card);
		ring_wait(&p.rx, 1);
		ring_wait(&p.tx, 2);
		check_frame(buf + HDR, round, FRAME);
		check_indices(&p.tx, round % 2 == 0 ? WRAP | 5 : 5);
	}
}

/* Thousands of frames through few descriptors. */
static void
many_frames_arrive_once_each_and_in_order(struct card *card, uint16_t size, uint16_t start)
{
	enum { N = 20000, SLOT = 256 };
	unsigned int sent = 0, done = 0, got = 0, posted = 0;
	uint8_t *rxb, *txb;
	uint32_t len = 0;
	uint16_t id = 0;
	struct seg seg;
	struct pair p;

	pair_start_at(&p, card, size, start);
	rxb = card_alloc(card, (size_t)size * SLOT, 64);
	txb = card_alloc(card, (size_t)size * SLOT, 64);
	while (got < N) {
		for (; posted < N && posted < got + size; posted++) {
			seg = (struct seg){ rxb + posted % size * SLOT, SLOT };
			ring_add(&p.rx, RING_DIRECT, &seg, 1, true, (uint16_t)(posted % size));
		}
		for (; ring_used(&p.tx, &id, &len); done++)
			assert_int_equal(id, done % size);
		for (; sent < posted && sent < done + size; sent++) {
			fill_frame(txb + sent % size * SLOT + HDR, sent, 64);
			seg = (struct seg){ txb + sent % size * SLOT, HDR + 64 };
			ring_add(&p.tx, RING_DIRECT, &seg, 1, false, (uint16_t)(sent % size));
		}
		card_kick(card);
		for (; ring_used(&p.rx, &id, &len); got++) {
			assert_int_equal(id, got % size);
			assert_int_equal(len, HDR + 64);
			check_frame(rxb + id * SLOT + HDR, got, 64);
		}
	}
	assert_int_equal(card->dev->rx_drops, 0);
	assert_int_equal(card->dev->rx_packets, N);
	check_indices(&p.rx, p.rx.used);
}

static void
many_frames_pass_a_small_ring(void **state)
{
	many_frames_arrive_once_each_and_in_order(*state, SIZE, WRAP);
}

static void
many_frames_pass_a_large_ring(void **state)
{
	many_frames_arrive_once_each_and_in_order(*state, 1024, WRAP | 1000);
}

static void
many_frames_pass_from_the_other_lap(void **state)
{
	many_frames_arrive_once_each_and_in_order(*state, 64, 0);
}

/* A burst over the end of a ring whose positions take all 15 bits. */
static void
the_largest_ring_ends_where_it_ends(void **state)
{
	enum { LARGEST = 1 << 15, BURST = 64 };
	struct seg seg;
	struct pair p;
	uint16_t i;

	pair_start_at(&p, *state, LARGEST, LARGEST - BURST / 2);
	assert_ptr_equal(p.tx.driver, p.tx.desc + LARGEST);
	seg = (struct seg){ make_packet(p.card, 1, FRAME), HDR + FRAME };
	for (i = 0; i < BURST; i++) {
		add_rx(&p, BUF, i);
		ring_add(&p.tx, RING_DIRECT, &seg, 1, false, i);
	}
	card_kick(p.card);
	for (i = 0; i < BURST; i++) {
		ring_wait(&p.tx, i);
		assert_int_equal(ring_wait(&p.rx, i), HDR + FRAME);
	}
	check_indices(&p.tx, WRAP | BURST / 2);
	/* What lies behind the ring. */
	assert_int_equal(p.tx.driver[0] | p.tx.driver[1] | p.rx.driver[0] | p.rx.driver[1], 0);
}

static void
a_frame_that_does_not_fit_is_dropped_and_the_buffer_waits(void **state)
{
	struct pair p;
	uint8_t *buf;

	pair_start(&p, *state);
	buf = add_rx(&p, HDR + FRAME - 1, 0);
	add_tx(&p, 1, FRAME, 1);
	add_tx(&p, 2, FRAME - 1, 2);
	card_kick(p.card);
	ring_wait(&p.rx, 0);
	ring_wait(&p.tx, 1);
	ring_wait(&p.tx, 2);
	check_frame(buf + HDR, 2, FRAME - 1);
	assert_int_equal(p.card->dev->rx_drops, 1);
}

/* A chain whose tail was written is not there before its head was. */
static void
a_head_makes_its_chain_available(void **state)
{
	struct pair p;
	uint8_t *pkt;

	pair_start(&p, *state);
	add_rx(&p, BUF, 0);
	pkt = make_packet(p.card, 1, FRAME);
	put_desc(&p.tx, WRAP | 1, card_gpa(p.card, pkt + HDR), FRAME, 4);
	put_flags(&p.tx, WRAP | 1, 0);
	put_desc(&p.tx, WRAP, card_gpa(p.card, pkt), HDR, 0);
	card_kick(p.card);
	quiet();
	check_indices(&p.tx, WRAP);
	p.tx.len[4] = 2;
	put_flags(&p.tx, WRAP, DESC_NEXT);
	card_kick(p.card);
	ring_wait(&p.tx, 4);
	ring_wait(&p.rx, 0);
}

/* ---- indices and wrap counters ---- */

static void
a_suspended_queue_keeps_its_position_and_lap(void **state)
{
	unsigned int i;
	uint32_t len;
	struct pair p;
	uint16_t id;
	bool done;

	pair_start(&p, *state);
	for (i = 0; i < 5 * SIZE; i++) {
		done = false;
		add_rx(&p, BUF, (uint16_t)(i % 32));
		add_tx(&p, i, FRAME, (uint16_t)(i % 32));
		if (i % 3 == 0) {
			assert_int_equal(queue_set_state(&p.tx.q, MLX5_VIRTQ_STATE_SUSPEND), 0);
			card_kick(p.card);
			/* The device may have looked at the ring before, unasked. */
			done = ring_used(&p.tx, &id, &len);
			check_indices(&p.tx, p.tx.used);
			assert_int_equal(queue_set_state(&p.tx.q, MLX5_VIRTQ_STATE_RDY), 0);
		}
		card_kick(p.card);
		if (!done)
			ring_wait(&p.tx, (uint16_t)(i % 32));
		ring_wait(&p.rx, (uint16_t)(i % 32));
	}
	check_indices(&p.tx, 0);
}

/* What a driver does at a virtio reset with a queue that it keeps: other memory, first lap. */
static void
a_modified_queue_starts_where_it_is_told(void **state)
{
	static const uint16_t starts[] = { WRAP, 0, 3, WRAP | (SIZE - 1), SIZE - 1 };
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct pair p;
	size_t i;

	pair_start(&p, *state);
	for (i = 0; i < DIM(starts); i++) {
		add_rx(&p, BUF, 0);
		add_tx(&p, 1, FRAME, 0);
		card_kick(p.card);
		ring_wait(&p.tx, 0);
		assert_int_equal(queue_set_state(&p.tx.q, MLX5_VIRTQ_STATE_SUSPEND), 0);
		ring_place(p.card, &p.tx, starts[i]);
		queue_fill_modify(&p.tx.q, MLX5_VIRTQ_MODIFY_ADDRS | MLX5_VIRTQ_MODIFY_AVAIL_IDX |
			MLX5_VIRTQ_MODIFY_USED_IDX | MLX5_VIRTQ_MODIFY_STATE, in);
		PRM_SET(virtio_q, ctx, desc_addr, card_gpa(p.card, p.tx.desc));
		PRM_SET(virtio_q, ctx, available_addr, card_gpa(p.card, p.tx.driver));
		PRM_SET(virtio_q, ctx, used_addr, card_gpa(p.card, p.tx.device));
		PRM_SET(virtio_net_q_object, obj, hw_available_index, starts[i]);
		PRM_SET(virtio_net_q_object, obj, hw_used_index, starts[i]);
		PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
		assert_int_equal(queue_modify(&p.tx.q, in), 0);
		check_indices(&p.tx, starts[i]);
		add_tx(&p, 2, FRAME, 5);
		card_kick(p.card);
		ring_wait(&p.tx, 5);
	}
}

/* In INIT and in SUSPEND a queue may become one of the other type. */
static void
a_queue_changes_its_type(void **state)
{
	const uint64_t select = MLX5_VIRTQ_MODIFY_Q_TYPE | MLX5_VIRTQ_MODIFY_ADDRS |
		MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_USED_IDX | MLX5_VIRTQ_MODIFY_STATE;
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct queue *q;
	struct seg seg;
	struct pair p;

	pair_start(&p, *state);
	q = &p.tx.q;
	add_tx(&p, 1, FRAME, 0);
	card_kick(p.card);
	ring_wait(&p.tx, 0);
	assert_int_equal(queue_set_state(q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	queue_fill_modify(q, select, in);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	PRM_SET(virtio_q, ctx, virtio_q_type, MLX5_VIRTQ_TYPE_SPLIT);
	PRM_SET(virtio_q, ctx, desc_addr, card_gpa(p.card, q->desc));
	PRM_SET(virtio_q, ctx, available_addr, card_gpa(p.card, q->avail));
	PRM_SET(virtio_q, ctx, used_addr, card_gpa(p.card, q->used));
	assert_int_equal(queue_modify(q, in), 0);
	seg = (struct seg){ make_packet(p.card, 2, FRAME), HDR + FRAME };
	queue_add(q, RING_DIRECT, &seg, 1, false);
	card_kick(p.card);
	WAIT_FOR(queue_used_idx(q) == 1);
	assert_int_equal(PRM_GET(virtio_q, PRM_ADDR(virtio_net_q_object, queue_query(q),
		virtio_q_context), virtio_q_type), MLX5_VIRTQ_TYPE_SPLIT);
}

/* ---- refusals ---- */

static void
bad_fields_are_refused(void **state)
{
	enum { OBJ = PRM_create_virtio_net_q_in__obj_context__OFF / 8,
		Q = OBJ + PRM_virtio_net_q_object__virtio_q_context__OFF / 8 };
	static const struct refusal refusals[] = {
		CHANGE(Q, virtio_q, virtio_q_type, 2, BAD_PARAM_ERR),
		/* Good for a split ring. */
		CHANGE(Q, virtio_q, available_addr, CARD_GPA + 2, BAD_PARAM_ERR),
	};
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	struct ring r;

	ring_fill(*state, &r, TX, SIZE, WRAP, in);
	check_refusals(*state, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(general_obj_out_cmd_hdr), refusals, DIM(refusals));
}

static void
an_index_outside_the_ring_is_refused_at_ready(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	struct ring r;

	ring_create(*state, &r, TX, SIZE, WRAP | SIZE, NULL, 0);
	assert_int_equal(queue_set_state(&r.q, MLX5_VIRTQ_STATE_RDY), MLX5_CMD_STAT_BAD_PARAM_ERR);
	queue_fill_modify(&r.q, MLX5_VIRTQ_MODIFY_AVAIL_IDX, in);
	PRM_SET(virtio_net_q_object, obj, hw_available_index, SIZE - 1);
	assert_int_equal(queue_modify(&r.q, in), 0);
	assert_int_equal(queue_set_state(&r.q, MLX5_VIRTQ_STATE_RDY), MLX5_CMD_STAT_BAD_PARAM_ERR);
	queue_fill_modify(&r.q, MLX5_VIRTQ_MODIFY_USED_IDX | MLX5_VIRTQ_MODIFY_STATE, in);
	PRM_SET(virtio_net_q_object, obj, hw_used_index, SIZE - 1);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(queue_modify(&r.q, in), 0);
}

static void
a_card_without_packed_rings_refuses_them(void **state)
{
	struct card *card = card_new("caps=-virtio_queue_type");
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	struct ring r;

	(void)state;
	ring_fill(card, &r, TX, SIZE, WRAP, in);
	assert_int_equal(queue_try_create(&r.q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
	card_free(card);
}

/* ---- what a bad ring does ---- */

enum { BAD_DESCRIPTOR = 2, INVALID_BUFFER = 3, LIST_EXCEEDS_LIMIT = 4, INTERNAL = 5 };

static void
check_failed(struct pair *p, unsigned int type)
{
	struct queue *tx = &p->tx.q;
	const void *q;

	card_kick(p->card);
	WAIT_FOR(card_events(p->card, MLX5_EVENT_TYPE_OBJECT_CHANGE, tx->id) == 1);
	assert_int_equal(queue_state(tx), MLX5_VIRTQ_STATE_ERR);
	q = PRM_ADDR(virtio_net_q_object, queue_query(tx), virtio_q_context);
	assert_int_equal(PRM_GET(virtio_q, q, error_type), type);
	assert_int_equal(queue_state(&p->rx.q), MLX5_VIRTQ_STATE_RDY);
	card_kick(p->card);
	quiet();
	assert_int_equal(card_events(p->card, MLX5_EVENT_TYPE_OBJECT_CHANGE, tx->id), 1);
	assert_int_equal(queue_destroy(tx), 0);
}

/* A chain of one descriptor, made by hand. */
static void
add_desc(struct pair *p, uint64_t gpa, uint32_t len, uint16_t flags)
{
	put_desc(&p->tx, p->tx.next, gpa, len, 0);
	put_flags(&p->tx, p->tx.next, flags);
}

/* A table of one descriptor, behind one in the ring. */
static void
add_table(struct pair *p, uint64_t gpa, uint32_t entry_len, uint16_t entry_flags, uint32_t len,
		uint16_t flags)
{
	struct emu_packed_desc *table = card_alloc(p->card, EMU_PAGE, 16);

	*table = (struct emu_packed_desc){ gpa, entry_len, 0, entry_flags };
	add_desc(p, card_gpa(p->card, table), len, DESC_INDIRECT | flags);
}

/* All descriptors of the ring, each with a next. */
static void
add_endless(struct pair *p)
{
	uint16_t i;

	for (i = SIZE; i-- > 0;) {
		put_desc(&p->tx, WRAP | i, CARD_GPA, 64, 0);
		put_flags(&p->tx, WRAP | i, DESC_NEXT);
	}
}

#define BAD_RING(name, type, ...) \
static void \
name(void **state) \
{ \
	struct pair p; \
	pair_start(&p, *state); \
	__VA_ARGS__; \
	check_failed(&p, type); \
}

BAD_RING(an_empty_descriptor_fails, BAD_DESCRIPTOR, add_desc(&p, CARD_GPA, 0, 0))
BAD_RING(a_descriptor_to_write_in_a_transmit_queue_fails, BAD_DESCRIPTOR,
	add_desc(&p, CARD_GPA, 64, DESC_WRITE))
BAD_RING(a_chain_shorter_than_the_header_fails, BAD_DESCRIPTOR,
	add_desc(&p, CARD_GPA, HDR - 1, 0))
BAD_RING(a_chain_without_an_end_fails, LIST_EXCEEDS_LIMIT, add_endless(&p))
BAD_RING(a_buffer_outside_the_key_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM, 64, 0))
BAD_RING(a_buffer_that_leaves_the_key_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM - 32, 64, 0))
BAD_RING(a_buffer_that_wraps_around_fails, INVALID_BUFFER, add_desc(&p, UINT64_MAX - 31, 64, 0))
BAD_RING(an_indirect_table_that_is_empty_fails, BAD_DESCRIPTOR,
	add_table(&p, CARD_GPA, 64, 0, 0, 0))
BAD_RING(an_indirect_table_of_odd_length_fails, BAD_DESCRIPTOR,
	add_table(&p, CARD_GPA, 64, 0, 17, 0))
BAD_RING(an_indirect_table_larger_than_the_queue_fails, LIST_EXCEEDS_LIMIT,
	add_table(&p, CARD_GPA, 64, 0, 16 * (SIZE + 1), 0))
BAD_RING(an_indirect_table_out_of_reach_fails, INVALID_BUFFER,
	add_desc(&p, CARD_GPA + CARD_MEM, 16, DESC_INDIRECT))
BAD_RING(next_beside_indirect_fails, BAD_DESCRIPTOR,
	add_table(&p, CARD_GPA, 64, 0, 16, DESC_NEXT))
BAD_RING(an_empty_descriptor_in_a_table_fails, BAD_DESCRIPTOR,
	add_table(&p, CARD_GPA, 0, 0, 16, 0))
BAD_RING(memory_that_goes_under_the_buffer_fails, INVALID_BUFFER,
	p.card->gone = card_alloc(p.card, EMU_PAGE, EMU_PAGE);
	add_desc(&p, card_gpa(p.card, p.card->gone), 64, 0))
BAD_RING(memory_that_goes_under_the_ring_fails, INTERNAL,
	p.card->gone = p.card->mem + (card_off(p.card, p.tx.desc) & ~(uint64_t)(EMU_PAGE - 1)))

/* What was done before the bad chain is done, and the index says where it stopped. */
static void
chains_before_a_bad_one_are_completed(void **state)
{
	struct pair p;

	pair_start(&p, *state);
	add_rx(&p, BUF, 0);
	add_rx(&p, BUF, 1);
	put_desc(&p.tx, WRAP | 2, CARD_GPA, 0, 0);
	put_flags(&p.tx, WRAP | 2, 0);
	add_tx(&p, 1, FRAME, 1);
	add_tx(&p, 2, FRAME, 2);
	card_kick(p.card);
	WAIT_FOR(card_events(p.card, MLX5_EVENT_TYPE_OBJECT_CHANGE, p.tx.q.id) == 1);
	ring_wait(&p.tx, 1);
	ring_wait(&p.tx, 2);
	ring_wait(&p.rx, 0);
	ring_wait(&p.rx, 1);
	check_indices(&p.tx, WRAP | 2);
}

/* ---- dirty pages and events ---- */

static void
written_pages_are_marked_dirty(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)], *map, *buf;
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	uint64_t page, ring;
	struct pair p;
	size_t i;

	pair_start(&p, *state);
	/* A bit for every page from guest address 0 on. */
	map = card_alloc(p.card, (CARD_GPA + CARD_MEM) / EMU_PAGE / 8, 64);
	queue_fill_modify(&p.rx.q, MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, in);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_mkey, p.card->mkey);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_addr, card_gpa(p.card, map));
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_size, (CARD_GPA + CARD_MEM) / EMU_PAGE / 8);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_dump_enable, 1);
	assert_int_equal(queue_modify(&p.rx.q, in), 0);
	card_alloc(p.card, EMU_PAGE, EMU_PAGE);
	buf = add_rx(&p, BUF, 0);
	add_tx(&p, 1, FRAME, 0);
	card_kick(p.card);
	ring_wait(&p.rx, 0);
	assert_int_equal(queue_set_state(&p.rx.q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	page = card_gpa(p.card, buf) / EMU_PAGE;
	ring = card_gpa(p.card, p.rx.desc) / EMU_PAGE;
	assert_int_not_equal(page, ring);
	for (i = 0; i < (CARD_GPA + CARD_MEM) / EMU_PAGE; i++)
		assert_int_equal(map[i / 8] >> i % 8 & 1, i == page || i == ring);
}

static void
a_used_buffer_raises_an_event_unless_the_driver_wants_none(void **state)
{
	struct card *card = *state;
	struct seg seg;
	struct ring r;
	struct evq e;

	evq_create(card, &e, 4, true);
	evq_start(card, &e);
	ring_create(card, &r, TX, SIZE, WRAP, &e, 0);
	evq_arm(card, &e, 0);
	assert_int_equal(queue_set_state(&r.q, MLX5_VIRTQ_STATE_RDY), 0);
	seg = (struct seg){ card_alloc(card, HDR + FRAME, 2), HDR + FRAME };
	r.driver[1] = htole16(EVENT_DISABLE);
	ring_add(&r, RING_DIRECT, &seg, 1, false, 1);
	card_kick(card);
	ring_wait(&r, 1);
	quiet();
	assert_int_equal(evq_counter(&e, 0), UINT16_MAX);
	r.driver[1] = htole16(EVENT_ENABLE);
	ring_add(&r, RING_DIRECT, &seg, 1, false, 2);
	card_kick(card);
	WAIT_FOR(card_events(card, MLX5_EVENT_TYPE_COMP, e.cqn) == 1);
	assert_int_equal(evq_counter(&e, 0), 0);
}

/* Queues of both types side by side. */
static void
a_packed_queue_sends_to_a_split_one(void **state)
{
	struct queue rx, *to = &rx;
	struct card *card = *state;
	struct ring tx;
	struct seg seg;
	uint8_t *buf;

	queue_create(card, &rx, RX, SIZE);
	ring_create(card, &tx, TX, SIZE, WRAP, NULL, 0);
	steer_all(card, &to, 1);
	assert_int_equal(queue_set_state(&rx, MLX5_VIRTQ_STATE_RDY), 0);
	assert_int_equal(queue_set_state(&tx.q, MLX5_VIRTQ_STATE_RDY), 0);
	buf = card_alloc(card, BUF, 2);
	seg = (struct seg){ buf, BUF };
	queue_add(&rx, RING_DIRECT, &seg, 1, true);
	seg = (struct seg){ make_packet(card, 3, FRAME), HDR + FRAME };
	ring_add(&tx, RING_DIRECT, &seg, 1, false, 6);
	card_kick(card);
	ring_wait(&tx, 6);
	WAIT_FOR(queue_used_idx(&rx) == 1);
	check_frame(buf + HDR, 3, FRAME);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, card_setup, card_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frame_comes_back),
		TEST(every_layout_carries_every_other),
		TEST(a_chain_may_end_in_an_indirect_table),
		TEST(a_chain_may_fill_the_ring),
		TEST(many_frames_pass_a_small_ring),
		TEST(many_frames_pass_a_large_ring),
		TEST(many_frames_pass_from_the_other_lap),
		TEST(the_largest_ring_ends_where_it_ends),
		TEST(a_frame_that_does_not_fit_is_dropped_and_the_buffer_waits),
		TEST(a_head_makes_its_chain_available),
		TEST(a_suspended_queue_keeps_its_position_and_lap),
		TEST(a_modified_queue_starts_where_it_is_told),
		TEST(a_queue_changes_its_type),
		TEST(bad_fields_are_refused),
		TEST(an_index_outside_the_ring_is_refused_at_ready),
		cmocka_unit_test(a_card_without_packed_rings_refuses_them),
		TEST(an_empty_descriptor_fails),
		TEST(a_descriptor_to_write_in_a_transmit_queue_fails),
		TEST(a_chain_shorter_than_the_header_fails),
		TEST(a_chain_without_an_end_fails),
		TEST(a_buffer_outside_the_key_fails),
		TEST(a_buffer_that_leaves_the_key_fails),
		TEST(a_buffer_that_wraps_around_fails),
		TEST(an_indirect_table_that_is_empty_fails),
		TEST(an_indirect_table_of_odd_length_fails),
		TEST(an_indirect_table_larger_than_the_queue_fails),
		TEST(an_indirect_table_out_of_reach_fails),
		TEST(next_beside_indirect_fails),
		TEST(an_empty_descriptor_in_a_table_fails),
		TEST(memory_that_goes_under_the_buffer_fails),
		TEST(memory_that_goes_under_the_ring_fails),
		TEST(chains_before_a_bad_one_are_completed),
		TEST(written_pages_are_marked_dirty),
		TEST(a_used_buffer_raises_an_event_unless_the_driver_wants_none),
		TEST(a_packed_queue_sends_to_a_split_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
