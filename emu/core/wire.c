/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wires: where a frame goes that leaves the device.
 *
 *	loop   it comes back at once, and is steered like any frame that arrives
 *	null   nowhere
 */
#include "engine.h"

void
emu_wire_tx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	dev->tx_packets++;
	switch (dev->cfg.wire) {
	case EMU_WIRE_LOOP:
		emu_wire_rx(dev, frame, len);
		break;
	case EMU_WIRE_NULL:
		break;
	}
}

void
emu_wire_rx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	struct emu_virtq *vq = emu_steer_rx(dev, frame, len);

	if (vq != NULL && emu_virtq_rx(vq, frame, len))
		dev->rx_packets++;
	else
		dev->rx_drops++;
}
