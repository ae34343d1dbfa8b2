/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <string.h>

#include "frame.h"
#include "mix.h"

#define IP_SRC 0xc6120001u	/* 198.18.0.1; 198.18.0.0/15 is for benchmarks (RFC 2544) */
#define IP_DST 0xc6130001u	/* 198.19.0.1 */
#define TTL 64
#define PORT_SRC 49152		/* + flow, the first of the dynamic ports (RFC 6335) */
#define PORT_DST 50000
#define STAMP_MAGIC 0x7d9au

/* Follows the UDP header; what names a frame. */
struct stamp {
	uint64_t seq;
	uint16_t queue;
	uint16_t len;
	uint16_t magic;
	uint32_t check;
} __attribute__((packed));

struct frame_hdr {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct stamp stamp;
} __attribute__((packed));

_Static_assert(sizeof(struct frame_hdr) <= FRAME_MIN, "the smallest frame holds all headers");

static uint64_t
frame_seed(const struct frame_id *id)
{
	return mix64(id->seq + ((uint64_t)id->queue << 48) + MIX_STEP);
}

unsigned int
frame_flow(uint64_t seq)
{
	return seq % FRAME_FLOWS;
}

uint16_t
frame_len(const struct frame_id *id)
{
	return FRAME_MIN + (frame_seed(id) >> 32) % (FRAME_MAX - FRAME_MIN + 1);
}

static uint16_t
sent_len(const struct frame_id *id, const struct frame_addr *addr)
{
	return addr->small ? FRAME_MIN : frame_len(id);
}

static uint32_t
stamp_check(const struct stamp *s)
{
	return mix64(mix64(s->seq) ^
			((uint64_t)s->queue << 32 | (uint64_t)s->len << 16 | s->magic));
}

/* One's complement sum of @len bytes (RFC 1071), over words of 32 bits in memory order. */
static uint64_t
csum_add(const void *data, uint32_t len, uint64_t sum)
{
	const uint8_t *p = data;
	uint32_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	word = 0;
	memcpy(&word, p, len);
	return sum + word;
}

static uint16_t
csum_end(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static uint16_t
udp_csum(const struct frame_hdr *h, uint16_t udp_len)
{
	uint64_t sum = csum_add(&h->ip.saddr, 2 * sizeof(h->ip.saddr), 0);
	uint16_t csum;

	sum += htons(IPPROTO_UDP) + htons(udp_len);
	csum = csum_end(csum_add(&h->udp, udp_len, sum));
	return csum ? csum : 0xffff;	/* 0 says "no checksum" (RFC 768) */
}

static void
fill_pattern(uint8_t *p, uint32_t len, uint64_t seed)
{
	uint64_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		seed += MIX_STEP;
		word = mix64(seed);
		memcpy(p, &word, sizeof(word));
	}
	word = mix64(seed + MIX_STEP);
	memcpy(p, &word, len);
}

uint16_t
frame_build(uint8_t *buf, const struct frame_id *id, const struct frame_addr *addr)
{
	uint16_t len = sent_len(id, addr);
	uint16_t ip_len = len - sizeof(struct ethhdr);
	uint16_t udp_len = ip_len - sizeof(struct iphdr);
	struct frame_hdr h = {
		.eth = { .h_proto = htons(ETH_P_IP) },
		.ip = { .version = 4, .ihl = sizeof(struct iphdr) / 4, .tot_len = htons(ip_len),
			.ttl = TTL, .protocol = IPPROTO_UDP,
			.saddr = htonl(IP_SRC + id->queue), .daddr = htonl(IP_DST) },
		.udp = { .source = htons(PORT_SRC + frame_flow(id->seq)), .dest = htons(PORT_DST),
			.len = htons(udp_len) },
		.stamp = { .seq = id->seq, .queue = id->queue, .len = len, .magic = STAMP_MAGIC },
	};

	memcpy(h.eth.h_source, addr->src, sizeof(addr->src));
	memcpy(h.eth.h_dest, addr->dst, sizeof(addr->dst));
	h.ip.check = csum_end(csum_add(&h.ip, sizeof(h.ip), 0));
	h.stamp.check = stamp_check(&h.stamp);
	memcpy(buf, &h, sizeof(h));
	fill_pattern(buf + sizeof(h), len - sizeof(h), frame_seed(id));
	h.udp.check = udp_csum((const struct frame_hdr *)buf, udp_len);
	memcpy(buf, &h, sizeof(h));
	return len;
}

static bool
is_foreign(const uint8_t *buf, uint32_t len, const struct frame_addr *addr)
{
	static const uint8_t nobody[ETH_ALEN];
	const uint8_t *src = buf + ETH_ALEN;

	if (len < sizeof(struct ethhdr) || memcmp(src, addr->src, ETH_ALEN) == 0)
		return false;
	return (buf[0] & 1) != 0 || (addr->shared && memcmp(src, nobody, ETH_ALEN) != 0);
}

enum frame_verdict
frame_check(const uint8_t *buf, uint32_t len, const struct frame_addr *addr, struct frame_id *id)
{
	uint8_t expected[FRAME_MAX];
	struct frame_hdr h;

	if (is_foreign(buf, len, addr))
		return FRAME_FOREIGN;
	if (len < sizeof(h))
		return FRAME_CORRUPT;
	memcpy(&h, buf, sizeof(h));
	if (h.stamp.magic != STAMP_MAGIC || h.stamp.check != stamp_check(&h.stamp))
		return FRAME_CORRUPT;
	id->seq = h.stamp.seq;
	id->queue = h.stamp.queue;
	if (len != sent_len(id, addr) || frame_build(expected, id, addr) != len ||
			memcmp(buf, expected, len) != 0)
		return FRAME_CORRUPT_KNOWN;
	return FRAME_GOOD;
}
