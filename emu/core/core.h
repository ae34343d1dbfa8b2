/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the device model: what its files share.
 *
 * Owns: the device struct, objects and their references, command dispatch, DMA through memory keys.
 * Lock: dev->lock guards every object and everything in struct emu_dev that does not say otherwise.
 * A command handler runs with it held; so does the device's thread while it moves packets. Waits
 * and sleeps happen outside of it.
 */
#ifndef EMU_CORE_H
#define EMU_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <mlx5_prm.h>

#include "emu.h"

/* ---- objects (obj.c) ---- */

enum emu_obj_type {
	EMU_UCTX, EMU_UAR, EMU_PD, EMU_UMEM, EMU_MKEY, EMU_CQ, EMU_QP, EMU_TD, EMU_TIS, EMU_TIR,
	EMU_RQT, EMU_FLOW_TABLE, EMU_FLOW_GROUP, EMU_FTE, EMU_VIRTIO_NET_Q, EMU_VIRTIO_Q_COUNTERS,
	EMU_OBJ_TYPES
};

/* First member of every object. */
struct emu_obj {
	struct emu_dev *dev;
	enum emu_obj_type type;
	uint16_t uid;              /* owner: a user context, 0 = the kernel */
	uint32_t id;               /* within its type; never 0 */
	uint32_t refs;             /* other objects that need this one: it is busy while > 0 */
	void (*fini)(void *obj);   /* frees what hangs on the object and is only its; or NULL */
};

/** Allocate @p size zeroed bytes that start with a struct emu_obj, give it an id, count it alive.
 * NULL when the device has no room for another of its type (NO_RES). */
void *emu_obj_new(struct emu_dev *dev, enum emu_obj_type type, uint16_t uid, size_t size);
/** Take out of the table, count as gone, call fini, free. The caller has dropped the references
 * that it held. */
void emu_obj_del(void *obj);
/** Find by id; NULL if there is none, or if it belongs to another uid (uid 0 sees all). */
void *emu_obj_find(struct emu_dev *dev, enum emu_obj_type type, uint32_t id, uint16_t uid);
/** Next object of a type in ascending id, from the one after @p prev (NULL: the first). */
void *emu_obj_next(struct emu_dev *dev, enum emu_obj_type type, void *prev);
static inline void emu_obj_hold(void *obj) { if (obj) ((struct emu_obj *)obj)->refs++; }
static inline void emu_obj_put(void *obj) { if (obj) ((struct emu_obj *)obj)->refs--; }
/** Tables of a new device, and their end: fini frees what is left, which stays counted as alive, so
 * that the report shows what a program leaked. Called by dev.c. */
int emu_objs_init(struct emu_dev *dev);
void emu_objs_fini(struct emu_dev *dev);

/* ---- commands (cmd.c) ---- */

struct emu_cmd {
	const void *in;
	size_t inlen;
	void *out;
	size_t outlen;
	uint16_t uid;
	uint32_t syndrome;         /* set with any status but OK */
	uint64_t key_bytes;        /* memory that the direct key covers which came or went */
};

/* A handler checks its whole input before it changes anything, and returns MLX5_CMD_STAT_*. On
 * entry the lengths are at least those of the command's layouts, @out is zeroed, dev->lock is
 * held. */
typedef uint8_t (*emu_cmd_fn)(struct emu_dev *dev, struct emu_cmd *c);

/* Return a status with a syndrome. Syndromes are ours (real ones are not public): opcode << 16 | a
 * number that is unique within the handler, so that each refusal can be told from the others. */
static inline uint8_t
emu_refuse(struct emu_cmd *c, uint8_t status, uint16_t n)
{
	c->syndrome = PRM_GET(general_obj_in_cmd_hdr, c->in, opcode) << 16 | n;
	return status;
}

/* One row of the dispatch table; every file of commands exports its rows, cmd.c collects them.
 * obj_type is 0 but for general objects. */
struct emu_cmd_desc {
	uint16_t opcode;
	uint16_t obj_type;
	uint32_t in_bytes;         /* least input */
	uint32_t out_bytes;        /* least output */
	emu_cmd_fn fn;
};

/* The row of a command whose mailboxes are <layout>_in and <layout>_out. */
#define EMU_CMD(op, layout, handler) { \
	.opcode = MLX5_CMD_OP_##op, \
	.in_bytes = PRM_BYTES(layout##_in), \
	.out_bytes = PRM_BYTES(layout##_out), \
	.fn = handler, \
}
#define EMU_CMDS_END { .fn = NULL }
extern const struct emu_cmd_desc emu_cmds_base[];   /* uctx, uar, pd, td, special keys (base.c) */
extern const struct emu_cmd_desc emu_cmds_caps[];   /* QUERY_HCA_CAP (caps.c) */
extern const struct emu_cmd_desc emu_cmds_mem[];    /* umem (mem.c) */
extern const struct emu_cmd_desc emu_cmds_mkey[];   /* mkey (mkey.c) */
extern const struct emu_cmd_desc emu_cmds_cq[];     /* cq.c */
extern const struct emu_cmd_desc emu_cmds_qp[];     /* qp.c */
extern const struct emu_cmd_desc emu_cmds_virtq[];  /* virtio-net queues and counters (virtq.c) */
extern const struct emu_cmd_desc emu_cmds_steer[];  /* tis, tir, rqt, flow tables (steer.c) */

/* ---- capabilities (caps.c) ---- */

/* The current capability pages as QUERY_HCA_CAP returns them. */
struct emu_caps {
	uint8_t general[4096];     /* cmd_hca_cap */
	uint8_t vdpa[4096];        /* virtio_emulation_cap */
};
#define EMU_MODEL_CX6DX "cx6dx"
#define EMU_MODEL_CX7 "cx7"

/** Build from model, caps= and max_vqs. 0, or -EINVAL with one line in @p err that names the
 * capability that does not exist, or that the device has nothing behind. */
int emu_caps_init(struct emu_caps *caps, const struct emu_dev_config *cfg, char *err,
		size_t errlen);

/* ---- memory (mem.c, mkey.c, dma.c) ---- */

/* A user memory registered for device objects: pages of any size from 4 KiB. */
struct emu_umem {
	struct emu_obj obj;
	uint64_t length;           /* bytes from page_offset to the end of the last page */
	uint32_t page_offset;      /* of byte 0 in the first page */
	uint8_t log_page_size;
	uint64_t npages;
	uint64_t bus[];            /* a bus address a page */
};

/** Does a umem have @p len bytes at offset @p off? */
static inline bool
emu_umem_covers(const struct emu_umem *umem, uint64_t off, uint64_t len)
{
	return off <= umem->length && len <= umem->length - off;
}

/** DMA at a byte offset of a umem. 0, or -EFAULT (out of range, or the host's refusal). */
int emu_umem_read(struct emu_dev *dev, const struct emu_umem *umem, uint64_t off, void *dst,
		uint32_t len);
int emu_umem_write(struct emu_dev *dev, const struct emu_umem *umem, uint64_t off, const void *src,
		uint32_t len);

/* A translation that was looked up already. Zero it to start; it invalidates itself when any mkey
 * of the device was created or destroyed since. One a user of DMA (a queue), no locking of its
 * own. */
struct emu_tlb {
	uint64_t gen;
	uint32_t pdn;
	uint32_t mkey;
	uint64_t va, last;         /* first and last byte that the entry covers */
	uint64_t bus;              /* of va */
	bool readable, writable;
};

/**
 * DMA through a memory key, with every check a card makes: the key exists with that variant, the
 * protection domain is @p pdn, local access is allowed, the range lies inside; indirect keys are
 * walked entry by entry; the null key faults.
 * Returns 0 or -EFAULT, then counted as a DMA fault and said once to stderr (with va, key and
 * reason) when MLX5_EMU_DEBUG is set. A write may have been done in part before the fault.
 */
int emu_dma_read(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va,
		void *dst, uint32_t len);
int emu_dma_write(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey,
		uint64_t va, const void *src, uint32_t len);
/** Set bits of a byte that others write, too; not to be reordered with what was written before. */
int emu_dma_set_bits(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey,
		uint64_t va, uint8_t bits);

/* A memory key is the index of its context << 8 | 8 bits that its creator chose. */
#define EMU_MKEY_INDEX_SHIFT 8
#define EMU_NULL_MKEY 0x1ffu

/* ---- completion queues (cq.c) and event queue pairs (qp.c) ---- */

struct emu_cq;
struct emu_qp;

/** Post a receive completion of @p qpn for receive WQE @p wqe_counter; raises the completion event
 * if the queue is armed. 0, or -EFAULT when the queue's memory is gone (the CQ is in error). */
int emu_cq_post(struct emu_cq *cq, uint32_t qpn, uint16_t wqe_counter);
/** Look at arm doorbells of a UAR page's CQs (its page was written) and raise what is due. */
void emu_cq_poll_arms(struct emu_dev *dev);
/** A virtio queue completed descriptors: send through firmware QP @p qpn to its peer, which
 * consumes a receive WQE and completes into its CQ. True if sent; false if the pair is not in RTS
 * or the peer has no WQE yet (the caller tries again later). */
bool emu_qp_event(struct emu_dev *dev, uint32_t qpn);

/* ---- virtio queues (virtq.c, ring_common.c) ---- */

struct emu_virtq;

/** Receive a frame (no virtio header) into a queue in RDY. True if delivered; false when dropped
 * (no buffer, queue not ready or in error). */
bool emu_virtq_rx(struct emu_virtq *vq, const void *frame, uint32_t len);
/** Transmit what the guest made available, each frame to emu_wire_tx(): at most @p budget frames,
 * but for the segments of the last packet. Returns their number. */
unsigned int emu_virtq_tx(struct emu_virtq *vq, unsigned int budget);

/* ---- steering (steer.c) ---- */

/* Flow tables of received frames. */
enum {
	EMU_FLOW_LEVELS = 64,
	EMU_LOG_FLOW_TABLE_SIZE = 24,
};

/** The queue that a received frame goes to by flow rules, TIR, hash and RQT; NULL: discard. */
struct emu_virtq *emu_steer_rx(struct emu_dev *dev, const void *frame, uint32_t len);

/* ---- wires (wire.c) ---- */

/** A frame leaves the device. */
void emu_wire_tx(struct emu_dev *dev, const void *frame, uint32_t len);
/** A frame arrives: steer it and deliver it, or count a drop. True if a queue received it. */
bool emu_wire_rx(struct emu_dev *dev, const void *frame, uint32_t len);
/** Likewise, but a frame that no queue receives was never there. */
bool emu_wire_offer(struct emu_dev *dev, const void *frame, uint32_t len);

/** What is at the wire's end, before the device's thread runs and after it has ended. Returns 0, or
 * a negative errno with the reason said on stderr. */
int emu_wire_open(struct emu_dev *dev);
void emu_wire_close(struct emu_dev *dev);

/** Receive at most @p budget frames that wait at the wire's end. True if it was worth a turn.
 * Device's thread, under dev->lock. */
bool emu_wire_poll(struct emu_dev *dev, unsigned int budget, uint64_t now);
/** Is there a frame to receive? Device's thread, no lock. */
bool emu_wire_pending(const struct emu_dev *dev);
/** When to poll in any case, in ns; UINT64_MAX: never. Device's thread, no lock. */
uint64_t emu_wire_due(const struct emu_dev *dev);

/* ---- the device's thread (engine.c) ---- */

int emu_engine_start(struct emu_dev *dev);
void emu_engine_stop(struct emu_dev *dev);
/** There is something to do: ends a pause of the thread. Any thread, no lock needed. */
void emu_engine_wake(struct emu_dev *dev);
/** Take and release dev->lock from a command: the device's thread lets waiting commands pass. */
void emu_dev_lock(struct emu_dev *dev);
void emu_dev_unlock(struct emu_dev *dev);

/** Raise an event to the face. */
void emu_event(struct emu_dev *dev, uint16_t type, uint16_t obj_type, uint32_t obj_id,
		uint8_t subtype);

/* ---- the device (dev.c) ---- */

/* BAR: UAR pages first, then the virtio doorbell area. */
enum {
	EMU_PAGE = 4096,
	EMU_UARS = 256,
	EMU_BAR_DOORBELL_OFF = EMU_UARS * EMU_PAGE,
	EMU_LOG_VAR = 12,              /* a VAR is a page, which a process can map by itself */
	EMU_LOG_VARS = 0,              /* a ConnectX-6 Dx shows one VAR a function */
};

struct emu_objs;                   /* object tables, obj.c */
struct emu_engine;                 /* thread, bounce buffer, counters of back-off, engine.c */
struct emu_cable;                  /* to the other device of a pair, pair.c */
struct emu_gen;
struct emu_tap;

struct emu_dev {
	struct emu_dev_config cfg;
	struct emu_caps caps;
	const struct emu_host_ops *host_ops;
	void *host;
	emu_event_fn event;
	void *event_arg;

	pthread_mutex_t lock;
	atomic_uint lock_waiters;  /* commands that want the lock */
	_Atomic uint64_t latency_free_at; /* ns: when the next command can pass (latency.c) */
	struct emu_objs *objs;
	struct emu_engine *engine;
	struct emu_cable *_Atomic cable; /* NULL: none; which end of it this device is */
	unsigned int cable_end;
	struct emu_gen *gen;       /* NULL: none (gen.c) */
	struct emu_tap *tap;       /* NULL: none (tap.c) */
	uint64_t mkey_gen;         /* changes with every mkey created or destroyed: TLBs die */

	int bar_fd;
	uint8_t *bar;              /* EMU_BAR_DOORBELL_OFF + doorbell area */
	uint64_t bar_len;

	/* report; written under lock */
	uint64_t tx_packets, tx_drops, rx_packets, rx_drops;
	uint64_t dma_read, dma_written; /* bytes */
	TAILQ_ENTRY(emu_dev) next; /* list of devices of the process (stats.c), its own lock */
};

/* ---- accounting (stats.c) ---- */

void emu_stats_dev_add(struct emu_dev *dev);
void emu_stats_dev_del(struct emu_dev *dev);   /* keeps its counts for the report */
void emu_stats_cmd(uint16_t opcode, uint8_t status, uint64_t ns);
void emu_stats_dma_fault(void);
/** "mkey", "virtio_net_q": the keys of alive.by_type (obj.c). */
const char *emu_obj_type_name(enum emu_obj_type type);

/** emu_fork() of what these files own. */
void emu_fail_fork(enum emu_fork when);
void emu_trace_fork(enum emu_fork when);

/** Let a command that began at @p start (CLOCK_MONOTONIC, ns) take the time of the latency profile;
 * no lock held (latency.c). */
void emu_latency_charge(struct emu_dev *dev, const struct emu_cmd *c, uint8_t status,
		uint64_t start);

/** Status that --fail asks for this command, 0 = let it run (fail.c). */
uint8_t emu_fail_check(uint16_t opcode);

/** Trace a command when a trace is open (trace.c). */
void emu_trace_cmd(struct emu_dev *dev, const struct emu_cmd *c, uint8_t status, uint64_t ns);

#endif /* EMU_CORE_H */
