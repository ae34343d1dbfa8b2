/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bus glue: --vdev=vdpa_mlx5_persist<N>,dev=...
 *
 * mlx5 is bifurcated: the kernel's driver keeps the PCI function, user space goes through an RDMA
 * device. So the device that DPDK sees can be a virtual one, and coexists with any PCI driver.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>
#include <rte_version.h>

#include "args.h"
#include "device.h"
#include "dpdk_sdk.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "registry.h"

int mlx5p_logtype;

static int
vdev_probe(struct rte_vdev_device *vdev)
{
	struct rte_device *rte_dev = &vdev->device;
	const char *text = rte_dev->devargs != NULL ? rte_dev->devargs->args : "";
	struct mlx5p_args args;
	struct mlx5p_dev *dev;
	struct ibv_context *ctx;
	char list[256];
	int ret;

	ret = mlx5p_args_parse(rte_dev->name, text, &args);
	if (ret < 0)
		return ret;
	ctx = mlx5p_hw_find(args.dev, &rte_dev->numa_node);
	if (ctx == NULL && errno == ENODEV) {
		mlx5p_hw_list(list, sizeof(list));
		MLX5P_LOG(ERR, rte_dev->name,
			"bad driver argument dev=%s: no such RDMA device; there %s",
			args.dev, list);
		return -ENODEV;
	}
	if (ctx == NULL) {
		ret = -errno;
		MLX5P_LOG(ERR, rte_dev->name, "cannot open RDMA device %s for DevX: %s", args.dev,
			strerror(-ret));
		return ret;
	}
	return mlx5p_dev_create(rte_dev, rte_dev->name, &args, ctx, &dev);
}

static int
vdev_remove(struct rte_vdev_device *vdev)
{
	struct mlx5p_dev *dev = mlx5p_registry_find(&vdev->device);

	return dev != NULL ? mlx5p_dev_destroy(dev) : -ENODEV;
}

static struct rte_vdev_driver driver = {
	.driver = { .name = "vdpa_mlx5_persist" },
	.probe = vdev_probe,
	.remove = vdev_remove,
};

/* The structs of the driver SDK are those of the DPDK that we were built for, or of one laid out
 * alike: 22.11 to 25.11. In any other the plugin keeps out. */
static bool
runs_in_known_dpdk(void)
{
	unsigned int year, month;

	/* "DPDK 22.11.5"; the functions that give the numbers are experimental still. */
	return sscanf(rte_version(), "%*s %u.%u", &year, &month) == 2 &&
		(year > 22 || (year == 22 && month >= 11)) && year <= 25;
}

RTE_INIT(mlx5p_register)
{
	mlx5p_logtype = rte_log_register_type_and_pick_level("pmd.vdpa.mlx5_persist",
		RTE_LOG_NOTICE);
	if (!runs_in_known_dpdk()) {
		rte_log(RTE_LOG_ERR, mlx5p_logtype,
			"mlx5_persist: built for DPDK 22.11 to 25.11, not for %s\n", rte_version());
		return;
	}
	rte_vdev_register(&driver);
}

/* What DPDK's tools look for in a plugin. */
extern const char this_pmd_name_mlx5_persist[];
__attribute__((used)) const char this_pmd_name_mlx5_persist[] = "vdpa_mlx5_persist";
