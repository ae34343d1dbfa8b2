/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion queues and event queue pairs, as virtio queues see them.
 *
 * A virtio queue tells the driver about used buffers through a pair of connected queue pairs: the
 * firmware's end sends an empty message to the driver's end, which consumes a receive WQE and
 * completes into a CQ, and the CQ raises an event when it is armed.
 *
 * Owns: which queue uses which firmware queue pair, and which UAR pages have completion queues.
 * Called by virtq.c (commands) and engine.c, always under dev->lock.
 */
#ifndef EMU_EVENT_QP_H
#define EMU_EVENT_QP_H

#include "core.h"

/** Is this the firmware's end of a pair, with no virtio queue using it? */
bool emu_qp_is_free_fw(const struct emu_qp *qp);
/** A virtio queue sends its events through @p qp from now on. */
void emu_qp_attach(struct emu_qp *qp);
/** It does so no longer. @p destroyed: the queue is gone, it did not just choose another pair. */
void emu_qp_detach(struct emu_qp *qp, bool destroyed);

/* A bit for every UAR page: does a completion queue take its arm doorbells there? Written under
 * dev->lock, read by the device's thread without it, to look at no page in vain. */
struct emu_uar_watch {
	_Atomic uint64_t pages[EMU_UARS / 64];
	uint16_t cqs[EMU_UARS];    /* how many, under dev->lock */
};

/** Was a CQ doorbell written that nobody has looked at? Takes no lock. */
bool emu_uar_rung(const struct emu_dev *dev, const struct emu_uar_watch *watch);

#endif /* EMU_EVENT_QP_H */
