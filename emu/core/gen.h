/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The far end of wire=gen: a generator of frames. What the device sends goes nowhere and is counted
 * as sent, like on any wire.
 *
 * The frames are UDP over IPv4 to the device's MAC address, between the addresses of RFC 2544, in
 * EMU_GEN_FLOWS flows that differ in their source port; the payload is a number of 64 bits, and
 * zeroes. They come while a queue is ready: at the given rate, where a frame that finds no buffer is
 * a drop; or, at rate 0, whenever there is a buffer, and nothing is dropped.
 *
 * Owns: struct emu_gen. Device's thread, under dev->lock, but for open and close.
 */
#ifndef EMU_GEN_H
#define EMU_GEN_H

#include "core.h"

enum {
	/* Without the frame check sequence, which no queue sees. */
	EMU_GEN_SIZE_MIN = 60,
	EMU_GEN_FLOWS = 64,
	EMU_GEN_PPS_MAX = 100 * 1000 * 1000,
};

/** Before the device's thread runs, and after it has ended. 0 or -ENOMEM. */
int emu_gen_open(struct emu_dev *dev);
void emu_gen_close(struct emu_dev *dev);

/** Generate what is due at @p now, at most @p budget frames. True if a queue received any. */
bool emu_gen_rx(struct emu_dev *dev, unsigned int budget, uint64_t now);
/** When to call that again, in ns; UINT64_MAX: when something else has happened. Device's thread,
 * no lock. */
uint64_t emu_gen_due(const struct emu_dev *dev);

#endif /* EMU_GEN_H */
