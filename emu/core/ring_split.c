/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split rings, virtio 1.x section 2.7: from available descriptors to frames and back.
 *
 * Everything that a driver writes into a ring is taken as hostile: it is copied before it is looked
 * at, and an index or a descriptor that can't be ends the queue, not the device.
 *
 * Functions that can fail return a negative enum emu_virtq_fault; the two entry points turn that
 * into emu_virtq_fail(), after what was completed before is published.
 */
#include "engine.h"

/* virtq_desc.flags */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
/* virtq_avail.flags */
enum { AVAIL_NO_INTERRUPT = 1 };

/* virtq_avail and virtq_used: flags, idx, then the ring. */
enum { RING_FLAGS = 0, RING_IDX = 2, RING_ENTRIES = 4 };

enum {
	LOG_PAGE_SHIFT = 12,       /* a bit of the dirty bitmap is 4 KiB */
	BITS = 8,
};

/* What a chain's descriptors must be, and what they come to. */
struct chain {
	bool write;                /* for the device to write (receive), or to read */
	uint32_t nsegs;
	uint64_t bytes;
};

/* ---- DMA of a queue ---- */

static uint32_t
ring_mkey(const struct emu_virtq *vq)
{
	return vq->cfg.desc_mkey != 0 ? vq->cfg.desc_mkey : vq->cfg.mkey;
}

static int
ring_read(struct emu_virtq *vq, struct emu_tlb *tlb, uint64_t addr, void *dst, uint32_t len)
{
	return emu_dma_read(vq->obj.dev, tlb, vq->pd->id, ring_mkey(vq), addr, dst, len) == 0 ? 0 :
		-EMU_FAULT_RING_ACCESS;
}

/* Set the bits of the pages that [addr, addr + len) touches. */
static int
log_write(struct emu_virtq *vq, uint64_t addr, uint32_t len)
{
	const struct emu_virtq_cfg *cfg = &vq->cfg;
	struct emu_tlb *tlb = &vq->ring.dirty_tlb;
	uint64_t page, last = (addr + len - 1) >> LOG_PAGE_SHIFT;
	uint8_t byte, bit;

	for (page = addr >> LOG_PAGE_SHIFT; page <= last; page++) {
		if (page / BITS >= cfg->dirty_size)
			return -EMU_FAULT_BAD_BUFFER;
		bit = (uint8_t)(1u << page % BITS);
		if (emu_dma_read(vq->obj.dev, tlb, vq->pd->id, cfg->dirty_mkey,
				cfg->dirty_addr + page / BITS, &byte, 1) != 0)
			return -EMU_FAULT_BAD_BUFFER;
		if ((byte & bit) != 0)
			continue;
		byte |= bit;
		if (emu_dma_write(vq->obj.dev, tlb, vq->pd->id, cfg->dirty_mkey,
				cfg->dirty_addr + page / BITS, &byte, 1) != 0)
			return -EMU_FAULT_BAD_BUFFER;
	}
	return 0;
}

static int
ring_write(struct emu_virtq *vq, struct emu_tlb *tlb, uint64_t addr, const void *src, uint32_t len)
{
	if (emu_dma_write(vq->obj.dev, tlb, vq->pd->id, ring_mkey(vq), addr, src, len) != 0)
		return -EMU_FAULT_RING_ACCESS;
	return vq->cfg.dirty_enable ? log_write(vq, addr, len) : 0;
}

/* ---- the available ring ---- */

/* Read chain heads ahead. Returns how many, 0 when there is nothing new. */
static int
avail_fetch(struct emu_virtq *vq)
{
	struct emu_ring *r = &vq->ring;
	uint64_t entries = vq->cfg.avail_addr + RING_ENTRIES;
	uint32_t n, pos, first, i;
	uint16_t idx;
	int ret;

	/* The index before the entries that it covers: a read acquires. */
	ret = ring_read(vq, &r->avail_tlb, vq->cfg.avail_addr + RING_IDX, &idx, sizeof(idx));
	if (ret < 0)
		return ret;
	n = (uint16_t)(le16toh(idx) - vq->cfg.hw_avail);
	if (n == 0)
		return 0;
	if (n > vq->size)
		return -EMU_FAULT_BAD_DESC;
	n = n < EMU_BURST ? n : EMU_BURST;
	pos = vq->cfg.hw_avail & (vq->size - 1u);
	first = vq->size - pos < n ? vq->size - pos : n;
	ret = ring_read(vq, &r->avail_tlb, entries + pos * sizeof(r->heads[0]), r->heads,
		first * (uint32_t)sizeof(r->heads[0]));
	if (ret == 0 && first < n)
		ret = ring_read(vq, &r->avail_tlb, entries, r->heads + first,
			(n - first) * (uint32_t)sizeof(r->heads[0]));
	if (ret < 0)
		return ret;
	for (i = 0; i < n; i++)
		r->heads[i] = le16toh(r->heads[i]);
	r->nheads = (uint16_t)n;
	r->head = 0;
	r->ahead_valid = false;
	return (int)n;
}

/* The next chain, which stays the next until complete(). Returns 1, or 0 when there is none. */
static int
avail_peek(struct emu_virtq *vq, uint16_t *head)
{
	struct emu_ring *r = &vq->ring;
	int ret;

	if (r->head == r->nheads) {
		ret = avail_fetch(vq);
		if (ret <= 0)
			return ret;
	}
	*head = r->heads[r->head];
	return 1;
}

/* ---- the used ring ---- */

static void
complete(struct emu_virtq *vq, uint16_t head, uint32_t len)
{
	struct emu_ring *r = &vq->ring;

	r->used[r->nused].id = htole32(head);
	r->used[r->nused].len = htole32(len);
	r->nused++;
	r->head++;
	vq->cfg.hw_avail++;
	if (vq->counters != NULL)
		vq->counters->received_desc++;
}

static int
used_write(struct emu_virtq *vq, uint16_t n)
{
	struct emu_ring *r = &vq->ring;
	uint64_t entries = vq->cfg.used_addr + RING_ENTRIES;
	uint32_t pos = vq->cfg.hw_used & (vq->size - 1u);
	uint32_t first = vq->size - pos < n ? vq->size - pos : n;
	uint16_t idx = htole16((uint16_t)(vq->cfg.hw_used + n));
	int ret;

	ret = ring_write(vq, &r->used_tlb, entries + pos * sizeof(r->used[0]), r->used,
		first * (uint32_t)sizeof(r->used[0]));
	if (ret == 0 && first < n)
		ret = ring_write(vq, &r->used_tlb, entries, r->used + first,
			(n - first) * (uint32_t)sizeof(r->used[0]));
	/* The entries before the index that covers them: a write releases. */
	if (ret == 0)
		ret = ring_write(vq, &r->used_tlb, vq->cfg.used_addr + RING_IDX, &idx, sizeof(idx));
	return ret;
}

/* Returns 0 or a fault. */
static int
publish(struct emu_virtq *vq)
{
	struct emu_ring *r = &vq->ring;
	uint16_t n = r->nused, flags;
	int ret;

	if (n == 0)
		return 0;
	r->nused = 0;
	ret = used_write(vq, n);
	if (ret < 0)
		return ret;
	vq->cfg.hw_used += n;
	if (vq->counters != NULL)
		vq->counters->completed_desc += n;
	/* The driver turns interrupts on, then looks at the used index: the device does it the
	 * other way round, and neither may pass the other. */
	atomic_thread_fence(memory_order_seq_cst);
	ret = ring_read(vq, &r->avail_tlb, vq->cfg.avail_addr + RING_FLAGS, &flags, sizeof(flags));
	if (ret == 0 && (le16toh(flags) & AVAIL_NO_INTERRUPT) == 0)
		emu_virtq_notify(vq);
	return ret;
}

static void
fail(struct emu_virtq *vq, int fault)
{
	publish(vq);
	emu_virtq_fail(vq, (enum emu_virtq_fault)-fault);
}

void
emu_ring_publish(struct emu_virtq *vq)
{
	int ret = publish(vq);

	if (ret < 0)
		fail(vq, ret);
}

void
emu_ring_reset(struct emu_virtq *vq)
{
	memset(&vq->ring, 0, sizeof(vq->ring));
}

/* ---- descriptor chains ---- */

static uint32_t
chain_limit(const struct emu_virtq *vq)
{
	return vq->size < EMU_CHAIN_MAX ? vq->size : EMU_CHAIN_MAX;
}

static void
desc_from_le(struct emu_vring_desc *d)
{
	d->addr = le64toh(d->addr);
	d->len = le32toh(d->len);
	d->flags = le16toh(d->flags);
	d->next = le16toh(d->next);
}

/* Descriptor @p i of the table, out of what was read around it. */
static int
table_get(struct emu_virtq *vq, uint16_t i, struct emu_vring_desc *d)
{
	struct emu_ring *r = &vq->ring;
	uint16_t first = i & ~(EMU_DESC_AHEAD - 1);
	int ret;

	if (i >= vq->size)
		return -EMU_FAULT_BAD_DESC;
	if (!r->ahead_valid || r->ahead_first != first) {
		r->ahead_valid = false;
		ret = ring_read(vq, &r->desc_tlb, vq->cfg.desc_addr + first * sizeof(*d), r->ahead,
			sizeof(r->ahead));
		if (ret < 0)
			return ret;
		r->ahead_valid = true;
		r->ahead_first = first;
	}
	*d = r->ahead[i - first];
	desc_from_le(d);
	return 0;
}

static int
chain_add(struct emu_virtq *vq, struct chain *ch, const struct emu_vring_desc *d)
{
	struct emu_seg *seg = &vq->obj.dev->engine->segs[ch->nsegs];

	if (ch->nsegs == chain_limit(vq))
		return -EMU_FAULT_LONG_CHAIN;
	if (d->len == 0 || ((d->flags & DESC_WRITE) != 0) != ch->write)
		return -EMU_FAULT_BAD_DESC;
	if (d->addr + d->len < d->addr)
		return -EMU_FAULT_BAD_BUFFER;
	seg->addr = d->addr;
	seg->len = d->len;
	ch->nsegs++;
	ch->bytes += d->len;
	return 0;
}

/* The table that descriptor @p d refers to: the rest of its chain. */
static int
chain_indirect(struct emu_virtq *vq, struct chain *ch, const struct emu_vring_desc *d)
{
	struct emu_vring_desc *table = vq->obj.dev->engine->indirect;
	uint32_t n = d->len / sizeof(*table), i = 0;
	struct emu_vring_desc entry;
	int ret;

	/* Section 2.7.5.3.1: no NEXT beside INDIRECT; a table is descriptors and nothing else. */
	if ((d->flags & DESC_NEXT) != 0 || n == 0 || d->len % sizeof(*table) != 0)
		return -EMU_FAULT_BAD_DESC;
	if (n > chain_limit(vq))
		return -EMU_FAULT_LONG_CHAIN;
	if (emu_dma_read(vq->obj.dev, &vq->ring.indirect_tlb, vq->pd->id, vq->cfg.mkey, d->addr,
			table, d->len) != 0)
		return -EMU_FAULT_BAD_BUFFER;
	for (;;) {
		entry = table[i];
		desc_from_le(&entry);
		if ((entry.flags & DESC_INDIRECT) != 0)
			return -EMU_FAULT_BAD_DESC;
		ret = chain_add(vq, ch, &entry);
		if (ret < 0 || (entry.flags & DESC_NEXT) == 0)
			return ret;
		i = entry.next;
		if (i >= n)
			return -EMU_FAULT_BAD_DESC;
	}
}

/* Follow a chain: its pieces go to the engine's segs. A loop ends at the longest chain there is. */
static int
chain_read(struct emu_virtq *vq, struct chain *ch, uint16_t head)
{
	struct emu_vring_desc d = { .next = head };
	int ret;

	do {
		ret = table_get(vq, d.next, &d);
		if (ret < 0)
			return ret;
		if ((d.flags & DESC_INDIRECT) != 0)
			return chain_indirect(vq, ch, &d);
		ret = chain_add(vq, ch, &d);
		if (ret < 0)
			return ret;
	} while ((d.flags & DESC_NEXT) != 0);
	return 0;
}

/* ---- transmit ---- */

/* Copy the chain out of the guest. Returns the bytes, 0 when there are more than any packet has. */
static int
gather(struct emu_virtq *vq, const struct chain *ch, uint8_t *dst, uint32_t room)
{
	const struct emu_seg *seg = vq->obj.dev->engine->segs;
	uint32_t i;

	if (ch->bytes > room)
		return 0;
	for (i = 0; i < ch->nsegs; i++, seg++) {
		if (emu_dma_read(vq->obj.dev, &vq->ring.data_tlb, vq->pd->id, vq->cfg.mkey,
				seg->addr, dst, seg->len) != 0)
			return -EMU_FAULT_BAD_BUFFER;
		dst += seg->len;
	}
	return (int)ch->bytes;
}

/* Send the packet in tx_buf as its virtio header asks. What is no frame, too long for the port, or
 * has a header that can't be, goes nowhere. Returns the number of frames, that one included. */
static int
send_packet(struct emu_virtq *vq, uint32_t hdr, uint32_t len)
{
	struct emu_dev *dev = vq->obj.dev;
	struct emu_engine *eng = dev->engine;
	const uint8_t *frame;
	uint32_t frame_len;
	int n = 0;

	if (len < hdr || !emu_offload_start(&eng->offload, vq->cfg.features, eng->tx_buf,
			eng->tx_buf + hdr, len - hdr)) {
		dev->tx_drops++;
		return 1;
	}
	while ((frame = emu_offload_next(&eng->offload, &frame_len)) != NULL) {
		emu_wire_tx(dev, frame, frame_len);
		n++;
	}
	return n;
}

/* Send one chain. Returns the frames that it came to, 0 when there is no chain, or a fault. */
static int
tx_one(struct emu_virtq *vq)
{
	struct emu_engine *eng = vq->obj.dev->engine;
	uint32_t hdr = emu_virtq_hdr_len(vq);
	struct chain ch = { .write = false };
	uint16_t head;
	int ret;

	ret = avail_peek(vq, &head);
	if (ret <= 0)
		return ret;
	ret = chain_read(vq, &ch, head);
	if (ret < 0)
		return ret;
	if (ch.bytes < hdr)
		return -EMU_FAULT_BAD_DESC;
	ret = gather(vq, &ch, eng->tx_buf, hdr + EMU_GSO_MAX);
	if (ret < 0)
		return ret;
	ret = send_packet(vq, hdr, (uint32_t)ret);
	complete(vq, head, 0);
	return ret;
}

unsigned int
emu_virtq_tx(struct emu_virtq *vq, unsigned int budget)
{
	unsigned int n = 0;
	int ret = 1;

	/* One publication covers what used[] holds: a chain is a frame at least. */
	if (budget > EMU_BURST)
		budget = EMU_BURST;
	while (n < budget && ret > 0) {
		ret = tx_one(vq);
		n += ret > 0 ? (unsigned int)ret : 0;
	}
	if (ret < 0)
		fail(vq, ret);
	else
		emu_ring_publish(vq);
	return n;
}

/* ---- receive ---- */

static int
scatter(struct emu_virtq *vq, const uint8_t *src, uint32_t len)
{
	const struct emu_seg *seg = vq->obj.dev->engine->segs;
	uint32_t n;
	int ret;

	for (; len > 0; len -= n, src += n, seg++) {
		n = seg->len < len ? seg->len : len;
		if (emu_dma_write(vq->obj.dev, &vq->ring.data_tlb, vq->pd->id, vq->cfg.mkey,
				seg->addr, src, n) != 0)
			return -EMU_FAULT_BAD_BUFFER;
		ret = vq->cfg.dirty_enable ? log_write(vq, seg->addr, n) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Deliver into one chain: 1, 0 when there is none or the frame doesn't fit (the chain then waits
 * for one that does), or a fault. */
static int
rx_one(struct emu_virtq *vq, const void *frame, uint32_t len)
{
	uint8_t *buf = vq->obj.dev->engine->rx_buf;
	uint32_t hdr = emu_virtq_hdr_len(vq);
	struct chain ch = { .write = true };
	uint16_t head;
	int ret;

	ret = avail_peek(vq, &head);
	if (ret <= 0)
		return ret;
	ret = chain_read(vq, &ch, head);
	if (ret < 0)
		return ret;
	if (len > EMU_FRAME_MAX || ch.bytes < hdr + len)
		return 0;
	memset(buf, 0, hdr);
	emu_offload_rx_hdr(vq->cfg.features, buf, hdr, frame, len);
	memcpy(buf + hdr, frame, len);
	ret = scatter(vq, buf, hdr + len);
	if (ret < 0)
		return ret;
	complete(vq, head, hdr + len);
	return 1;
}

bool
emu_virtq_rx(struct emu_virtq *vq, const void *frame, uint32_t len)
{
	int ret;

	if (vq->state != MLX5_VIRTQ_STATE_RDY || !vq->rung)
		return false;
	ret = rx_one(vq, frame, len);
	if (ret < 0) {
		fail(vq, ret);
		return false;
	}
	if (ret == 0)
		return false;
	if (vq->ring.nused == EMU_BURST)
		emu_ring_publish(vq);
	else
		emu_engine_fill(vq);
	return true;
}
