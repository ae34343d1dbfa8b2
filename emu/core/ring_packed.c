/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed rings, virtio 1.x section 2.8: one ring of descriptors that driver and device both write,
 * and an event suppression structure of each.
 *
 * The object's addresses are: desc_addr the ring, available_addr the driver's event suppression,
 * used_addr the device's (as Linux and DPDK fill them). Its indices are positions in the ring, with
 * the wrap counter in bit 15.
 */
#include "ring.h"

/* Flags of descriptors besides those that both formats have. */
enum { DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };

/* pvirtq_event_suppress: desc, flags. Without VIRTIO_F_EVENT_IDX, which no capability of the device
 * offers, flags say on or off and nothing else. */
enum { EVENT_FLAGS = 2, EVENT_FLAGS_MASK = 3, EVENT_DISABLE = 1 };

enum { POSITION = EMU_PACKED_WRAP - 1 };

/* The index @p n descriptors on. */
static uint16_t
advance(const struct emu_virtq *vq, uint16_t index, uint16_t n)
{
	uint32_t pos = (index & POSITION) + (uint32_t)n;

	if (pos < vq->size)
		return (uint16_t)(index + n);
	return (uint16_t)((pos - vq->size) | ((index & EMU_PACKED_WRAP) ^ EMU_PACKED_WRAP));
}

/* ---- descriptors ---- */

static uint64_t
desc_at(const struct emu_virtq *vq, uint16_t index)
{
	return vq->cfg.desc_addr + (index & POSITION) * (uint64_t)EMU_DESC_BYTES;
}

/* Has the driver written a descriptor with these flags in the lap of @p index? */
static bool
is_available(uint16_t le_flags, uint16_t index)
{
	uint16_t flags = le16toh(le_flags);
	bool wrap = (index & EMU_PACKED_WRAP) != 0;

	return ((flags & DESC_AVAIL) != 0) == wrap && ((flags & DESC_USED) != 0) != wrap;
}

/* Read the descriptors from @p index on that lie side by side. */
static int
block_read(struct emu_virtq *vq, uint16_t index)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint32_t n = EMU_DESC_AHEAD - (index & POSITION) % EMU_DESC_AHEAD;
	int ret;

	r->nblock = 0;
	r->navail = 0;
	ret = emu_ring_read(vq, &vq->ring.desc_tlb, desc_at(vq, index), r->block,
		n * EMU_DESC_BYTES);
	if (ret < 0)
		return ret;
	r->first = index;
	r->nblock = (uint16_t)n;
	return 0;
}

/* Which of the block's first descriptors can start a chain? What flags say is true of the rest of
 * their descriptors, and of the chains behind them, in a read that follows: a read acquires.
 * Returns their number. */
static int
avail_fetch(struct emu_virtq *vq)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint16_t index = vq->cfg.hw_avail, flags, n = 0;
	int ret;

	ret = emu_ring_read(vq, &vq->ring.desc_tlb,
		desc_at(vq, index) + offsetof(struct emu_packed_desc, flags), &flags,
		sizeof(flags));
	if (ret < 0 || !is_available(flags, index))
		return ret;
	ret = block_read(vq, index);
	while (ret == 0 && n < r->nblock && is_available(r->block[n].flags, index))
		n++;
	if (n > 1)
		ret = block_read(vq, index);
	if (ret < 0)
		return ret;
	r->navail = n;
	return n;
}

/* How far @p index is behind the block's first descriptor; UINT16_MAX: it is of another lap. */
static uint16_t
block_offset(const struct emu_packed_ring *r, uint16_t index)
{
	if (((index ^ r->first) & EMU_PACKED_WRAP) != 0 || index < r->first)
		return UINT16_MAX;
	return (uint16_t)(index - r->first);
}

/* The descriptor at @p index, of a chain that is available. */
static int
desc_get(struct emu_virtq *vq, uint16_t index, struct emu_packed_desc *d)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint16_t off = block_offset(r, index);
	int ret;

	if (off >= r->nblock) {
		ret = block_read(vq, index);
		if (ret < 0)
			return ret;
		off = 0;
	}
	d->addr = le64toh(r->block[off].addr);
	d->len = le32toh(r->block[off].len);
	d->id = le16toh(r->block[off].id);
	d->flags = le16toh(r->block[off].flags);
	return 0;
}

/* ---- chains ---- */

/* The table that descriptor @p d refers to: the rest of its chain, in the order of the table. Of
 * the flags there WRITE alone has a meaning (section 2.8.7). */
static int
chain_indirect(struct emu_virtq *vq, struct emu_chain *ch, const struct emu_packed_desc *d)
{
	const struct emu_packed_desc *table = vq->obj.dev->engine->indirect.packed;
	int n = emu_chain_table(vq, d->addr, d->len, d->flags), i, ret = n;

	for (i = 0; i < n && ret >= 0; i++)
		ret = emu_chain_add(vq, ch, le64toh(table[i].addr), le32toh(table[i].len),
			le16toh(table[i].flags));
	return ret < 0 ? ret : 0;
}

/* Follow a chain from the next position on; one without an end ends at the longest chain there is.
 * Its id is that of its last descriptor in the ring. */
static int
chain_read(struct emu_virtq *vq, struct emu_chain *ch)
{
	struct emu_packed_desc d;
	int ret;

	ch->ndesc = 0;
	do {
		ret = desc_get(vq, advance(vq, vq->cfg.hw_avail, ch->ndesc), &d);
		if (ret < 0)
			return ret;
		if (ch->ndesc++ == 0)
			vq->ring.packed.head_addr = htole64(d.addr);
		ch->id = d.id;
		if ((d.flags & EMU_DESC_INDIRECT) != 0)
			return chain_indirect(vq, ch, &d);
		ret = emu_chain_add(vq, ch, d.addr, d.len, d.flags);
		if (ret < 0)
			return ret;
	} while ((d.flags & EMU_DESC_NEXT) != 0);
	return 0;
}

static int
packed_next(struct emu_virtq *vq, struct emu_chain *ch)
{
	int ret;

	if (block_offset(&vq->ring.packed, vq->cfg.hw_avail) >= vq->ring.packed.navail) {
		ret = avail_fetch(vq);
		if (ret <= 0)
			return ret;
	}
	ret = chain_read(vq, ch);
	return ret < 0 ? ret : 1;
}

/* ---- completions ---- */

/* A completion is written where the chain's turn came, and stands for all of its descriptors. */
static void
packed_complete(struct emu_virtq *vq, const struct emu_chain *ch, uint32_t len)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint16_t i = vq->ring.nused, at = vq->cfg.hw_used;

	if (i > 0)
		at = advance(vq, r->used_at[i - 1], r->used_ndesc[i - 1]);
	r->used_at[i] = at;
	r->used_ndesc[i] = ch->ndesc;
	r->used[i] = (struct emu_packed_desc){
		.addr = r->head_addr,
		.len = htole32(len),
		.id = htole16(ch->id),
		.flags = htole16((len > 0 ? EMU_DESC_WRITE : 0) |
			((at & EMU_PACKED_WRAP) != 0 ? DESC_AVAIL | DESC_USED : 0)),
	};
	vq->cfg.hw_avail = advance(vq, vq->cfg.hw_avail, ch->ndesc);
}

/* Completions @p i up to the first that does not lie beside the one before it. Returns that one, or
 * a fault. Addresses are what they were: buffers are the device's until the driver knows. */
static int
used_write_run(struct emu_virtq *vq, uint16_t i)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint16_t end = i + 1u;
	int ret;

	while (end < vq->ring.nused &&
			(r->used_at[end] & POSITION) == (r->used_at[end - 1] & POSITION) + 1)
		end++;
	ret = emu_ring_write(vq, &vq->ring.used_tlb, desc_at(vq, r->used_at[i]), &r->used[i],
		(end - i) * (uint32_t)EMU_DESC_BYTES);
	return ret < 0 ? ret : end;
}

/* The driver looks at completions one after the other. Until it sees the first one it looks at none
 * of the rest: the first is written last, its length, id and flags in one access. */
static int
packed_publish(struct emu_virtq *vq)
{
	const size_t off = offsetof(struct emu_packed_desc, len);
	struct emu_packed_ring *r = &vq->ring.packed;
	uint16_t last = vq->ring.nused - 1u;
	int ret = 1;

	while (ret >= 0 && ret < vq->ring.nused)
		ret = used_write_run(vq, (uint16_t)ret);
	if (ret >= 0)
		ret = emu_ring_write(vq, &vq->ring.used_tlb, desc_at(vq, r->used_at[0]) + off,
			(const uint8_t *)&r->used[0] + off, EMU_DESC_BYTES - (uint32_t)off);
	if (ret == 0)
		vq->cfg.hw_used = advance(vq, r->used_at[last], r->used_ndesc[last]);
	return ret;
}

static int
packed_wants_event(struct emu_virtq *vq)
{
	uint16_t flags;
	int ret;

	ret = emu_ring_read(vq, &vq->ring.avail_tlb, vq->cfg.avail_addr + EVENT_FLAGS, &flags,
		sizeof(flags));
	return ret < 0 ? ret : (le16toh(flags) & EVENT_FLAGS_MASK) != EVENT_DISABLE;
}

const struct emu_ring_ops emu_ring_packed = {
	.next = packed_next,
	.complete = packed_complete,
	.publish = packed_publish,
	.wants_event = packed_wants_event,
};
