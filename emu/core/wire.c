/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wires: where a frame goes that leaves the device.
 *
 *	loop   it comes back at once, and is steered like any frame that arrives
 *	null   nowhere
 *	pair   to another device of the process, whose thread receives it (pair.c)
 *	gen    nowhere; what arrives is generated (gen.c)
 *	tap    to a network interface of Linux, and from there (tap.c)
 */
#include <errno.h>
#include <stdlib.h>

#include "engine.h"
#include "gen.h"
#include "pair.h"
#include "tap.h"

void
emu_wire_tx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	bool taken = true;

	switch (dev->cfg.wire) {
	case EMU_WIRE_LOOP:
		emu_wire_rx(dev, frame, len);
		break;
	case EMU_WIRE_NULL:
	case EMU_WIRE_GEN:
		break;
	case EMU_WIRE_PAIR:
		/* Counted first: the other end's thread delivers it from here on. */
		dev->tx_packets++;
		emu_pair_tx(dev, frame, len);
		return;
	case EMU_WIRE_TAP:
		taken = emu_tap_tx(dev, frame, len);
		break;
	}
	if (taken)
		dev->tx_packets++;
	else
		dev->tx_drops++;
}

bool
emu_wire_offer(struct emu_dev *dev, const void *frame, uint32_t len)
{
	struct emu_virtq *vq = emu_steer_rx(dev, frame, len);

	if (vq == NULL || !emu_virtq_rx(vq, frame, len))
		return false;
	dev->rx_packets++;
	return true;
}

bool
emu_wire_rx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	bool received = emu_wire_offer(dev, frame, len);

	if (!received)
		dev->rx_drops++;
	return received;
}

/* ---- the wire's end ---- */

int
emu_wire_open(struct emu_dev *dev)
{
	switch (dev->cfg.wire) {
	case EMU_WIRE_GEN:
		return emu_gen_open(dev);
	case EMU_WIRE_TAP:
		return emu_tap_open(dev);
	default:
		return 0;
	}
}

void
emu_wire_close(struct emu_dev *dev)
{
	if (dev->gen != NULL)
		emu_gen_close(dev);
	if (dev->tap != NULL)
		emu_tap_close(dev);
}

bool
emu_wire_poll(struct emu_dev *dev, unsigned int budget, uint64_t now)
{
	if (dev->gen != NULL)
		return emu_gen_rx(dev, budget, now);
	if (dev->tap != NULL)
		return emu_tap_rx(dev, budget);
	return emu_pair_rx(dev, budget) > 0;
}

bool
emu_wire_pending(const struct emu_dev *dev)
{
	return dev->tap != NULL ? emu_tap_pending(dev) : emu_pair_pending(dev);
}

uint64_t
emu_wire_due(const struct emu_dev *dev)
{
	return dev->gen != NULL ? emu_gen_due(dev) : UINT64_MAX;
}

/* ---- pairs ---- */

static int
connect_pairs(struct emu_dev *const *devs, const int *peer, unsigned int n, char *err, size_t errlen)
{
	unsigned int i;
	int ret;

	for (i = 0; i < n; i++) {
		if (peer[i] < (int)i)
			continue; /* none, or connected already */
		ret = emu_pair_plug(devs[i], devs[peer[i]]);
		if (ret != 0) {
			snprintf(err, errlen, "device %s: no memory for its wire",
				devs[i]->cfg.name);
			return ret;
		}
		/* The one that was named by the other may not know yet. */
		devs[i]->cfg.wire = EMU_WIRE_PAIR;
		devs[peer[i]]->cfg.wire = EMU_WIRE_PAIR;
	}
	return 0;
}

int
emu_devs_connect(struct emu_dev *const *devs, unsigned int n, char *err, size_t errlen)
{
	const struct emu_dev_config **cfg = calloc(n, sizeof(*cfg));
	int *peer = calloc(n, sizeof(*peer));
	int ret = -ENOMEM;
	unsigned int i;

	snprintf(err, errlen, "no memory for %u wires", n);
	if (cfg != NULL && peer != NULL) {
		for (i = 0; i < n; i++)
			cfg[i] = &devs[i]->cfg;
		ret = emu_config_pairs(cfg, n, peer, err, errlen);
		if (ret == 0)
			ret = connect_pairs(devs, peer, n, err, errlen);
	}
	free(peer);
	free(cfg);
	return ret;
}
