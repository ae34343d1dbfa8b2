/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains of descriptors to frames and back, whatever ring they came through.
 */
#include "ring.h"

enum {
	LOG_PAGE_SHIFT = 12,       /* a bit of the dirty bitmap is 4 KiB */
	BITS = 8,
};

static const struct emu_ring_ops *
ops_of(const struct emu_virtq *vq)
{
	return vq->cfg.type == MLX5_VIRTQ_TYPE_PACKED ? &emu_ring_packed : &emu_ring_split;
}

/* ---- DMA of a queue ---- */

/* Set the bits of the pages that [addr, addr + len) touches. The bitmap is others' as well: whoever
 * copies the memory takes bits out of it, and a guest's other devices set theirs. A bit that is
 * seen set may only now be taken, but then by somebody who finds in memory what was written. */
static int
log_write(struct emu_virtq *vq, uint64_t addr, uint32_t len)
{
	const struct emu_virtq_cfg *cfg = &vq->cfg;
	struct emu_tlb *tlb = &vq->ring.dirty_tlb;
	uint64_t page, last = (addr + len - 1) >> LOG_PAGE_SHIFT;
	uint8_t byte, bit;

	atomic_thread_fence(memory_order_seq_cst);
	for (page = addr >> LOG_PAGE_SHIFT; page <= last; page++) {
		if (page / BITS >= cfg->dirty_size)
			return -EMU_FAULT_BAD_BUFFER;
		bit = (uint8_t)(1u << page % BITS);
		if (emu_dma_read(vq->obj.dev, tlb, vq->pd->id, cfg->dirty_mkey,
				cfg->dirty_addr + page / BITS, &byte, 1) != 0)
			return -EMU_FAULT_BAD_BUFFER;
		if ((byte & bit) != 0)
			continue;
		if (emu_dma_set_bits(vq->obj.dev, tlb, vq->pd->id, cfg->dirty_mkey,
				cfg->dirty_addr + page / BITS, bit) != 0)
			return -EMU_FAULT_BAD_BUFFER;
	}
	return 0;
}

int
emu_ring_write(struct emu_virtq *vq, struct emu_tlb *tlb, uint64_t addr, const void *src,
		uint32_t len)
{
	if (emu_dma_write(vq->obj.dev, tlb, vq->pd->id, emu_ring_mkey(vq), addr, src, len) != 0)
		return -EMU_FAULT_RING_ACCESS;
	return vq->cfg.dirty_enable ? log_write(vq, addr, len) : 0;
}

/* ---- chains ---- */

int
emu_chain_table(struct emu_virtq *vq, uint64_t addr, uint32_t len, uint16_t flags)
{
	struct emu_engine *eng = vq->obj.dev->engine;
	uint32_t n = len / EMU_DESC_BYTES;

	/* Sections 2.7.5.3.1 and 2.8.19: no NEXT beside INDIRECT; a table is descriptors and
	 * nothing else. */
	if ((flags & EMU_DESC_NEXT) != 0 || n == 0 || len % EMU_DESC_BYTES != 0)
		return -EMU_FAULT_BAD_DESC;
	if (n > emu_chain_limit(vq))
		return -EMU_FAULT_LONG_CHAIN;
	if (emu_dma_read(vq->obj.dev, &vq->ring.indirect_tlb, vq->pd->id, vq->cfg.mkey, addr,
			&eng->indirect, len) != 0)
		return -EMU_FAULT_BAD_BUFFER;
	return (int)n;
}

static void
complete(struct emu_virtq *vq, const struct emu_chain *ch, uint32_t len)
{
	ops_of(vq)->complete(vq, ch, len);
	vq->ring.nused++;
	if (vq->counters != NULL)
		vq->counters->received_desc++;
}

/* ---- completions ---- */

/* Returns 0 or a fault. */
static int
publish(struct emu_virtq *vq)
{
	struct emu_ring *r = &vq->ring;
	int ret;

	if (r->nused == 0)
		return 0;
	ret = ops_of(vq)->publish(vq);
	if (ret == 0 && vq->counters != NULL)
		vq->counters->completed_desc += r->nused;
	r->nused = 0;
	if (ret < 0)
		return ret;
	/* The driver turns interrupts on, then looks at what was used: the device does it the
	 * other way round, and neither may pass the other. */
	atomic_thread_fence(memory_order_seq_cst);
	ret = ops_of(vq)->wants_event(vq);
	if (ret > 0)
		emu_virtq_notify(vq);
	return ret < 0 ? ret : 0;
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

/* ---- transmit ---- */

/* Copy the chain out of the guest. Returns the bytes, 0 when there are more than any packet has. */
static int
gather(struct emu_virtq *vq, const struct emu_chain *ch, uint8_t *dst, uint32_t room)
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
	struct emu_chain ch = { .write = false };
	int ret;

	ret = ops_of(vq)->next(vq, &ch);
	if (ret <= 0)
		return ret;
	if (ch.bytes < hdr)
		return -EMU_FAULT_BAD_DESC;
	ret = gather(vq, &ch, eng->tx_buf, hdr + EMU_GSO_MAX);
	if (ret < 0)
		return ret;
	ret = send_packet(vq, hdr, (uint32_t)ret);
	complete(vq, &ch, 0);
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
	struct emu_chain ch = { .write = true };
	int ret;

	ret = ops_of(vq)->next(vq, &ch);
	if (ret <= 0)
		return ret;
	if (len > EMU_FRAME_MAX || ch.bytes < hdr + len)
		return 0;
	memset(buf, 0, hdr);
	emu_offload_rx_hdr(vq->cfg.features, buf, hdr, frame, len);
	memcpy(buf + hdr, frame, len);
	ret = scatter(vq, buf, hdr + len);
	if (ret < 0)
		return ret;
	complete(vq, &ch, hdr + len);
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
