/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_vhost.h>
#include <vhost_iotlb_user.h>

#include "aspace.h"
#include "device.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "stats.h"
#include "steer.h"
#include "virtq.h"

/* What rte_vhost.h of some versions leaves to <linux/vhost_types.h> or nobody. */
#ifndef VIRTIO_F_ORDER_PLATFORM
#define VIRTIO_F_ORDER_PLATFORM 36
#endif

#define FEATURE(bit) (UINT64_C(1) << (bit))

/* The vhost library's limit of rings a connection; its header does not tell. */
#define VHOST_VRINGS_MAX 256

struct mlx5p_dev {
	TAILQ_ENTRY(mlx5p_dev) next;
	pthread_mutex_t lock;
	char name[64];
	struct rte_device *rte_dev;
	struct rte_vdpa_device *vdpa;
	struct mlx5p_args args;
	struct mlx5p_hw hw;
	struct mlx5p_events *events;
	struct mlx5p_aspace *aspace;
	struct mlx5p_steer *steer;
	struct mlx5p_virtq_env env;
	struct mlx5p_virtq *virtqs;
	bool *enabled;             /* a queue: the front-end wants it to run */
	uint32_t nqueues;          /* of the card, an even number */

	struct vhost_iotlb_dev *iotlb;
	struct vhost_iotlb_user user;
	bool configured;           /* between a dev_conf that succeeded and dev_close */
	int vid;                   /* valid while configured */
	uint64_t features;         /* negotiated, likewise */
};

static TAILQ_HEAD(, mlx5p_dev) devices = TAILQ_HEAD_INITIALIZER(devices);
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;

struct mlx5p_dev *
mlx5p_dev_find(const struct rte_device *rte_dev)
{
	struct mlx5p_dev *dev;

	pthread_mutex_lock(&devices_lock);
	TAILQ_FOREACH(dev, &devices, next) {
		if (dev->rte_dev == rte_dev)
			break;
	}
	pthread_mutex_unlock(&devices_lock);
	return dev;
}

static struct mlx5p_dev *
dev_of_vid(int vid)
{
	struct rte_vdpa_device *vdpa = rte_vhost_get_vdpa_device(vid);

	return vdpa != NULL ? mlx5p_dev_find(vdpa->device) : NULL;
}

/* ---- queues ---- */

/* virtio-net: even queues receive, odd ones transmit (virtio 1.2, section 5.1.2). */
static bool
is_receive(uint32_t queue)
{
	return queue % 2 == 0;
}

/* Lead packets to the receive queues that run, @without left out. */
static int
steer_to_running(struct mlx5p_dev *dev, const struct mlx5p_virtq *without)
{
	uint32_t ids[dev->nqueues], i, n = 0;

	for (i = 0; i < dev->nqueues; i++) {
		const struct mlx5p_virtq *vq = &dev->virtqs[i];

		if (is_receive(i) && vq->state == MLX5P_VIRTQ_RUNNING && vq != without)
			ids[n++] = vq->obj.id;
	}
	return mlx5p_steer_set(dev->steer, ids, n);
}

/* Where a ring lies in guest memory. */
static int
translate_ring(const struct mlx5p_dev *dev, const struct rte_vhost_vring *vring,
		struct mlx5p_ring *ring)
{
	const struct vhost_iotlb *maps = vhost_iotlb_dev_table(dev->iotlb, 0);
	/* Lengths by virtio 1.2, section 2.7; the event words at the end are not ours to use. */
	uint64_t desc_len = vring->size * sizeof(struct vring_desc);
	uint64_t avail_len = sizeof(struct vring_avail) + vring->size * sizeof(uint16_t);
	uint64_t used_len = sizeof(struct vring_used) + vring->size * sizeof(struct vring_used_elem);
	int ret;

	ret = mlx5p_aspace_gpa(maps, vring->desc, desc_len, &ring->desc);
	if (ret == 0)
		ret = mlx5p_aspace_gpa(maps, vring->avail, avail_len, &ring->avail);
	if (ret == 0)
		ret = mlx5p_aspace_gpa(maps, vring->used, used_len, &ring->used);
	return ret;
}

static int
start_queue(struct mlx5p_dev *dev, int vid, uint16_t queue)
{
	struct rte_vhost_vring vring;
	struct mlx5p_ring ring;
	int ret;

	if (rte_vhost_get_vhost_vring(vid, queue, &vring) < 0 || vring.desc == NULL ||
			vring.avail == NULL || vring.used == NULL || !rte_is_power_of_2(vring.size) ||
			rte_vhost_get_vring_base(vid, queue, &ring.avail_index, &ring.used_index) < 0) {
		MLX5P_LOG(ERR, dev->name, "virtqueue %u: the front-end enabled it without a usable ring",
			queue);
		return -EINVAL;
	}
	ret = translate_ring(dev, &vring, &ring);
	if (ret < 0) {
		MLX5P_LOG(ERR, dev->name, "virtqueue %u: its ring is outside of guest memory", queue);
		return ret;
	}
	ring.size = vring.size;
	ring.kickfd = vring.kickfd;
	ring.callfd = vring.callfd;
	/* Whoever served the ring before may have switched the guest's kicks off. */
	vring.used->flags = 0;
	return mlx5p_virtq_start(&dev->virtqs[queue], &ring, dev->features,
		mlx5p_aspace_mkey(dev->aspace));
}

static void
stop_queue(struct mlx5p_dev *dev, uint16_t queue)
{
	struct mlx5p_virtq *vq = &dev->virtqs[queue];
	uint16_t avail_index, used_index;

	if (vq->state != MLX5P_VIRTQ_RUNNING)
		return;
	if (mlx5p_virtq_stop(vq, &avail_index, &used_index) == 0)
		rte_vhost_set_vring_base(dev->vid, queue, avail_index, used_index);
}

/* Start the queues of one direction that the front-end wants. */
static int
start_wanted(struct mlx5p_dev *dev, int vid, bool receive)
{
	uint32_t i;
	int ret = 0;

	for (i = 0; i < dev->nqueues && ret == 0; i++) {
		if (is_receive(i) == receive && dev->enabled[i])
			ret = start_queue(dev, vid, i);
	}
	return ret;
}

/* Transmit queues first: what they sent still finds a receive queue that runs. */
static void
stop_all(struct mlx5p_dev *dev)
{
	uint32_t i;

	for (i = 1; i < dev->nqueues; i += 2)
		stop_queue(dev, i);
	for (i = 0; i < dev->nqueues; i += 2)
		stop_queue(dev, i);
}

/* Destroy all queue objects; they are stopped. */
static void
drop_all(struct mlx5p_dev *dev)
{
	uint32_t i;

	mlx5p_steer_clear(dev->steer);
	for (i = 0; i < dev->nqueues; i++)
		mlx5p_virtq_drop(&dev->virtqs[i]);
}

/* Destroy stopped objects that still know another memory key than the one in force. */
static void
drop_stale(struct mlx5p_dev *dev)
{
	uint32_t i;

	for (i = 0; i < dev->nqueues; i++) {
		struct mlx5p_virtq *vq = &dev->virtqs[i];

		if (vq->state == MLX5P_VIRTQ_SUSPENDED && vq->mkey != mlx5p_aspace_mkey(dev->aspace))
			mlx5p_virtq_drop(vq);
	}
}

static void
unlist(void *arg, uint32_t virtq_id)
{
	struct mlx5p_dev *dev = arg;

	mlx5p_steer_forget(dev->steer, virtq_id);
}

/* ---- the contract: operations of the parent (vhost_iotlb_dev.h) ---- */

static int
op_reset(void *parent)
{
	(void)parent; /* dev_close stopped the queues; maps are none of a reset's business */
	return 0;
}

static int
op_compat_reset(void *parent, uint32_t flags)
{
	struct mlx5p_dev *dev = parent;

	if (flags & VHOST_IOTLB_RESET_CLEAN_MAP) {
		drop_all(dev);
		mlx5p_aspace_clear(dev->aspace);
	}
	return 0;
}

static int
op_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct mlx5p_dev *dev = parent;

	RTE_SET_USED(asid); /* there is one */
	if (vhost_iotlb_count(maps) == 0)
		drop_all(dev);
	return mlx5p_aspace_set(dev->aspace, maps);
}

static int
op_reset_map(void *parent, unsigned int asid)
{
	struct mlx5p_dev *dev = parent;

	RTE_SET_USED(asid);
	/* The initial mapping is empty: a queue without maps would fault on every access. */
	drop_all(dev);
	mlx5p_aspace_clear(dev->aspace);
	return 0;
}

static const struct vhost_iotlb_parent_ops parent_ops = {
	.reset = op_reset,
	.compat_reset = op_compat_reset,
	.set_map = op_set_map,
	.reset_map = op_reset_map,
};

/* ---- life between dev_conf and dev_cleanup ---- */

static int
configure(struct mlx5p_dev *dev, int vid)
{
	uint32_t n = rte_vhost_get_vring_num(vid);
	int ret;

	if (n > dev->nqueues) {
		MLX5P_LOG(ERR, dev->name, "the front-end has %u virtqueues, the card %u", n,
			dev->nqueues);
		return -ENOSPC;
	}
	if (rte_vhost_get_negotiated_features(vid, &dev->features) < 0)
		return -ENODEV;
	ret = vhost_iotlb_user_attach(&dev->user, vid, dev->iotlb, dev->name,
		dev->args.persist != MLX5P_PERSIST_OFF);
	if (ret == 0)
		ret = vhost_iotlb_user_sync_table(&dev->user, NULL);
	/* Whatever a transmit queue sends, answers find all receive queues running. */
	if (ret == 0)
		ret = start_wanted(dev, vid, true);
	if (ret == 0)
		ret = steer_to_running(dev, NULL);
	if (ret == 0)
		ret = start_wanted(dev, vid, false);
	return ret;
}

static int
op_dev_conf(int vid)
{
	struct mlx5p_dev *dev = dev_of_vid(vid);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	pthread_mutex_lock(&dev->lock);
	if (dev->configured)
		stop_all(dev);
	dev->vid = vid;
	ret = configure(dev, vid);
	if (ret < 0) {
		stop_all(dev);
		drop_all(dev);
	}
	drop_stale(dev);
	mlx5p_aspace_reap(dev->aspace);
	dev->configured = ret == 0;
	pthread_mutex_unlock(&dev->lock);
	if (ret < 0)
		MLX5P_LOG(ERR, dev->name, "cannot configure the device for its front-end: %s",
			strerror(-ret));
	return ret;
}

/* Without SUSPEND -> RDY a queue object is of no further use once it stopped. */
static void
close_device(struct mlx5p_dev *dev)
{
	stop_all(dev);
	if (!dev->env.reuse)
		drop_all(dev);
	dev->configured = false;
	if (vhost_iotlb_user_attached(&dev->user))
		vhost_iotlb_user_virtio_reset(&dev->user);
}

static int
op_dev_close(int vid)
{
	struct mlx5p_dev *dev = dev_of_vid(vid);

	if (dev == NULL)
		return -ENODEV;
	pthread_mutex_lock(&dev->lock);
	close_device(dev);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

static int
op_dev_cleanup(int vid)
{
	struct mlx5p_dev *dev = dev_of_vid(vid);

	if (dev == NULL)
		return -ENODEV;
	pthread_mutex_lock(&dev->lock);
	if (dev->configured)
		close_device(dev);
	vhost_iotlb_user_detach(&dev->user);
	memset(dev->enabled, 0, dev->nqueues * sizeof(*dev->enabled));
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

/* A ring comes or goes while the device runs. */
static int
switch_queue(struct mlx5p_dev *dev, int vid, uint16_t queue, bool on)
{
	struct mlx5p_virtq *vq = &dev->virtqs[queue];
	bool running = vq->state == MLX5P_VIRTQ_RUNNING;
	int ret = 0;

	if (on == running)
		return 0;
	if (on) {
		ret = start_queue(dev, vid, queue);
		return ret == 0 && is_receive(queue) ? steer_to_running(dev, NULL) : ret;
	}
	/* Packets go elsewhere before the queue stops. */
	if (is_receive(queue))
		ret = steer_to_running(dev, vq);
	stop_queue(dev, queue);
	if (!dev->env.reuse)
		mlx5p_virtq_drop(vq);
	return ret;
}

static int
op_set_vring_state(int vid, int vring, int state)
{
	struct mlx5p_dev *dev = dev_of_vid(vid);
	int ret = 0;

	if (dev == NULL)
		return -ENODEV;
	if (vring < 0 || (uint32_t)vring >= dev->nqueues) {
		MLX5P_LOG(ERR, dev->name, "the front-end names virtqueue %d, the card has %u", vring,
			dev->nqueues);
		return -EINVAL;
	}
	pthread_mutex_lock(&dev->lock);
	dev->enabled[vring] = state != 0;
	if (dev->configured)
		ret = switch_queue(dev, vid, vring, state != 0);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

static int
op_set_features(int vid)
{
	/* They are read at dev_conf; none of those offered may change while the device runs. */
	return dev_of_vid(vid) != NULL ? 0 : -ENODEV;
}

/* ---- what the device offers ---- */

static int
op_get_queue_num(struct rte_vdpa_device *vdpa, uint32_t *queue_num)
{
	const struct mlx5p_dev *dev = mlx5p_dev_find(vdpa->device);

	if (dev == NULL)
		return -ENODEV;
	*queue_num = dev->nqueues / 2;
	return 0;
}

static int
op_get_features(struct rte_vdpa_device *vdpa, uint64_t *features)
{
	const struct mlx5p_dev *dev = mlx5p_dev_find(vdpa->device);
	const struct mlx5p_caps *caps;

	if (dev == NULL)
		return -ENODEV;
	caps = &dev->hw.caps;
	*features = FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | FEATURE(VIRTIO_F_ANY_LAYOUT) |
		FEATURE(VIRTIO_NET_F_MQ) | FEATURE(VIRTIO_F_ORDER_PLATFORM);
	if (caps->virtio_version_1_0)
		*features |= FEATURE(VIRTIO_F_VERSION_1);
	if (caps->tx_csum)
		*features |= FEATURE(VIRTIO_NET_F_CSUM);
	if (caps->rx_csum)
		*features |= FEATURE(VIRTIO_NET_F_GUEST_CSUM);
	/* Segmentation needs checksums. */
	if (caps->tx_csum && caps->tso_ipv4)
		*features |= FEATURE(VIRTIO_NET_F_HOST_TSO4);
	if (caps->tx_csum && caps->tso_ipv6)
		*features |= FEATURE(VIRTIO_NET_F_HOST_TSO6);
	return 0;
}

static int
op_get_protocol_features(struct rte_vdpa_device *vdpa, uint64_t *features)
{
	RTE_SET_USED(vdpa);
	*features = FEATURE(VHOST_USER_PROTOCOL_F_MQ) | FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		FEATURE(VHOST_USER_PROTOCOL_F_STATUS);
	return 0;
}

/* ---- statistics ---- */

static int
op_get_stats_names(struct rte_vdpa_device *vdpa, struct rte_vdpa_stat_name *names, unsigned int size)
{
	RTE_SET_USED(vdpa);
	return mlx5p_stats_names(names, size);
}

/* Run @fn on a queue of the device, under its lock. */
static int
with_queue(struct rte_vdpa_device *vdpa, int queue, struct rte_vdpa_stat *stats, unsigned int n,
		int (*fn)(struct mlx5p_virtq *vq, struct rte_vdpa_stat *stats, unsigned int n))
{
	struct mlx5p_dev *dev = mlx5p_dev_find(vdpa->device);
	int ret;

	if (dev == NULL)
		return -ENODEV;
	if (queue < 0 || (uint32_t)queue >= dev->nqueues)
		return -EINVAL;
	pthread_mutex_lock(&dev->lock);
	ret = fn(&dev->virtqs[queue], stats, n);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

static int
op_get_stats(struct rte_vdpa_device *vdpa, int queue, struct rte_vdpa_stat *stats, unsigned int n)
{
	return with_queue(vdpa, queue, stats, n, mlx5p_stats_get);
}

static int
op_reset_stats(struct rte_vdpa_device *vdpa, int queue)
{
	return with_queue(vdpa, queue, NULL, 0, mlx5p_stats_reset);
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
	.get_stats_names = op_get_stats_names,
	.get_stats = op_get_stats,
	.reset_stats = op_reset_stats,
};

/* ---- probe and remove ---- */

static void
on_completion(void *arg, uint16_t queue)
{
	mlx5p_virtq_on_completion(&((struct mlx5p_dev *)arg)->virtqs[queue]);
}

static void
on_kick(void *arg, uint16_t queue)
{
	mlx5p_virtq_on_kick(&((struct mlx5p_dev *)arg)->virtqs[queue]);
}

static void
on_error(void *arg, uint16_t queue)
{
	mlx5p_virtq_on_error(&((struct mlx5p_dev *)arg)->virtqs[queue]);
}

/* SUSPEND -> RDY with other addresses and indices, maybe another key and features, in one modify. */
static bool
can_reuse(const struct mlx5p_caps *caps)
{
	return caps->freeze_to_rdy_supported && caps->virtio_net_q_addr_modify &&
		caps->virtio_q_index_modify && caps->vnet_modify_ext;
}

static int
create_queues(struct mlx5p_dev *dev)
{
	uint32_t i, n = RTE_ALIGN_FLOOR(dev->hw.caps.max_num_virtio_queues, 2);

	n = RTE_MIN(n, (uint32_t)VHOST_VRINGS_MAX);
	dev->env = (struct mlx5p_virtq_env) {
		.hw = &dev->hw,
		.events = dev->events,
		.reuse = dev->args.reuse_queues && can_reuse(&dev->hw.caps),
		.unlist = unlist,
		.unlist_arg = dev,
	};
	dev->virtqs = calloc(n, sizeof(*dev->virtqs));
	dev->enabled = calloc(n, sizeof(*dev->enabled));
	if (dev->virtqs == NULL || dev->enabled == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		mlx5p_virtq_init(&dev->virtqs[i], &dev->env, i);
	dev->nqueues = n;
	return 0;
}

/* Take apart what mlx5p_dev_create() made so far. */
static void
release(struct mlx5p_dev *dev)
{
	uint32_t i;

	vhost_iotlb_dev_destroy(dev->iotlb);
	if (dev->events != NULL)
		mlx5p_events_stop(dev->events);
	for (i = 0; i < dev->nqueues; i++)
		mlx5p_virtq_free(&dev->virtqs[i]);
	mlx5p_steer_destroy(dev->steer);
	mlx5p_aspace_destroy(dev->aspace);
	mlx5p_events_destroy(dev->events);
	free(dev->virtqs);
	free(dev->enabled);
	mlx5p_hw_close(&dev->hw);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

static int
create_parts(struct mlx5p_dev *dev)
{
	static const struct mlx5p_event_handlers handlers = {
		.completion = on_completion, .error = on_error, .kick = on_kick,
	};
	int ret;

	dev->aspace = mlx5p_aspace_create(&dev->hw, dev->args.mr_backend);
	dev->steer = mlx5p_steer_create(&dev->hw);
	if (dev->aspace == NULL || dev->steer == NULL)
		return -ENOMEM;
	ret = mlx5p_events_create(&dev->hw, dev->args.event_core, &handlers, dev, &dev->events);
	if (ret == 0)
		ret = create_queues(dev);
	if (ret == 0)
		ret = vhost_iotlb_dev_create(&parent_ops, dev, 1, &dev->iotlb);
	return ret;
}

int
mlx5p_dev_create(struct rte_device *rte_dev, const char *name, const struct mlx5p_args *args,
		struct ibv_context *ctx, struct mlx5p_dev **out)
{
	int numa_node = rte_dev->numa_node;
	struct mlx5p_dev *dev = calloc(1, sizeof(*dev));
	int ret;

	if (dev == NULL) {
		ibv_close_device(ctx);
		return -ENOMEM;
	}
	pthread_mutex_init(&dev->lock, NULL);
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	dev->rte_dev = rte_dev;
	dev->args = *args;
	ret = mlx5p_hw_open(&dev->hw, dev->name, ctx, numa_node);
	if (ret < 0) {
		pthread_mutex_destroy(&dev->lock);
		free(dev);
		return ret;
	}
	ret = create_parts(dev);
	if (ret < 0)
		goto fail;
	pthread_mutex_lock(&devices_lock);
	TAILQ_INSERT_TAIL(&devices, dev, next);
	pthread_mutex_unlock(&devices_lock);
	dev->vdpa = rte_vdpa_register_device(rte_dev, &vdpa_ops);
	if (dev->vdpa == NULL) {
		pthread_mutex_lock(&devices_lock);
		TAILQ_REMOVE(&devices, dev, next);
		pthread_mutex_unlock(&devices_lock);
		ret = -ENODEV;
		goto fail;
	}
	*out = dev;
	return 0;
fail:
	MLX5P_LOG(ERR, name, "cannot set up the device: %s", strerror(-ret));
	release(dev);
	return ret;
}

void
mlx5p_dev_destroy(struct mlx5p_dev *dev)
{
	pthread_mutex_lock(&devices_lock);
	TAILQ_REMOVE(&devices, dev, next);
	pthread_mutex_unlock(&devices_lock);
	rte_vdpa_unregister_device(dev->vdpa);
	pthread_mutex_lock(&dev->lock);
	if (dev->configured)
		stop_all(dev);
	vhost_iotlb_user_detach(&dev->user);
	pthread_mutex_unlock(&dev->lock);
	release(dev);
}
