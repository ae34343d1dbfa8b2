/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>

#include "counters.h"
#include "shell_device.h"
#include "vdpa_list.h"

#define MAX_SHOWN 64

static void
show_device(struct cmdline *cl, struct rte_vdpa_device *dev)
{
	struct rte_device *rdev = rte_vdpa_get_rte_device(dev);
	uint64_t features = 0, protocol = 0;
	uint32_t pairs = 0;

	cmdline_printf(cl, "********************* Infos for device %s *********************\n",
			vdpa_list_name(dev));
	cmdline_printf(cl, "Driver name: %s\n", rte_driver_name(rte_dev_driver(rdev)));
	cmdline_printf(cl, "NUMA node: %d\n", rte_dev_numa_node(rdev));
	if (rte_vdpa_get_queue_num(dev, &pairs) == 0)
		cmdline_printf(cl, "Max possible number of queue pairs: %" PRIu32 "\n", pairs);
	if (rte_vdpa_get_features(dev, &features) == 0)
		cmdline_printf(cl, "Virtio features: 0x%" PRIx64 "\n", features);
	if (rte_vdpa_get_protocol_features(dev, &protocol) == 0)
		cmdline_printf(cl, "Protocol features: 0x%" PRIx64 "\n", protocol);
}

static void
no_such_device(struct cmdline *cl, const char *name)
{
	cmdline_printf(cl, "no vDPA device %s: \"show device all\" shows what there is\n", name);
}

void
shell_show_devices(struct cmdline *cl, const char *name)
{
	struct rte_vdpa_device *devs[MAX_SHOWN], *dev;
	unsigned int n, i;

	if (strcmp(name, "all") != 0) {
		dev = rte_vdpa_find_device_by_name(name);
		if (dev != NULL)
			show_device(cl, dev);
		else
			no_such_device(cl, name);
		return;
	}
	n = vdpa_list(devs, MAX_SHOWN);
	if (n == 0)
		cmdline_printf(cl, "there is no vDPA device in this process\n");
	for (i = 0; i < n && i < MAX_SHOWN; i++)
		show_device(cl, devs[i]);
}

/* Values of a queue's counters with their names, of which there are @n. */
static void
print_stats(struct cmdline *cl, struct rte_vdpa_device *dev, uint16_t queue,
		struct rte_vdpa_stat_name *names, struct rte_vdpa_stat *values, unsigned int n)
{
	int got, i;

	if (rte_vdpa_get_stats_names(dev, names, n) != (int)n) {
		cmdline_printf(cl, "%s does not tell the names of its counters\n",
				vdpa_list_name(dev));
		return;
	}
	got = rte_vdpa_get_stats(dev, queue, values, n);
	if (got <= 0) {
		cmdline_printf(cl, "%s has no counters for queue %u\n", vdpa_list_name(dev), queue);
		return;
	}
	for (i = 0; i < got; i++)
		cmdline_printf(cl, "  %-*s %" PRIu64 "\n", RTE_VDPA_STATS_NAME_SIZE,
				values[i].id < n ? names[values[i].id].name : "?", values[i].value);
}

void
shell_show_stats(struct cmdline *cl, const char *name, uint16_t queue)
{
	struct rte_vdpa_device *dev = rte_vdpa_find_device_by_name(name);
	struct rte_vdpa_stat_name *names;
	struct rte_vdpa_stat *values;
	int n;

	if (dev == NULL) {
		no_such_device(cl, name);
		return;
	}
	n = rte_vdpa_get_stats_names(dev, NULL, 0);
	if (n <= 0) {
		cmdline_printf(cl, "%s has no counters\n", name);
		return;
	}
	names = calloc(n, sizeof(*names));
	values = calloc(n, sizeof(*values));
	if (names != NULL && values != NULL)
		print_stats(cl, dev, queue, names, values, n);
	else
		cmdline_printf(cl, "no memory for the counters\n");
	free(values);
	free(names);
}

void
shell_clear_stats(struct cmdline *cl, struct rte_vdpa_device *dev, uint16_t queues)
{
	uint16_t q, cleared = 0;

	for (q = 0; q < queues; q++)
		cleared += rte_vdpa_reset_stats(dev, q) == 0;
	if (cleared == queues)
		cmdline_printf(cl, "Counters of %u queues are cleared\n", queues);
	else
		cmdline_printf(cl, "%s has cleared the counters of %u queues out of %u\n",
				vdpa_list_name(dev), cleared, queues);
}

void
shell_show_counters(struct cmdline *cl)
{
	char *snapshot = counters_snapshot();
	struct counters c;

	if (counters_read(snapshot, &c) == 0)
		cmdline_printf(cl, "Commands: %" PRIu64 ", objects: %" PRIu64 ", pinned bytes: %"
				PRIu64 ", refused accesses: %" PRIu64 "\n", c.commands, c.alive,
				c.pinned_now, c.dma_faults);
	else
		cmdline_printf(cl, "there are no counters: the device is not emulated\n");
	free(snapshot);
}
