/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: from the device to the channels that subscribed to them.
 *
 * A channel is an eventfd that counts what is queued: its reader decrements first, without a
 * lock, and then takes what must be there. So the file can be polled, blocks or not as the
 * program set it, and a blocked reader can be cancelled.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "face.h"

enum {
	BUCKETS = 1024,
	EVENT_NUMS_MAX = 16,       /* of one subscription (Linux: MAX_NUM_EVENTS) */
	/* An event queue entry (Linux: struct mlx5_eqe). */
	EQE_BYTES = 64,
	EQE_TYPE = 1,
	EQE_SUB_TYPE = 3,
	EQE_COMP_CQN = 0x20 + 24,
	EQE_CQ_ERR_CQN = 0x20,
	EQE_QP_TYPE = 0x20 + 20,
	EQE_QP_QPN = 0x20 + 24,
	EQE_OBJ_TYPE = 0x20 + 2,
	EQE_OBJ_ID = 0x20 + 4,
	/* Kinds of queues in it (Linux: MLX5_EVENT_QUEUE_TYPE_*). */
	QUEUE_TYPE_QP = 0,
};

struct channel;

/* A subscription to one event of one object. */
struct face_sub {
	uint16_t type;
	uint16_t obj_type;
	uint32_t obj_id;
	uint64_t cookie;
	struct channel *channel;
	struct mlx5dv_devx_obj *obj;   /* in its list; NULL: subscribed without, or it is gone */
	int fd;                    /* eventfd to signal instead of the channel; -1 */
	bool live;                 /* in its bucket: until the object is gone */
	bool pending;              /* in the channel's queue of cookies */
	LIST_ENTRY(face_sub) in_bucket;
	LIST_ENTRY(face_sub) in_obj;
	LIST_ENTRY(face_sub) in_channel;
	TAILQ_ENTRY(face_sub) in_queue;
};

/* An event with its data. */
struct item {
	TAILQ_ENTRY(item) next;
	uint64_t cookie;
	uint8_t eqe[EQE_BYTES];
};

struct channel {
	struct face_obj obj;
	struct mlx5dv_devx_event_channel dv;
	bool omit_data;            /* cookies only, each subscription's once until it is read */
	atomic_bool overflow;      /* an event was lost */
	LIST_HEAD(, face_sub) subs;
	TAILQ_HEAD(, face_sub) cookies;
	TAILQ_HEAD(, item) items;
};

struct face_events {
	pthread_mutex_t lock;
	LIST_HEAD(bucket, face_sub) buckets[BUCKETS];
};

int
face_events_create(struct face_dev *dev)
{
	struct face_events *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	pthread_mutex_init(&e->lock, NULL);
	dev->events = e;
	return 0;
}

void
face_events_destroy(struct face_dev *dev)
{
	pthread_mutex_destroy(&dev->events->lock);
	free(dev->events);
}

static struct bucket *
bucket_of(struct face_events *e, uint16_t type, uint32_t obj_id)
{
	return &e->buckets[(obj_id * 31u + type) % BUCKETS];
}

/* ---- delivery, under the lock ---- */

static void
put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void
fill_eqe(uint8_t eqe[EQE_BYTES], const struct emu_event *ev)
{
	memset(eqe, 0, EQE_BYTES);
	eqe[EQE_TYPE] = (uint8_t)ev->type;
	eqe[EQE_SUB_TYPE] = ev->subtype;
	switch (ev->type) {
	case MLX5_EVENT_TYPE_COMP:
		put32(eqe + EQE_COMP_CQN, ev->obj_id);
		break;
	case MLX5_EVENT_TYPE_CQ_ERROR:
		put32(eqe + EQE_CQ_ERR_CQN, ev->obj_id);
		break;
	case MLX5_EVENT_TYPE_WQ_CATAS_ERROR:
		eqe[EQE_QP_TYPE] = QUEUE_TYPE_QP;
		put32(eqe + EQE_QP_QPN, ev->obj_id);
		break;
	default:
		eqe[EQE_OBJ_TYPE] = (uint8_t)(ev->obj_type >> 8);
		eqe[EQE_OBJ_TYPE + 1] = (uint8_t)ev->obj_type;
		put32(eqe + EQE_OBJ_ID, ev->obj_id);
	}
}

static void
signal_fd(int fd)
{
	const uint64_t one = 1;

	/* Not write(), at which a thread could be cancelled, with locks held. A counter of 64
	 * bits does not fill up. */
	syscall(SYS_write, fd, &one, sizeof(one));
}

static void
deliver(struct face_sub *sub, const struct emu_event *ev)
{
	struct channel *ch = sub->channel;
	struct item *item;

	if (sub->fd >= 0) {
		signal_fd(sub->fd);
		return;
	}
	if (ch->omit_data) {
		if (sub->pending)
			return;
		sub->pending = true;
		TAILQ_INSERT_TAIL(&ch->cookies, sub, in_queue);
		signal_fd(ch->dv.fd);
		return;
	}
	item = malloc(sizeof(*item));
	if (item == NULL) {
		ch->overflow = true;
		return;
	}
	item->cookie = sub->cookie;
	fill_eqe(item->eqe, ev);
	TAILQ_INSERT_TAIL(&ch->items, item, next);
	signal_fd(ch->dv.fd);
}

void
face_event(void *arg, const struct emu_event *ev)
{
	struct face_events *e = ((struct face_dev *)arg)->events;
	struct face_sub *sub;

	pthread_mutex_lock(&e->lock);
	LIST_FOREACH(sub, bucket_of(e, ev->type, ev->obj_id), in_bucket) {
		if (sub->type == ev->type && sub->obj_type == ev->obj_type &&
				sub->obj_id == ev->obj_id)
			deliver(sub, ev);
	}
	pthread_mutex_unlock(&e->lock);
}

/* ---- subscriptions ---- */

/* Events of queues, which name them by number (Linux: is_legacy_obj_event_num()). */
static bool
is_queue_event(uint16_t type)
{
	switch (type) {
	case MLX5_EVENT_TYPE_PATH_MIG:
	case MLX5_EVENT_TYPE_COMM_EST:
	case MLX5_EVENT_TYPE_SQ_DRAINED:
	case MLX5_EVENT_TYPE_SRQ_LAST_WQE:
	case MLX5_EVENT_TYPE_SRQ_RQ_LIMIT:
	case MLX5_EVENT_TYPE_CQ_ERROR:
	case MLX5_EVENT_TYPE_WQ_CATAS_ERROR:
	case MLX5_EVENT_TYPE_PATH_MIG_FAILED:
	case MLX5_EVENT_TYPE_WQ_INVAL_REQ_ERROR:
	case MLX5_EVENT_TYPE_WQ_ACCESS_ERROR:
	case MLX5_EVENT_TYPE_SRQ_CATAS_ERROR:
	case MLX5_EVENT_TYPE_DCT_DRAINED:
	case MLX5_EVENT_TYPE_COMP:
	case MLX5_EVENT_TYPE_DCT_KEY_VIOLATION:
	case MLX5_EVENT_TYPE_XRQ_ERROR:
		return true;
	default:
		return false;
	}
}

/* What may be subscribed to: for an object the events of queues, and those that this device
 * reports of general objects; without one, changes of the port. */
static bool
is_allowed(const struct mlx5dv_devx_obj *obj, uint16_t type)
{
	if (obj == NULL)
		return type == MLX5_EVENT_TYPE_PORT_CHANGE;
	return is_queue_event(type) || type == MLX5_EVENT_TYPE_OBJECT_CHANGE;
}

static struct face_sub *
sub_new(struct channel *ch, struct mlx5dv_devx_obj *obj, uint16_t type, uint64_t cookie)
{
	struct face_sub *sub = calloc(1, sizeof(*sub));

	if (sub == NULL)
		return NULL;
	sub->type = type;
	/* The kind of a queue that has several is that of QPs here, which is 0. */
	sub->obj_type = obj != NULL && !is_queue_event(type) ? obj->obj_type : 0;
	sub->obj_id = obj != NULL ? obj->id : 0;
	sub->cookie = cookie;
	sub->channel = ch;
	sub->obj = obj;
	sub->fd = -1;
	return sub;
}

static void
sub_link(struct face_events *e, struct face_sub *sub)
{
	pthread_mutex_lock(&e->lock);
	LIST_INSERT_HEAD(bucket_of(e, sub->type, sub->obj_id), sub, in_bucket);
	LIST_INSERT_HEAD(&sub->channel->subs, sub, in_channel);
	if (sub->obj != NULL)
		LIST_INSERT_HEAD(&sub->obj->subs, sub, in_obj);
	sub->live = true;
	pthread_mutex_unlock(&e->lock);
}

/* No event finds it any more. Under the lock. */
static void
sub_unlink(struct face_sub *sub)
{
	if (sub->live)
		LIST_REMOVE(sub, in_bucket);
	if (sub->obj != NULL)
		LIST_REMOVE(sub, in_obj);
	sub->live = false;
	sub->obj = NULL;
}

static void
sub_free(struct face_sub *sub)
{
	LIST_REMOVE(sub, in_channel);
	if (sub->fd >= 0)
		close(sub->fd);
	free(sub);
}

void
face_events_forget(struct mlx5dv_devx_obj *obj)
{
	struct face_events *e = obj->obj.ctx->dev->events;
	struct face_sub *sub;

	pthread_mutex_lock(&e->lock);
	while ((sub = LIST_FIRST(&obj->subs)) != NULL) {
		sub_unlink(sub);
		/* A cookie that is queued can still be read. */
		if (!sub->pending)
			sub_free(sub);
	}
	pthread_mutex_unlock(&e->lock);
}

static int
check_subscription(const struct channel *ch, const struct mlx5dv_devx_obj *obj, unsigned int n,
		const uint16_t *types)
{
	unsigned int i;

	if (ch->obj.ctx->uid == 0 || n == 0 || n > EVENT_NUMS_MAX)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if (!is_allowed(obj, types[i]))
			return -EINVAL;
	}
	return 0;
}

int
mlx5dv_devx_subscribe_devx_event(struct mlx5dv_devx_event_channel *channel,
		struct mlx5dv_devx_obj *obj, uint16_t events_sz, uint16_t events_num[],
		uint64_t cookie)
{
	struct channel *ch = FACE_CONTAINER(channel, struct channel, dv);
	unsigned int n = events_sz / sizeof(events_num[0]), i;
	struct face_sub *subs[EVENT_NUMS_MAX];
	int rc;

	if (events_sz % sizeof(events_num[0]) != 0)
		return face_errno(-EINVAL);
	rc = check_subscription(ch, obj, n, events_num);
	if (rc != 0)
		return face_errno(rc);
	for (i = 0; i < n; i++) {
		subs[i] = sub_new(ch, obj, events_num[i], cookie);
		if (subs[i] != NULL)
			continue;
		while (i > 0)
			free(subs[--i]);
		return face_errno(-ENOMEM);
	}
	for (i = 0; i < n; i++)
		sub_link(ch->obj.ctx->dev->events, subs[i]);
	return 0;
}

static bool
is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

int
mlx5dv_devx_subscribe_devx_event_fd(struct mlx5dv_devx_event_channel *channel, int fd,
		struct mlx5dv_devx_obj *obj, uint16_t event_num)
{
	struct channel *ch = FACE_CONTAINER(channel, struct channel, dv);
	struct face_sub *sub;
	int rc;

	rc = check_subscription(ch, obj, 1, &event_num);
	if (rc == 0 && !is_eventfd(fd))
		rc = -EINVAL;
	if (rc != 0)
		return face_errno(rc);
	sub = sub_new(ch, obj, event_num, 0);
	if (sub == NULL)
		return face_errno(-ENOMEM);
	/* The kernel keeps the file, too. */
	sub->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (sub->fd < 0) {
		rc = -errno;
		free(sub);
		return face_errno(rc);
	}
	sub_link(ch->obj.ctx->dev->events, sub);
	return 0;
}

/* ---- channels ---- */

static int
channel_destroy(struct face_obj *obj)
{
	struct channel *ch = FACE_CONTAINER(obj, struct channel, obj);
	struct face_events *e = obj->ctx->dev->events;
	struct face_sub *sub;
	struct item *item;

	pthread_mutex_lock(&e->lock);
	while ((sub = LIST_FIRST(&ch->subs)) != NULL) {
		sub_unlink(sub);
		sub_free(sub);
	}
	while ((item = TAILQ_FIRST(&ch->items)) != NULL) {
		TAILQ_REMOVE(&ch->items, item, next);
		free(item);
	}
	pthread_mutex_unlock(&e->lock);
	close(ch->dv.fd);
	free(ch);
	emu_alive_add("event_channel", -1);
	return 0;
}

struct mlx5dv_devx_event_channel *
mlx5dv_devx_create_event_channel(struct ibv_context *context,
		enum mlx5dv_devx_create_event_channel_flags flags)
{
	const unsigned int omit_data = MLX5DV_DEVX_CREATE_EVENT_CHANNEL_FLAGS_OMIT_EV_DATA;
	struct face_ctx *ctx = face_ctx_of(context);
	struct channel *ch;

	if (((unsigned int)flags & ~omit_data) != 0)
		return face_null(-EINVAL);
	ch = calloc(1, sizeof(*ch));
	if (ch == NULL)
		return face_null(-ENOMEM);
	ch->dv.fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	if (ch->dv.fd < 0) {
		int rc = -errno;

		free(ch);
		return face_null(rc);
	}
	ch->omit_data = flags != 0;
	LIST_INIT(&ch->subs);
	TAILQ_INIT(&ch->cookies);
	TAILQ_INIT(&ch->items);
	face_obj_add(ctx, &ch->obj, channel_destroy);
	emu_alive_add("event_channel", 1);
	return &ch->dv;
}

void
mlx5dv_devx_destroy_event_channel(struct mlx5dv_devx_event_channel *channel)
{
	face_obj_destroy(&FACE_CONTAINER(channel, struct channel, dv)->obj);
}

/* Take the oldest event, for which the reader has decremented the count. Returns its bytes. */
static ssize_t
take_event(struct channel *ch, struct mlx5dv_devx_async_event_hdr *data)
{
	struct face_events *e = ch->obj.ctx->dev->events;
	struct face_sub *sub;
	struct item *item;
	ssize_t n = -1;

	pthread_mutex_lock(&e->lock);
	sub = TAILQ_FIRST(&ch->cookies);
	item = TAILQ_FIRST(&ch->items);
	if (sub != NULL) {
		TAILQ_REMOVE(&ch->cookies, sub, in_queue);
		sub->pending = false;
		data->cookie = sub->cookie;
		n = sizeof(data->cookie);
		if (!sub->live)
			sub_free(sub);
	} else if (item != NULL) {
		TAILQ_REMOVE(&ch->items, item, next);
		data->cookie = item->cookie;
		memcpy(data->out_data, item->eqe, sizeof(item->eqe));
		n = sizeof(data->cookie) + sizeof(item->eqe);
		free(item);
	}
	pthread_mutex_unlock(&e->lock);
	if (n < 0)
		errno = EIO;
	return n;
}

ssize_t
mlx5dv_devx_get_event(struct mlx5dv_devx_event_channel *channel,
		struct mlx5dv_devx_async_event_hdr *event_data, size_t event_resp_len)
{
	struct channel *ch = FACE_CONTAINER(channel, struct channel, dv);
	size_t needs = sizeof(event_data->cookie) + (ch->omit_data ? 0 : EQE_BYTES);
	uint64_t one;

	if (atomic_exchange(&ch->overflow, false)) {
		errno = EOVERFLOW;
		return -1;
	}
	/* A cancellation point; nothing is held. */
	if (read(ch->dv.fd, &one, sizeof(one)) < 0)
		return -1;
	if (event_resp_len < needs) {
		signal_fd(ch->dv.fd);
		errno = EINVAL;
		return -1;
	}
	return take_event(ch, event_data);
}

/* ---- event queues ---- */

unsigned int
face_vectors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > FACE_VECTORS_MAX ? FACE_VECTORS_MAX : (unsigned int)n;
}

int
mlx5dv_devx_query_eqn(struct ibv_context *context, uint32_t vector, uint32_t *eqn)
{
	(void)context;
	if (vector >= face_vectors())
		return face_errno(-ENOENT);
	*eqn = FACE_EQN_FIRST + vector;
	return 0;
}
