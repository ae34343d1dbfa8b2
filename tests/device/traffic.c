/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>

#include "traffic.h"

/* ---- frames ---- */

/* Addresses: locally administered. Ethertype: local experiments (IEEE 802). */
static const uint8_t eth_header[ETH_HDR] = { 0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5 };

static void
fill_content(uint8_t *p, uint32_t len, uint32_t seq)
{
	uint32_t x = seq * 2654435761u + len, i;

	for (i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = x >> 24;
	}
}

void
frame_make(uint8_t *frame, uint32_t len, uint32_t seq)
{
	memcpy(frame, eth_header, ETH_HDR);
	fill_content(frame + ETH_HDR, len - ETH_HDR, seq);
}

bool
frame_is(const uint8_t *frame, uint32_t len, uint32_t seq)
{
	uint8_t want[FRAME_MAX];

	if (len > sizeof(want))
		return false;
	frame_make(want, len, seq);
	return memcmp(frame, want, len) == 0;
}

static uint16_t
ip_checksum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i += 2)
		sum += p[i] << 8 | p[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

void
frame_make_udp4(uint8_t *frame, uint32_t len, uint32_t seq, uint8_t src, uint8_t dst,
		uint16_t sport, uint16_t dport)
{
	uint8_t *ip = frame + ETH_HDR, *udp = ip + 20;
	uint16_t ip_len = len - ETH_HDR, udp_len = ip_len - 20, sum;

	memcpy(frame, eth_header, ETH_HDR);
	frame[12] = 0x08;
	frame[13] = 0x00;
	memset(ip, 0, 28);
	ip[0] = 0x45;
	ip[2] = ip_len >> 8;
	ip[3] = ip_len & 0xff;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, (uint8_t[]) { 10, 0, 0, src, 10, 0, 0, dst }, 8);
	sum = ip_checksum(ip, 20);
	ip[10] = sum >> 8;
	ip[11] = sum & 0xff;
	udp[0] = sport >> 8;
	udp[1] = sport & 0xff;
	udp[2] = dport >> 8;
	udp[3] = dport & 0xff;
	udp[4] = udp_len >> 8;
	udp[5] = udp_len & 0xff;
	fill_content(udp + 8, udp_len - 8, seq); /* no UDP checksum */
}

/* ---- flow rules ---- */

#define MATCH_BYTES PRM_BYTES(fte_match_param)

static struct mlx5dv_flow_match_parameters *
match_alloc(uint8_t ip_version, uint8_t ip_protocol, uint64_t dmac)
{
	struct mlx5dv_flow_match_parameters *m = calloc(1, sizeof(*m) + MATCH_BYTES);
	void *outer;

	assert_non_null(m);
	m->match_sz = MATCH_BYTES;
	outer = PRM_ADDR(fte_match_param, m->match_buf, outer_headers);
	PRM_SET(fte_match_set_lyr_2_4, outer, ip_version, ip_version);
	PRM_SET(fte_match_set_lyr_2_4, outer, ip_protocol, ip_protocol);
	PRM_SET(fte_match_set_lyr_2_4, outer, dmac_47_16, dmac >> 16);
	PRM_SET(fte_match_set_lyr_2_4, outer, dmac_15_0, dmac & 0xffff);
	return m;
}

int
flow_create(struct flow *f, struct dev *d, uint16_t priority, const struct match *match,
		struct obj *tir)
{
	struct mlx5dv_flow_match_parameters *mask, *value;
	struct mlx5dv_flow_matcher_attr attr = {
		.type = IBV_FLOW_ATTR_NORMAL,
		.priority = priority,
	};
	struct mlx5dv_flow_action_attr action = {
		.type = MLX5DV_FLOW_ACTION_DEST_DEVX,
		.obj = tir->obj,
	};
	int err = 0;

	mask = match_alloc(match->ip_version ? 0xf : 0, match->ip_protocol ? 0xff : 0,
		match->dmac_mask);
	value = match_alloc(match->ip_version, match->ip_protocol, match->dmac);
	attr.match_criteria_enable = match->ip_version || match->ip_protocol || match->dmac_mask ?
		MLX5_MATCH_OUTER_HEADERS : 0;
	attr.match_mask = mask;
	*f = (struct flow) {0};
	errno = 0;
	f->matcher = mlx5dv_create_flow_matcher(d->ctx, &attr);
	if (f->matcher != NULL)
		f->flow = mlx5dv_create_flow(f->matcher, value, 1, &action);
	if (f->flow == NULL) {
		err = errno != 0 ? errno : EIO;
		flow_destroy(f);
	}
	free(value);
	free(mask);
	return err;
}

void
flow_destroy(struct flow *f)
{
	if (f->flow != NULL)
		ibv_destroy_flow(f->flow);
	if (f->matcher != NULL)
		mlx5dv_destroy_flow_matcher(f->matcher);
	*f = (struct flow) {0};
}

/* ---- a pair ---- */

void
pair_create_mem(struct pair *p, struct dev *d)
{
	*p = (struct pair) { .d = d };
	p->mem = mem_create(d->pd, PAIR_MEM, PAIR_IOVA, MEM_RW);
}

void
pair_create_queues(struct pair *p, uint32_t mkey, uint32_t rx_event_qpn, uint32_t tx_event_qpn)
{
	struct mem m = p->mem;

	m.mkey = mkey;
	queue_create(&p->rx, p->d, 0, PAIR_SIZE, &m, m.va + PAIR_RX_RING, rx_event_qpn);
	queue_create(&p->tx, p->d, 1, PAIR_SIZE, &m, m.va + PAIR_TX_RING, tx_event_qpn);
}

void
pair_create_steering(struct pair *p)
{
	static const struct match any = {0};
	uint8_t rqt[RQT_IN_BYTES], tir[PRM_BYTES(create_tir_in)];
	size_t len;

	len = fill_rqt(rqt, &p->rx.vq.id, 1);
	p->rqt = create(p->d, rqt, len);
	fill_tir(p->d, tir, p->rqt.id);
	p->tir = create(p->d, tir, sizeof(tir));
	assert_int_equal(flow_create(&p->flow, p->d, 0, &any, &p->tir), 0);
}

void
pair_create(struct pair *p, struct dev *d, uint32_t rx_event_qpn, uint32_t tx_event_qpn)
{
	pair_create_mem(p, d);
	pair_create_queues(p, p->mem.mkey, rx_event_qpn, tx_event_qpn);
	pair_create_steering(p);
}

void
pair_start(struct pair *p)
{
	queue_go(&p->rx, RDY);
	queue_go(&p->tx, RDY);
}

void
pair_destroy(struct pair *p)
{
	flow_destroy(&p->flow);
	destroy(&p->tir);
	destroy(&p->rqt);
	queue_destroy(&p->tx);
	queue_destroy(&p->rx);
	mem_destroy(&p->mem);
}

void
pair_discard(struct pair *p)
{
	flow_destroy(&p->flow);
	discard(&p->tir);
	discard(&p->rqt);
	queue_discard(&p->tx);
	queue_discard(&p->rx);
	mem_discard(&p->mem);
}

uint8_t *
pair_rx_buf(const struct pair *p, unsigned int i)
{
	return p->mem.va + PAIR_RX_BUFS + i * BUF_BYTES;
}

uint8_t *
pair_tx_buf(const struct pair *p, unsigned int i)
{
	return p->mem.va + PAIR_TX_BUFS + i * BUF_BYTES;
}

struct buf
pair_rx(const struct pair *p, unsigned int i)
{
	return (struct buf) { mem_iova(&p->mem, pair_rx_buf(p, i)), BUF_BYTES };
}

struct buf
pair_tx(const struct pair *p, unsigned int i, uint32_t frame_len)
{
	return (struct buf) { mem_iova(&p->mem, pair_tx_buf(p, i)), NET_HDR + frame_len };
}

void
pair_post_rx(struct pair *p, unsigned int n)
{
	struct buf b;
	unsigned int i;

	for (i = 0; i < n; i++) {
		memset(pair_rx_buf(p, i), 0xee, BUF_BYTES);
		b = pair_rx(p, i);
		ring_post(&p->rx.ring, &b, 0, 1);
	}
	queue_kick(&p->rx);
}

uint32_t
pair_post_tx(struct pair *p, uint32_t len)
{
	uint32_t seq = p->sent++;
	uint8_t *at = pair_tx_buf(p, seq % PAIR_SIZE);
	struct buf b = pair_tx(p, seq % PAIR_SIZE, len);

	memset(at, 0, NET_HDR);
	frame_make(at + NET_HDR, len, seq);
	ring_post(&p->tx.ring, &b, 1, 0);
	return seq;
}

void
check_expect(struct pair *p, uint32_t seq, uint32_t len, const char *file, int line)
{
	struct vring_used_elem e = {0};
	const uint8_t *at;
	uint64_t addr;

	if (!wait_until(ring_take(&p->rx.ring, &e))) {
		print_error("frame %u did not arrive; receive queue: state %u, error %u; "
			"transmit queue: state %u, error %u, %u used\n", seq,
			virtq_query(&p->rx.vq).state, virtq_query(&p->rx.vq).error_type,
			virtq_query(&p->tx.vq).state, virtq_query(&p->tx.vq).error_type,
			ring_pending(&p->tx.ring));
		_fail(file, line);
	}
	assert_true(e.id < p->rx.ring.size);
	addr = p->rx.ring.desc[e.id].addr;
	at = p->mem.va + (addr - p->mem.iova);
	if (e.len != NET_HDR + len || !frame_is(at + NET_HDR, len, seq)) {
		print_error("received %u bytes that are not frame %u of %u\n", e.len, seq, len);
		_fail(file, line);
	}
	/* num_buffers of the header: the frame is in one. */
	assert_int_equal(at[10] | at[11] << 8, 1);
}

void
pair_exchange(struct pair *p, unsigned int n)
{
	struct vring_used_elem e;
	unsigned int i;
	uint32_t seq, len;
	struct buf b;

	for (i = 0; i < n; i++) {
		b = pair_rx(p, i % PAIR_SIZE);
		ring_post(&p->rx.ring, &b, 0, 1);
		queue_kick(&p->rx);
		len = FRAME_MIN + i * 37 % (FRAME_MAX - FRAME_MIN + 1);
		seq = pair_post_tx(p, len);
		queue_kick(&p->tx);
		pair_expect(p, seq, len);
		assert_true(wait_until(ring_take(&p->tx.ring, &e)));
	}
}

int64_t
dma_faults(void)
{
	static const char group[] = "\"dma\"", key[] = "\"faults\"";
	const char *(*counters)(void);
	const char *at;

	*(void **)&counters = dlsym(RTLD_DEFAULT, "mlx5_emu_counters_json");
	if (counters == NULL)
		return -1;
	at = strstr(counters(), group);
	assert_non_null(at);
	at = strstr(at, key);
	assert_non_null(at);
	return strtoll(at + strlen(key) + strspn(at + strlen(key), ": "), NULL, 10);
}
