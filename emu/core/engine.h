/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's thread, seen from the files that give it work.
 *
 * Owns: which queues are ready, doorbells, and the buffers that packets pass through. One thread a
 * device moves all its packets; it works under dev->lock a turn at a time, so that a command that
 * holds the lock finds every queue at rest: nothing in flight, all completions published.
 * Everything here is guarded by dev->lock unless it says otherwise.
 */
#ifndef EMU_ENGINE_H
#define EMU_ENGINE_H

#include <semaphore.h>

#include "event_qp.h"
#include "steer.h"
#include "virtq.h"

enum {
	/* The longest descriptor chain that the device takes, indirect or not. */
	EMU_CHAIN_MAX = 1024,
};

/* A piece of a descriptor chain. */
struct emu_seg {
	uint64_t addr;
	uint32_t len;
};

struct emu_engine {
	struct emu_dev *dev;
	pthread_t thread;
	atomic_bool stop;
	sem_t wake;                        /* ends a pause of the idle thread */

	TAILQ_HEAD(, emu_virtq) ready;     /* queues in RDY, the next to be served first */
	unsigned int nready;
	TAILQ_HEAD(, emu_virtq) filled;    /* receive queues with completions to publish */
	bool busy;                         /* the last turn left queues that may send more */
	/* Read without the lock: queues that owe their driver an event; and whether a command took
	 * doorbells of queues that now want a turn. */
	atomic_uint npending;
	atomic_bool recall;

	struct emu_uar_watch uars;
	struct emu_steering steering;

	/* What one packet passes through. A frame that is sent stays in tx_buf while its copy is
	 * received, and so do the segments to come; segs and indirect serve one chain at a
	 * time. */
	struct emu_seg segs[EMU_CHAIN_MAX];
	union {
		struct emu_vring_desc split[EMU_CHAIN_MAX];
		struct emu_packed_desc packed[EMU_CHAIN_MAX];
	} indirect;
	struct emu_offload offload;
	uint8_t tx_buf[EMU_VIRTIO_NET_HDR_MAX + EMU_GSO_MAX];
	uint8_t rx_buf[EMU_VIRTIO_NET_HDR_MAX + EMU_FRAME_MAX];
};

/** A queue became ready. It does nothing until its doorbell is rung from here on. */
void emu_engine_add(struct emu_virtq *vq);
/** A queue is not ready any more. */
void emu_engine_remove(struct emu_virtq *vq);
/** A receive queue has completions that emu_engine_publish() is to show to its driver. */
void emu_engine_fill(struct emu_virtq *vq);

#endif /* EMU_ENGINE_H */
