/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of telemetry that remove a vDPA device from a running program, for test_removal.py:
 *
 *	/test/remove,NAME		rte_dev_remove(); {"ret": its result}
 *	/test/remove_in_use,NAME	likewise, while threads call the driver's operations, and go on
 *					until each is told that there is no such device; {"ret", "calls"}
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_dev.h>
#include <rte_telemetry.h>
#include <rte_vdpa.h>

#include "dpdk_sdk.h"

#define USERS 16
#define CALLS_BEFORE 20	/* of each */
#define MAX_STATS 16

struct use {
	struct rte_vdpa_device *vdpa;
	const struct rte_vdpa_dev_ops *ops;
	atomic_uint calls;
	atomic_bool leave;
};

/* By what the vhost library had before, as one of its threads that is in the midst of a call. */
static void *
use_device(void *arg)
{
	struct rte_vdpa_stat stats[MAX_STATS];
	struct use *use = arg;
	uint32_t pairs;
	uint64_t features;
	int ret = 0;

	while (ret != -ENODEV && !atomic_load(&use->leave)) {
		ret = use->ops->get_stats(use->vdpa, 0, stats, MAX_STATS);
		if (ret != -ENODEV)
			ret = use->ops->get_queue_num(use->vdpa, &pairs);
		if (ret != -ENODEV)
			ret = use->ops->get_features(use->vdpa, &features);
		atomic_fetch_add(&use->calls, 1);
	}
	return NULL;
}

static int
remove_device(const char *name)
{
	struct rte_vdpa_device *vdpa = rte_vdpa_find_device_by_name(name);

	return vdpa != NULL ? rte_dev_remove(rte_vdpa_get_rte_device(vdpa)) : -ENODEV;
}

static int
cmd_remove(const char *cmd, const char *name, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_int(d, "ret", remove_device(name));
	return 0;
}

static int
cmd_remove_in_use(const char *cmd, const char *name, struct rte_tel_data *d)
{
	struct use use = { .vdpa = rte_vdpa_find_device_by_name(name) };
	pthread_t users[USERS];
	unsigned int n;
	int ret = -EAGAIN;

	RTE_SET_USED(cmd);
	if (use.vdpa == NULL)
		return -ENODEV;
	use.ops = use.vdpa->ops;
	for (n = 0; n < USERS; n++) {
		if (pthread_create(&users[n], NULL, use_device, &use) != 0)
			break;
	}
	while (n == USERS && atomic_load(&use.calls) < CALLS_BEFORE * USERS)
		usleep(1000);
	if (n == USERS)
		ret = remove_device(name);
	atomic_store(&use.leave, ret != 0);
	while (n > 0)
		pthread_join(users[--n], NULL);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_int(d, "ret", ret);
	rte_tel_data_add_dict_int(d, "calls", atomic_load(&use.calls));
	return 0;
}

RTE_INIT(hot_remove_init)
{
	rte_telemetry_register_cmd("/test/remove", cmd_remove, "Parameters: NAME");
	rte_telemetry_register_cmd("/test/remove_in_use", cmd_remove_in_use, "Parameters: NAME");
}
