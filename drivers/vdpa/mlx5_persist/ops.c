/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>

#include "device.h"
#include "hw.h"
#include "ops.h"
#include "registry.h"
#include "stats.h"

/* What rte_vhost.h of some versions leaves to <linux/virtio_config.h> or nobody. */
#ifndef VIRTIO_F_ORDER_PLATFORM
#define VIRTIO_F_ORDER_PLATFORM 36
#endif
#ifndef VIRTIO_F_ACCESS_PLATFORM
#define VIRTIO_F_ACCESS_PLATFORM 33
#endif

/* Numbers of the vhost-user specification; rte_vhost.h changed the first two names with DPDK
 * 23.11. */
#ifndef VHOST_USER_PROTOCOL_F_BACKEND_REQ
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#endif
#ifndef VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD
#define VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD 10
#endif

#define FEATURE(bit) (UINT64_C(1) << (bit))

/* ---- a connection ---- */

static int
op_dev_conf(int vid)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	ret = mlx5p_dev_conf(dev, vid);
	mlx5p_registry_release(dev);
	return ret;
}

static int
op_dev_close(int vid)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);

	if (dev == NULL)
		return -ENODEV;
	mlx5p_dev_close(dev, vid);
	mlx5p_registry_release(dev);
	return 0;
}

static int
op_dev_cleanup(int vid)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);

	if (dev == NULL)
		return -ENODEV;
	mlx5p_dev_cleanup(dev, vid);
	mlx5p_registry_release(dev);
	return 0;
}

static int
op_set_vring_state(int vid, int vring, int state)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	ret = mlx5p_dev_want_queue(dev, vid, vring, state != 0);
	mlx5p_registry_release(dev);
	return ret;
}

static int
op_set_features(int vid)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	ret = mlx5p_dev_set_features(dev, vid);
	mlx5p_registry_release(dev);
	return ret;
}

/* ---- messages ---- */

static enum rte_vhost_msg_result
before_message(int vid, void *msg)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	enum rte_vhost_msg_result result;

	if (dev == NULL)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	result = mlx5p_dev_before_message(dev, vid, msg);
	mlx5p_registry_release(dev);
	return result;
}

static enum rte_vhost_msg_result
after_message(int vid, void *msg)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	enum rte_vhost_msg_result result;

	if (dev == NULL)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	result = mlx5p_dev_after_message(dev, vid, msg);
	mlx5p_registry_release(dev);
	return result;
}

static const struct rte_vhost_user_extern_ops message_hook = {
	.pre_msg_handle = before_message,
	.post_msg_handle = after_message,
};

const struct rte_vhost_user_extern_ops *
mlx5p_message_hook(void)
{
	return &message_hook;
}

/* ---- the doorbell page ---- */

static int
op_get_device_fd(int vid)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	int fd;

	if (dev == NULL)
		return -ENODEV;
	fd = mlx5p_dev_hw(dev)->ctx->cmd_fd;
	mlx5p_registry_release(dev);
	return fd;
}

/* One page for all queues: the guest writes the queue's index there. */
static int
op_get_notify_area(int vid, int queue, uint64_t *offset, uint64_t *size)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vid(vid);
	int ret = -EINVAL;

	if (dev == NULL)
		return -ENODEV;
	if (queue >= 0 && (uint32_t)queue < mlx5p_dev_nqueues(dev)) {
		*offset = mlx5p_dev_hw(dev)->var->mmap_off;
		*size = mlx5p_dev_hw(dev)->var->length;
		ret = 0;
	}
	mlx5p_registry_release(dev);
	return ret;
}

/* ---- what the device offers ---- */

static int
op_get_queue_num(struct rte_vdpa_device *vdpa, uint32_t *queue_num)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vdpa(vdpa);

	if (dev == NULL)
		return -ENODEV;
	*queue_num = mlx5p_dev_nqueues(dev) / 2;
	mlx5p_registry_release(dev);
	return 0;
}

/* GUEST_ANNOUNCE, like the link's state, is the front-end's affair, which has the configuration
 * space and the control queue. */
static uint64_t
features_of(const struct mlx5p_dev *dev)
{
	const struct mlx5p_caps *caps = &mlx5p_dev_hw(dev)->caps;
	uint64_t features;

	features = FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | FEATURE(VIRTIO_F_ANY_LAYOUT) |
		FEATURE(VIRTIO_NET_F_MQ) | FEATURE(VIRTIO_NET_F_MTU) |
		FEATURE(VIRTIO_NET_F_GUEST_ANNOUNCE) | FEATURE(VIRTIO_F_ORDER_PLATFORM) |
		FEATURE(VHOST_F_LOG_ALL);
	/* Contract, C10: never unless the operator asked for it. */
	if (mlx5p_dev_offers_iommu(dev))
		features |= FEATURE(VIRTIO_F_ACCESS_PLATFORM);
	if (caps->virtio_version_1_0)
		features |= FEATURE(VIRTIO_F_VERSION_1);
	if (caps->virtio_queue_type >> MLX5_VIRTQ_TYPE_PACKED & 1)
		features |= FEATURE(VIRTIO_F_RING_PACKED);
	if (caps->tx_csum)
		features |= FEATURE(VIRTIO_NET_F_CSUM);
	if (caps->rx_csum)
		features |= FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	/* Segmentation needs checksums. */
	if (caps->tx_csum && caps->tso_ipv4)
		features |= FEATURE(VIRTIO_NET_F_HOST_TSO4);
	if (caps->tx_csum && caps->tso_ipv6)
		features |= FEATURE(VIRTIO_NET_F_HOST_TSO6);
	return features;
}

static int
op_get_features(struct rte_vdpa_device *vdpa, uint64_t *features)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vdpa(vdpa);

	if (dev == NULL)
		return -ENODEV;
	*features = features_of(dev);
	mlx5p_registry_release(dev);
	return 0;
}

static int
op_get_protocol_features(struct rte_vdpa_device *vdpa, uint64_t *features)
{
	RTE_SET_USED(vdpa);
	*features = FEATURE(VHOST_USER_PROTOCOL_F_MQ) | FEATURE(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
		FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK) | FEATURE(VHOST_USER_PROTOCOL_F_NET_MTU) |
		FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
		FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) |
		FEATURE(VHOST_USER_PROTOCOL_F_HOST_NOTIFIER) |
		FEATURE(VHOST_USER_PROTOCOL_F_STATUS);
	return 0;
}

/* ---- statistics ---- */

static int
op_get_stats_names(struct rte_vdpa_device *vdpa, struct rte_vdpa_stat_name *names,
		unsigned int size)
{
	RTE_SET_USED(vdpa);
	return mlx5p_stats_names(names, size);
}

static int
op_get_stats(struct rte_vdpa_device *vdpa, int queue, struct rte_vdpa_stat *stats, unsigned int n)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vdpa(vdpa);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	ret = mlx5p_dev_get_stats(dev, queue, stats, n);
	mlx5p_registry_release(dev);
	return ret;
}

static int
op_reset_stats(struct rte_vdpa_device *vdpa, int queue)
{
	struct mlx5p_dev *dev = mlx5p_registry_hold_vdpa(vdpa);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	ret = mlx5p_dev_reset_stats(dev, queue);
	mlx5p_registry_release(dev);
	return ret;
}

static struct rte_vdpa_dev_ops vdpa_ops = {
	.get_queue_num = op_get_queue_num,
	.get_features = op_get_features,
	.get_protocol_features = op_get_protocol_features,
	.dev_conf = op_dev_conf,
	.dev_close = op_dev_close,
	.dev_cleanup = op_dev_cleanup,
	.set_vring_state = op_set_vring_state,
	.set_features = op_set_features,
	.get_vfio_device_fd = op_get_device_fd,
	.get_notify_area = op_get_notify_area,
	.get_stats_names = op_get_stats_names,
	.get_stats = op_get_stats,
	.reset_stats = op_reset_stats,
};

struct rte_vdpa_dev_ops *
mlx5p_vdpa_ops(void)
{
	return &vdpa_ops;
}
