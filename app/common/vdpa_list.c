/* SPDX-License-Identifier: BSD-3-Clause */
#include <rte_dev.h>

#include "vdpa_list.h"

unsigned int
vdpa_list(struct rte_vdpa_device **devs, unsigned int max)
{
	struct rte_dev_iterator it;
	struct rte_device *rdev;
	unsigned int n = 0;

	RTE_DEV_FOREACH(rdev, "class=vdpa", &it) {
		struct rte_vdpa_device *dev = rte_vdpa_find_device_by_name(rte_dev_name(rdev));

		if (dev == NULL)
			continue;
		if (n < max)
			devs[n] = dev;
		n++;
	}
	return n;
}

const char *
vdpa_list_name(struct rte_vdpa_device *dev)
{
	return rte_dev_name(rte_vdpa_get_rte_device(dev));
}
