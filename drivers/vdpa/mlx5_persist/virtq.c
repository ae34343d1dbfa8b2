/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include <mlx5_prm.h>
#include <rte_common.h>

#include "hw.h"
#include "mlx5p_log.h"
#include "virtq.h"

void
mlx5p_virtq_init(struct mlx5p_virtq *vq, struct mlx5p_virtq_env *env, uint16_t index)
{
	*vq = (struct mlx5p_virtq) { .env = env, .index = index, .kickfd = -1, .callfd = -1 };
	pthread_mutex_init(&vq->lock, NULL);
}

/* ---- resources of a ring size ---- */

static void
free_resources(struct mlx5p_virtq *vq)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	size_t i;

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
prepare(struct mlx5p_virtq *vq, uint16_t size)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	size_t i;
	int ret;

	if (vq->size == size)
		return 0;
	mlx5p_virtq_drop(vq);
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

/* ---- start ---- */

static struct mlx5p_virtq_attr
attr_of(const struct mlx5p_virtq *vq, const struct mlx5p_ring *ring, uint64_t features, uint32_t mkey)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	struct mlx5p_virtq_attr attr = {
		.index = vq->index,
		.size = ring->size,
		.hw_available_index = ring->avail_index,
		.hw_used_index = ring->used_index,
		.desc_addr = ring->desc,
		.used_addr = ring->used,
		.available_addr = ring->avail,
		.features = features,
		.mkey = mkey,
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
	return attr;
}

/* SUSPENDED -> RUNNING in one command. */
static int
resume(struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *attr)
{
	uint64_t select = MLX5_VIRTQ_MODIFY_ADDRS | MLX5_VIRTQ_MODIFY_AVAIL_IDX |
		MLX5_VIRTQ_MODIFY_USED_IDX;

	if (attr->mkey != vq->mkey)
		select |= MLX5_VIRTQ_MODIFY_Q_MKEY;
	if (attr->features != vq->features)
		select |= MLX5_VIRTQ_MODIFY_VIRTIO_VERSION | MLX5_VIRTQ_MODIFY_QUEUE_FEATURES;
	return mlx5p_devx_modify_virtq(vq->env->hw, &vq->obj, select, MLX5_VIRTQ_STATE_RDY, attr);
}

/* NONE -> RUNNING. */
static int
create(struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *attr)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	int ret = 0;

	if (vq->event_qp_spent) {
		pthread_mutex_lock(&vq->lock);
		ret = mlx5p_evq_reset(hw, &vq->evq);
		pthread_mutex_unlock(&vq->lock);
		if (ret < 0)
			return ret;
		vq->event_qp_spent = false;
	}
	ret = mlx5p_devx_create_virtq(hw, attr, &vq->obj);
	if (ret < 0)
		return ret;
	vq->state = MLX5P_VIRTQ_SUSPENDED; /* as far as drop() is concerned */
	ret = mlx5p_events_subscribe_virtq(vq->env->events, &vq->obj, vq->index);
	if (ret == 0)
		ret = mlx5p_devx_modify_virtq(hw, &vq->obj, 0, MLX5_VIRTQ_STATE_RDY, attr);
	if (ret < 0)
		mlx5p_virtq_drop(vq);
	return ret;
}

/* Get the object to RDY on the cheapest path that the card allows. */
static int
bring_up(struct mlx5p_virtq *vq, const struct mlx5p_virtq_attr *attr)
{
	if (vq->state == MLX5P_VIRTQ_SUSPENDED && vq->env->reuse) {
		if (resume(vq, attr) == 0)
			return 0;
		vq->env->reuse = false;
		MLX5P_LOG(NOTICE, vq->env->hw->name,
			"the card does not resume suspended queues: they are created anew from now on");
	}
	mlx5p_virtq_drop(vq);
	return create(vq, attr);
}

int
mlx5p_virtq_start(struct mlx5p_virtq *vq, const struct mlx5p_ring *ring, uint64_t features,
		uint32_t mkey)
{
	struct mlx5p_hw *hw = vq->env->hw;
	struct mlx5p_virtq_attr attr;
	int ret;

	ret = prepare(vq, ring->size);
	if (ret < 0)
		return ret;
	attr = attr_of(vq, ring, features, mkey);
	ret = bring_up(vq, &attr);
	if (ret < 0)
		return ret;
	vq->mkey = mkey;
	vq->features = features;
	vq->state = MLX5P_VIRTQ_RUNNING;

	pthread_mutex_lock(&vq->lock);
	vq->callfd = ring->callfd;
	vq->kickfd = ring->kickfd;
	pthread_mutex_unlock(&vq->lock);
	if (ring->kickfd >= 0) {
		ret = mlx5p_events_kick_add(vq->env->events, ring->kickfd, vq->index);
		if (ret < 0)
			MLX5P_LOG(ERR, hw->name, "virtqueue %u: cannot wait for kicks: %s", vq->index,
				strerror(-ret));
	} else {
		MLX5P_LOG(NOTICE, hw->name,
			"virtqueue %u has no kick descriptor: the card is rung once, at its start",
			vq->index);
	}
	mlx5p_hw_ring(hw, vq->index);
	if (ring->callfd >= 0)
		eventfd_write(ring->callfd, 1);
	return 0;
}

/* ---- stop ---- */

/* From here on the event thread leaves the guest's descriptors alone. */
static void
forget_descriptors(struct mlx5p_virtq *vq)
{
	if (vq->kickfd >= 0)
		mlx5p_events_kick_del(vq->env->events, vq->kickfd);
	pthread_mutex_lock(&vq->lock);
	vq->kickfd = -1;
	vq->callfd = -1;
	pthread_mutex_unlock(&vq->lock);
}

int
mlx5p_virtq_stop(struct mlx5p_virtq *vq, uint16_t *avail_index, uint16_t *used_index)
{
	const struct mlx5p_hw *hw = vq->env->hw;
	const struct mlx5p_virtq_attr attr = { .index = vq->index };
	struct mlx5p_virtq_status status;
	bool suspended;
	int ret;

	if (vq->state != MLX5P_VIRTQ_RUNNING)
		return 0;
	forget_descriptors(vq);
	suspended = mlx5p_devx_modify_virtq(hw, &vq->obj, 0, MLX5_VIRTQ_STATE_SUSPEND, &attr) == 0;
	ret = mlx5p_devx_query_virtq(hw, &vq->obj, vq->index, &status);
	if (ret == 0) {
		*avail_index = status.hw_available_index;
		*used_index = status.hw_used_index;
		if (status.state == MLX5_VIRTQ_STATE_ERR)
			MLX5P_LOG(WARNING, hw->name, "virtqueue %u stopped in error %u", vq->index,
				status.error_type);
	}
	vq->state = MLX5P_VIRTQ_SUSPENDED;
	/* What did not suspend can't be resumed, and must not run on: only destruction is sure. */
	if (!suspended)
		mlx5p_virtq_drop(vq);
	return ret;
}

void
mlx5p_virtq_drop(struct mlx5p_virtq *vq)
{
	if (vq->state == MLX5P_VIRTQ_NONE)
		return;
	vq->env->unlist(vq->env->unlist_arg, vq->obj.id);
	mlx5p_devx_destroy(vq->env->hw, &vq->obj, "virtqueue");
	vq->state = MLX5P_VIRTQ_NONE;
	vq->event_qp_spent = true;
}

/* ---- event thread ---- */

void
mlx5p_virtq_on_completion(struct mlx5p_virtq *vq)
{
	pthread_mutex_lock(&vq->lock);
	if (mlx5p_evq_exists(&vq->evq)) {
		if (mlx5p_evq_poll(&vq->evq) && vq->callfd >= 0)
			eventfd_write(vq->callfd, 1);
		mlx5p_evq_arm(vq->env->hw, &vq->evq);
	}
	pthread_mutex_unlock(&vq->lock);
}

void
mlx5p_virtq_on_kick(struct mlx5p_virtq *vq)
{
	pthread_mutex_lock(&vq->lock);
	if (vq->kickfd >= 0)
		mlx5p_hw_ring(vq->env->hw, vq->index);
	pthread_mutex_unlock(&vq->lock);
}

void
mlx5p_virtq_on_error(struct mlx5p_virtq *vq)
{
	MLX5P_LOG(ERR, vq->env->hw->name,
		"virtqueue %u went to error: it stands still until the guest resets the device",
		vq->index);
}
