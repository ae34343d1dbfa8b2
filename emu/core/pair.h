/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cable of wire=pair: what one device sends, another device of the process receives.
 *
 * Owns: frames on their way, in a queue of bounded length each way. A device's thread sends and
 * receives under its own dev->lock and never takes the other's: the queues need no lock, having one
 * writer and one reader each. The cable's own lock, the innermost, guards who is at its ends; it is
 * taken to wake a thread and to leave.
 *
 * A frame that finds the queue full is dropped, and counts as dropped at the receiver: its port
 * would be the one that overflows. A device that is gone takes no frames.
 */
#ifndef EMU_PAIR_H
#define EMU_PAIR_H

#include "core.h"

/** Connect two devices. 0 or -ENOMEM. */
int emu_pair_plug(struct emu_dev *a, struct emu_dev *b);
/** A device leaves; its thread has ended. What is on its way to it is lost. */
void emu_pair_unplug(struct emu_dev *dev);

/** Send a frame to the other end. Under dev->lock. */
void emu_pair_tx(struct emu_dev *dev, const void *frame, uint32_t len);
/** Is there a frame to receive? Device's thread, no lock. */
bool emu_pair_pending(const struct emu_dev *dev);
/** Receive at most @p budget frames, each to emu_wire_rx(). Device's thread, under dev->lock.
 * Returns their number. */
unsigned int emu_pair_rx(struct emu_dev *dev, unsigned int budget);

#endif /* EMU_PAIR_H */
