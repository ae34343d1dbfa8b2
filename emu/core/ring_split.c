/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split rings, virtio 1.x section 2.7: a table of descriptors, a ring of chains that are available,
 * and one of those that are used. Indices count chains, modulo 2^16.
 */
#include "ring.h"

/* virtq_avail.flags */
enum { AVAIL_NO_INTERRUPT = 1 };

/* virtq_avail and virtq_used: flags, idx, then the ring. */
enum { RING_FLAGS = 0, RING_IDX = 2, RING_ENTRIES = 4 };

/* ---- the available ring ---- */

/* Read chain heads ahead. Returns how many, 0 when there is nothing new. */
static int
avail_fetch(struct emu_virtq *vq)
{
	struct emu_split_ring *r = &vq->ring.split;
	struct emu_tlb *tlb = &vq->ring.avail_tlb;
	uint64_t entries = vq->cfg.avail_addr + RING_ENTRIES;
	uint32_t n, pos, first, i;
	uint16_t idx;
	int ret;

	/* The index before the entries that it covers: a read acquires. */
	ret = emu_ring_read(vq, tlb, vq->cfg.avail_addr + RING_IDX, &idx, sizeof(idx));
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
	ret = emu_ring_read(vq, tlb, entries + pos * sizeof(r->heads[0]), r->heads,
		first * (uint32_t)sizeof(r->heads[0]));
	if (ret == 0 && first < n)
		ret = emu_ring_read(vq, tlb, entries, r->heads + first,
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

/* ---- descriptor chains ---- */

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
	struct emu_split_ring *r = &vq->ring.split;
	uint16_t first = i & ~(EMU_DESC_AHEAD - 1);
	int ret;

	if (i >= vq->size)
		return -EMU_FAULT_BAD_DESC;
	if (!r->ahead_valid || r->ahead_first != first) {
		r->ahead_valid = false;
		ret = emu_ring_read(vq, &vq->ring.desc_tlb,
			vq->cfg.desc_addr + first * sizeof(*d), r->ahead, sizeof(r->ahead));
		if (ret < 0)
			return ret;
		r->ahead_valid = true;
		r->ahead_first = first;
	}
	*d = r->ahead[i - first];
	desc_from_le(d);
	return 0;
}

/* The table that descriptor @p d refers to: the rest of its chain. */
static int
chain_indirect(struct emu_virtq *vq, struct emu_chain *ch, const struct emu_vring_desc *d)
{
	const struct emu_vring_desc *table = vq->obj.dev->engine->indirect.split;
	int n = emu_chain_table(vq, d->addr, d->len, d->flags), i = 0, ret;
	struct emu_vring_desc entry;

	if (n < 0)
		return n;
	for (;;) {
		entry = table[i];
		desc_from_le(&entry);
		if ((entry.flags & EMU_DESC_INDIRECT) != 0)
			return -EMU_FAULT_BAD_DESC;
		ret = emu_chain_add(vq, ch, entry.addr, entry.len, entry.flags);
		if (ret < 0 || (entry.flags & EMU_DESC_NEXT) == 0)
			return ret;
		i = entry.next;
		if (i >= n)
			return -EMU_FAULT_BAD_DESC;
	}
}

/* Follow a chain. A loop ends at the longest chain there is. */
static int
chain_read(struct emu_virtq *vq, struct emu_chain *ch)
{
	struct emu_vring_desc d = { .next = ch->id };
	int ret;

	do {
		ret = table_get(vq, d.next, &d);
		if (ret < 0)
			return ret;
		if ((d.flags & EMU_DESC_INDIRECT) != 0)
			return chain_indirect(vq, ch, &d);
		ret = emu_chain_add(vq, ch, d.addr, d.len, d.flags);
		if (ret < 0)
			return ret;
	} while ((d.flags & EMU_DESC_NEXT) != 0);
	return 0;
}

static int
split_next(struct emu_virtq *vq, struct emu_chain *ch)
{
	struct emu_split_ring *r = &vq->ring.split;
	int ret;

	if (r->head == r->nheads) {
		ret = avail_fetch(vq);
		if (ret <= 0)
			return ret;
	}
	ch->id = r->heads[r->head];
	ret = chain_read(vq, ch);
	return ret < 0 ? ret : 1;
}

/* ---- the used ring ---- */

static void
split_complete(struct emu_virtq *vq, const struct emu_chain *ch, uint32_t len)
{
	struct emu_split_ring *r = &vq->ring.split;

	r->used[vq->ring.nused].id = htole32(ch->id);
	r->used[vq->ring.nused].len = htole32(len);
	r->head++;
	vq->cfg.hw_avail++;
}

static int
split_publish(struct emu_virtq *vq)
{
	struct emu_split_ring *r = &vq->ring.split;
	struct emu_tlb *tlb = &vq->ring.used_tlb;
	uint64_t entries = vq->cfg.used_addr + RING_ENTRIES;
	uint32_t n = vq->ring.nused, pos = vq->cfg.hw_used & (vq->size - 1u);
	uint32_t first = vq->size - pos < n ? vq->size - pos : n;
	uint16_t idx = htole16((uint16_t)(vq->cfg.hw_used + n));
	int ret;

	ret = emu_ring_write(vq, tlb, entries + pos * sizeof(r->used[0]), r->used,
		first * (uint32_t)sizeof(r->used[0]));
	if (ret == 0 && first < n)
		ret = emu_ring_write(vq, tlb, entries, r->used + first,
			(n - first) * (uint32_t)sizeof(r->used[0]));
	/* The entries before the index that covers them: a write releases. */
	if (ret == 0)
		ret = emu_ring_write(vq, tlb, vq->cfg.used_addr + RING_IDX, &idx, sizeof(idx));
	if (ret == 0)
		vq->cfg.hw_used += (uint16_t)n;
	return ret;
}

static int
split_wants_event(struct emu_virtq *vq)
{
	uint16_t flags;
	int ret;

	ret = emu_ring_read(vq, &vq->ring.avail_tlb, vq->cfg.avail_addr + RING_FLAGS, &flags,
		sizeof(flags));
	return ret < 0 ? ret : (le16toh(flags) & AVAIL_NO_INTERRUPT) == 0;
}

const struct emu_ring_ops emu_ring_split = {
	.next = split_next,
	.complete = split_complete,
	.publish = split_publish,
	.wants_event = split_wants_event,
};
