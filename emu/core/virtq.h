/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio-net queues inside the device.
 *
 * Owns: struct emu_virtq. virtq.c has its commands and its state, ring_common.c and the two ring
 * formats its ring, engine.c the order in which queues are served. All of it under dev->lock.
 */
#ifndef EMU_VIRTQ_H
#define EMU_VIRTQ_H

#include "core.h"
#include "offload.h"

enum {
	EMU_VIRTQ_SIZE_MIN = 16,
	EMU_VIRTQ_SIZE_MAX = 1 << 15,     /* virtio 1.x: Queue Size is at most that */
	EMU_VIRTQ_UMEMS = 3,
	/* Packets that a queue moves in its turn, and completions that are published at once. */
	EMU_BURST = 64,
	/* Descriptors read ahead of their use, a divisor of every queue size. */
	EMU_DESC_AHEAD = EMU_VIRTQ_SIZE_MIN,
	/* A descriptor of either ring format. */
	EMU_DESC_BYTES = 16,
	/* The wrap counter in an index of a packed ring; the rest is a position in the ring. */
	EMU_PACKED_WRAP = 1 << 15,
};

/* Split rings: structures of virtio 1.x section 2.7, little-endian. */
struct emu_vring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct emu_vring_used_elem {
	uint32_t id;
	uint32_t len;
};

/* Packed rings: section 2.8, likewise. */
struct emu_packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

/* Why a queue went to error: what its ring did wrong. */
enum emu_virtq_fault {
	EMU_FAULT_NONE,
	EMU_FAULT_BAD_DESC,        /* a descriptor or ring index that can't be */
	EMU_FAULT_LONG_CHAIN,      /* a chain longer than the queue, or endless */
	EMU_FAULT_BAD_BUFFER,      /* a buffer that DMA doesn't reach */
	EMU_FAULT_RING_ACCESS,     /* a ring that DMA doesn't reach */
	EMU_FAULTS
};

struct emu_virtq_counters {
	struct emu_obj obj;
	uint64_t received_desc;    /* chains taken from available rings */
	uint64_t completed_desc;   /* chains put into used rings */
	uint32_t faults[EMU_FAULTS];
};

/* What a driver may change in a queue that exists: fields of virtio_net_q_object. */
struct emu_virtq_cfg {
	uint8_t type;
	uint8_t event_mode;
	bool version_1;
	bool dirty_enable;
	uint16_t features;         /* EMU_FEATURE_* */
	uint16_t hw_avail, hw_used;
	uint32_t event_qpn;
	uint32_t mkey, desc_mkey;
	uint64_t desc_addr, used_addr, avail_addr;
	uint8_t period_mode;
	uint16_t period_us, max_count;
	uint8_t log_page;
	uint32_t dirty_mkey, dirty_size;
	uint64_t dirty_addr;
};

struct emu_split_ring {
	/* Chain heads read from the available ring and not taken yet. */
	uint16_t heads[EMU_BURST];
	uint16_t nheads, head;
	/* Descriptors around the last one that was read. All belong to chains that were available
	 * when heads[] was read, else they are not looked at; a new heads[] makes them stale. */
	struct emu_vring_desc ahead[EMU_DESC_AHEAD];
	uint16_t ahead_first;
	bool ahead_valid;
	/* Completed and not published yet. */
	struct emu_vring_used_elem used[EMU_BURST];
};

struct emu_packed_ring {
	/* Descriptors that were read from index first on. The first navail of them were available
	 * before: they, and what lies in the block of their chains, can be believed. */
	struct emu_packed_desc block[EMU_DESC_AHEAD];
	uint16_t first;
	uint16_t nblock, navail;
	uint64_t head_addr;        /* of the chain that was read last, as it lies in the ring */
	/* Completed and not published yet: at which index, how many descriptors it took. */
	struct emu_packed_desc used[EMU_BURST];
	uint16_t used_at[EMU_BURST], used_ndesc[EMU_BURST];
};

/* A ring being worked on: nothing here outlives RDY. */
struct emu_ring {
	struct emu_tlb desc_tlb, avail_tlb, used_tlb, indirect_tlb, data_tlb, dirty_tlb;
	uint16_t nused;            /* completions in used[] */
	union {
		struct emu_split_ring split;
		struct emu_packed_ring packed;
	};
};

struct emu_virtq {
	struct emu_obj obj;
	uint16_t index;            /* of the virtio device: even receives, odd transmits */
	uint16_t size;
	uint8_t state;             /* MLX5_VIRTQ_STATE_*; virtq.c's transition() alone writes it */
	uint8_t fault;             /* enum emu_virtq_fault, in ERR */
	struct emu_virtq_cfg cfg;  /* the indices in it are those of the next and the last chain */

	/* References, all held. */
	struct emu_obj *pd, *tis;
	struct emu_umem *umem[EMU_VIRTQ_UMEMS];
	struct emu_virtq_counters *counters;
	struct emu_qp *event_qp;
	uint32_t rqt_entries;      /* entries of RQTs that name this queue; they don't hold it */
	uint8_t created[PRM_BYTES(virtio_net_q_object)]; /* as the driver gave it, for QUERY */

	/* engine.c's */
	TAILQ_ENTRY(emu_virtq) ready_link, filled_link;
	bool filled;
	bool rung;                 /* a doorbell was rung since RDY */
	bool scan;                 /* look at the available ring in the next turn */
	bool event_owed;           /* the last event could not be sent yet */
	uint64_t poll_until;       /* ns: keep looking until then */

	struct emu_ring ring;      /* ring_common.c's */
};

static inline bool
emu_virtq_is_tx(const struct emu_virtq *vq)
{
	return vq->index % 2 == 1;
}

static inline uint32_t
emu_virtq_hdr_len(const struct emu_virtq *vq)
{
	return vq->cfg.version_1 ? EMU_VIRTIO_NET_HDR_MAX : EMU_VIRTIO_NET_HDR;
}

/* ---- virtq.c ---- */

/** The queue's ring did wrong: to ERR, with its counter and its event. */
void emu_virtq_fail(struct emu_virtq *vq, enum emu_virtq_fault fault);
/** Tell the driver that buffers were used, now or, when the event queue pair can't, later. */
void emu_virtq_notify(struct emu_virtq *vq);

/* ---- ring_common.c ---- */

/** Forget what was read ahead and looked up. */
void emu_ring_reset(struct emu_virtq *vq);
/** Publish what was completed: used elements, used index, interrupt if the driver wants it. */
void emu_ring_publish(struct emu_virtq *vq);

#endif /* EMU_VIRTQ_H */
