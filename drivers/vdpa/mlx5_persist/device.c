/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_alarm.h>
#include <rte_common.h>
#include <rte_vhost.h>

#include "ahead.h"
#include "device.h"
#include "dirty.h"
#include "events.h"
#include "hw.h"
#include "memory.h"
#include "mlx5p_log.h"
#include "netdev.h"
#include "notifier.h"
#include "ops.h"
#include "queues.h"
#include "registry.h"
#include "restart.h"
#include "stats.h"
#include "wants.h"
#include "workers.h"

/* Of the vhost-user specification. */
enum { VHOST_USER_SET_LOG_BASE = 6 };

/* How long the vhost library may take from dev_cleanup to the end of a RESET_OWNER, µs. */
enum { LIMBO_US = 1000000 };
enum limbo { LIMBO_NONE, LIMBO_TIMED, LIMBO_AGAIN };

struct mlx5p_dev {
	struct mlx5p_entry entry;
	pthread_mutex_t lock;
	char name[64];
	struct mlx5p_args args;
	struct mlx5p_hw hw;
	struct mlx5p_workers *workers;
	struct mlx5p_events *events;
	struct mlx5p_notifier *notifier;
	struct mlx5p_memory *memory;
	struct mlx5p_queues *queues;
	struct mlx5p_dirty dirty;
	enum limbo limbo;          /* a timer runs; another one is to follow it */
	struct mlx5p_restart restart;
	bool log_moves;            /* queues stand until the new log is known */
	bool configured;           /* between a conf that succeeded and close */
	int refused;               /* the connection that was last, MLX5P_NOBODY: gone */
};

const struct mlx5p_args *
mlx5p_dev_args(const struct mlx5p_dev *dev)
{
	return &dev->args;
}

const struct mlx5p_hw *
mlx5p_dev_hw(const struct mlx5p_dev *dev)
{
	return &dev->hw;
}

uint32_t
mlx5p_dev_nqueues(const struct mlx5p_dev *dev)
{
	return mlx5p_queues_count(dev->queues);
}

bool
mlx5p_dev_offers_iommu(const struct mlx5p_dev *dev)
{
	return dev->args.iommu;
}

/* Memory: all keys are about to go. With an IOTLB the device may be running: its queues stand until
 * there are maps again. */
static void
forget_keys(void *arg)
{
	struct mlx5p_dev *dev = arg;

	if (dev->configured)
		mlx5p_queues_stand(dev->queues);
	mlx5p_queues_drop(dev->queues);
}

/* Memory: the maps of a device that may be running changed. */
static bool
use_key(void *arg, uint32_t mkey, uint32_t ring_mkey)
{
	struct mlx5p_dev *dev = arg;
	bool switched = mlx5p_queues_set_mkey(dev->queues, mkey, ring_mkey);

	if (!dev->configured || mkey == dev->hw.null_mkey)
		return switched;
	/* With an IOTLB, queues may stand for want of maps. */
	mlx5p_queues_go_on(dev->queues, mkey, ring_mkey);
	mlx5p_queues_drop_stale(dev->queues, mkey, ring_mkey);
	return true;
}

/* Memory: it is to be looked after. */
static void
wake_memory_at(void *arg, uint64_t when_ns)
{
	struct mlx5p_dev *dev = arg;

	mlx5p_events_timer(dev->events, MLX5P_TIMER_MEMORY, when_ns);
}

/* ---- a connection ---- */

/* Segmentation needs checksums: a guest that takes the one alone would send corrupt packets. */
static uint64_t
complete_features(uint64_t features)
{
	if (features & (1 << VIRTIO_NET_F_HOST_TSO4 | 1 << VIRTIO_NET_F_HOST_TSO6))
		features |= 1 << VIRTIO_NET_F_CSUM;
	return features;
}

/* A guest that was promised an MTU may send as much in a frame. If the card does not play along,
 * all that fits still passes. */
static void
follow_mtu(const struct mlx5p_dev *dev, int vid)
{
	char ifname[IF_NAMESIZE], sysfs[PATH_MAX];
	uint16_t mtu;
	int ret;

	if (rte_vhost_get_mtu(vid, &mtu) < 0 || mtu == 0)
		return;
	snprintf(sysfs, sizeof(sysfs), "%s/device", dev->hw.ctx->device->ibdev_path);
	mlx5p_netdev_find(sysfs, ifname);
	ret = ifname[0] != '\0' ? mlx5p_netdev_set_mtu(ifname, mtu) : -ENODEV;
	if (ret == -ENODEV)
		MLX5P_LOG(INFO, dev->name, "no network interface to set the guest's MTU of %u at",
			mtu);
	else if (ret < 0)
		MLX5P_LOG(WARNING, dev->name, "cannot set the guest's MTU of %u at %s: %s", mtu,
			ifname, strerror(-ret));
}

static int
configure(struct mlx5p_dev *dev, int vid)
{
	struct mlx5p_conn conn = { .vid = vid };
	const struct vhost_iotlb_user *user;
	uint32_t n = rte_vhost_get_vring_num(vid);
	uint64_t features;
	int ret;

	if (n > mlx5p_queues_count(dev->queues)) {
		MLX5P_LOG(ERR, dev->name, "the front-end has %u virtqueues, the card %u", n,
			mlx5p_queues_count(dev->queues));
		return -ENOSPC;
	}
	if (rte_vhost_get_negotiated_features(vid, &features) < 0)
		return -ENODEV;
	follow_mtu(dev, vid);
	ret = mlx5p_memory_take(dev->memory, vid);
	user = mlx5p_memory_user(dev->memory);
	if (ret == 0 && RTE_VHOST_NEED_LOG(features) && vhost_iotlb_user_iotlb(user)) {
		MLX5P_LOG(ERR, dev->name, "dirty pages can't be logged with an IOTLB");
		ret = -ENOTSUP;
	}
	if (ret == 0 && RTE_VHOST_NEED_LOG(features))
		ret = mlx5p_dirty_open(&dev->hw, dev->args.mr_backend, vid, &dev->dirty);
	if (ret < 0)
		return ret;
	conn.maps = mlx5p_memory_maps(dev->memory);
	conn.user = vhost_iotlb_user_iotlb(user) ? user : NULL;
	conn.guest = (struct mlx5p_guest) {
		.features = complete_features(features),
		.mkey = mlx5p_memory_mkey(dev->memory),
		.ring_mkey = mlx5p_memory_ring_mkey(dev->memory),
		.bitmap = dev->dirty.bitmap,
	};
	mlx5p_notifier_begin(dev->notifier, vid);
	return mlx5p_queues_start(dev->queues, &conn);
}

/* Nothing of a connection is used by any queue from here on. */
static void
stop_all(struct mlx5p_dev *dev)
{
	mlx5p_notifier_end(dev->notifier);
	mlx5p_queues_stop(dev->queues);
	mlx5p_dirty_close(&dev->hw, &dev->dirty);
}

/* With the lock held. */
static int
conf(struct mlx5p_dev *dev, int vid)
{
	int ret;

	if (dev->configured)
		stop_all(dev);
	dev->configured = false;
	ret = configure(dev, vid);
	if (ret < 0) {
		stop_all(dev);
		mlx5p_queues_drop(dev->queues);
	}
	mlx5p_queues_drop_stale(dev->queues, mlx5p_memory_mkey(dev->memory),
		mlx5p_memory_ring_mkey(dev->memory));
	mlx5p_memory_reap(dev->memory);
	dev->configured = ret == 0;
	if (ret == 0)
		mlx5p_restart_done(&dev->restart, dev->name, dev->memory, dev->queues);
	return ret;
}

/* With the lock held. */
static int
conf_or_say(struct mlx5p_dev *dev, int vid)
{
	int ret = conf(dev, vid);

	if (ret < 0)
		MLX5P_LOG(ERR, dev->name, "cannot configure the device for its front-end: %s",
			strerror(-ret));
	return ret;
}

/* A second front-end. The library tries again with each of its messages: one line will do. */
static int
refuse(struct mlx5p_dev *dev, int vid)
{
	if (dev->refused != vid)
		MLX5P_LOG(ERR, dev->name, "connection %d is refused: the device serves another one",
			vid);
	dev->refused = vid;
	return -EBUSY;
}

int
mlx5p_dev_conf(struct mlx5p_dev *dev, int vid)
{
	int ret;

	pthread_mutex_lock(&dev->lock);
	ret = mlx5p_memory_is_for(dev->memory, vid) ? conf_or_say(dev, vid) : refuse(dev, vid);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

/* With the lock held. */
static void
close_device(struct mlx5p_dev *dev)
{
	mlx5p_restart_stop(&dev->restart, dev->memory, dev->queues);
	stop_all(dev);
	dev->configured = dev->log_moves = false;
	mlx5p_memory_virtio_reset(dev->memory);
}

void
mlx5p_dev_close(struct mlx5p_dev *dev, int vid)
{
	pthread_mutex_lock(&dev->lock);
	if (mlx5p_memory_is_for(dev->memory, vid)) {
		close_device(dev);
		mlx5p_queues_renew(dev->queues, mlx5p_memory_mkey(dev->memory),
			mlx5p_memory_ring_mkey(dev->memory));
	}
	pthread_mutex_unlock(&dev->lock);
}

/* The guest stopped the device by its status, and starts it again; with the lock held. */
static void
user_stop(void *arg)
{
	struct mlx5p_dev *dev = arg;

	close_device(dev);
	mlx5p_queues_renew(dev->queues, mlx5p_memory_mkey(dev->memory),
		mlx5p_memory_ring_mkey(dev->memory));
}

static void
user_start(void *arg)
{
	struct mlx5p_dev *dev = arg;

	conf_or_say(dev, mlx5p_memory_user(dev->memory)->vid);
}

static void
user_reset(void *arg)
{
	struct mlx5p_dev *dev = arg;

	if (!dev->configured)
		mlx5p_queues_rewind_later(dev->queues);
}

/* The connection has gone. With the lock held. */
static void
end_connection(struct mlx5p_dev *dev)
{
	mlx5p_memory_release(dev->memory);
	mlx5p_notifier_forget(dev->notifier);
	mlx5p_restart_forget(&dev->restart);
	mlx5p_queues_vacate(dev->queues);
}

static void start_limbo(struct mlx5p_dev *dev);

/* A while after what looked like a RESET_OWNER. Its answer follows within the same message; if it
 * did not, the connection is gone. */
static void
end_limbo(void *arg)
{
	struct mlx5p_dev *dev = arg;

	pthread_mutex_lock(&dev->lock);
	if (dev->limbo == LIMBO_AGAIN) {
		start_limbo(dev);
	} else {
		dev->limbo = LIMBO_NONE;
		if (vhost_iotlb_user_in_limbo(mlx5p_memory_user(dev->memory)))
			end_connection(dev);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* One timer at a time, however many such messages come. With the lock held. */
static void
start_limbo(struct mlx5p_dev *dev)
{
	dev->limbo = LIMBO_NONE;
	if (rte_eal_alarm_set(LIMBO_US, end_limbo, dev) == 0)
		dev->limbo = LIMBO_TIMED;
	else
		MLX5P_LOG(WARNING, dev->name, "no timer: should this be the connection's end, its "
			"memory stays pinned until the next one");
}

/* With the lock held. */
static void
cleanup(struct mlx5p_dev *dev)
{
	if (dev->configured)
		close_device(dev);
	if (!vhost_iotlb_user_reset_owner(mlx5p_memory_user(dev->memory))) {
		end_connection(dev);
		return;
	}
	mlx5p_queues_rewind_later(dev->queues);
	if (dev->limbo == LIMBO_NONE)
		start_limbo(dev);
	else
		dev->limbo = LIMBO_AGAIN;
}

void
mlx5p_dev_cleanup(struct mlx5p_dev *dev, int vid)
{
	pthread_mutex_lock(&dev->lock);
	mlx5p_memory_withdraw(dev->memory, vid);
	if (mlx5p_memory_is_for(dev->memory, vid))
		cleanup(dev);
	if (dev->refused == vid)
		dev->refused = MLX5P_NOBODY;
	mlx5p_queues_want_none(dev->queues, vid);
	pthread_mutex_unlock(&dev->lock);
}

int
mlx5p_dev_want_queue(struct mlx5p_dev *dev, int vid, int queue, bool on)
{
	int ret;

	if (queue < 0 || (uint32_t)queue >= mlx5p_queues_count(dev->queues)) {
		MLX5P_LOG(ERR, dev->name, "the front-end names virtqueue %d, the card has %u",
			queue, mlx5p_queues_count(dev->queues));
		return -EINVAL;
	}
	pthread_mutex_lock(&dev->lock);
	ret = mlx5p_queues_want(dev->queues, vid, queue, on,
		dev->configured && mlx5p_memory_is_for(dev->memory, vid));
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

/* Begin to log, go on in another log, or end it; with the lock held. The new log is in use before
 * the old one goes. */
static int
follow_log(struct mlx5p_dev *dev, int vid)
{
	struct mlx5p_dirty before = dev->dirty;
	uint64_t features;
	int ret = 0;

	if (rte_vhost_get_negotiated_features(vid, &features) < 0)
		return -ENODEV;
	dev->dirty = (struct mlx5p_dirty) { .bitmap = { .mkey = 0 } };
	if (RTE_VHOST_NEED_LOG(features))
		ret = mlx5p_dirty_open(&dev->hw, dev->args.mr_backend, vid, &dev->dirty);
	if (ret < 0) {
		MLX5P_LOG(ERR, dev->name, "what the device writes can't be logged: "
			"its queues stop until the guest's next reset");
		mlx5p_queues_stop(dev->queues);
		dev->configured = false; /* no queue starts before the next conf */
	} else {
		mlx5p_queues_set_bitmap(dev->queues, &dev->dirty.bitmap);
	}
	mlx5p_dirty_close(&dev->hw, &before);
	return ret;
}

int
mlx5p_dev_set_features(struct mlx5p_dev *dev, int vid)
{
	int ret = 0;

	pthread_mutex_lock(&dev->lock);
	/* What was taken for a RESET_OWNER was the end: this is another connection. */
	if (vhost_iotlb_user_in_limbo(mlx5p_memory_user(dev->memory)))
		mlx5p_notifier_forget(dev->notifier);
	/* From here on its messages are seen. All other features are read at the next start: they
	 * don't change while the device runs. */
	if (mlx5p_memory_is_for(dev->memory, vid))
		ret = mlx5p_memory_attach(dev->memory, vid);
	if (ret == 0 && dev->configured && mlx5p_memory_is_for(dev->memory, vid))
		ret = follow_log(dev, vid);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

/* Queues that stood for a log that moves go on, in whichever log; with the lock held. */
static void
end_log_move(struct mlx5p_dev *dev)
{
	if (dev->log_moves && dev->configured)
		mlx5p_queues_go_on(dev->queues, mlx5p_memory_mkey(dev->memory),
			mlx5p_memory_ring_mkey(dev->memory));
	dev->log_moves = false;
}

/* The vhost library answers before it tells us. A front-end that has the answer reads the old log
 * for the last time: nothing may be marked there any more. With the lock held. */
static void
begin_log_move(struct mlx5p_dev *dev)
{
	if (!dev->configured || dev->dirty.bitmap.mkey == 0)
		return;
	mlx5p_queues_stand(dev->queues);
	dev->log_moves = true;
}

/* All that is public of a message is that it begins with its number. */
static bool
moves_log(const struct mlx5p_dev *dev, int vid, const void *msg)
{
	return *(const uint32_t *)msg == VHOST_USER_SET_LOG_BASE &&
		mlx5p_memory_is_for(dev->memory, vid);
}

enum rte_vhost_msg_result
mlx5p_dev_before_message(struct mlx5p_dev *dev, int vid, void *msg)
{
	enum rte_vhost_msg_result result;

	pthread_mutex_lock(&dev->lock);
	result = vhost_iotlb_user_before(mlx5p_memory_user(dev->memory), vid, msg);
	if (mlx5p_memory_is_for(dev->memory, vid))
		end_log_move(dev); /* that the library refused */
	if (moves_log(dev, vid, msg))
		begin_log_move(dev);
	pthread_mutex_unlock(&dev->lock);
	return result;
}

enum rte_vhost_msg_result
mlx5p_dev_after_message(struct mlx5p_dev *dev, int vid, void *msg)
{
	enum rte_vhost_msg_result result;

	pthread_mutex_lock(&dev->lock);
	result = vhost_iotlb_user_after(mlx5p_memory_user(dev->memory), vid, msg);
	/* No operation tells when the log moves, as it does when memory is added in a migration. */
	if (moves_log(dev, vid, msg) && dev->configured)
		follow_log(dev, vid);
	if (mlx5p_memory_is_for(dev->memory, vid))
		end_log_move(dev);
	pthread_mutex_unlock(&dev->lock);
	return result;
}

/* ---- statistics ---- */

int
mlx5p_dev_get_stats(struct mlx5p_dev *dev, int queue, struct rte_vdpa_stat *stats, unsigned int n)
{
	int ret;

	if (queue < 0 || (uint32_t)queue >= mlx5p_queues_count(dev->queues))
		return -EINVAL;
	pthread_mutex_lock(&dev->lock);
	mlx5p_queues_settle(dev->queues);
	ret = mlx5p_stats_get(mlx5p_queues_get(dev->queues, queue), stats, n);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

int
mlx5p_dev_reset_stats(struct mlx5p_dev *dev, int queue)
{
	int ret;

	if (queue < 0 || (uint32_t)queue >= mlx5p_queues_count(dev->queues))
		return -EINVAL;
	pthread_mutex_lock(&dev->lock);
	mlx5p_queues_settle(dev->queues);
	ret = mlx5p_stats_reset(mlx5p_queues_get(dev->queues, queue));
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

/* ---- memory, seen and dropped ---- */

int
mlx5p_dev_drop(struct mlx5p_dev *dev, uint64_t *bytes)
{
	int ret;

	pthread_mutex_lock(&dev->lock);
	ret = mlx5p_memory_drop(dev->memory, bytes);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

void
mlx5p_dev_see_memory(struct mlx5p_dev *dev,
		void (*fn)(void *arg, const struct mlx5p_memory *memory), void *arg)
{
	pthread_mutex_lock(&dev->lock);
	fn(arg, dev->memory);
	pthread_mutex_unlock(&dev->lock);
}

/* ---- event thread ---- */

static void
on_completion(void *arg, uint16_t queue)
{
	struct mlx5p_dev *dev = arg;

	mlx5p_virtq_on_event(mlx5p_queues_get(dev->queues, queue));
}

static void
on_kick(void *arg, uint16_t queue)
{
	struct mlx5p_dev *dev = arg;

	if (mlx5p_virtq_on_kick(mlx5p_queues_get(dev->queues, queue)))
		mlx5p_notifier_want(dev->notifier, queue);
}

static void
on_call(void *arg, uint16_t queue)
{
	struct mlx5p_dev *dev = arg;

	mlx5p_virtq_call(mlx5p_queues_get(dev->queues, queue));
}

static void
on_error(void *arg, uint16_t queue)
{
	struct mlx5p_dev *dev = arg;

	pthread_mutex_lock(&dev->lock);
	if (dev->configured)
		mlx5p_queues_recover(dev->queues, queue);
	pthread_mutex_unlock(&dev->lock);
}

static void
on_timer(void *arg, enum mlx5p_timer timer)
{
	struct mlx5p_dev *dev = arg;

	pthread_mutex_lock(&dev->lock);
	if (timer == MLX5P_TIMER_MEMORY)
		mlx5p_memory_expire(dev->memory);
	else
		mlx5p_queues_get_ahead(dev->queues);
	pthread_mutex_unlock(&dev->lock);
}

static uint32_t
poll_all(void *arg)
{
	return mlx5p_queues_poll(((struct mlx5p_dev *)arg)->queues);
}

static void
arm_all(void *arg)
{
	mlx5p_queues_arm(((struct mlx5p_dev *)arg)->queues);
}

/* ---- probe and remove ---- */

/* Take apart what mlx5p_dev_create() made so far. */
static void
release(struct mlx5p_dev *dev)
{
	if (dev->events != NULL)
		mlx5p_events_stop(dev->events);
	mlx5p_notifier_destroy(dev->notifier);
	mlx5p_queues_destroy(dev->queues);
	mlx5p_memory_destroy(dev->memory);
	mlx5p_events_destroy(dev->events);
	mlx5p_workers_put(dev->workers);
	mlx5p_hw_close(&dev->hw);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

static int
get_workers(struct mlx5p_dev *dev)
{
	unsigned int n = dev->args.conf_threads;

	if (n == MLX5P_CONF_THREADS_AUTO)
		n = mlx5p_workers_default(dev->hw.numa_node);
	return mlx5p_workers_get(dev->hw.numa_node, n, &dev->workers);
}

static int
create_parts(struct mlx5p_dev *dev)
{
	static const struct mlx5p_event_handlers handlers = {
		.completion = on_completion, .error = on_error, .kick = on_kick, .call = on_call,
		.timer = on_timer,
		.poll = poll_all, .arm = arm_all,
	};
	const struct mlx5p_memory_owner owner = {
		.forget_keys = forget_keys, .use_key = use_key, .wake_at = wake_memory_at,
		.stop = user_stop, .start = user_start, .reset = user_reset, .arg = dev,
		.hook = mlx5p_message_hook(),
	};
	struct mlx5p_pace pace;
	int ret;

	dev->notifier = mlx5p_notifier_create(dev->name);
	if (dev->notifier == NULL)
		return -ENOMEM;
	ret = get_workers(dev);
	if (ret == 0)
		ret = mlx5p_memory_create(&dev->hw, &dev->args, dev->workers, &owner,
			&dev->memory);
	if (ret < 0)
		return ret;
	mlx5p_pace_init(&pace, dev->args.event_mode, dev->args.event_us, dev->args.no_traffic_time);
	ret = mlx5p_events_create(&dev->hw, dev->args.event_core, &pace, &handlers, dev,
		&dev->events);
	if (ret == 0)
		ret = mlx5p_queues_create(&dev->hw, dev->events, dev->workers, &dev->args,
			&dev->queues);
	if (ret == 0)
		ret = mlx5p_queues_prepare(dev->queues);
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
	dev->args = *args;
	dev->refused = MLX5P_NOBODY;
	ret = mlx5p_hw_open(&dev->hw, dev->name, ctx, numa_node);
	if (ret < 0) {
		pthread_mutex_destroy(&dev->lock);
		free(dev);
		return ret;
	}
	ret = create_parts(dev);
	if (ret < 0)
		goto fail;
	ret = mlx5p_registry_add(&dev->entry, dev, dev->name, rte_dev, mlx5p_vdpa_ops());
	if (ret < 0)
		goto fail;
	*out = dev;
	return 0;
fail:
	MLX5P_LOG(ERR, name, "cannot set up the device: %s", strerror(-ret));
	release(dev);
	return ret;
}

/* Is it at work for a connection? What was taken for a RESET_OWNER may have been the end of it. */
static bool
serves(struct mlx5p_dev *dev)
{
	bool ret;

	pthread_mutex_lock(&dev->lock);
	ret = mlx5p_memory_attached(dev->memory) &&
		!vhost_iotlb_user_in_limbo(mlx5p_memory_user(dev->memory));
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

int
mlx5p_dev_destroy(struct mlx5p_dev *dev)
{
	/* The vhost library has no way to take a device from a connection: it would call what is
	 * freed. */
	if (serves(dev)) {
		MLX5P_LOG(ERR, dev->name, "the device is not removed: a front-end is connected; "
			"unregister its vhost socket first");
		return -EBUSY;
	}
	mlx5p_registry_remove(&dev->entry);
	rte_eal_alarm_cancel(end_limbo, dev);
	pthread_mutex_lock(&dev->lock);
	stop_all(dev);
	dev->configured = false;
	mlx5p_memory_release(dev->memory);
	pthread_mutex_unlock(&dev->lock);
	release(dev);
	return 0;
}
