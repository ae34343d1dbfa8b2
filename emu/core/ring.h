/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtqueues as rings: what the two formats have in common, and what each brings of its own.
 *
 * Owns: ring_common.c takes chains from a ring, moves packets between their buffers and the wire,
 * and has the completions shown to the driver. A format, ring_split.c or ring_packed.c, finds the
 * chains and writes the completions, behind struct emu_ring_ops.
 * Called by the device's thread and by commands, always under dev->lock.
 *
 * Everything that a driver writes into a ring is taken as hostile: it is copied before it is looked
 * at, and an index or a descriptor that can't be ends the queue, not the device.
 *
 * Functions that can fail return a negative enum emu_virtq_fault; the entry points of virtq.h and
 * core.h turn that into emu_virtq_fail(), after what was completed before is published.
 */
#ifndef EMU_RING_H
#define EMU_RING_H

#include "engine.h"

/* Flags of descriptors that both formats have (virtio 1.x sections 2.7.5 and 2.8.1). */
enum { EMU_DESC_NEXT = 1, EMU_DESC_WRITE = 2, EMU_DESC_INDIRECT = 4 };

/* A chain: what its descriptors must be, and what they come to. Its pieces are in the engine's
 * segs. */
struct emu_chain {
	bool write;                /* for the device to write (receive), or to read */
	uint32_t nsegs;
	uint64_t bytes;
	uint16_t id;               /* what the driver knows it by */
	uint16_t ndesc;            /* descriptors of the ring that it takes */
};

/* A ring format. */
struct emu_ring_ops {
	/* The next chain, which stays the next until complete(). Returns 1, or 0 when there is
	 * none. */
	int (*next)(struct emu_virtq *vq, struct emu_chain *ch);
	/* That chain is done, the device wrote @len bytes: remember it as the next completion. */
	void (*complete)(struct emu_virtq *vq, const struct emu_chain *ch, uint32_t len);
	/* Write all remembered completions into the ring, oldest first. */
	int (*publish)(struct emu_virtq *vq);
	/* Does the driver want to be told? 1 or 0. */
	int (*wants_event)(struct emu_virtq *vq);
};

extern const struct emu_ring_ops emu_ring_split, emu_ring_packed;

/* ---- for the formats ---- */

/* The ring has a memory key of its own, or that of the buffers. */
static inline uint32_t
emu_ring_mkey(const struct emu_virtq *vq)
{
	return vq->cfg.desc_mkey != 0 ? vq->cfg.desc_mkey : vq->cfg.mkey;
}

/** DMA of the ring itself. A write marks its pages dirty. */
static inline int
emu_ring_read(struct emu_virtq *vq, struct emu_tlb *tlb, uint64_t addr, void *dst, uint32_t len)
{
	return emu_dma_read(vq->obj.dev, tlb, vq->pd->id, emu_ring_mkey(vq), addr, dst, len) == 0 ?
		0 : -EMU_FAULT_RING_ACCESS;
}

int emu_ring_write(struct emu_virtq *vq, struct emu_tlb *tlb, uint64_t addr, const void *src,
		uint32_t len);

/* The longest chain that the queue takes. */
static inline uint32_t
emu_chain_limit(const struct emu_virtq *vq)
{
	return vq->size < EMU_CHAIN_MAX ? vq->size : EMU_CHAIN_MAX;
}

/** Another buffer of a chain, as its descriptor has it. */
static inline int
emu_chain_add(struct emu_virtq *vq, struct emu_chain *ch, uint64_t addr, uint32_t len,
		uint16_t flags)
{
	struct emu_seg *seg = &vq->obj.dev->engine->segs[ch->nsegs];

	if (ch->nsegs == emu_chain_limit(vq))
		return -EMU_FAULT_LONG_CHAIN;
	if (len == 0 || ((flags & EMU_DESC_WRITE) != 0) != ch->write)
		return -EMU_FAULT_BAD_DESC;
	if (addr + len < addr)
		return -EMU_FAULT_BAD_BUFFER;
	seg->addr = addr;
	seg->len = len;
	ch->nsegs++;
	ch->bytes += len;
	return 0;
}

/** Read the table that an indirect descriptor refers to, @p len bytes at @p addr, into the engine's
 * buffer for it. Returns the number of its descriptors. */
int emu_chain_table(struct emu_virtq *vq, uint64_t addr, uint32_t len, uint16_t flags);

#endif /* EMU_RING_H */
