/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdlib.h>

#include "engine.h"
#include "gen.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)

/* Frames come in bunches: the thread sleeps in between. */
#define TICK_NS (100 * NS_PER_US)
/* A driver that has new buffers rings, unless it was told not to; to be on the safe side. */
#define RETRY_NS (20 * 1000 * NS_PER_US)
/* What could not be generated for as long as that, while the thread had no time, is not made up
 * for. */
#define LATE_NS (10 * 1000 * NS_PER_US)

enum {
	IP_SRC = 0xc6120001,       /* 198.18.0.1, RFC 2544 */
	IP_DST = 0xc6130001,       /* 198.19.0.1 */
	IP_TTL = 64,
	IP_UDP = 17,
	IP_WORDS = sizeof(struct iphdr) / sizeof(uint16_t),
	PORT_SRC = 49152,          /* first of the dynamic ports, RFC 6335 */
	PORT_DISCARD = 9,
};

/* A frame's beginning. */
struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint64_t seq;
} __attribute__((packed));

struct emu_gen {
	uint64_t since;            /* when counting began, 0: not yet */
	uint64_t count;            /* frames since then */
	uint64_t seq;
	uint64_t due;
	struct headers hdr;
	uint8_t frame[EMU_FRAME_MAX];
};

static uint16_t
ip_checksum(const void *ip)
{
	uint16_t words[IP_WORDS];
	uint32_t sum = 0;
	size_t i;

	memcpy(words, ip, sizeof(words));
	for (i = 0; i < IP_WORDS; i++)
		sum += words[i];
	while (sum > UINT16_MAX)
		sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Headers that all frames share. No UDP checksum: IPv4 allows for that. */
static void
fill_headers(struct headers *h, const struct emu_dev_config *cfg)
{
	static const uint8_t source[ETH_ALEN] = { 0x02, 'g', 'e', 'n', 0, 1 };
	uint32_t ip_len = cfg->gen_size - (uint32_t)sizeof(h->eth);

	memcpy(h->eth.h_dest, cfg->mac, sizeof(h->eth.h_dest));
	memcpy(h->eth.h_source, source, sizeof(h->eth.h_source));
	h->eth.h_proto = htobe16(ETH_P_IP);
	h->ip.version = 4;
	h->ip.ihl = sizeof(h->ip) / sizeof(uint32_t);
	h->ip.tot_len = htobe16((uint16_t)ip_len);
	h->ip.ttl = IP_TTL;
	h->ip.protocol = IP_UDP;
	h->ip.saddr = htobe32(IP_SRC);
	h->ip.daddr = htobe32(IP_DST);
	h->ip.check = ip_checksum(&h->ip);
	h->udp.dest = htobe16(PORT_DISCARD);
	h->udp.len = htobe16((uint16_t)(ip_len - sizeof(h->ip)));
}

int
emu_gen_open(struct emu_dev *dev)
{
	struct emu_gen *gen = calloc(1, sizeof(*gen));

	if (gen == NULL)
		return -ENOMEM;
	fill_headers(&gen->hdr, &dev->cfg);
	gen->due = UINT64_MAX;
	dev->gen = gen;
	return 0;
}

void
emu_gen_close(struct emu_dev *dev)
{
	free(dev->gen);
	dev->gen = NULL;
}

/* The next frame; the one after it is of another flow, whether this one is received or not. */
static const uint8_t *
next_frame(struct emu_gen *gen)
{
	gen->hdr.udp.source = htobe16((uint16_t)(PORT_SRC + gen->seq % EMU_GEN_FLOWS));
	gen->hdr.seq = htobe64(gen->seq++);
	memcpy(gen->frame, &gen->hdr, sizeof(gen->hdr));
	return gen->frame;
}

/* As fast as buffers come. When no flow finds any, it is time to wait. */
static bool
generate_all(struct emu_dev *dev, unsigned int budget, uint64_t now)
{
	unsigned int n = 0, missed = 0;

	while (n < budget && missed < EMU_GEN_FLOWS) {
		if (emu_wire_offer(dev, next_frame(dev->gen), dev->cfg.gen_size)) {
			n++;
			missed = 0;
		} else {
			missed++;
		}
	}
	dev->gen->due = n > 0 ? now : now + RETRY_NS;
	return n > 0;
}

/* Frames that should have come by now. Counting starts over every second, so that products stay
 * small. */
static uint64_t
owed(struct emu_gen *gen, uint64_t pps, uint64_t now)
{
	uint64_t all;

	if (gen->since == 0)
		gen->since = now;
	for (; now - gen->since >= NS_PER_S; gen->since += NS_PER_S)
		gen->count -= gen->count < pps ? gen->count : pps;
	all = (now - gen->since) * pps / NS_PER_S;
	if (all > gen->count + LATE_NS * pps / NS_PER_S)
		gen->count = all - LATE_NS * pps / NS_PER_S;
	return all > gen->count ? all - gen->count : 0;
}

static bool
generate_paced(struct emu_dev *dev, unsigned int budget, uint64_t now)
{
	uint64_t pps = dev->cfg.gen_pps, n, i, next;
	struct emu_gen *gen = dev->gen;
	bool received = false;

	n = owed(gen, pps, now);
	for (i = 0; i < n && i < budget; i++)
		received |= emu_wire_rx(dev, next_frame(gen), dev->cfg.gen_size);
	gen->count += i;
	next = gen->since + ((gen->count + 1) * NS_PER_S + pps - 1) / pps;
	gen->due = n > budget ? now : next > now + TICK_NS ? next : now + TICK_NS;
	return received;
}

bool
emu_gen_rx(struct emu_dev *dev, unsigned int budget, uint64_t now)
{
	struct emu_gen *gen = dev->gen;

	/* The doorbell of a queue that becomes ready is the next thing to happen. */
	if (dev->engine->nready == 0) {
		gen->since = gen->count = 0;
		gen->due = UINT64_MAX;
		return false;
	}
	return dev->cfg.gen_pps == 0 ? generate_all(dev, budget, now) :
		generate_paced(dev, budget, now);
}

uint64_t
emu_gen_due(const struct emu_dev *dev)
{
	return dev->gen->due;
}
