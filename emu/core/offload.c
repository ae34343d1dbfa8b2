/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checksums (RFC 1071) and segmentation of TCP over IPv4 and IPv6.
 *
 * Sums are kept in the order of memory: the checksum of words that are read as they lie is the one
 * that is stored as it lies, on machines of either byte order.
 */
#include <endian.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "offload.h"

/* IEEE 802.3, 802.1Q. */
enum {
	ETHER_TYPE = 12,
	ETHER_HDR = 14,
	VLAN_HDR = 4,
	VLAN_TAGS_MAX = 2,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_CVLAN = 0x8100,
	ETHERTYPE_SVLAN = 0x88a8,
};

/* RFC 791: offsets in the header, and what the fragment word has of a fragment: more of them, or an
 * offset. */
enum {
	IPV4_TOTAL_LENGTH = 2,
	IPV4_ID = 4,
	IPV4_FRAGMENT = 6,
	IPV4_PROTOCOL = 9,
	IPV4_CHECKSUM = 10,
	IPV4_ADDRS = 12,
	IPV4_ADDRS_LEN = 8,
	IPV4_HDR = 20,
	IPV4_IS_FRAGMENT = 0x3fff,
};

/* RFC 8200. */
enum {
	IPV6_PAYLOAD_LENGTH = 4,
	IPV6_NEXT = 6,
	IPV6_ADDRS = 8,
	IPV6_ADDRS_LEN = 32,
	IPV6_HDR = 40,
	IPV6_EXT_UNIT = 8,         /* an extension header is that and its length field times that */
	IPV6_EXT_MAX = 8,          /* that the device looks behind */
};

/* RFC 9293, RFC 3168, RFC 768. */
enum {
	TCP_SEQ = 4,
	TCP_DATA_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_CHECKSUM = 16,
	TCP_HDR = 20,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	UDP_LENGTH = 4,
	UDP_CHECKSUM = 6,
	UDP_HDR = 8,
};

/* Where the headers of a frame lie. */
struct headers {
	uint32_t l3, l4;           /* offsets */
	uint32_t end;              /* of the IP packet as its header has it */
	bool ipv4;
	uint8_t proto;             /* IPPROTO_TCP or IPPROTO_UDP */
};

/* ---- fields ---- */

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* ---- sums ---- */

/* Add the 16-bit words of @p len bytes; a zero follows an odd last one. */
static uint64_t
sum(uint64_t acc, const uint8_t *p, uint32_t len)
{
	uint64_t q;
	uint16_t w;

	for (; len >= sizeof(q); p += sizeof(q), len -= sizeof(q)) {
		memcpy(&q, p, sizeof(q));
		acc += (uint32_t)q;
		acc += q >> 32;
	}
	for (; len >= sizeof(w); p += sizeof(w), len -= sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		acc += w;
	}
	if (len > 0) {
		w = 0;
		memcpy(&w, p, 1);
		acc += w;
	}
	return acc;
}

static uint16_t
fold(uint64_t acc)
{
	while (acc >> 16 != 0)
		acc = (acc & UINT16_MAX) + (acc >> 16);
	return (uint16_t)acc;
}

/* What makes the sum of everything all ones. Never 0, which says "none" in UDP; all ones are the
 * other zero. */
static void
put_checksum(uint8_t *p, uint64_t acc)
{
	uint16_t v = (uint16_t)~fold(acc);

	v = v != 0 ? v : UINT16_MAX;
	memcpy(p, &v, sizeof(v));
}

static void
put_ipv4_checksum(uint8_t *ip, uint32_t hdr_len)
{
	uint16_t v;

	put16(ip + IPV4_CHECKSUM, 0);
	v = (uint16_t)~fold(sum(0, ip, hdr_len));
	memcpy(ip + IPV4_CHECKSUM, &v, sizeof(v));
}

static bool
sums_up(uint64_t acc)
{
	return fold(acc) == UINT16_MAX;
}

/* Addresses and protocol of the pseudo header, to which its length is added. Words of zero add
 * nothing: one sum serves IPv4 and IPv6. */
static uint64_t
pseudo_sum(const uint8_t *frame, const struct headers *h)
{
	const uint8_t *ip = frame + h->l3;
	uint64_t acc;

	acc = h->ipv4 ? sum(0, ip + IPV4_ADDRS, IPV4_ADDRS_LEN) :
		sum(0, ip + IPV6_ADDRS, IPV6_ADDRS_LEN);
	return acc + htons(h->proto);
}

static uint64_t
length_sum(uint32_t len)
{
	const uint32_t be = htobe32(len);

	return sum(0, (const uint8_t *)&be, sizeof(be));
}

/* ---- headers ---- */

static bool
find_ipv4(struct headers *h, const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + h->l3;
	uint32_t hdr_len;

	if (len - h->l3 < IPV4_HDR || ip[0] >> 4 != 4)
		return false;
	hdr_len = (ip[0] & 0xfu) * 4;
	if (hdr_len < IPV4_HDR || hdr_len > len - h->l3 ||
			(get16(ip + IPV4_FRAGMENT) & IPV4_IS_FRAGMENT) != 0)
		return false;
	h->ipv4 = true;
	h->l4 = h->l3 + hdr_len;
	h->end = h->l3 + get16(ip + IPV4_TOTAL_LENGTH);
	h->proto = ip[IPV4_PROTOCOL];
	return true;
}

/* A routing header changes the address that checksums cover: the device does not look behind it,
 * nor into fragments. */
static bool
find_ipv6(struct headers *h, const uint8_t *frame, uint32_t len)
{
	const uint8_t *ip = frame + h->l3;
	uint32_t off = h->l3 + IPV6_HDR, i;
	uint8_t next;

	if (len < off || ip[0] >> 4 != 6)
		return false;
	next = ip[IPV6_NEXT];
	for (i = 0; i < IPV6_EXT_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS)
			break;
		if (len - off < IPV6_EXT_UNIT)
			return false;
		next = frame[off];
		off += (frame[off + 1] + 1u) * IPV6_EXT_UNIT;
		if (off > len)
			return false;
	}
	h->ipv4 = false;
	h->l4 = off;
	h->end = h->l3 + IPV6_HDR + get16(ip + IPV6_PAYLOAD_LENGTH);
	h->proto = next;
	return true;
}

/* False when there is no TCP or UDP over IP in this frame, or when it is a fragment. */
static bool
find_headers(struct headers *h, const uint8_t *frame, uint32_t len)
{
	uint32_t tags = 0;
	uint16_t type;
	bool ip;

	type = get16(frame + ETHER_TYPE);
	h->l3 = ETHER_HDR;
	for (; type == ETHERTYPE_CVLAN || type == ETHERTYPE_SVLAN; tags++) {
		if (tags == VLAN_TAGS_MAX || len - h->l3 < VLAN_HDR)
			return false;
		type = get16(frame + h->l3 + VLAN_HDR - sizeof(type));
		h->l3 += VLAN_HDR;
	}
	if (type == ETHERTYPE_IPV4)
		ip = find_ipv4(h, frame, len);
	else
		ip = type == ETHERTYPE_IPV6 && find_ipv6(h, frame, len);
	return ip && (h->proto == IPPROTO_TCP || h->proto == IPPROTO_UDP);
}

/* ---- receive ---- */

static bool
checksums_good(const uint8_t *frame, uint32_t len)
{
	const uint8_t *l4;
	struct headers h;
	uint32_t l4_len;

	if (len < ETHER_HDR || !find_headers(&h, frame, len) || h.end > len || h.end < h.l4)
		return false;
	if (h.ipv4 && !sums_up(sum(0, frame + h.l3, h.l4 - h.l3)))
		return false;
	l4 = frame + h.l4;
	l4_len = h.end - h.l4;
	if (h.proto == IPPROTO_UDP) {
		/* A checksum that was not computed vouches for nothing. */
		if (l4_len < UDP_HDR || get16(l4 + UDP_LENGTH) != l4_len ||
				get16(l4 + UDP_CHECKSUM) == 0)
			return false;
	} else if (l4_len < TCP_HDR) {
		return false;
	}
	return sums_up(sum(pseudo_sum(frame, &h) + length_sum(l4_len), l4, l4_len));
}

void
emu_offload_rx_hdr(uint16_t features, uint8_t *vnet, uint32_t hdr_len, const uint8_t *frame,
		uint32_t len)
{
	if ((features & EMU_FEATURE_RX_CSUM) != 0 && checksums_good(frame, len))
		vnet[offsetof(struct virtio_net_hdr, flags)] = VIRTIO_NET_HDR_F_DATA_VALID;
	if (hdr_len > EMU_VIRTIO_NET_HDR_NUM_BUFFERS)
		vnet[EMU_VIRTIO_NET_HDR_NUM_BUFFERS] = 1; /* little-endian */
}

/* ---- transmit ---- */

static bool
start_checksum(uint16_t features, const struct virtio_net_hdr *vnet, uint8_t *frame, uint32_t len)
{
	uint32_t start = le16toh(vnet->csum_start);
	uint32_t at = start + le16toh(vnet->csum_offset);

	if ((vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
		return true;
	if ((features & EMU_FEATURE_TX_CSUM) == 0 || at + sizeof(uint16_t) > len)
		return false;
	/* The field holds the sum of the pseudo header. */
	put_checksum(frame + at, sum(0, frame + start, len - start));
	return true;
}

/* Is this a packet that the header's words are true of? */
static bool
can_segment(uint16_t features, const struct virtio_net_hdr *vnet, const struct headers *h)
{
	uint8_t type = vnet->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool allowed = type == VIRTIO_NET_HDR_GSO_TCPV4 ?
		h->ipv4 && (features & EMU_FEATURE_TSO_IPV4) != 0 :
		type == VIRTIO_NET_HDR_GSO_TCPV6 && !h->ipv4 &&
		(features & EMU_FEATURE_TSO_IPV6) != 0;

	return allowed && h->proto == IPPROTO_TCP &&
		(vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 &&
		le16toh(vnet->csum_start) == h->l4 && le16toh(vnet->csum_offset) == TCP_CHECKSUM &&
		le16toh(vnet->gso_size) >= EMU_GSO_SIZE_MIN;
}

/* hdr_len is a hint that no device may rely on (section 5.1.6.2.2): the packet says it itself. */
static bool
start_segments(struct emu_offload *o, uint16_t features, const struct virtio_net_hdr *vnet,
		uint8_t *frame, uint32_t len)
{
	uint32_t size = le16toh(vnet->gso_size);
	struct headers h;
	const uint8_t *tcp;

	if (!find_headers(&h, frame, len) || !can_segment(features, vnet, &h) ||
			len - h.l4 < TCP_HDR)
		return false;
	tcp = frame + h.l4;
	o->hdr_len = h.l4 + (tcp[TCP_DATA_OFFSET] >> 4) * 4u;
	if (o->hdr_len < h.l4 + TCP_HDR || o->hdr_len > len || o->hdr_len > sizeof(o->hdr))
		return false;
	o->left = len - o->hdr_len;
	if (o->hdr_len + (o->left < size ? o->left : size) > EMU_FRAME_MAX)
		return false;
	o->next = frame + o->hdr_len;
	o->gso_size = size;
	o->l3 = h.l3;
	o->l4 = h.l4;
	o->ipv4 = h.ipv4;
	/* Without it checksums stay what they are: wrong, as NVIDIA's driver warns. */
	o->csum = (features & EMU_FEATURE_TX_CSUM) != 0;
	o->seq = get32(tcp + TCP_SEQ);
	o->ip_id = get16(frame + h.l3 + IPV4_ID);
	o->first = true;
	o->pseudo = pseudo_sum(frame, &h);
	memcpy(o->hdr, frame, o->hdr_len);
	return true;
}

bool
emu_offload_start(struct emu_offload *o, uint16_t features, const uint8_t *vnet, uint8_t *frame,
		uint32_t len)
{
	struct virtio_net_hdr hdr;

	o->next = NULL;
	memcpy(&hdr, vnet, sizeof(hdr));
	if (len < ETHER_HDR)
		return false;
	if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return start_segments(o, features, &hdr, frame, len);
	if (len > EMU_FRAME_MAX || !start_checksum(features, &hdr, frame, len))
		return false;
	o->next = frame;
	o->left = len;
	o->gso_size = 0;
	return true;
}

/* The packet's headers with what is the segment's own: @p n bytes of payload follow them. */
static void
fill_headers(struct emu_offload *o, uint8_t *frame, uint32_t n)
{
	uint8_t *ip = frame + o->l3, *tcp = frame + o->l4;
	uint32_t l4_len = o->hdr_len - o->l4 + n;

	memcpy(frame, o->hdr, o->hdr_len);
	if (o->ipv4) {
		put16(ip + IPV4_TOTAL_LENGTH, o->l4 - o->l3 + l4_len);
		put16(ip + IPV4_ID, o->ip_id++);
		put_ipv4_checksum(ip, o->l4 - o->l3);
	} else {
		put16(ip + IPV6_PAYLOAD_LENGTH, o->l4 - o->l3 - IPV6_HDR + l4_len);
	}
	put32(tcp + TCP_SEQ, o->seq);
	o->seq += n;
	/* CWR answers one event (RFC 3168, section 6.1.2), and what ends does so once. */
	if (!o->first)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	o->first = false;
	if (n < o->left)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (!o->csum)
		return;
	put16(tcp + TCP_CHECKSUM, 0);
	put_checksum(tcp + TCP_CHECKSUM, sum(o->pseudo + length_sum(l4_len), tcp, l4_len));
}

const uint8_t *
emu_offload_next(struct emu_offload *o, uint32_t *len)
{
	uint8_t *frame = o->next;
	uint32_t n = o->left;

	if (frame == NULL)
		return NULL;
	if (o->gso_size == 0) {
		o->next = NULL;
		*len = n;
		return frame;
	}
	/* Headers go right before the payload, over what was sent already. */
	n = n < o->gso_size ? n : o->gso_size;
	frame -= o->hdr_len;
	fill_headers(o, frame, n);
	o->left -= n;
	o->next = o->left > 0 ? o->next + n : NULL;
	*len = o->hdr_len + n;
	return frame;
}
