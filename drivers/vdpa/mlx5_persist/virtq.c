/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <mlx5_prm.h>
#include <rte_common.h>

#include "call.h"
#include "clock.h"
#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"
#include "virtq.h"

void
mlx5p_virtq_init(struct mlx5p_virtq *vq, struct mlx5p_virtq_env *env, uint16_t index)
{
	*vq = (struct mlx5p_virtq) { .env = env, .index = index, .kickfd = -1 };
	pthread_mutex_init(&vq->lock, NULL);
}

/* ---- resources of a ring size ---- */

/* An object that the card did not let go. @return 0: there is none any more. */
static int
destroy_refused(struct mlx5p_virtq *vq)
{
	return mlx5p_devx_try_destroy(vq->env->hw, &vq->refused, "virtqueue");
}

static void
free_resources(struct mlx5p_virtq *vq)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	size_t i;

	mlx5p_devx_destroy(hw, &vq->refused, "virtqueue");
	pthread_mutex_lock(&vq->lock);
	mlx5p_evq_destroy(hw, &vq->evq);
	pthread_mutex_unlock(&vq->lock);
	for (i = 0; i < RTE_DIM(vq->umem); i++)
		mlx5p_umem_destroy(hw, &vq->umem[i]);
	mlx5p_devx_destroy(hw, &vq->counters, "virtqueue counters");
	vq->event_qp_spent = false;
	vq->size = 0;
}

static int
create_evq(struct mlx5p_virtq *vq, uint16_t size)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	int ret;

	pthread_mutex_lock(&vq->lock);
	ret = mlx5p_evq_create(hw, &vq->evq, size);
	if (ret == 0)
		ret = mlx5p_events_subscribe_cq(vq->env->events, &vq->evq.cq, vq->index);
	if (ret == 0)
		mlx5p_evq_arm(hw, &vq->evq);
	pthread_mutex_unlock(&vq->lock);
	return ret;
}

/* Make what a queue of @size needs beside its object, unless it is there. */
static int
make_resources(struct mlx5p_virtq *vq, uint16_t size)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	size_t i;
	int ret;

	if (vq->size == size)
		return 0;
	mlx5p_virtq_drop(vq);
	ret = destroy_refused(vq);
	if (ret < 0)
		return ret;
	free_resources(vq);
	ret = create_evq(vq, size);
	for (i = 0; i < RTE_DIM(vq->umem) && ret == 0; i++)
		ret = mlx5p_umem_create(hw, &vq->umem[i],
			(size_t)hw->caps.umem[i].a * size + hw->caps.umem[i].b);
	if (ret == 0 && hw->caps.general_obj_types >> MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS & 1)
		ret = mlx5p_devx_create_counters(hw, &vq->counters);
	if (ret < 0) {
		free_resources(vq);
		return ret;
	}
	memset(&vq->counters_base, 0, sizeof(vq->counters_base));
	vq->size = size;
	return 0;
}

void
mlx5p_virtq_free(struct mlx5p_virtq *vq)
{
	mlx5p_virtq_drop(vq);
	free_resources(vq);
	pthread_mutex_destroy(&vq->lock);
}

/* ---- the object ---- */

/* What the object is to be like on @ring (NULL: not known yet) and in @guest's memory. */
static struct mlx5p_virtq_attr
attr_of(const struct mlx5p_virtq *vq, const struct mlx5p_ring *ring,
		const struct mlx5p_guest *guest)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	struct mlx5p_virtq_attr attr = {
		.index = vq->index,
		.size = vq->size,
		.features = guest->features,
		.mkey = guest->mkey,
		.ring_mkey = vq->env->no_ring_mkey ? 0 : guest->ring_mkey,
		.bitmap = guest->bitmap,
		.moderation = vq->env->moderation,
		.event_qpn = vq->evq.fw_qp.id,
		/* Both queues of a pair on one port. */
		.tisn = hw->tis[vq->index / 2 % hw->ntis].id,
		.counter_set_id = vq->counters.id,
	};
	size_t i;

	for (i = 0; i < RTE_DIM(attr.umem); i++) {
		attr.umem[i].id = vq->umem[i].umem->umem_id;
		attr.umem[i].size = vq->umem[i].size;
	}
	if (ring == NULL)
		return attr;
	attr.packed = ring->packed;
	attr.hw_available_index = ring->avail_index;
	attr.hw_used_index = ring->used_index;
	attr.desc_addr = ring->desc;
	attr.used_addr = ring->used;
	attr.available_addr = ring->avail;
	return attr;
}

/* modify_field_select for the bitmap. One that is switched off stays where it is. */
static uint64_t
bitmap_difference(const struct mlx5p_bitmap *has, const struct mlx5p_bitmap *want)
{
	uint64_t select = 0;

	if ((has->mkey != 0) != (want->mkey != 0))
		select |= MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE;
	if (want->mkey != 0 && (has->mkey != want->mkey || has->addr != want->addr ||
			has->size != want->size))
		select |= MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS;
	return select;
}

/* modify_field_select for all that differs. */
static uint64_t
difference(const struct mlx5p_virtq_attr *has, const struct mlx5p_virtq_attr *want)
{
	const uint64_t version = UINT64_C(1) << VIRTIO_F_VERSION_1;
	const uint64_t offloads = 1 << VIRTIO_NET_F_CSUM | 1 << VIRTIO_NET_F_GUEST_CSUM |
		1 << VIRTIO_NET_F_HOST_TSO4 | 1 << VIRTIO_NET_F_HOST_TSO6;
	uint64_t features = has->features ^ want->features;
	uint64_t select = bitmap_difference(&has->bitmap, &want->bitmap);

	if (has->desc_addr != want->desc_addr || has->used_addr != want->used_addr ||
			has->available_addr != want->available_addr)
		select |= MLX5_VIRTQ_MODIFY_ADDRS;
	if (has->hw_available_index != want->hw_available_index)
		select |= MLX5_VIRTQ_MODIFY_AVAIL_IDX;
	if (has->hw_used_index != want->hw_used_index)
		select |= MLX5_VIRTQ_MODIFY_USED_IDX;
	if (has->packed != want->packed)
		select |= MLX5_VIRTQ_MODIFY_Q_TYPE;
	if (has->mkey != want->mkey)
		select |= MLX5_VIRTQ_MODIFY_Q_MKEY;
	if (has->ring_mkey != want->ring_mkey)
		select |= MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY;
	if (features & version)
		select |= MLX5_VIRTQ_MODIFY_VIRTIO_VERSION;
	if (features & offloads)
		select |= MLX5_VIRTQ_MODIFY_QUEUE_FEATURES;
	if (memcmp(&has->moderation, &want->moderation, sizeof(has->moderation)) != 0)
		select |= MLX5_VIRTQ_MODIFY_QUEUE_PERIOD;
	return select;
}

/* modify_field_select that makes sure of it. */
static uint64_t
to_change(const struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *want)
{
	return difference(&vq->attr, want) | vq->doubtful;
}

/* INIT, SUSPENDED -> RUNNING in one command. */
static int
make_ready(struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *attr)
{
	uint64_t select = to_change(vq, attr) | MLX5_VIRTQ_MODIFY_STATE;
	int ret;

	ret = mlx5p_devx_modify_virtq(vq->env->hw, &vq->obj, select, MLX5_VIRTQ_STATE_RDY, attr);
	if (ret < 0)
		return ret;
	vq->attr = *attr;
	vq->doubtful = 0;
	return 0;
}

/* All that another object needs: its index and its event queue. */
static int
make_room(struct mlx5p_virtq *vq)
{
	int ret = destroy_refused(vq);

	if (ret < 0 || !vq->event_qp_spent)
		return ret;
	pthread_mutex_lock(&vq->lock);
	ret = mlx5p_evq_reset(vq->env->hw, &vq->evq);
	pthread_mutex_unlock(&vq->lock);
	if (ret == 0)
		vq->event_qp_spent = false;
	return ret;
}

/* A card that has no use for a key of the ring's own does without from now on. */
static int
create_object(struct mlx5p_virtq *vq, struct mlx5p_virtq_attr *attr)
{
	int ret = mlx5p_devx_create_virtq(vq->env->hw, attr, &vq->obj);

	if (ret == 0 || attr->ring_mkey == 0)
		return ret;
	attr->ring_mkey = 0;
	ret = mlx5p_devx_create_virtq(vq->env->hw, attr, &vq->obj);
	if (ret == 0 && !atomic_exchange(&vq->env->no_ring_mkey, true))
		MLX5P_LOG(NOTICE, vq->env->hw->name, "the card takes no desc_group_mkey: "
			"rings are reached by the key of all memory from now on");
	return ret;
}

/* NONE -> INIT. */
static int
create(struct mlx5p_virtq *vq, struct mlx5p_virtq_attr *attr)
{
	int ret = make_room(vq);

	if (ret == 0)
		ret = create_object(vq, attr);
	if (ret < 0)
		return ret;
	atomic_fetch_add(&vq->env->made, 1);
	vq->attr = *attr;
	vq->attr.bitmap = (struct mlx5p_bitmap) { .mkey = 0 };
	vq->doubtful = 0;
	vq->state = MLX5P_VIRTQ_INIT;
	ret = mlx5p_events_subscribe_virtq(vq->env->events, &vq->obj, vq->index);
	if (ret < 0)
		mlx5p_virtq_drop(vq);
	return ret;
}

/* What an object that is made for nobody in particular has to learn. */
#define BLANKS (MLX5_VIRTQ_MODIFY_ADDRS | MLX5_VIRTQ_MODIFY_Q_MKEY | \
	MLX5_VIRTQ_MODIFY_VIRTIO_VERSION | MLX5_VIRTQ_MODIFY_QUEUE_FEATURES)

int
mlx5p_virtq_prepare(struct mlx5p_virtq *vq, uint16_t size)
{
	const struct mlx5p_guest nobody = { .features = 0 };
	struct mlx5p_virtq_attr attr;
	int ret;

	if (vq->state != MLX5P_VIRTQ_NONE)
		return 0;
	ret = make_resources(vq, size);
	if (ret < 0)
		return ret;
	if ((vq->env->changeable & BLANKS) == BLANKS) {
		attr = attr_of(vq, NULL, &nobody);
		ret = create(vq, &attr);
	} else {
		ret = make_room(vq);
	}
	/* An object that the card did not let go still stands on them. */
	if (ret < 0 && !mlx5p_obj_exists(&vq->refused))
		free_resources(vq);
	return ret;
}

/* Where a ring starts from scratch. Of a packed one: the wrap counters, which begin at 1 (virtio
 * 1.2, section 2.8.1). */
static uint16_t
first_index(const struct mlx5p_ring *ring)
{
	return ring->packed ? 1 << 15 : 0;
}

int
mlx5p_virtq_renew(struct mlx5p_virtq *vq, uint32_t mkey, uint32_t ring_mkey, bool reset)
{
	struct mlx5p_guest guest = vq->guest;
	struct mlx5p_ring ring = vq->ring;
	struct mlx5p_virtq_attr attr;
	int ret;

	mlx5p_virtq_drop(vq);
	ret = make_room(vq);
	if (ret < 0 || (mkey == 0 && (vq->env->changeable & MLX5_VIRTQ_MODIFY_Q_MKEY) == 0))
		return ret;
	if (reset)
		ring.avail_index = ring.used_index = first_index(&vq->ring);
	guest.mkey = mkey;
	guest.ring_mkey = ring_mkey;
	attr = attr_of(vq, &ring, &guest);
	return create(vq, &attr);
}

/* Can the object become so? */
static bool
may_become(const struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *attr)
{
	if (vq->state != MLX5P_VIRTQ_INIT &&
			(vq->state != MLX5P_VIRTQ_SUSPENDED || !vq->env->reuse))
		return false;
	return (to_change(vq, attr) & ~vq->env->changeable) == 0;
}

static uint64_t
to_rewind(const struct mlx5p_virtq *vq, struct mlx5p_virtq_attr *attr)
{
	*attr = vq->attr;
	attr->hw_available_index = attr->hw_used_index = first_index(&vq->ring);
	return difference(&vq->attr, attr);
}

bool
mlx5p_virtq_stands_off(const struct mlx5p_virtq *vq)
{
	struct mlx5p_virtq_attr attr;

	return vq->state == MLX5P_VIRTQ_SUSPENDED && vq->env->reuse && to_rewind(vq, &attr) != 0;
}

int
mlx5p_virtq_rewind(struct mlx5p_virtq *vq)
{
	struct mlx5p_virtq_attr attr;
	uint64_t select = to_rewind(vq, &attr);
	char why[MLX5P_DEVX_WHY];
	int ret;

	ret = mlx5p_devx_try_modify_virtq(&vq->obj, select, 0, &attr, why, sizeof(why));
	if (ret == 0) {
		vq->attr = attr;
		return 0;
	}
	vq->doubtful = select;
	if (atomic_exchange(&vq->env->rewind, false))
		MLX5P_LOG(NOTICE, vq->env->hw->name, "virtqueue %u is not changed ahead of its "
			"start: %s: no queue is from now on", vq->index, why);
	return ret;
}

/* Get the object to RDY on the cheapest path that the card allows. */
static int
bring_up(struct mlx5p_virtq *vq, struct mlx5p_virtq_attr *attr)
{
	int ret;

	if (may_become(vq, attr)) {
		if (make_ready(vq, attr) == 0)
			return 0;
		if (vq->state == MLX5P_VIRTQ_SUSPENDED && atomic_exchange(&vq->env->reuse, false)) {
			MLX5P_LOG(NOTICE, vq->env->hw->name, "the card does not resume suspended "
				"queues: they are created anew from now on");
		}
	}
	mlx5p_virtq_drop(vq);
	ret = create(vq, attr);
	if (ret == 0) {
		ret = make_ready(vq, attr);
		if (ret < 0)
			mlx5p_virtq_drop(vq);
	}
	return ret;
}

void
mlx5p_virtq_drop(struct mlx5p_virtq *vq)
{
	if (vq->state == MLX5P_VIRTQ_NONE || vq->state == MLX5P_VIRTQ_DOWN)
		return;
	vq->env->unlist(vq->env->unlist_arg, vq->obj.id);
	if (mlx5p_devx_try_destroy(vq->env->hw, &vq->obj, "virtqueue") < 0)
		vq->refused = vq->obj;
	vq->obj = (struct mlx5p_obj) { .obj = NULL };
	vq->state = MLX5P_VIRTQ_NONE;
	vq->event_qp_spent = true;
}

/* ---- start and stop ---- */

/* From here on the event thread serves the guest's descriptors. */
static void
take_descriptors(struct mlx5p_virtq *vq, const struct mlx5p_ring *ring)
{
	const char *name = vq->env->hw->name;
	struct mlx5p_call *call = NULL;
	int ret;

	if (ring->callfd >= 0) {
		ret = mlx5p_call_open(ring->callfd, &call);
		if (ret < 0)
			MLX5P_LOG(ERR, name, "virtqueue %u: cannot interrupt the guest: %s",
				vq->index, ret == -EBADF ? "its call descriptor is no eventfd" :
				strerror(-ret));
	}
	pthread_mutex_lock(&vq->lock);
	vq->call = call;
	vq->kickfd = ring->kickfd >= 0 ? ring->kickfd : -1;
	vq->kicked = false;
	pthread_mutex_unlock(&vq->lock);
	if (ring->kickfd < 0) {
		MLX5P_LOG(NOTICE, name,
			"virtqueue %u has no kick descriptor: the card is rung once, at its start",
			vq->index);
		return;
	}
	ret = mlx5p_events_kick_add(vq->env->events, ring->kickfd, vq->index);
	if (ret < 0)
		MLX5P_LOG(ERR, name, "virtqueue %u: cannot wait for kicks: %s", vq->index,
			strerror(-ret));
}

/* From here on the event thread leaves the guest's descriptors alone. */
static void
forget_descriptors(struct mlx5p_virtq *vq)
{
	struct mlx5p_call *call;

	if (vq->kickfd >= 0)
		mlx5p_events_kick_del(vq->env->events, vq->kickfd);
	pthread_mutex_lock(&vq->lock);
	vq->kickfd = -1;
	call = vq->call;
	vq->call = NULL;
	pthread_mutex_unlock(&vq->lock);
	mlx5p_call_put(call);
}

int
mlx5p_virtq_start(struct mlx5p_virtq *vq, const struct mlx5p_ring *ring,
		const struct mlx5p_guest *guest)
{
	struct mlx5p_virtq_attr attr;
	int ret;

	if (vq->state == MLX5P_VIRTQ_DOWN)
		vq->state = MLX5P_VIRTQ_NONE;
	ret = make_resources(vq, ring->size);
	if (ret < 0)
		return ret;
	attr = attr_of(vq, ring, guest);
	ret = bring_up(vq, &attr);
	if (ret < 0)
		return ret;
	vq->ring = *ring;
	vq->guest = *guest;
	vq->state = MLX5P_VIRTQ_RUNNING;
	take_descriptors(vq, ring);
	mlx5p_hw_ring(vq->env->hw, vq->index);
	mlx5p_events_call(vq->env->events, vq->index);
	return 0;
}

/* Ask the card where the queue stands, and go on there. */
static int
note_index(struct mlx5p_virtq *vq, struct mlx5p_virtq_status *status)
{
	int ret = mlx5p_devx_query_virtq(vq->env->hw, &vq->obj, vq->index, status);

	vq->index_known = ret == 0;
	if (ret < 0)
		return ret;
	vq->attr.hw_available_index = status->hw_available_index;
	vq->attr.hw_used_index = status->hw_used_index;
	vq->ring.avail_index = status->hw_used_index;
	vq->ring.used_index = status->hw_used_index;
	return 0;
}

/* @return whether the card obeys. */
static bool
tell_to_suspend(struct mlx5p_virtq *vq)
{
	forget_descriptors(vq);
	return mlx5p_devx_modify_virtq(vq->env->hw, &vq->obj, MLX5_VIRTQ_MODIFY_STATE,
		MLX5_VIRTQ_STATE_SUSPEND, &vq->attr) == 0;
}

/* RUNNING -> SUSPENDED, that the card was told to be; where it did not obey, NONE. */
static int
end_suspension(struct mlx5p_virtq *vq, bool suspended)
{
	struct mlx5p_virtq_status status;
	int ret = note_index(vq, &status);

	if (ret == 0 && status.state == MLX5_VIRTQ_STATE_ERR) {
		vq->errors++;
		MLX5P_LOG(WARNING, vq->env->hw->name, "virtqueue %u stopped in error: %s (%u)",
			vq->index, prm_virtq_error_name(status.error_type), status.error_type);
	}
	vq->state = MLX5P_VIRTQ_SUSPENDED;
	/* What did not suspend can't be resumed, and must not run on: only destruction is sure.
	 * What does not tell where it stands can't be told what to change. */
	if (!suspended || ret < 0)
		mlx5p_virtq_drop(vq);
	vq->halted = false;
	return ret;
}

static int
suspend(struct mlx5p_virtq *vq)
{
	return end_suspension(vq, vq->halted || tell_to_suspend(vq));
}

void
mlx5p_virtq_halt(struct mlx5p_virtq *vq)
{
	if (vq->state != MLX5P_VIRTQ_RUNNING)
		return;
	vq->halted = tell_to_suspend(vq);
	if (vq->halted)
		return;
	end_suspension(vq, false);
	vq->state = MLX5P_VIRTQ_DOWN;
}

int
mlx5p_virtq_stop(struct mlx5p_virtq *vq, uint16_t *index)
{
	int ret = 0;

	if (vq->state == MLX5P_VIRTQ_RUNNING) {
		ret = suspend(vq);
	} else if (vq->state == MLX5P_VIRTQ_DOWN) {
		vq->state = MLX5P_VIRTQ_NONE;
		ret = vq->index_known ? 0 : -EIO;
	}
	if (ret == 0)
		*index = vq->ring.used_index;
	return ret;
}

void
mlx5p_virtq_pause(struct mlx5p_virtq *vq)
{
	vq->paused = vq->state == MLX5P_VIRTQ_RUNNING;
	if (vq->paused)
		suspend(vq);
}

void
mlx5p_virtq_go_on(struct mlx5p_virtq *vq, uint32_t mkey, uint32_t ring_mkey)
{
	struct mlx5p_guest guest = vq->guest;
	struct mlx5p_ring ring = vq->ring;
	bool kicked;

	pthread_mutex_lock(&vq->lock);
	kicked = vq->kicked;
	pthread_mutex_unlock(&vq->lock);
	vq->paused = false;
	guest.mkey = mkey;
	guest.ring_mkey = ring_mkey;
	if (vq->index_known && mlx5p_virtq_start(vq, &ring, &guest) == 0) {
		/* Its guest has the doorbell page, if it wanted it. */
		pthread_mutex_lock(&vq->lock);
		vq->kicked |= kicked;
		pthread_mutex_unlock(&vq->lock);
		return;
	}
	mlx5p_virtq_drop(vq);
	vq->state = MLX5P_VIRTQ_DOWN;
	MLX5P_LOG(ERR, vq->env->hw->name, "virtqueue %u does not go on in changed memory: "
		"it stays down until the guest's next reset", vq->index);
}

/* ---- what goes wrong ---- */

bool
mlx5p_virtq_recover(struct mlx5p_virtq *vq)
{
	const char *name = vq->env->hw->name, *why;
	struct mlx5p_virtq_status status = { .error_type = 0 };
	struct mlx5p_ring ring;
	bool again;
	int ret;

	if (vq->state != MLX5P_VIRTQ_RUNNING)
		return false;
	/* The alarm may be about the object that ran here before. */
	ret = note_index(vq, &status);
	if (ret == 0 && status.state != MLX5_VIRTQ_STATE_ERR)
		return false;
	forget_descriptors(vq);
	mlx5p_virtq_drop(vq);
	vq->state = MLX5P_VIRTQ_DOWN;
	vq->errors++;
	why = prm_virtq_error_name(status.error_type);
	again = ret == 0 && mlx5p_retries_take(&vq->retries, mlx5p_now_ns() / MLX5P_NS_IN_MS);
	if (again) {
		ring = vq->ring;
		ret = mlx5p_virtq_start(vq, &ring, &vq->guest);
	}
	if (again && ret == 0) {
		vq->recoveries++;
		MLX5P_LOG(WARNING, name,
			"virtqueue %u went to error: %s (%u): it goes on at index %u",
			vq->index, why, status.error_type, ring.used_index);
		return true;
	}
	vq->state = MLX5P_VIRTQ_DOWN;
	MLX5P_LOG(ERR, name,
		"virtqueue %u went to error: %s (%u): "
		"it stays down until the guest's next reset: %s",
		vq->index, why, status.error_type, again ? "it can't be made anew" :
		ret < 0 ? "the card does not tell where it stands" :
		"that was too often in too short a time");
	return true;
}

int
mlx5p_virtq_set_bitmap(struct mlx5p_virtq *vq, const struct mlx5p_bitmap *bitmap)
{
	struct mlx5p_virtq_attr attr = vq->attr;
	uint64_t select;
	int ret;

	if (vq->state != MLX5P_VIRTQ_RUNNING)
		return 0;
	vq->guest.bitmap = *bitmap;
	attr.bitmap = *bitmap;
	select = bitmap_difference(&vq->attr.bitmap, bitmap);
	if (select == 0)
		return 0;
	ret = mlx5p_devx_modify_virtq(vq->env->hw, &vq->obj, select, 0, &attr);
	if (ret == 0) {
		vq->attr.bitmap = *bitmap;
		return 0;
	}
	MLX5P_LOG(ERR, vq->env->hw->name, "virtqueue %u can't log what it writes: "
		"it stays down until the guest's next reset", vq->index);
	suspend(vq);
	mlx5p_virtq_drop(vq);
	vq->state = MLX5P_VIRTQ_DOWN;
	return ret;
}

/* ---- event thread ---- */

static void
signal_guest(struct mlx5p_call *call)
{
	if (call == NULL)
		return;
	mlx5p_call_signal(call);
	mlx5p_call_put(call);
}

/* Take completions; signal the guest with no lock held. */
static uint32_t
take_completions(struct mlx5p_virtq *vq, bool event)
{
	struct mlx5p_call *call = NULL;
	uint32_t found = 0;

	pthread_mutex_lock(&vq->lock);
	if (mlx5p_evq_exists(&vq->evq)) {
		found = mlx5p_evq_poll(&vq->evq);
		if (found > 0)
			call = mlx5p_call_get(vq->call);
		if (event)
			vq->evq.armed = false;
		if (event && vq->env->interrupts)
			mlx5p_evq_arm(vq->env->hw, &vq->evq);
	}
	pthread_mutex_unlock(&vq->lock);
	signal_guest(call);
	return found;
}

void
mlx5p_virtq_on_event(struct mlx5p_virtq *vq)
{
	take_completions(vq, true);
}

uint32_t
mlx5p_virtq_poll(struct mlx5p_virtq *vq)
{
	return take_completions(vq, false);
}

void
mlx5p_virtq_arm(struct mlx5p_virtq *vq)
{
	pthread_mutex_lock(&vq->lock);
	if (mlx5p_evq_exists(&vq->evq) && !vq->evq.armed)
		mlx5p_evq_arm(vq->env->hw, &vq->evq);
	pthread_mutex_unlock(&vq->lock);
}

bool
mlx5p_virtq_on_kick(struct mlx5p_virtq *vq)
{
	bool first;

	pthread_mutex_lock(&vq->lock);
	first = vq->kickfd >= 0 && !vq->kicked;
	if (vq->kickfd >= 0) {
		vq->kicked = true;
		mlx5p_hw_ring(vq->env->hw, vq->index);
	}
	pthread_mutex_unlock(&vq->lock);
	return first;
}

void
mlx5p_virtq_call(struct mlx5p_virtq *vq)
{
	struct mlx5p_call *call;

	pthread_mutex_lock(&vq->lock);
	call = mlx5p_call_get(vq->call);
	pthread_mutex_unlock(&vq->lock);
	signal_guest(call);
}
