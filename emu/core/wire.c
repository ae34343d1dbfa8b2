/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wires: where a frame goes that leaves the device.
 *
 *	loop   it comes back at once, and is steered like any frame that arrives
 *	null   nowhere
 *	pair   to another device of the process, whose thread receives it (pair.c)
 */
#include <errno.h>
#include <stdlib.h>

#include "engine.h"
#include "pair.h"

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
	case EMU_WIRE_PAIR:
		emu_pair_tx(dev, frame, len);
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
