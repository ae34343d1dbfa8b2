/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: checksums and segmentation, held to a second, naive computation of RFC 1071 and to
 * headers that are taken apart byte by byte; and what of it a guest sees through its rings.
 */
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <time.h>

#include "emu_card.h"

enum {
	ETH = 14,
	FIN = 0x01, PSH = 0x08, ACK = 0x10, CWR = 0x80,
	ALL = EMU_FEATURE_TSO_IPV4 | EMU_FEATURE_TSO_IPV6 | EMU_FEATURE_TX_CSUM |
		EMU_FEATURE_RX_CSUM,
	SEQ = 0xfffffe00,          /* wraps around on the way */
	IP_ID = 0xfffe,            /* likewise */
	VNET = EMU_VIRTIO_NET_HDR,
};

/* ---- the other computation ---- */

/* RFC 1071, section 4.1, as it stands there, in big-endian words. */
static uint32_t
add_words(uint32_t acc, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		acc += (uint32_t)p[i] << (i % 2 == 0 ? 8 : 0);
		acc = (acc & 0xffff) + (acc >> 16);
	}
	return acc;
}

static uint32_t
be(const uint8_t *p, unsigned int bytes)
{
	uint32_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | *p++;
	return v;
}

static void
set_be(uint8_t *p, unsigned int bytes, uint32_t v)
{
	while (bytes-- > 0) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

/* What a packet is made of. */
struct shape {
	unsigned int vlans;
	int version;               /* of IP */
	uint8_t proto;
	unsigned int ip_extra;     /* bytes of options or extension headers */
	unsigned int tcp_options;
	uint32_t payload;
	uint8_t flags;             /* of TCP */
};

struct packet {
	struct shape shape;
	uint32_t l3, l4, hdr_len, len;
	uint8_t vnet[VNET];
	uint8_t frame[EMU_GSO_MAX + 64];
};

static uint32_t
pseudo(const uint8_t *frame, const struct packet *p, uint32_t l4_len)
{
	uint8_t tail[4] = { (uint8_t)(l4_len >> 16), (uint8_t)(l4_len >> 8), (uint8_t)l4_len,
		p->shape.proto };
	uint32_t acc;

	if (p->shape.version == 4)
		acc = add_words(0, frame + p->l3 + 12, 8);
	else
		acc = add_words(0, frame + p->l3 + 8, 32);
	/* 24 bits of length and one of protocol: what does not fit into words is apart. */
	acc = add_words(acc, (uint8_t[]){ 0, tail[0], tail[1], tail[2] }, 4);
	return add_words(acc, (uint8_t[]){ 0, tail[3] }, 2);
}

static unsigned int
csum_off(const struct packet *p)
{
	return p->shape.proto == IPPROTO_TCP ? 16 : 6;
}

static void
fill_ip(struct packet *p)
{
	const struct shape *s = &p->shape;
	uint8_t *ip = p->frame + p->l3;
	unsigned int i;

	if (s->version == 4) {
		ip[0] = (uint8_t)(0x40 | (20 + s->ip_extra) / 4);
		ip[1] = 0x02;      /* ECT(0) */
		set_be(ip + 2, 2, p->len - p->l3);
		set_be(ip + 4, 2, IP_ID);
		ip[6] = 0x40;      /* don't fragment */
		ip[8] = 64;
		ip[9] = s->proto;
		set_be(ip + 12, 4, 0xc0a80001);
		set_be(ip + 16, 4, 0xc0a800c7);
		memset(ip + 20, 1, s->ip_extra); /* no operation */
		set_be(ip + 10, 2, ~add_words(0, ip, 20 + s->ip_extra));
		return;
	}
	set_be(ip, 4, 0x60212345);
	set_be(ip + 4, 2, p->len - p->l3 - 40);
	ip[6] = s->ip_extra > 0 ? IPPROTO_HOPOPTS : s->proto;
	ip[7] = 64;
	for (i = 0; i < 32; i++)
		ip[8 + i] = (uint8_t)(0xf0 + i * 3);
	for (i = 0; i < s->ip_extra; i += 8) {
		ip[40 + i] = i + 8 < s->ip_extra ? IPPROTO_DSTOPTS : s->proto;
		ip[40 + i + 2] = 1; /* PadN, 4 bytes of it */
		ip[40 + i + 3] = 4;
	}
}

/* A packet as a guest hands it over: the sum of the pseudo header where the checksum goes. */
static void
make(struct packet *p, const struct shape *s)
{
	uint8_t *l4;
	uint32_t i;

	memset(p, 0, sizeof(*p));
	p->shape = *s;
	p->l3 = ETH + 4 * s->vlans;
	p->l4 = p->l3 + (s->version == 4 ? 20 : 40) + s->ip_extra;
	p->hdr_len = p->l4 + (s->proto == IPPROTO_TCP ? 20 + s->tcp_options : 8);
	p->len = p->hdr_len + s->payload;
	for (i = 0; i < 12; i++)
		p->frame[i] = (uint8_t)(0x02 + i);
	for (i = 0; i < s->vlans; i++)
		set_be(p->frame + 12 + 4 * i, 4, i + 1 < s->vlans ? 0x88a80007 : 0x81000005);
	set_be(p->frame + p->l3 - 2, 2, s->version == 4 ? 0x0800 : 0x86dd);
	fill_ip(p);
	l4 = p->frame + p->l4;
	set_be(l4, 4, 0x30390050); /* ports */
	if (s->proto == IPPROTO_TCP) {
		set_be(l4 + 4, 4, SEQ);
		set_be(l4 + 8, 4, 0x01020304);
		l4[12] = (uint8_t)((20 + s->tcp_options) / 4 << 4);
		l4[13] = s->flags;
		set_be(l4 + 14, 2, 0x2000);
		memset(l4 + 20, 1, s->tcp_options);
	} else {
		set_be(l4 + 4, 2, p->len - p->l4);
	}
	for (i = 0; i < s->payload; i++)
		p->frame[p->hdr_len + i] = (uint8_t)(i * 31 + (i >> 8));
	set_be(l4 + csum_off(p), 2, pseudo(p->frame, p, p->len - p->l4));
}

static struct virtio_net_hdr *
vnet(struct packet *p)
{
	return (struct virtio_net_hdr *)(void *)p->vnet;
}

static void
ask_checksum(struct packet *p)
{
	vnet(p)->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vnet(p)->csum_start = htole16(p->l4);
	vnet(p)->csum_offset = htole16(csum_off(p));
}

static void
ask_segments(struct packet *p, uint16_t size)
{
	ask_checksum(p);
	vnet(p)->gso_type = p->shape.version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
		VIRTIO_NET_HDR_GSO_TCPV6;
	vnet(p)->gso_size = htole16(size);
	vnet(p)->hdr_len = htole16(p->hdr_len);
}

static bool
good_checksum(const uint8_t *frame, const struct packet *p, uint32_t len)
{
	return add_words(pseudo(frame, p, len - p->l4), frame + p->l4, len - p->l4) == 0xffff;
}

/* The computed checksum in place of the pseudo header's sum. */
static void
complete_checksum(struct packet *p)
{
	uint8_t *at = p->frame + p->l4 + csum_off(p);

	set_be(at, 2, ~add_words(0, p->frame + p->l4, p->len - p->l4));
	assert_true(good_checksum(p->frame, p, p->len));
}

static struct packet pkt, copy;
static struct emu_offload off;

static bool
start(uint16_t features)
{
	copy = pkt;
	return emu_offload_start(&off, features, pkt.vnet, pkt.frame, pkt.len);
}

static void
the_other_computation_knows_a_published_header(void **state)
{
	/* The example of "Internet checksum" in Wikipedia: b861. */
	uint8_t ip[20] = { 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00,
		0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7 };

	(void)state;
	assert_int_equal((uint16_t)~add_words(0, ip, sizeof(ip)), 0xb861);
}

/* ---- TX checksum ---- */

static void
a_packet_that_asks_for_nothing_leaves_as_it_is(void **state)
{
	static const uint16_t features[] = { 0, ALL };
	const uint8_t *frame;
	uint32_t len;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(features); i++) {
		make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP, .payload = 99 });
		/* Flags that a driver has no business with. */
		vnet(&pkt)->flags = VIRTIO_NET_HDR_F_DATA_VALID;
		assert_true(start(features[i]));
		frame = emu_offload_next(&off, &len);
		assert_ptr_equal(frame, pkt.frame);
		assert_int_equal(len, pkt.len);
		assert_memory_equal(frame, copy.frame, len);
		assert_null(emu_offload_next(&off, &len));
	}
}

static void
check_tx_checksum(const struct shape *s, unsigned int align)
{
	static uint8_t buf[EMU_FRAME_MAX + 8];
	const uint8_t *frame;
	uint32_t len;

	make(&pkt, s);
	ask_checksum(&pkt);
	memcpy(buf + align, pkt.frame, pkt.len);
	assert_true(emu_offload_start(&off, EMU_FEATURE_TX_CSUM, pkt.vnet, buf + align, pkt.len));
	frame = emu_offload_next(&off, &len);
	assert_int_equal(len, pkt.len);
	assert_null(emu_offload_next(&off, &len));
	complete_checksum(&pkt);
	assert_memory_equal(frame, pkt.frame, pkt.len);
}

static void
checksums_of_all_lengths_and_places_are_right(void **state)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	struct shape s = {0};
	uint32_t payload;
	size_t i;

	(void)state;
	for (payload = 0; payload < 300; payload++) {
		for (i = 0; i < 4; i++) {
			s = (struct shape){ .version = i % 2 == 0 ? 4 : 6, .proto = protos[i / 2],
				.payload = payload, .vlans = payload % 3,
				.ip_extra = 8 * (payload % 2) };
			check_tx_checksum(&s, payload % 8);
		}
	}
	s.payload = 8900;
	check_tx_checksum(&s, 1);
}

static void
a_checksum_of_zero_is_sent_as_all_ones(void **state)
{
	uint32_t len, acc;

	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 20 });
	ask_checksum(&pkt);
	/* What is missing to all ones goes into a word of payload that is 0. */
	set_be(pkt.frame + pkt.hdr_len + 2, 2, 0);
	acc = add_words(0, pkt.frame + pkt.l4, pkt.len - pkt.l4);
	set_be(pkt.frame + pkt.hdr_len + 2, 2, 0xffff - acc);
	assert_true(start(ALL));
	assert_non_null(emu_offload_next(&off, &len));
	assert_int_equal(be(pkt.frame + pkt.l4 + 6, 2), 0xffff);
	assert_true(good_checksum(pkt.frame, &pkt, pkt.len));
}

static void
checksums_of_any_protocol_go_where_the_header_says(void **state)
{
	uint32_t len, acc;

	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 63 });
	memset(pkt.frame + 12, 0xee, 2); /* an ethertype of no interest */
	vnet(&pkt)->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vnet(&pkt)->csum_start = htole16(pkt.len - 5);
	vnet(&pkt)->csum_offset = htole16(3);
	acc = add_words(0, pkt.frame + pkt.len - 5, 5);
	assert_true(start(ALL));
	assert_non_null(emu_offload_next(&off, &len));
	assert_memory_equal(pkt.frame, copy.frame, pkt.len - 2);
	assert_int_equal(be(pkt.frame + pkt.len - 2, 2), (uint16_t)~acc);
}

static void
checksums_that_cannot_be_are_not_sent(void **state)
{
	static const struct {
		uint16_t features;
		int start, offset;         /* from the packet's end */
		bool ok;
	} c[] = {
		{ ALL, -10, 8, true },
		{ ALL, -10, 9, false },
		{ ALL, -2, 0, true },
		{ ALL, -1, 0, false },
		{ ALL, 0, 0, false },
		{ ALL, 100, 0, false },
		{ ALL, -10, UINT16_MAX, false },
		{ ALL & ~EMU_FEATURE_TX_CSUM, -10, 8, false },
		{ 0, -10, 8, false },
	};
	uint32_t len;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(c); i++) {
		make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 63 });
		vnet(&pkt)->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		vnet(&pkt)->csum_start = htole16((uint16_t)((int)pkt.len + c[i].start));
		vnet(&pkt)->csum_offset = htole16((uint16_t)c[i].offset);
		assert_int_equal(start(c[i].features), c[i].ok);
		if (!c[i].ok)
			assert_null(emu_offload_next(&off, &len));
	}
}

static void
frames_have_a_least_and_a_greatest_length(void **state)
{
	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 20000 });
	pkt.len = ETH;
	assert_true(start(ALL));
	pkt.len = ETH - 1;
	assert_false(start(ALL));
	pkt.len = 0;
	assert_false(start(ALL));
	pkt.len = EMU_FRAME_MAX;
	assert_true(start(ALL));
	pkt.len = EMU_FRAME_MAX + 1;
	assert_false(start(ALL));
}

/* ---- segmentation ---- */

/* Segment number @p i of the packet in copy, whose payload starts @p at into the packet's. */
static void
check_segment(const uint8_t *f, uint32_t len, unsigned int i, uint32_t at, uint32_t n)
{
	const struct shape *s = &copy.shape;
	const uint8_t *ip = f + copy.l3, *tcp = f + copy.l4;
	uint8_t flags = s->flags;

	assert_int_equal(len, copy.hdr_len + n);
	assert_memory_equal(f, copy.frame, copy.l3);
	if (s->version == 4) {
		assert_memory_equal(ip, copy.frame + copy.l3, 2);
		assert_int_equal(be(ip + 2, 2), len - copy.l3);
		assert_int_equal(be(ip + 4, 2), (uint16_t)(IP_ID + i));
		assert_memory_equal(ip + 6, copy.frame + copy.l3 + 6, 4);
		assert_int_equal(add_words(0, ip, copy.l4 - copy.l3), 0xffff);
		assert_memory_equal(ip + 12, copy.frame + copy.l3 + 12, copy.l4 - copy.l3 - 12);
	} else {
		assert_memory_equal(ip, copy.frame + copy.l3, 4);
		assert_int_equal(be(ip + 4, 2), len - copy.l3 - 40);
		assert_memory_equal(ip + 6, copy.frame + copy.l3 + 6, copy.l4 - copy.l3 - 6);
	}
	if (i > 0)
		flags &= (uint8_t)~CWR;
	if (at + n < s->payload)
		flags &= (uint8_t)~(FIN | PSH);
	assert_int_equal(be(tcp + 4, 4), (uint32_t)(SEQ + at));
	assert_int_equal(tcp[13], flags);
	assert_memory_equal(tcp, copy.frame + copy.l4, 4);
	assert_memory_equal(tcp + 8, copy.frame + copy.l4 + 8, 5);
	assert_memory_equal(tcp + 14, copy.frame + copy.l4 + 14, 2);
	assert_memory_equal(tcp + 18, copy.frame + copy.l4 + 18, 2 + s->tcp_options);
	assert_memory_equal(f + copy.hdr_len, copy.frame + copy.hdr_len + at, n);
}

static void
check_segments(const struct shape *s, uint16_t size, uint8_t ecn)
{
	uint32_t at = 0, n, len;
	const uint8_t *frame;
	unsigned int i = 0;

	make(&pkt, s);
	ask_segments(&pkt, size);
	vnet(&pkt)->gso_type |= ecn;
	assert_true(start(ALL));
	while ((frame = emu_offload_next(&off, &len)) != NULL) {
		n = s->payload - at < size ? s->payload - at : size;
		check_segment(frame, len, i, at, n);
		assert_true(good_checksum(frame, &copy, len));
		at += n;
		i++;
	}
	assert_int_equal(at, s->payload);
	assert_int_equal(i, s->payload == 0 ? 1 : (s->payload + size - 1) / size);
}

static void
segments_carry_the_packet(void **state)
{
	static const uint32_t payloads[] = { 0, 1, 1447, 1448, 1449, 2896, 5000, 40001 };
	struct shape s = { .proto = IPPROTO_TCP };
	unsigned int i, kind;

	(void)state;
	for (i = 0; i < DIM(payloads); i++) {
		for (kind = 0; kind < 16; kind++) {
			s.version = kind % 2 == 0 ? 4 : 6;
			s.vlans = kind / 2 % 2 + (kind == 7);
			s.ip_extra = 16 * (kind / 4 % 2);
			s.tcp_options = 12 * (kind / 8 % 2);
			s.payload = payloads[i];
			s.flags = ACK | PSH | (kind % 3 == 0 ? FIN : 0) | (kind % 3 == 1 ? CWR : 0);
			check_segments(&s, 1448, (s.flags & CWR) != 0 ? VIRTIO_NET_HDR_GSO_ECN : 0);
		}
	}
}

static void
the_largest_packets_are_cut(void **state)
{
	struct shape s = { .version = 4, .proto = IPPROTO_TCP, .flags = ACK };

	(void)state;
	s.payload = UINT16_MAX - 40;
	check_segments(&s, 1460, 0);
	check_segments(&s, EMU_GSO_SIZE_MIN, 0);
	check_segments(&s, EMU_FRAME_MAX - ETH - 40, 0);
	s.version = 6;
	s.vlans = 2;
	s.payload = UINT16_MAX - 20;
	check_segments(&s, 1440, 0);
	assert_int_equal(pkt.len, EMU_GSO_MAX);
	s.payload = 100;
	check_segments(&s, UINT16_MAX, 0);
}

static void
segments_without_tx_csum_keep_their_checksum(void **state)
{
	const uint8_t *frame;
	uint32_t len;

	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP, .payload = 3000 });
	ask_segments(&pkt, 1000);
	assert_true(start(EMU_FEATURE_TSO_IPV4));
	while ((frame = emu_offload_next(&off, &len)) != NULL) {
		assert_memory_equal(frame + pkt.l4 + 16, copy.frame + pkt.l4 + 16, 2);
		assert_int_equal(add_words(0, frame + pkt.l3, 20), 0xffff);
	}
}

/* Each of these alone is wrong in a packet that is right. */
static void
packets_that_cannot_be_cut_are_not_sent(void **state)
{
	enum { TAG = 0x10000 };    /* in the virtio header, else in the frame */
#define IN_VNET(f) (TAG + offsetof(struct virtio_net_hdr, f))
	static const struct {
		int version;
		unsigned int at;
		uint8_t val[2];
		unsigned int len;
	} bad[] = {
		{ 4, IN_VNET(flags), { 0 }, 1 },
		{ 4, IN_VNET(gso_type), { VIRTIO_NET_HDR_GSO_TCPV6 }, 1 },
		{ 6, IN_VNET(gso_type), { VIRTIO_NET_HDR_GSO_TCPV4 }, 1 },
		{ 4, IN_VNET(gso_type), { VIRTIO_NET_HDR_GSO_UDP }, 1 },
		{ 4, IN_VNET(gso_type), { 5 }, 1 },
		{ 4, IN_VNET(gso_type), { VIRTIO_NET_HDR_GSO_ECN }, 1 },
		{ 4, IN_VNET(gso_type), { 0x7f }, 1 },
		{ 4, IN_VNET(gso_size), { 0, 0 }, 2 },
		{ 4, IN_VNET(gso_size), { EMU_GSO_SIZE_MIN - 1, 0 }, 2 },
		{ 4, IN_VNET(gso_size), { 0xff, 0xff }, 2 },  /* a frame of all 30000 bytes */
		{ 4, IN_VNET(csum_start), { ETH + 20 + 1, 0 }, 2 },
		{ 4, IN_VNET(csum_offset), { 6, 0 }, 2 },
		{ 4, 12, { 0x08, 0x06 }, 2 },                 /* ARP */
		{ 4, ETH, { 0x55 }, 1 },                      /* version 5 */
		{ 4, ETH, { 0x44 }, 1 },                      /* a header of 16 bytes */
		{ 4, ETH + 6, { 0x20, 0 }, 2 },               /* fragments */
		{ 4, ETH + 6, { 0, 1 }, 2 },
		{ 4, ETH + 9, { IPPROTO_UDP }, 1 },
		{ 4, ETH + 20 + 12, { 0x40 }, 1 },            /* a TCP header of 16 bytes */
		{ 6, ETH, { 0x40 }, 1 },
		{ 6, ETH + 6, { IPPROTO_UDP }, 1 },
		{ 6, ETH + 6, { IPPROTO_ROUTING }, 1 },
		{ 6, ETH + 6, { IPPROTO_FRAGMENT }, 1 },
		{ 6, ETH + 6, { IPPROTO_HOPOPTS }, 1 },       /* TCP is not where it says */
	};
	uint32_t len;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(bad); i++) {
		make(&pkt, &(struct shape){ .version = bad[i].version, .proto = IPPROTO_TCP,
			.payload = 30000 });
		ask_segments(&pkt, 1000);
		assert_true(start(ALL));
		pkt = copy;
		memcpy(bad[i].at >= TAG ? pkt.vnet + bad[i].at - TAG : pkt.frame + bad[i].at,
			bad[i].val, bad[i].len);
		if (start(ALL))
			fail_msg("case %zu is cut", i);
		assert_null(emu_offload_next(&off, &len));
	}
}

static void
segmentation_is_done_where_it_was_negotiated(void **state)
{
	static const struct {
		int version;
		uint16_t features;
		bool ok;
	} c[] = {
		{ 4, EMU_FEATURE_TSO_IPV4 | EMU_FEATURE_TX_CSUM, true },
		{ 4, ALL & ~EMU_FEATURE_TSO_IPV4, false },
		{ 6, EMU_FEATURE_TSO_IPV6 | EMU_FEATURE_TX_CSUM, true },
		{ 6, ALL & ~EMU_FEATURE_TSO_IPV6, false },
		{ 4, 0, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < DIM(c); i++) {
		make(&pkt, &(struct shape){ .version = c[i].version, .proto = IPPROTO_TCP,
			.payload = 3000 });
		ask_segments(&pkt, 1000);
		assert_int_equal(start(c[i].features), c[i].ok);
	}
}

static void
packets_that_end_in_their_headers_are_not_cut(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		make(&pkt, &(struct shape){ .version = i == 0 ? 4 : 6, .proto = IPPROTO_TCP,
			.ip_extra = 8, .tcp_options = 8, .vlans = 1, .payload = 30 });
		ask_segments(&pkt, 1000);
		for (pkt.len = pkt.hdr_len; pkt.len > 0; pkt.len--)
			assert_int_equal(start(ALL), pkt.len == pkt.hdr_len);
	}
}

/* Headers of more than the device keeps: extension headers without end. */
static void
headers_without_end_are_not_followed(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n < 60; n++) {
		make(&pkt, &(struct shape){ .version = 6, .proto = IPPROTO_TCP, .ip_extra = 8 * n,
			.payload = 100 });
		ask_segments(&pkt, 50);
		assert_int_equal(start(ALL), n <= 8);
	}
	/* One that is longer than all headers may be. */
	make(&pkt, &(struct shape){ .version = 6, .proto = IPPROTO_TCP, .ip_extra = 8,
		.payload = 1000 });
	pkt.frame[ETH + 40 + 1] = 30;
	set_be(pkt.frame + ETH + 40 + 31 * 8 + 12, 1, 0x50);
	ask_segments(&pkt, 50);
	vnet(&pkt)->csum_start = htole16(ETH + 40 + 31 * 8);
	assert_false(start(ALL));
}

/* ---- RX checksum ---- */

static uint8_t
rx_flags(uint16_t features)
{
	uint8_t hdr[EMU_VIRTIO_NET_HDR_MAX] = {0}, expect[EMU_VIRTIO_NET_HDR_MAX] = {0};

	emu_offload_rx_hdr(features, hdr, sizeof(hdr), pkt.frame, pkt.len);
	expect[0] = hdr[0];
	expect[10] = 1;
	assert_memory_equal(hdr, expect, sizeof(hdr));
	assert_true(hdr[0] == 0 || hdr[0] == VIRTIO_NET_HDR_F_DATA_VALID);
	return hdr[0];
}

static void
the_first_header_of_old_drivers_has_no_number_of_buffers(void **state)
{
	uint8_t hdr[EMU_VIRTIO_NET_HDR_MAX] = {0};

	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP });
	emu_offload_rx_hdr(ALL, hdr, EMU_VIRTIO_NET_HDR, pkt.frame, pkt.len);
	assert_int_equal(hdr[10], 0);
}

static void
good_frames_are_vouched_for_and_bad_ones_are_not(void **state)
{
	struct shape s = {0};
	unsigned int kind;
	uint32_t i;

	(void)state;
	for (kind = 0; kind < 32; kind++) {
		s.version = kind % 2 == 0 ? 4 : 6;
		s.proto = kind / 2 % 2 == 0 ? IPPROTO_TCP : IPPROTO_UDP;
		s.vlans = kind / 4 % 2 * (1 + kind % 2);
		s.ip_extra = 8 * (kind / 8 % 2);
		s.payload = 40 + kind / 16;
		make(&pkt, &s);
		complete_checksum(&pkt);
		assert_int_equal(rx_flags(ALL), VIRTIO_NET_HDR_F_DATA_VALID);
		assert_int_equal(rx_flags(ALL & ~EMU_FEATURE_RX_CSUM), 0);
		/* Ethernet's padding is none of it. */
		pkt.len += 7;
		memset(pkt.frame + pkt.len - 7, 0x55, 7);
		assert_int_equal(rx_flags(ALL), VIRTIO_NET_HDR_F_DATA_VALID);
		pkt.len -= 7;
		/* No byte of TCP and UDP, nor of IPv4's header, can change. */
		for (i = s.version == 4 ? pkt.l3 : pkt.l4; i < pkt.len; i++) {
			pkt.frame[i] ^= 0x10;
			assert_int_equal(rx_flags(ALL), 0);
			pkt.frame[i] ^= 0x10;
		}
		/* A frame that was cut off. */
		for (i = pkt.len; pkt.len > 0;) {
			pkt.len--;
			assert_int_equal(rx_flags(ALL), 0);
		}
		pkt.len = i;
	}
}

static void
what_has_no_checksum_is_not_vouched_for(void **state)
{
	(void)state;
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 40 });
	set_be(pkt.frame + pkt.l4 + 6, 2, 0);
	assert_int_equal(rx_flags(ALL), 0);

	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_ICMP, .payload = 40 });
	assert_int_equal(rx_flags(ALL), 0);

	/* The sum of a fragment would be right by itself. */
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 40 });
	complete_checksum(&pkt);
	pkt.frame[pkt.l3 + 6] = 0x20;
	set_be(pkt.frame + pkt.l3 + 10, 2, 0);
	set_be(pkt.frame + pkt.l3 + 10, 2, ~add_words(0, pkt.frame + pkt.l3, 20));
	assert_int_equal(rx_flags(ALL), 0);

	/* Too many tags to look behind. */
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_UDP, .payload = 40,
		.vlans = 3 });
	complete_checksum(&pkt);
	assert_int_equal(rx_flags(ALL), 0);
}

/* Whatever stands in header and packet, nothing is touched that is not theirs (the sanitizers look
 * on), and no frame is longer than a port takes. */
static void
random_headers_do_no_harm(void **state)
{
	uint8_t *frame, hdr[EMU_VIRTIO_NET_HDR_MAX] = {0};
	uint32_t len, sent = 0, i, j;
	const uint8_t *f;

	(void)state;
	srandom(1);
	for (i = 0; i < 20000; i++) {
		make(&pkt, &(struct shape){ .version = i % 2 ? 4 : 6, .proto = IPPROTO_TCP,
			.vlans = i / 2 % 4, .ip_extra = 8 * (i / 8 % 4),
			.payload = random() % 3000 });
		ask_segments(&pkt, (uint16_t)(random() % 1000));
		for (j = random() % 4; j > 0; j--)
			pkt.vnet[random() % VNET] = (uint8_t)random();
		for (j = random() % 4; j > 0; j--)
			pkt.frame[random() % pkt.hdr_len] = (uint8_t)random();
		if (i % 8 == 0)
			pkt.len = random() % (pkt.len + 1);
		frame = malloc(pkt.len);
		memcpy(frame, pkt.frame, pkt.len);
		if (emu_offload_start(&off, (uint16_t)random(), pkt.vnet, frame, pkt.len)) {
			while ((f = emu_offload_next(&off, &len)) != NULL) {
				assert_in_range(len, ETH, EMU_FRAME_MAX);
				assert_true(f >= frame && f + len <= frame + pkt.len);
				emu_offload_rx_hdr(ALL, hdr, sizeof(hdr), f, len);
				sent++;
			}
		}
		free(frame);
	}
	assert_in_range(sent, 1000, UINT32_MAX);
}

/* ---- through rings ---- */

enum {
	RX = 0,
	TX = 1,
	SIZE = 256,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	BUF = 2048,
};

struct pair {
	struct card *card;
	struct queue rx, tx;
	uint8_t *bufs;
};

/* As NVIDIA's driver creates queues in advance: all features on, VERSION_1. */
static void
pair_start(struct pair *p, struct card *card, uint16_t features)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	struct queue *q[] = { &p->rx, &p->tx }, *rx = &p->rx;
	struct seg seg;
	unsigned int i;

	p->card = card;
	for (i = 0; i < DIM(q); i++) {
		queue_fill(card, q[i], i == 0 ? RX : TX, SIZE, in);
		PRM_SET(virtio_net_q_object, obj, tso_ipv4,
			(features & EMU_FEATURE_TSO_IPV4) != 0);
		PRM_SET(virtio_net_q_object, obj, tso_ipv6,
			(features & EMU_FEATURE_TSO_IPV6) != 0);
		PRM_SET(virtio_net_q_object, obj, tx_csum, (features & EMU_FEATURE_TX_CSUM) != 0);
		PRM_SET(virtio_net_q_object, obj, rx_csum, (features & EMU_FEATURE_RX_CSUM) != 0);
		assert_int_equal(queue_try_create(q[i], in), 0);
		assert_int_equal(queue_set_state(q[i], MLX5_VIRTQ_STATE_RDY), 0);
	}
	steer_all(card, &rx, 1);
	p->bufs = card_alloc(card, (size_t)SIZE * BUF, 64);
	for (i = 0; i < SIZE; i++) {
		seg = (struct seg){ p->bufs + i * BUF, BUF };
		queue_add(rx, RING_DIRECT, &seg, 1, true);
	}
	card_kick(card);
}

/* Header and packet in pieces of a page, as a guest has them. */
static void
send_packet(struct pair *p, const struct packet *packet)
{
	uint8_t *buf = card_alloc(p->card, HDR + packet->len, EMU_PAGE);
	uint32_t len = HDR + packet->len, i;
	struct seg segs[20];

	memcpy(buf, packet->vnet, VNET);
	memcpy(buf + HDR, packet->frame, packet->len);
	for (i = 0; len > 0; i++, len -= segs[i - 1].len)
		segs[i] = (struct seg){ buf + i * EMU_PAGE, len < EMU_PAGE ? len : EMU_PAGE };
	queue_add(&p->tx, RING_DIRECT, segs, i, false);
	card_kick(p->card);
}

static void
a_large_packet_arrives_in_frames(void **state)
{
	enum { MSS = 1448, N = 41, LEN = (N - 1) * MSS + 7 };
	struct card *card = *state;
	uint32_t at, i, n;
	struct pair p;

	pair_start(&p, card, ALL);
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP, .tcp_options = 12,
		.payload = LEN, .flags = ACK | PSH });
	ask_segments(&pkt, MSS);
	copy = pkt;
	send_packet(&p, &pkt);
	WAIT_FOR(queue_used_idx(&p.rx) == N);
	WAIT_FOR(queue_used_idx(&p.tx) == 1);
	for (i = 0, at = 0; i < N; i++, at += n) {
		const uint8_t *buf = p.bufs + i * BUF;

		n = LEN - at < MSS ? LEN - at : MSS;
		assert_int_equal(queue_used(&p.rx, (uint16_t)i).len, HDR + pkt.hdr_len + n);
		assert_int_equal(buf[0], VIRTIO_NET_HDR_F_DATA_VALID);
		check_segment(buf + HDR, pkt.hdr_len + n, i, at, n);
		assert_true(good_checksum(buf + HDR, &pkt, pkt.hdr_len + n));
	}
	assert_int_equal(card->dev->tx_packets, N);
	assert_int_equal(card->dev->rx_packets, N);
}

static void
a_header_that_cannot_be_is_a_packet_less_and_no_error(void **state)
{
	struct card *card = *state;
	struct pair p;

	pair_start(&p, card, EMU_FEATURE_TX_CSUM);
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP, .payload = 100 });
	ask_segments(&pkt, 50);
	send_packet(&p, &pkt);
	vnet(&pkt)->gso_type = VIRTIO_NET_HDR_GSO_NONE;
	vnet(&pkt)->csum_start = htole16(999);
	send_packet(&p, &pkt);
	ask_checksum(&pkt);
	send_packet(&p, &pkt);
	WAIT_FOR(queue_used_idx(&p.tx) == 3);
	WAIT_FOR(queue_used_idx(&p.rx) == 1);
	/* No rx_csum: the checksum is good, and nobody says so. */
	assert_int_equal(p.bufs[0], 0);
	assert_true(good_checksum(p.bufs + HDR, &pkt, pkt.len));
	assert_int_equal(queue_state(&p.tx), MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(card->dev->tx_drops, 2);
	assert_int_equal(card->dev->tx_packets, 1);
}

/* The longest a packet can keep the device's thread: thousands of segments each. */
static void
a_command_is_not_held_up_by_segments(void **state)
{
	struct card *card = *state;
	struct timespec t0, t1;
	struct pair p;
	unsigned int i;
	int64_t ns, total = 0, commands = 0;

	pair_start(&p, card, ALL);
	make(&pkt, &(struct shape){ .version = 4, .proto = IPPROTO_TCP, .payload = 65000 });
	ask_segments(&pkt, EMU_GSO_SIZE_MIN);
	for (i = 0; i < 15; i++)
		send_packet(&p, &pkt);
	while (queue_used_idx(&p.tx) < 15) {
		clock_gettime(CLOCK_MONOTONIC, &t0);
		queue_query(&p.tx);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		ns = (t1.tv_sec - t0.tv_sec) * INT64_C(1000000000) + t1.tv_nsec - t0.tv_nsec;
		total += ns;
		commands++;
	}
	if (commands > 0) {
		print_message("a command under segmentation: %.0f us\n",
			(double)total / commands / 1000);
		assert_in_range(total / commands, 0, 100 * 1000 * 1000);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, card_setup, card_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_other_computation_knows_a_published_header),
		cmocka_unit_test(a_packet_that_asks_for_nothing_leaves_as_it_is),
		cmocka_unit_test(checksums_of_all_lengths_and_places_are_right),
		cmocka_unit_test(a_checksum_of_zero_is_sent_as_all_ones),
		cmocka_unit_test(checksums_of_any_protocol_go_where_the_header_says),
		cmocka_unit_test(checksums_that_cannot_be_are_not_sent),
		cmocka_unit_test(frames_have_a_least_and_a_greatest_length),
		cmocka_unit_test(segments_carry_the_packet),
		cmocka_unit_test(the_largest_packets_are_cut),
		cmocka_unit_test(segments_without_tx_csum_keep_their_checksum),
		cmocka_unit_test(packets_that_cannot_be_cut_are_not_sent),
		cmocka_unit_test(segmentation_is_done_where_it_was_negotiated),
		cmocka_unit_test(packets_that_end_in_their_headers_are_not_cut),
		cmocka_unit_test(headers_without_end_are_not_followed),
		cmocka_unit_test(the_first_header_of_old_drivers_has_no_number_of_buffers),
		cmocka_unit_test(good_frames_are_vouched_for_and_bad_ones_are_not),
		cmocka_unit_test(what_has_no_checksum_is_not_vouched_for),
		cmocka_unit_test(random_headers_do_no_harm),
		TEST(a_large_packet_arrives_in_frames),
		TEST(a_header_that_cannot_be_is_a_packet_less_and_no_error),
		TEST(a_command_is_not_held_up_by_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
