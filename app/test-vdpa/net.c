/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mix.h"
#include "net.h"

#define TX_BURST 32u			/* frames a pair sends before it is another's turn */
#define PLAIN_SEGS 2u			/* of a plain packet at most: its header and the rest */
#define TABLE_OFF (LAYOUT_BUF_BYTES - RING_MAX_SEGS * sizeof(struct vring_desc))
#define RX_CHAINED 8u			/* every 8th receive buffer is a chain of two */
#define RX_SPLIT 256u			/* where half of them are cut; others behind the header */
#define LOST_AFTER_NS 1000000000ull	/* a taken frame that is not back by then won't come */
/*
 * The same while nothing comes at all, from a device that takes frames before it can deliver them:
 * sending must not cease, or the guest would notice late that the device is back.
 */
#define DROPPED_AFTER_NS 500000ull

static const uint8_t guest_mac[6] = { 0x02, 0x76, 0x64, 0x70, 0x61, 0x01 };
static const uint8_t peer_mac[6] = { 0x02, 0x76, 0x64, 0x70, 0x61, 0x02 };

/* ---- sizes ---- */

uint16_t
net_rx_bufs(const struct net_cfg *cfg)
{
	if (cfg->plain)
		return cfg->queue_size;
	/* The eighth part that is left holds the second descriptors of the chains. */
	return cfg->queue_size - cfg->queue_size / RX_CHAINED;
}

uint16_t
net_tx_slots(const struct net_cfg *cfg)
{
	return cfg->queue_size / (cfg->plain ? PLAIN_SEGS : RING_MAX_SEGS);
}

uint32_t
net_max_outstanding(const struct net_cfg *cfg)
{
	return net_rx_bufs(cfg) / 2;
}

static uint16_t
rx_batch(const struct net_cfg *cfg)
{
	return net_rx_bufs(cfg) / 8 + 1;
}

static const struct ring_ops *
format(const struct net_cfg *cfg)
{
	return cfg->packed ? &ring_packed : &ring_split;
}

/* Receive buffers of a pair, and its send slots behind them. */
static unsigned int
pair_bufs(const struct net_cfg *cfg)
{
	return net_rx_bufs(cfg) + (unsigned int)net_tx_slots(cfg);
}

void
net_layout(const struct net_cfg *cfg, struct layout_cfg *lc)
{
	lc->rings = 2u * cfg->pairs;
	lc->ring_bytes = ring_bytes(format(cfg), cfg->queue_size);
	lc->bufs = cfg->pairs * pair_bufs(cfg);
}

/* ---- life ---- */

static int
pair_init(struct net *n, struct net_pair *p, uint16_t index)
{
	const struct net_cfg *cfg = &n->cfg;
	unsigned int bufs = pair_bufs(cfg), b;
	int ret;

	p->rx_repost = calloc(net_rx_bufs(cfg), sizeof(*p->rx_repost));
	p->tx_free = calloc(net_tx_slots(cfg), sizeof(*p->tx_free));
	p->tx_seq = calloc(net_tx_slots(cfg), sizeof(*p->tx_seq));
	p->gpa = calloc(bufs, sizeof(*p->gpa));
	p->ptr = calloc(bufs, sizeof(*p->ptr));
	p->plugged = calloc(bufs, sizeof(*p->plugged));
	if (p->rx_repost == NULL || p->tx_free == NULL || p->tx_seq == NULL || p->gpa == NULL ||
			p->ptr == NULL || p->plugged == NULL)
		return -ENOMEM;
	for (b = 0; b < bufs; b++)
		p->gpa[b] = layout_buf_gpa(n->layout, index * bufs + b);
	ret = account_init(&p->account, &n->totals, cfg->queue_size);
	if (ret == 0)
		ret = ring_init(&p->rx, format(cfg), 2 * index, cfg->queue_size);
	if (ret == 0)
		ret = ring_init(&p->tx, format(cfg), 2 * index + 1, cfg->queue_size);
	return ret;
}

int
net_init(struct net *n, const struct net_cfg *cfg, const struct layout *layout)
{
	uint16_t i;
	int ret = 0;

	*n = (struct net){ .cfg = *cfg, .layout = layout, .active = cfg->pairs, .blackout = true };
	memcpy(n->addr.src, guest_mac, sizeof(guest_mac));
	memcpy(n->addr.dst, peer_mac, sizeof(peer_mac));
	n->addr.small = n->addr.shared = cfg->plain;
	n->pair = calloc(cfg->pairs, sizeof(*n->pair));
	if (n->pair == NULL)
		return -ENOMEM;
	for (i = 0; i < cfg->pairs; i++)
		n->pair[i].rx.kick_fd = n->pair[i].rx.call_fd =
			n->pair[i].tx.kick_fd = n->pair[i].tx.call_fd = -1;
	for (i = 0; ret == 0 && i < cfg->pairs; i++)
		ret = pair_init(n, &n->pair[i], i);
	if (ret != 0)
		net_fini(n);
	return ret;
}

void
net_fini(struct net *n)
{
	uint16_t i;

	for (i = 0; n->pair != NULL && i < n->cfg.pairs; i++) {
		struct net_pair *p = &n->pair[i];

		ring_fini(&p->tx);
		ring_fini(&p->rx);
		account_fini(&p->account);
		free(p->plugged);
		free(p->ptr);
		free(p->gpa);
		free(p->tx_seq);
		free(p->tx_free);
		free(p->rx_repost);
	}
	free(n->pair);
	n->pair = NULL;
}

void
net_prepare_mem(const struct net *n, const struct mem *mem)
{
	uint16_t i, b;

	for (i = 0; i < n->cfg.pairs; i++)
		for (b = 0; b < net_rx_bufs(&n->cfg); b++)
			memset(mem_ptr(mem, n->pair[i].gpa[b]), NET_POISON, NET_POISON_HEAD);
}

uint64_t
net_changed_rx_bufs(const struct net *n, const struct mem *mem)
{
	uint64_t changed = 0;
	uint16_t i, b, k;

	for (i = 0; i < n->cfg.pairs; i++) {
		for (b = 0; b < net_rx_bufs(&n->cfg); b++) {
			const uint8_t *p = mem_ptr(mem, n->pair[i].gpa[b]);

			for (k = 0; k < NET_POISON_HEAD && p[k] == NET_POISON; k++)
				;
			changed += k < NET_POISON_HEAD;
		}
	}
	return changed;
}

void
net_bind(struct net *n, const struct mem *mem)
{
	unsigned int vq, b;
	uint16_t i;

	n->mem = mem;
	for (i = 0; i < n->cfg.pairs; i++)
		for (b = 0; b < pair_bufs(&n->cfg); b++)
			n->pair[i].ptr[b] = mem_ptr(mem, n->pair[i].gpa[b]);
	for (vq = 0; vq < 2u * n->cfg.pairs; vq++) {
		uint64_t gpa = layout_ring_gpa(n->layout, vq);

		ring_bind(net_ring(n, vq), gpa, mem_ptr(mem, gpa));
	}
}

/* ---- plugged memory ---- */

/* Number of a pair's buffer among those of all pairs. */
static unsigned int
buf_number(const struct net *n, const struct net_pair *p, unsigned int b)
{
	return (p - n->pair) * pair_bufs(&n->cfg) + b;
}

void
net_prepare_plug(const struct net *n, const struct mem_file *plug)
{
	uint64_t off;
	uint16_t i, b;

	for (i = 0; i < n->cfg.pairs; i++)
		for (b = 0; b < net_rx_bufs(&n->cfg); b++)
			if (layout_plug_off(n->layout, buf_number(n, &n->pair[i], b), &off) == 0)
				memset(plug->base + off, NET_POISON, NET_POISON_HEAD);
}

void
net_use_plug(struct net *n, const struct mem_file *plug)
{
	n->plug = plug;
	if (plug == NULL)
		return;
	__atomic_store_n(&n->plug_rx, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&n->plug_tx, 0, __ATOMIC_RELAXED);
}

static void
count_plugged(struct net *n, struct net_pair *p, unsigned int b, bool plugged)
{
	if (p->plugged[b] == plugged)
		return;
	p->plugged[b] = plugged;
	__atomic_store_n(&n->in_plug, n->in_plug + (plugged ? 1 : -1), __ATOMIC_RELEASE);
}

/* A buffer that goes into a ring moves to where it is to be now. */
static void
place(struct net *n, struct net_pair *p, unsigned int b)
{
	unsigned int number;
	uint64_t off;

	if (n->plug == NULL && p->gpa[b] < n->layout->plug_gpa)
		return;
	number = buf_number(n, p, b);
	if (n->plug != NULL && layout_plug_off(n->layout, number, &off) == 0) {
		p->gpa[b] = n->layout->plug_gpa + off;
		p->ptr[b] = n->plug->base + off;
		count_plugged(n, p, b, true);
	} else if (p->gpa[b] >= n->layout->plug_gpa) {
		p->gpa[b] = layout_buf_gpa(n->layout, number);
		p->ptr[b] = mem_ptr(n->mem, p->gpa[b]);
		count_plugged(n, p, b, false);
	}
}

/* ---- what the guest writes ---- */

void
net_track(struct net *n, struct dirty_log *log)
{
	n->log = log;
}

/* The guest has entered chains: its areas lie in front of the device's. */
static void
mark_ring(struct net *n, const struct ring *r)
{
	if (n->log != NULL)
		dirty_mark(n->log, r->gpa, r->used_off);
}

/* ---- receiving ---- */

static void
kick(const struct ring *r)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is at its limit, so the device has a kick waiting. */
	if (write(r->kick_fd, &one, sizeof(one)) < 0)
		return;
}

/*
 * Packed chains are only cut behind the header: DPDK's software back-end (up to 25.11 at least)
 * takes four packed descriptors at once without a look at NEXT, unless one is too short for its
 * frame.
 */
static void
rx_post(struct net *n, struct net_pair *p, uint16_t buf)
{
	uint64_t gpa;
	bool at_header = buf % (2 * RX_CHAINED) == RX_CHAINED - 1 || n->cfg.packed;
	uint32_t first = at_header ? n->hdr_len : RX_SPLIT;
	struct ring_seg seg[2] = {
		{ .len = LAYOUT_BUF_BYTES, .device_writes = true },
	};

	place(n, p, buf);
	gpa = seg[0].gpa = p->gpa[buf];
	if (buf % RX_CHAINED == RX_CHAINED - 1 && !n->cfg.plain) {
		seg[0].len = first;
		seg[1] = (struct ring_seg){ .gpa = gpa + first, .len = LAYOUT_BUF_BYTES - first,
			.device_writes = true };
	}
	p->rx.ops->add(&p->rx, buf, seg, seg[1].len ? 2 : 1, NULL);
}

static void
rx_repost(struct net *n, struct net_pair *p)
{
	bool wanted;

	while (p->rx_nrepost > 0)
		rx_post(n, p, p->rx_repost[--p->rx_nrepost]);
	wanted = p->rx.ops->publish(&p->rx);
	mark_ring(n, &p->rx);
	if (wanted)
		kick(&p->rx);
}

static bool
header_good(const uint8_t *buf)
{
	struct virtio_net_hdr h;

	/* We asked for neither segmentation nor partial checksums. */
	memcpy(&h, buf, sizeof(h));
	return h.gso_type == VIRTIO_NET_HDR_GSO_NONE && !(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static void
rx_verify(struct net *n, const uint8_t *buf, uint32_t len)
{
	enum frame_verdict verdict = FRAME_CORRUPT;
	struct frame_id id;

	if (len >= n->hdr_len && len <= LAYOUT_BUF_BYTES)
		verdict = frame_check(buf + n->hdr_len, len - n->hdr_len, &n->addr, &id);
	if (verdict == FRAME_FOREIGN) {
		account_add(header_good(buf) ? &n->totals.foreign : &n->totals.corrupt, 1);
	} else if (verdict == FRAME_CORRUPT || id.queue >= n->cfg.pairs) {
		account_add(&n->totals.corrupt, 1);
	} else {
		struct net_pair *from = &n->pair[id.queue];
		bool good = verdict == FRAME_GOOD && header_good(buf);

		if (n->one_way)		/* nobody knows whether it was sent */
			account_add(good ? &n->totals.received : &n->totals.corrupt, 1);
		else if (account_arrived(&from->account, id.seq, good))
			__atomic_store_n(&from->alive, true, __ATOMIC_RELAXED);
	}
}

static int
broken(struct net *n, const struct ring *r)
{
	snprintf(n->fault, sizeof(n->fault),
			"ring %u: the device returned a descriptor that it did not have", r->index);
	return -EIO;
}

static int
rx_ring(struct net *n, struct net_pair *p)
{
	uint32_t len;
	uint16_t buf;
	int seen = 0, ret;

	while ((ret = p->rx.ops->used(&p->rx, &buf, &len)) > 0) {
		uint8_t *data = p->ptr[buf];

		rx_verify(n, data, len);
		account_add(&n->plug_rx, p->plugged[buf]);
		if (n->log == NULL)
			memset(data, NET_POISON, NET_POISON_HEAD);
		p->rx_repost[p->rx_nrepost++] = buf;
		seen++;
	}
	account_add(&n->seen, seen);
	return ret < 0 ? broken(n, &p->rx) : seen;
}

static bool
called(const struct ring *r)
{
	uint64_t count;

	return read(r->call_fd, &count, sizeof(count)) == sizeof(count);
}

static void
end_blackout(struct net *n, uint64_t now_ns)
{
	uint16_t i;

	n->blackout = false;
	for (i = 0; i < n->cfg.pairs; i++)
		account_back(&n->pair[i].account, now_ns);
}

int
net_rx(struct net *n, uint64_t now_ns)
{
	uint16_t i;
	int seen = 0;

	for (i = 0; i < n->cfg.pairs; i++) {
		struct net_pair *p = &n->pair[i];
		int ret;

		if (n->cfg.interrupts && !called(&p->rx))
			continue;
		ret = rx_ring(n, p);
		if (ret < 0)
			return ret;
		seen += ret;
		if (p->rx_nrepost >= rx_batch(&n->cfg))
			rx_repost(n, p);
	}
	if (n->blackout && seen > 0 && !__atomic_load_n(&n->starting, __ATOMIC_ACQUIRE))
		end_blackout(n, now_ns);
	return seen;
}

/* ---- sending ---- */

/* Cut a buffer of @len bytes (header first) in a way that depends on the frame. */
static unsigned int
tx_shape(const struct net *n, uint64_t noise, uint64_t gpa, uint32_t len, struct ring_seg *seg,
		bool *indirect)
{
	unsigned int segs = 1 + noise % RING_MAX_SEGS, i;
	uint32_t at = 0;

	/* Half of them in one piece, the rest evenly in 1 to 4. */
	if (n->cfg.plain || (noise & (1u << 8)))
		segs = 1;
	if (segs == 1 && !n->any_layout)
		segs = 2;
	*indirect = n->indirect && !n->cfg.plain && (noise >> 9) % 4 == 0;
	for (i = 0; i < segs; i++) {
		uint32_t left = len - at, piece = left;

		if (i + 1 < segs)
			piece = i == 0 && !(n->any_layout && (noise & (1u << 11))) ? n->hdr_len :
				1 + (noise >> (12 + 8 * i)) % (left / 2);
		seg[i] = (struct ring_seg){ .gpa = gpa + at, .len = piece };
		at += piece;
	}
	return segs;
}

static void
tx_one(struct net *n, struct net_pair *p)
{
	struct frame_id id = { .seq = account_next(&p->account), .queue = p - n->pair };
	uint64_t noise = mix64(~id.seq - ((uint64_t)id.queue << 40));
	uint16_t slot = p->tx_free[--p->tx_nfree];
	unsigned int b = net_rx_bufs(&n->cfg) + slot;
	struct ring_seg seg[RING_MAX_SEGS];
	struct ring_table table;
	unsigned int segs;
	bool indirect;
	uint64_t gpa;
	uint8_t *buf;
	uint16_t len;

	place(n, p, b);
	gpa = p->gpa[b];
	buf = p->ptr[b];
	table = (struct ring_table){ .ptr = buf + TABLE_OFF, .gpa = gpa + TABLE_OFF };
	memset(buf, 0, n->hdr_len);
	len = frame_build(buf + n->hdr_len, &id, &n->addr);
	segs = tx_shape(n, noise, gpa, n->hdr_len + len, seg, &indirect);
	p->tx.ops->add(&p->tx, slot, seg, segs, indirect ? &table : NULL);
	if (n->log != NULL)
		dirty_mark(n->log, gpa, LAYOUT_BUF_BYTES);
	p->tx_seq[slot] = id.seq;
	if (n->one_way) {
		p->account.next_seq++;
		account_add(&n->totals.sent, 1);
	} else {
		account_sent(&p->account);
	}
}

/* Frames that may be sent now. */
static uint32_t
room(const struct net *n)
{
	uint32_t limit = net_max_outstanding(&n->cfg), outstanding;

	if (n->one_way)
		return UINT32_MAX;
	outstanding = net_outstanding(n);
	return outstanding < limit ? limit - outstanding : 0;
}

unsigned int
net_tx(struct net *n, unsigned int max)
{
	uint16_t active = __atomic_load_n(&n->active, __ATOMIC_ACQUIRE), i;
	unsigned int sent = 0;

	if (max > room(n))
		max = room(n);
	for (i = 0; i < active && sent < max; i++) {
		struct net_pair *p = &n->pair[n->next_tx % active];
		unsigned int burst = 0;
		bool wanted;

		n->next_tx = (n->next_tx + 1) % active;
		if (p->tx_off)
			continue;
		for (; burst < TX_BURST && sent < max && p->tx_nfree > 0; burst++, sent++)
			tx_one(n, p);
		wanted = p->tx.ops->publish(&p->tx);
		if (burst > 0)
			mark_ring(n, &p->tx);
		if (wanted)
			kick(&p->tx);
	}
	return sent;
}

static int
reap_ring(struct net *n, struct net_pair *p, uint64_t now_ns)
{
	uint64_t taken = 0;
	uint32_t len;
	uint16_t slot;
	int ret;

	while ((ret = p->tx.ops->used(&p->tx, &slot, &len)) > 0) {
		if (!n->one_way)
			account_taken(&p->account, p->tx_seq[slot], now_ns);
		account_add(&n->plug_tx, p->plugged[net_rx_bufs(&n->cfg) + slot]);
		count_plugged(n, p, net_rx_bufs(&n->cfg) + slot, false);
		p->tx_free[p->tx_nfree++] = slot;
		taken++;
	}
	account_add(&p->taken, taken);
	return ret < 0 ? broken(n, &p->tx) : 0;
}

int
net_reap(struct net *n, uint64_t now_ns)
{
	uint64_t limit_ns = n->blackout ? DROPPED_AFTER_NS : LOST_AFTER_NS;
	uint16_t i;

	for (i = 0; i < n->cfg.pairs; i++) {
		int ret = reap_ring(n, &n->pair[i], now_ns);

		if (ret < 0)
			return ret;
		account_expire(&n->pair[i].account, now_ns, limit_ns);
	}
	return 0;
}

uint32_t
net_outstanding(const struct net *n)
{
	uint32_t sum = 0;
	uint16_t i;

	for (i = 0; i < n->cfg.pairs; i++)
		sum += n->one_way ? (uint32_t)net_tx_slots(&n->cfg) - n->pair[i].tx_nfree :
			n->pair[i].account.outstanding;
	return sum;
}

void
net_go_one_way(struct net *n)
{
	uint16_t i;

	n->one_way = true;
	for (i = 0; i < n->cfg.pairs; i++)
		account_forget(&n->pair[i].account);
	n->totals.lost = n->totals.in_blackout = 0;
}

/* ---- resets ---- */

int
net_reset(struct net *n, uint64_t features)
{
	bool modern = (features & (1ull << VIRTIO_F_VERSION_1)) != 0;
	uint16_t i, b;

	n->hdr_len = modern ? sizeof(struct virtio_net_hdr_mrg_rxbuf) :
		sizeof(struct virtio_net_hdr);
	n->any_layout = modern || (features & (1ull << VIRTIO_F_ANY_LAYOUT)) != 0;
	n->indirect = (features & (1ull << VIRTIO_RING_F_INDIRECT_DESC)) != 0;
	for (i = 0; i < n->cfg.pairs; i++) {
		struct net_pair *p = &n->pair[i];
		int ret = ring_reset(&p->rx);

		if (ret == 0)
			ret = ring_reset(&p->tx);
		if (ret != 0)
			return ret;
		p->rx.ops->call(&p->rx, n->cfg.interrupts);
		p->tx.ops->call(&p->tx, false);
		for (b = 0; b < net_tx_slots(&n->cfg); b++) {
			p->tx_free[b] = b;
			count_plugged(n, p, net_rx_bufs(&n->cfg) + b, false);
		}
		p->tx_nfree = b;
		for (b = 0; b < net_rx_bufs(&n->cfg); b++)
			rx_post(n, p, b);
		p->rx_nrepost = 0;
		p->tx_off = false;
		p->rx.ops->publish(&p->rx);
		__atomic_store_n(&p->alive, false, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&n->starting, true, __ATOMIC_RELEASE);
	return 0;
}

void
net_started(struct net *n)
{
	__atomic_store_n(&n->starting, false, __ATOMIC_RELEASE);
}

void
net_kick_all(struct net *n)
{
	unsigned int vq;

	for (vq = 0; vq < 2u * n->cfg.pairs; vq++)
		kick(net_ring(n, vq));
}

int
net_stop(struct net *n, uint64_t stop_ns)
{
	uint16_t i;

	/* First: what overtakes a frame from now on is no sign of a loss before the stop. */
	net_settle(n, stop_ns);
	for (i = 0; i < n->cfg.pairs; i++) {
		int ret = rx_ring(n, &n->pair[i]);

		if (ret >= 0)
			ret = reap_ring(n, &n->pair[i], stop_ns);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void
net_settle(struct net *n, uint64_t stop_ns)
{
	uint16_t i;

	for (i = 0; i < n->cfg.pairs; i++)
		account_stopped(&n->pair[i].account, stop_ns);
	n->blackout = true;
}

void
net_disturb(struct net *n, uint64_t stop_ns)
{
	net_settle(n, stop_ns);
	__atomic_store_n(&n->starting, true, __ATOMIC_RELEASE);
}

int
net_move(struct net *n)
{
	unsigned int vq;
	int ret = 0;

	for (vq = 0; ret == 0 && vq < 2u * n->cfg.pairs; vq++) {
		__atomic_store_n(&n->pair[vq / 2].alive, false, __ATOMIC_RELAXED);
		ret = ring_renew_fds(net_ring(n, vq));
	}
	return ret;
}

int
net_silent_pair(const struct net *n)
{
	uint16_t i;

	for (i = 0; i < n->cfg.pairs; i++)
		if (!__atomic_load_n(&n->pair[i].alive, __ATOMIC_RELAXED))
			return i;
	return -1;
}
