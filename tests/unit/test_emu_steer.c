/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: the Toeplitz hash, RQTs, TIRs, flow rules, and which queue a frame goes to.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "emu_card.h"

enum {
	QUEUES = 4,
	SIZE = 64,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	BUF = 256,
	FRAME_MAX = 128,
	ETHER_HDR = 14,
};

/* ---- Toeplitz, by Microsoft's "Verifying the RSS Hash Calculation" ---- */

static const uint8_t ms_key[EMU_TOEPLITZ_KEY] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
	0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct vector {
	int family;
	const char *dst, *src;
	uint16_t dport, sport;
	uint32_t l3, l4;           /* hash of the addresses; of addresses and ports */
} vectors[] = {
	{ AF_INET, "161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178 },
	{ AF_INET, "65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea },
	{ AF_INET, "12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a },
	{ AF_INET, "209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f },
	{ AF_INET, "202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2 },
	{ AF_INET6, "3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794,
		0x2cc18cd5, 0x40207d3d },
	{ AF_INET6, "ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230,
		0x0f0c461c, 0xdde51bbf },
	{ AF_INET6, "fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 38024, 44251,
		0x4b61e985, 0x02d1feef },
};

/* Source, destination, source port, destination port. Returns the bytes without the ports. */
static unsigned int
hash_input(const struct vector *v, uint8_t *input)
{
	unsigned int addr = v->family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
	uint16_t port;

	assert_int_equal(inet_pton(v->family, v->src, input), 1);
	assert_int_equal(inet_pton(v->family, v->dst, input + addr), 1);
	port = htons(v->sport);
	memcpy(input + 2 * addr, &port, sizeof(port));
	port = htons(v->dport);
	memcpy(input + 2 * addr + 2, &port, sizeof(port));
	return 2 * addr;
}

static void
toeplitz_gives_the_published_hashes(void **state)
{
	static struct emu_toeplitz t;
	uint8_t input[EMU_TOEPLITZ_INPUT_MAX];
	unsigned int n;
	size_t i;

	(void)state;
	emu_toeplitz_init(&t, ms_key);
	for (i = 0; i < DIM(vectors); i++) {
		n = hash_input(&vectors[i], input);
		assert_int_equal(emu_toeplitz_hash(&t, input, n), vectors[i].l3);
		assert_int_equal(emu_toeplitz_hash(&t, input, n + 4), vectors[i].l4);
	}
}

/* ---- frames ---- */

/* An Ethernet frame of a vector's addresses and ports; @p vlan 0: no tag. Returns its length. */
static uint32_t
make_frame(uint8_t *f, const struct vector *v, uint8_t proto, uint16_t vlan, bool fragment)
{
	bool v4 = v->family == AF_INET;
	uint16_t be;
	uint8_t *p;

	memset(f, 0, FRAME_MAX);
	memcpy(f, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	p = f + 12;
	if (vlan != 0) {
		memcpy(p, "\x81\x00", 2);
		be = htons(vlan);
		memcpy(p + 2, &be, sizeof(be));
		p += 4;
	}
	memcpy(p, v4 ? "\x08\x00" : "\x86\xdd", 2);
	p += 2;
	p[0] = v4 ? 0x45 : 0x60;
	if (v4) {
		p[6] = fragment ? 0x20 : 0;        /* more fragments */
		p[8] = 64;
		p[9] = proto;
		inet_pton(AF_INET, v->src, p + 12);
		inet_pton(AF_INET, v->dst, p + 16);
		p += 20;
	} else {
		p[6] = fragment ? IPPROTO_FRAGMENT : proto;
		p[7] = 64;
		inet_pton(AF_INET6, v->src, p + 8);
		inet_pton(AF_INET6, v->dst, p + 24);
		p += 40;
	}
	be = htons(v->sport);
	memcpy(p, &be, sizeof(be));
	be = htons(v->dport);
	memcpy(p + 2, &be, sizeof(be));
	return (uint32_t)(p + 20 - f);
}

static void
headers_are_read_where_they_are(void **state)
{
	uint8_t f[FRAME_MAX];
	struct emu_flow_key key;
	const void *m = key.match;
	uint32_t len;

	(void)state;
	len = make_frame(f, &vectors[0], IPPROTO_UDP, 0, false);
	assert_true(emu_flow_key_parse(&key, f, len));
	assert_int_equal(key.l3, 4);
	assert_int_equal(key.l4, IPPROTO_UDP);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, dmac_47_16), 0x02000000);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, dmac_15_0), 1);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, smac_15_0), 2);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, ethertype), 0x0800);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, ip_version), 4);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, ip_protocol), IPPROTO_UDP);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, udp_sport), 2794);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, udp_dport), 1766);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, tcp_sport), 0);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, cvlan_tag), 0);

	len = make_frame(f, &vectors[5], IPPROTO_TCP, 0x6123, false);
	assert_true(emu_flow_key_parse(&key, f, len));
	assert_int_equal(key.l3, 6);
	assert_int_equal(key.l4, IPPROTO_TCP);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, ethertype), 0x86dd);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, cvlan_tag), 1);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, first_vid), 0x123);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, first_prio), 3);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, m, tcp_dport), 1766);
}

static void
short_and_odd_frames_are_read_as_far_as_they_go(void **state)
{
	uint8_t f[FRAME_MAX];
	struct emu_flow_key key;
	uint32_t len, cut;

	(void)state;
	len = make_frame(f, &vectors[0], IPPROTO_TCP, 0, false);
	for (cut = 0; cut < len; cut++) {
		/* A copy of its own, so that a sanitizer sees what is read behind it. */
		uint8_t *copy = malloc(cut + 1);

		memcpy(copy, f, cut);
		assert_int_equal(emu_flow_key_parse(&key, copy, cut), cut >= ETHER_HDR);
		if (cut >= ETHER_HDR) {
			assert_int_equal(key.l3, cut >= ETHER_HDR + 20 ? 4 : 0);
			assert_int_equal(key.l4, cut >= ETHER_HDR + 24 ? IPPROTO_TCP : 0);
		}
		free(copy);
	}
	make_frame(f, &vectors[0], IPPROTO_TCP, 0, true);
	assert_true(emu_flow_key_parse(&key, f, len));
	assert_int_equal(key.l4, 0);
	assert_int_equal(PRM_GET(fte_match_set_lyr_2_4, key.match, frag), 1);
	f[ETHER_HDR] = 0x44;       /* a header of 16 bytes */
	assert_true(emu_flow_key_parse(&key, f, len));
	assert_int_equal(key.l3, 0);
}

/* ---- a device with some receive queues ---- */

struct bench {
	struct card *card;
	struct queue tx, rx[QUEUES];
	struct queue *list[QUEUES];
	uint16_t got[QUEUES];
};

static void
bench_start(struct bench *b, struct card *card)
{
	struct seg seg;
	unsigned int i, j;

	memset(b, 0, sizeof(*b));
	b->card = card;
	queue_create(card, &b->tx, 1, SIZE);
	assert_int_equal(queue_set_state(&b->tx, MLX5_VIRTQ_STATE_RDY), 0);
	for (i = 0; i < QUEUES; i++) {
		b->list[i] = &b->rx[i];
		queue_create(card, &b->rx[i], (uint16_t)(2 * i), SIZE);
		assert_int_equal(queue_set_state(&b->rx[i], MLX5_VIRTQ_STATE_RDY), 0);
		for (j = 0; j < SIZE - 1; j++) {
			seg = (struct seg){ card_alloc(card, BUF, 2), BUF };
			queue_add(&b->rx[i], RING_DIRECT, &seg, 1, true);
		}
	}
}

/* Send a frame. Returns the queue that it came to, -1 if it was dropped. */
static int
send_frame(struct bench *b, const uint8_t *frame, uint32_t len)
{
	uint64_t drops = b->card->dev->rx_drops;
	uint16_t sent = queue_used_idx(&b->tx);
	uint8_t *pkt = card_alloc(b->card, HDR + len, 2);
	struct seg seg = { pkt, HDR + len };
	int i, to = -1;

	memcpy(pkt + HDR, frame, len);
	queue_add(&b->tx, RING_DIRECT, &seg, 1, false);
	card_kick(b->card);
	WAIT_FOR(queue_used_idx(&b->tx) == (uint16_t)(sent + 1));
	/* What was received is published by the end of a turn; commands come between turns. */
	queue_query(&b->tx);
	for (i = 0; i < QUEUES; i++) {
		if (queue_used_idx(&b->rx[i]) == b->got[i])
			continue;
		b->got[i]++;
		assert_int_equal(to, -1);
		to = i;
	}
	assert_int_equal(b->card->dev->rx_drops - drops, to == -1);
	return to;
}

static uint32_t
make_hash_tir(struct card *card, uint32_t rqtn, const struct vector *v, uint8_t proto,
		uint32_t fields, bool symmetric)
{
	uint8_t in[PRM_BYTES(create_tir_in)];
	void *tirc = PRM_ADDR(create_tir_in, in, ctx);
	void *sel = PRM_ADDR(tirc, tirc, rx_hash_field_selector_outer);

	steer_fill_tir(card, in, rqtn);
	PRM_SET(tirc, tirc, rx_hash_fn, MLX5_RX_HASH_FN_TOEPLITZ);
	PRM_SET(tirc, tirc, rx_hash_symmetric, symmetric);
	memcpy(PRM_ADDR(tirc, tirc, rx_hash_toeplitz_key), ms_key, sizeof(ms_key));
	PRM_SET(rx_hash_field_select, sel, l3_prot_type,
		v->family == AF_INET ? MLX5_L3_PROT_TYPE_IPV4 : MLX5_L3_PROT_TYPE_IPV6);
	PRM_SET(rx_hash_field_select, sel, l4_prot_type,
		proto == IPPROTO_TCP ? MLX5_L4_PROT_TYPE_TCP : MLX5_L4_PROT_TYPE_UDP);
	PRM_SET(rx_hash_field_select, sel, selected_fields, fields);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_TIR, in, sizeof(in),
		PRM_BYTES(create_tir_out)), 0);
	return PRM_GET(create_tir_out, card->out, tirn);
}

enum {
	HASH_L3 = MLX5_HASH_FIELD_SEL_SRC_IP | MLX5_HASH_FIELD_SEL_DST_IP,
	HASH_L4 = HASH_L3 | MLX5_HASH_FIELD_SEL_L4_SPORT | MLX5_HASH_FIELD_SEL_L4_DPORT,
};

/* A rule for the vectors of one family and protocol. */
static void
add_rule(struct card *card, uint32_t table, uint32_t index, int family, uint8_t proto,
		uint32_t tirn)
{
	uint8_t mask[PRM_BYTES(fte_match_set_lyr_2_4)] = {0};
	uint8_t value[PRM_BYTES(fte_match_set_lyr_2_4)] = {0};

	PRM_SET(fte_match_set_lyr_2_4, mask, ip_version, 0xf);
	PRM_SET(fte_match_set_lyr_2_4, value, ip_version, family == AF_INET ? 4 : 6);
	if (proto != 0)
		PRM_SET(fte_match_set_lyr_2_4, mask, ip_protocol, 0xff);
	PRM_SET(fte_match_set_lyr_2_4, value, ip_protocol, proto);
	steer_rule(card, table, index, mask, value, tirn);
}

static void
frames_go_where_their_hash_says(void **state)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	uint8_t f[FRAME_MAX];
	uint32_t rqtn, table, index = 0, len;
	struct bench b;
	size_t i, p;

	bench_start(&b, *state);
	rqtn = steer_rqt(b.card, b.list, QUEUES);
	table = steer_table(b.card, 0);
	for (p = 0; p < DIM(protos); p++) {
		add_rule(b.card, table, index++, AF_INET, protos[p],
			make_hash_tir(b.card, rqtn, &vectors[0], protos[p], HASH_L4, false));
		add_rule(b.card, table, index++, AF_INET6, protos[p],
			make_hash_tir(b.card, rqtn, &vectors[5], protos[p], HASH_L4, false));
	}
	add_rule(b.card, table, index++, AF_INET, 0,
		make_hash_tir(b.card, rqtn, &vectors[0], 0, HASH_L3, false));
	add_rule(b.card, table, index++, AF_INET6, 0,
		make_hash_tir(b.card, rqtn, &vectors[5], 0, HASH_L3, false));
	for (i = 0; i < DIM(vectors); i++) {
		for (p = 0; p < DIM(protos); p++) {
			len = make_frame(f, &vectors[i], protos[p], 0, false);
			assert_int_equal(send_frame(&b, f, len), vectors[i].l4 % QUEUES);
			len = make_frame(f, &vectors[i], protos[p], 5, false);
			assert_int_equal(send_frame(&b, f, len), vectors[i].l4 % QUEUES);
		}
		len = make_frame(f, &vectors[i], IPPROTO_ICMP, 0, false);
		assert_int_equal(send_frame(&b, f, len), vectors[i].l3 % QUEUES);
		/* The ports of a fragment are nobody's: all of a packet goes one way. */
		len = make_frame(f, &vectors[i], IPPROTO_UDP, 0, true);
		assert_int_equal(send_frame(&b, f, len), vectors[i].l3 % QUEUES);
	}
	/* No rule says anything of ARP. */
	memcpy(f + 12, "\x08\x06", 2);
	assert_int_equal(send_frame(&b, f, 60), -1);
}

static void
a_table_of_any_size_is_used_in_full(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t rqtn, len;
	struct bench b;
	size_t i;

	bench_start(&b, *state);
	rqtn = steer_rqt(b.card, b.list, 3);
	steer_rule(b.card, steer_table(b.card, 0), 0, NULL, NULL,
		make_hash_tir(b.card, rqtn, &vectors[0], IPPROTO_UDP, HASH_L4, false));
	for (i = 0; i < 5; i++) {
		len = make_frame(f, &vectors[i], IPPROTO_UDP, 0, false);
		assert_int_equal(send_frame(&b, f, len), vectors[i].l4 % 3);
	}
	/* What the TIR does not hash goes to the first entry. */
	len = make_frame(f, &vectors[5], IPPROTO_UDP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 0);
}

static void
a_symmetric_hash_keeps_both_directions_together(void **state)
{
	struct vector back;
	uint8_t f[FRAME_MAX];
	uint32_t rqtn, len;
	struct bench b;
	size_t i;
	int to;

	bench_start(&b, *state);
	rqtn = steer_rqt(b.card, b.list, QUEUES);
	steer_rule(b.card, steer_table(b.card, 0), 0, NULL, NULL,
		make_hash_tir(b.card, rqtn, &vectors[0], IPPROTO_UDP, HASH_L4, true));
	for (i = 0; i < 5; i++) {
		back = vectors[i];
		back.src = vectors[i].dst;
		back.dst = vectors[i].src;
		back.sport = vectors[i].dport;
		back.dport = vectors[i].sport;
		len = make_frame(f, &vectors[i], IPPROTO_UDP, 0, false);
		to = send_frame(&b, f, len);
		len = make_frame(f, &back, IPPROTO_UDP, 0, false);
		assert_int_equal(send_frame(&b, f, len), to);
	}
}

static void
the_table_of_the_lowest_level_that_matches_decides(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t tir[QUEUES], table[2], i, len;
	struct bench b;

	bench_start(&b, *state);
	for (i = 0; i < QUEUES; i++)
		tir[i] = steer_tir(b.card, steer_rqt(b.card, &b.list[i], 1));
	/* Made in the wrong order on purpose. */
	table[1] = steer_table(b.card, 9);
	table[0] = steer_table(b.card, 3);
	steer_rule(b.card, table[1], 5, NULL, NULL, tir[3]);
	add_rule(b.card, table[1], 2, AF_INET6, 0, tir[2]);
	add_rule(b.card, table[0], 1, AF_INET, 0, tir[1]);
	add_rule(b.card, table[0], 0, AF_INET, IPPROTO_UDP, tir[0]);
	len = make_frame(f, &vectors[0], IPPROTO_UDP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 0);
	len = make_frame(f, &vectors[0], IPPROTO_TCP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 1);
	len = make_frame(f, &vectors[5], IPPROTO_TCP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 2);
	memcpy(f + 12, "\x08\x06", 2);
	assert_int_equal(send_frame(&b, f, 60), 3);
}

/* ---- what is refused, and what is busy ---- */

static uint8_t
modify_rqt(struct card *card, uint32_t rqtn, struct queue *const *queues, uint32_t n, uint32_t max,
		uint64_t bitmask)
{
	uint8_t in[PRM_BYTES(modify_rqt_in) + QUEUES * PRM_BYTES(rq_num)] = {0};
	void *rqtc = PRM_ADDR(modify_rqt_in, in, ctx);
	uint32_t i;

	PRM_SET(modify_rqt_in, in, rqtn, rqtn);
	prm_set(PRM_ADDR(modify_rqt_in, in, bitmask), 0, 64, bitmask);
	PRM_SET(rqtc, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q);
	PRM_SET(rqtc, rqtc, rqt_max_size, max);
	PRM_SET(rqtc, rqtc, rqt_actual_size, n);
	for (i = 0; i < n && i < QUEUES; i++)
		PRM_SET(rq_num, (uint8_t *)PRM_ADDR(rqtc, rqtc, rq_num) + i * PRM_BYTES(rq_num),
			rq_num, queues[i]->id);
	return card_cmd(card, MLX5_CMD_OP_MODIFY_RQT, in, sizeof(in), PRM_BYTES(modify_rqt_out));
}

static void
a_list_can_be_replaced(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t rqtn, len;
	struct bench b;

	bench_start(&b, *state);
	rqtn = steer_rqt(b.card, b.list, QUEUES);
	steer_rule(b.card, steer_table(b.card, 0), 0, NULL, NULL, steer_tir(b.card, rqtn));
	len = make_frame(f, &vectors[0], IPPROTO_UDP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 0);
	/* DPDK repeats the maximum, Linux leaves it out. */
	assert_int_equal(modify_rqt(b.card, rqtn, &b.list[2], 1, QUEUES, 1), 0);
	assert_int_equal(send_frame(&b, f, len), 2);
	assert_int_equal(modify_rqt(b.card, rqtn, &b.list[1], 2, 0, 1), 0);
	assert_int_equal(send_frame(&b, f, len), 1);
	assert_int_equal(modify_rqt(b.card, rqtn, b.list, 1, QUEUES - 1, 1),
		MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(modify_rqt(b.card, rqtn, b.list, QUEUES + 1, 0, 1),
		MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(modify_rqt(b.card, rqtn, b.list, 0, 0, 1), MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(modify_rqt(b.card, rqtn, b.list, 1, 0, 0), MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(modify_rqt(b.card, rqtn, b.list, 1, 0, 3), MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(modify_rqt(b.card, rqtn + 1, b.list, 1, 0, 1), MLX5_CMD_STAT_BAD_RES_ERR);
	/* None of that changed anything. */
	assert_int_equal(send_frame(&b, f, len), 1);
}

static void
an_entry_is_a_receive_queue_of_ones_own(void **state)
{
	struct card *card = *state;
	struct queue none = { .id = 0xfffff0 }, tx, rx, *list[2];
	uint16_t uid = card->uid;

	queue_create(card, &rx, 0, SIZE);
	queue_create(card, &tx, 1, SIZE);
	list[0] = &rx;
	list[1] = &none;
	assert_int_equal(steer_rqt(card, list, 2), 0);
	list[1] = &tx;
	assert_int_equal(steer_rqt(card, list, 2), 0);
	assert_int_not_equal(steer_rqt(card, list, 1), 0);
	card->uid = 0;             /* the kernel sees all */
	assert_int_not_equal(steer_rqt(card, list, 1), 0);
	card->uid = uid;
}

static void
frames_for_a_queue_that_is_gone_are_dropped(void **state)
{
	uint8_t f[FRAME_MAX];
	uint32_t len;
	struct bench b;

	bench_start(&b, *state);
	steer_all(b.card, b.list, 2);
	len = make_frame(f, &vectors[0], IPPROTO_UDP, 0, false);
	assert_int_equal(send_frame(&b, f, len), 0);
	assert_int_equal(queue_destroy(&b.rx[0]), 0);
	assert_int_equal(send_frame(&b, f, len), -1);
	/* Another queue of that index, and maybe of that number: the entry is still dead. */
	queue_create(b.card, &b.rx[0], 0, SIZE);
	assert_int_equal(queue_set_state(&b.rx[0], MLX5_VIRTQ_STATE_RDY), 0);
	b.got[0] = 0;
	assert_int_equal(send_frame(&b, f, len), -1);
}

static void
what_a_rule_needs_is_busy_while_it_lives(void **state)
{
	uint8_t del[PRM_BYTES(delete_fte_in)] = {0}, grp[PRM_BYTES(destroy_flow_group_in)] = {0};
	uint8_t tab[PRM_BYTES(destroy_flow_table_in)] = {0};
	struct card *card = *state;
	uint32_t rqtn, tirn, table;
	struct queue rx, *q = &rx;

	queue_create(card, &rx, 0, SIZE);
	rqtn = steer_rqt(card, &q, 1);
	tirn = steer_tir(card, rqtn);
	table = steer_table(card, 0);
	steer_rule(card, table, 3, NULL, NULL, tirn);
	PRM_SET(delete_fte_in, del, table_id, table);
	PRM_SET(delete_fte_in, del, flow_index, 3);
	PRM_SET(destroy_flow_group_in, grp, table_id, table);
	PRM_SET(destroy_flow_group_in, grp, group_id, 1);
	PRM_SET(destroy_flow_table_in, tab, table_id, table);
#define RUN(op, in, l) card_cmd(card, MLX5_CMD_OP_##op, in, sizeof(in), PRM_BYTES(l))
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_RQT, rqtn), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_TIR, tirn), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN, card->td),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(RUN(DESTROY_FLOW_GROUP, grp, destroy_flow_group_out),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(RUN(DESTROY_FLOW_TABLE, tab, destroy_flow_table_out),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(RUN(DELETE_FLOW_TABLE_ENTRY, del, delete_fte_out), 0);
	assert_int_equal(RUN(DELETE_FLOW_TABLE_ENTRY, del, delete_fte_out),
		MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(RUN(DESTROY_FLOW_TABLE, tab, destroy_flow_table_out),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(RUN(DESTROY_FLOW_GROUP, grp, destroy_flow_group_out), 0);
	assert_int_equal(RUN(DESTROY_FLOW_TABLE, tab, destroy_flow_table_out), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_TIR, tirn), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_RQT, rqtn), 0);
	assert_int_equal(queue_destroy(&rx), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_TIS, card->tis), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN, card->td), 0);
#undef RUN
}

static void
a_tir_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_tir_in, ctx);
	const size_t outer = t + PRM_OFF(tirc, rx_hash_field_selector_outer);
	const struct refusal r[] = {
		CHANGE(t, tirc, disp_type, MLX5_TIRC_DISP_TYPE_DIRECT, BAD_RES_ERR),
		CHANGE(t, tirc, disp_type, 2, BAD_PARAM_ERR),
		CHANGE(t, tirc, tls_en, 1, BAD_PARAM_ERR),
		CHANGE(t, tirc, packet_merge_mask, 1, BAD_PARAM_ERR),
		CHANGE(t, tirc, self_lb_block, 1, BAD_PARAM_ERR),
		CHANGE(t, tirc, tunneled_offload_en, 1, BAD_PARAM_ERR),
		CHANGE(t, tirc, rx_hash_fn, MLX5_RX_HASH_FN_INVERTED_XOR8, BAD_PARAM_ERR),
		CHANGE(outer, rx_hash_field_select, selected_fields, 1 << 4, BAD_PARAM_ERR),
		CHANGE(t, tirc, indirect_table, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(t, tirc, transport_domain, NO_SUCH_ID, BAD_RES_ERR),
	};
	uint8_t in[PRM_BYTES(create_tir_in)];
	struct card *card = *state;
	struct queue rx, *q = &rx;

	queue_create(card, &rx, 0, SIZE);
	steer_fill_tir(card, in, steer_rqt(card, &q, 1));
	check_refusals(card, MLX5_CMD_OP_CREATE_TIR, in, sizeof(in), PRM_BYTES(create_tir_out), r,
		DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_TIR, in, sizeof(in),
		PRM_BYTES(create_tir_out)), 0);
}

static void
an_rqt_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_rqt_in, rqt_context);
	const struct refusal r[] = {
		CHANGE(t, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_RQ, BAD_PARAM_ERR),
		CHANGE(t, rqtc, rq_vhca_id_format, 1, BAD_PARAM_ERR),
		CHANGE(t, rqtc, rqt_max_size, 0xffff, LIM_ERR),
		CHANGE(t, rqtc, rqt_actual_size, 3, BAD_PARAM_ERR),
		CHANGE(t, rqtc, rqt_actual_size, 2, BAD_INP_LEN_ERR),
	};
	uint8_t in[PRM_BYTES(create_rqt_in) + PRM_BYTES(rq_num)] = {0};
	void *rqtc = PRM_ADDR(create_rqt_in, in, rqt_context);
	struct card *card = *state;
	struct queue rx;

	queue_create(card, &rx, 0, SIZE);
	PRM_SET(rqtc, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q);
	PRM_SET(rqtc, rqtc, rqt_max_size, 2);
	PRM_SET(rqtc, rqtc, rqt_actual_size, 1);
	PRM_SET(rq_num, PRM_ADDR(rqtc, rqtc, rq_num), rq_num, rx.id);
	check_refusals(card, MLX5_CMD_OP_CREATE_RQT, in, sizeof(in), PRM_BYTES(create_rqt_out), r,
		DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_RQT, in, sizeof(in),
		PRM_BYTES(create_rqt_out)), 0);
}

static void
a_tis_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_tis_in, ctx);
	const struct refusal r[] = {
		CHANGE(t, tisc, tls_en, 1, BAD_PARAM_ERR),
		CHANGE(t, tisc, lag_tx_port_affinity, 2, BAD_PARAM_ERR),
		CHANGE(t, tisc, underlay_qpn, 1, BAD_PARAM_ERR),
		CHANGE(t, tisc, transport_domain, NO_SUCH_ID, BAD_RES_ERR),
	};
	uint8_t in[PRM_BYTES(create_tis_in)] = {0};
	void *tisc = PRM_ADDR(create_tis_in, in, ctx);
	struct card *card = *state;

	PRM_SET(tisc, tisc, transport_domain, card->td);
	PRM_SET(tisc, tisc, lag_tx_port_affinity, 1);
	check_refusals(card, MLX5_CMD_OP_CREATE_TIS, in, sizeof(in), PRM_BYTES(create_tis_out), r,
		DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_TIS, in, sizeof(in),
		PRM_BYTES(create_tis_out)), 0);
}

static void
a_flow_table_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_flow_table_in, flow_table_context);
	const struct refusal r[] = {
		CHANGE(0, create_flow_table_in, other_vport, 1, BAD_PARAM_ERR),
		CHANGE(0, create_flow_table_in, table_type, 1, BAD_PARAM_ERR),
		CHANGE(t, flow_table_context, reformat_en, 1, BAD_PARAM_ERR),
		CHANGE(t, flow_table_context, table_miss_action, 1, BAD_PARAM_ERR),
		CHANGE(t, flow_table_context, log_size, 25, LIM_ERR),
		CHANGE(t, flow_table_context, level, 64, BAD_PARAM_ERR),
	};
	uint8_t in[PRM_BYTES(create_flow_table_in)] = {0};

	check_refusals(*state, MLX5_CMD_OP_CREATE_FLOW_TABLE, in, sizeof(in),
		PRM_BYTES(create_flow_table_out), r, DIM(r));
	assert_int_equal(card_cmd(*state, MLX5_CMD_OP_CREATE_FLOW_TABLE, in, sizeof(in),
		PRM_BYTES(create_flow_table_out)), 0);
}

static void
a_flow_group_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t outer = PRM_OFF(create_flow_group_in, match_criteria) +
		PRM_OFF(fte_match_param, outer_headers);
	static const size_t inner = PRM_OFF(create_flow_group_in, match_criteria) +
		PRM_OFF(fte_match_param, inner_headers);
	const struct refusal r[] = {
		CHANGE(0, create_flow_group_in, vport_number, 1, BAD_PARAM_ERR),
		CHANGE(0, create_flow_group_in, table_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(0, create_flow_group_in, group_type, 1, BAD_PARAM_ERR),
		CHANGE(0, create_flow_group_in, end_flow_index, 16, BAD_PARAM_ERR),
		CHANGE(0, create_flow_group_in, start_flow_index, 0, BAD_PARAM_ERR),
		CHANGE(0, create_flow_group_in, match_criteria_enable, 2, BAD_PARAM_ERR),
		CHANGE(outer, fte_match_set_lyr_2_4, tcp_flags, 1, BAD_PARAM_ERR),
	};
	uint8_t in[PRM_BYTES(create_flow_group_in)] = {0};
	struct card *card = *state;
	struct queue rx, *q = &rx;
	uint32_t table;

	queue_create(card, &rx, 0, SIZE);
	table = steer_table(card, 0);
	steer_rule(card, table, 1, NULL, NULL, steer_tir(card, steer_rqt(card, &q, 1)));
	PRM_SET(create_flow_group_in, in, table_id, table);
	PRM_SET(create_flow_group_in, in, start_flow_index, 2);
	PRM_SET(create_flow_group_in, in, end_flow_index, 15);
	PRM_SET(create_flow_group_in, in, match_criteria_enable, MLX5_MATCH_OUTER_HEADERS);
	check_refusals(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, in, sizeof(in),
		PRM_BYTES(create_flow_group_out), r, DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, in, sizeof(in),
		PRM_BYTES(create_flow_group_out)), 0);
	/* A mask where there are no criteria, or of inner headers. */
	PRM_SET(create_flow_group_in, in, start_flow_index, 0);
	PRM_SET(create_flow_group_in, in, end_flow_index, 0);
	in[inner] = 1;
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, in, sizeof(in),
		PRM_BYTES(create_flow_group_out)), MLX5_CMD_STAT_BAD_PARAM_ERR);
	in[inner] = 0;
	in[outer] = 1;
	PRM_SET(create_flow_group_in, in, match_criteria_enable, 0);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, in, sizeof(in),
		PRM_BYTES(create_flow_group_out)), MLX5_CMD_STAT_BAD_PARAM_ERR);
}

static void
a_flow_entry_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t ctx_off = PRM_OFF(set_fte_in, flow_context);
	static const size_t dest_off = PRM_BYTES(set_fte_in);
	const struct refusal r[] = {
		CHANGE(0, set_fte_in, table_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(0, set_fte_in, modify_enable_mask, 1, BAD_PARAM_ERR),
		CHANGE(0, set_fte_in, flow_index, 9, BAD_PARAM_ERR),
		CHANGE(ctx_off, flow_context, group_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(ctx_off, flow_context, action, 0x2, BAD_PARAM_ERR),
		CHANGE(ctx_off, flow_context, destination_list_size, 2, BAD_PARAM_ERR),
		CHANGE(dest_off, dest_format_struct, destination_type, 1, BAD_PARAM_ERR),
		CHANGE(dest_off, dest_format_struct, destination_id, NO_SUCH_ID, BAD_RES_ERR),
	};
	uint8_t in[PRM_BYTES(set_fte_in) + PRM_BYTES(dest_format_struct)] = {0};
	uint8_t grp[PRM_BYTES(create_flow_group_in)] = {0};
	void *ctx = PRM_ADDR(set_fte_in, in, flow_context);
	void *dest = PRM_ADDR(flow_context, ctx, destination);
	struct card *card = *state;
	struct queue rx, *q = &rx;
	uint32_t table, tirn;

	queue_create(card, &rx, 0, SIZE);
	tirn = steer_tir(card, steer_rqt(card, &q, 1));
	table = steer_table(card, 0);
	PRM_SET(create_flow_group_in, grp, table_id, table);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, grp, sizeof(grp),
		PRM_BYTES(create_flow_group_out)), 0);
	PRM_SET(flow_context, ctx, group_id, PRM_GET(create_flow_group_out, card->out, group_id));
	PRM_SET(set_fte_in, in, table_id, table);
	PRM_SET(flow_context, ctx, action, MLX5_FLOW_CONTEXT_ACTION_FWD_DEST);
	PRM_SET(flow_context, ctx, destination_list_size, 1);
	PRM_SET(dest_format_struct, dest, destination_type, MLX5_FLOW_DESTINATION_TYPE_TIR);
	PRM_SET(dest_format_struct, dest, destination_id, tirn);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, in, PRM_BYTES(set_fte_in),
		PRM_BYTES(set_fte_out)), MLX5_CMD_STAT_BAD_INP_LEN_ERR);
	check_refusals(card, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, in, sizeof(in),
		PRM_BYTES(set_fte_out), r, DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, in, sizeof(in),
		PRM_BYTES(set_fte_out)), 0);
	/* The index is taken now. */
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, in, sizeof(in),
		PRM_BYTES(set_fte_out)), MLX5_CMD_STAT_BAD_RES_STATE_ERR);
}

/* A card whose firmware steers nothing: it has no page that says how, and no tables. */
static void
without_its_capability_there_is_no_flow_table(void **state)
{
	uint8_t in[PRM_BYTES(create_flow_table_in)] = {0};
	struct card *card = card_new("caps=-nic_flow_table");

	(void)state;
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_TABLE, in, sizeof(in),
		PRM_BYTES(create_flow_table_out)), MLX5_CMD_STAT_BAD_PARAM_ERR);
	card_free(card);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, card_setup, card_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(toeplitz_gives_the_published_hashes),
		cmocka_unit_test(headers_are_read_where_they_are),
		cmocka_unit_test(short_and_odd_frames_are_read_as_far_as_they_go),
		TEST(frames_go_where_their_hash_says),
		TEST(a_table_of_any_size_is_used_in_full),
		TEST(a_symmetric_hash_keeps_both_directions_together),
		TEST(the_table_of_the_lowest_level_that_matches_decides),
		TEST(a_list_can_be_replaced),
		TEST(an_entry_is_a_receive_queue_of_ones_own),
		TEST(frames_for_a_queue_that_is_gone_are_dropped),
		TEST(what_a_rule_needs_is_busy_while_it_lives),
		TEST(a_tir_is_refused_for_what_it_can_not_be),
		TEST(an_rqt_is_refused_for_what_it_can_not_be),
		TEST(a_tis_is_refused_for_what_it_can_not_be),
		TEST(a_flow_table_is_refused_for_what_it_can_not_be),
		cmocka_unit_test(without_its_capability_there_is_no_flow_table),
		TEST(a_flow_group_is_refused_for_what_it_can_not_be),
		TEST(a_flow_entry_is_refused_for_what_it_can_not_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
