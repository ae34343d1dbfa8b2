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

/* Has the driver written this descriptor in the lap that @p wrap is the counter of? */
static bool
is_available(const struct emu_packed_desc *d, bool wrap)
{
	uint16_t flags = le16toh(d->flags);

	return ((flags & DESC_AVAIL) != 0) == wrap && ((flags & DESC_USED) != 0) != wrap;
}

/* Read the descriptors from @p index on that lie side by side. */
static int
block_read(struct emu_virtq *vq, uint16_t index)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	uint32_t pos = index & POSITION, n = EMU_DESC_AHEAD - pos % EMU_DESC_AHEAD;
	int ret;

	r->nblock = 0;
	r->navail = 0;
	ret = emu_ring_read(vq, &vq->ring.desc_tlb, vq->cfg.desc_addr + pos * EMU_DESC_BYTES,
		r->block, n * EMU_DESC_BYTES);
	if (ret < 0)
		return ret;
	r->first = index;
	r->nblock = (uint16_t)n;
	return 0;
}

/* Which of the block's first descriptors can start a chain? What the flags say is true of the rest
 * of their descriptors, and of the chains behind them, in a read that follows: a read acquires.
 * Returns their number. */
static int
avail_fetch(struct emu_virtq *vq)
{
	struct emu_packed_ring *r = &vq->ring.packed;
	bool wrap = (vq->cfg.hw_avail & EMU_PACKED_WRAP) != 0;
	uint16_t n = 0;
	int ret;

	ret = block_read(vq, vq->cfg.hw_avail);
	if (ret < 0)
		return ret;
	while (n < r->nblock && is_available(&r->block[n], wrap))
		n++;
	if (n == 0)
		return 0;
	ret = block_read(vq, vq->cfg.hw_avail);
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
		ch->ndesc++;
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

static void
packed_complete(struct emu_virtq *vq, const struct emu_chain *ch, uint32_t len)
{
	vq->ring.packed.used[vq->ring.nused] = (struct emu_packed_used){
		.len = len,
		.id = ch->id,
		.ndesc = ch->ndesc,
	};
	vq->cfg.hw_avail = advance(vq, vq->cfg.hw_avail, ch->ndesc);
}

/* A completion goes where the chain's turn came, and covers as many descriptors as the chain had.
 * Length, id and flags are one access: who sees the flags sees the rest. */
static int
used_write(struct emu_virtq *vq, const struct emu_packed_used *used)
{
	const size_t off = offsetof(struct emu_packed_desc, len);
	struct emu_packed_desc d = { .id = htole16(used->id), .len = htole32(used->len) };
	uint64_t at = vq->cfg.desc_addr + (vq->cfg.hw_used & POSITION) * sizeof(d);
	uint16_t flags = used->len > 0 ? EMU_DESC_WRITE : 0;
	int ret;

	if ((vq->cfg.hw_used & EMU_PACKED_WRAP) != 0)
		flags |= DESC_AVAIL | DESC_USED;
	d.flags = htole16(flags);
	ret = emu_ring_write(vq, &vq->ring.used_tlb, at + off, (const uint8_t *)&d + off,
		sizeof(d) - off);
	if (ret == 0)
		vq->cfg.hw_used = advance(vq, vq->cfg.hw_used, used->ndesc);
	return ret;
}

static int
packed_publish(struct emu_virtq *vq)
{
	uint16_t i;
	int ret = 0;

	for (i = 0; i < vq->ring.nused && ret == 0; i++)
		ret = used_write(vq, &vq->ring.packed.used[i]);
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
