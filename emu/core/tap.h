/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The far end of wire=tap: a network interface of Linux.
 *
 * Frames are whole: checksums and segments are made before they come here, either way. An interface
 * of that name that exists is used, and stays; else one is made, and goes with the device. It is
 * set up in either case.
 *
 * Owns: struct emu_tap. Device's thread, under dev->lock where not said otherwise, but for open and
 * close.
 */
#ifndef EMU_TAP_H
#define EMU_TAP_H

#include "core.h"

/** Before the device's thread runs, and after it has ended. Returns 0, or a negative errno with the
 * reason said on stderr. */
int emu_tap_open(struct emu_dev *dev);
void emu_tap_close(struct emu_dev *dev);

/** Send a frame. False when the interface does not take it. */
bool emu_tap_tx(struct emu_dev *dev, const void *frame, uint32_t len);
/** Is there a frame to receive? No lock. */
bool emu_tap_pending(const struct emu_dev *dev);
/** Receive at most @p budget frames, each to emu_wire_rx(). True if there were any. */
bool emu_tap_rx(struct emu_dev *dev, unsigned int budget);

#endif /* EMU_TAP_H */
