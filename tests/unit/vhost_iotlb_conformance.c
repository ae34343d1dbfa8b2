/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_conformance: the conformance suite of lib/vhost_iotlb, run or printed.
 *
 * Its parents: "none", the library alone; "software"; "mlx5_persist", the driver's, and the same
 * with mr_backend=devx.
 */
#include "conformance.h"
#include "conformance_mlx5.h"
#include "soft_parent.h"

static void *
soft_create(unsigned int nas)
{
	return vhost_iotlb_soft_create(nas);
}

static void
soft_destroy(void *parent)
{
	vhost_iotlb_soft_destroy(parent);
}

static int
soft_read(void *parent, unsigned int group, uint64_t addr, uint64_t *value)
{
	struct vhost_iotlb_soft *soft = parent;

	vhost_iotlb_soft_start(soft);
	return vhost_iotlb_soft_read(soft, group, addr, value, sizeof(*value));
}

static const struct vhost_iotlb_conf_adapter none = {
	.name = "none", .what = "the library by itself" };

static const struct vhost_iotlb_conf_adapter software = {
	.name = "software", .what = "soft_parent.c, with a 1:1 initial mapping",
	.ops = &vhost_iotlb_soft_ops, .create = soft_create, .destroy = soft_destroy,
	.read = soft_read };

int
main(int argc, char **argv)
{
	const struct vhost_iotlb_conf_adapter *const parents[] = {
		&none, &software, &conformance_mlx5, &conformance_mlx5_devx };
	int status = vhost_iotlb_conf_main(argc, argv, parents,
		sizeof(parents) / sizeof(parents[0]));

	conformance_mlx5_close();
	return status;
}
