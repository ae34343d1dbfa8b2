/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtqueue: the card's queue object and what belongs to it.
 *
 * Owns: the virtio_net_q object, its three queue buffers, its event queue and its counters, and while
 * it runs the use of the guest's kick and call descriptors (which the vhost library owns).
 *
 * States, and who moves between them (configuration calls of the device, under its lock):
 *
 *	NONE		no object on the card
 *	RUNNING		object in RDY: the card works on the guest's rings
 *	SUSPENDED	object in SUSPEND: quiet, indices known, addresses may change
 *
 *	NONE -> RUNNING		start(): create, then modify to RDY
 *	SUSPENDED -> RUNNING	start(): one modify of addresses, indices and state, where the card can
 *				(freeze_to_rdy_supported) and reuse_queues=1; else via NONE
 *	RUNNING -> SUSPENDED	stop(): modify to SUSPEND, query the indices
 *	RUNNING -> NONE		stop() of a queue in error: its object can only be destroyed
 *	SUSPENDED -> NONE	drop()
 *
 * Buffers, event queue and counters are made at the first start() and live until free(), through all
 * of these; another ring size remakes them.
 *
 * Locking: lock guards the descriptors and the event queue against the event thread. The rest belongs
 * to configuration calls.
 */
#ifndef MLX5P_VIRTQ_H
#define MLX5P_VIRTQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devx.h"
#include "events.h"
#include "evq.h"
#include "umem.h"

/* What all queues of a device share. */
struct mlx5p_virtq_env {
	struct mlx5p_hw *hw;
	struct mlx5p_events *events;
	bool reuse;                /* SUSPEND -> RDY: allowed and possible; cleared for good when refused */
	/* Called before a queue object is destroyed: no RQT may list it afterwards. */
	void (*unlist)(void *arg, uint32_t virtq_id);
	void *unlist_arg;
};

enum mlx5p_virtq_state { MLX5P_VIRTQ_NONE, MLX5P_VIRTQ_RUNNING, MLX5P_VIRTQ_SUSPENDED };

struct mlx5p_virtq {
	struct mlx5p_virtq_env *env;
	uint16_t index;
	enum mlx5p_virtq_state state;
	struct mlx5p_obj obj;
	bool event_qp_spent;       /* an object on it was destroyed: reset it before the next */
	uint16_t size;             /* of the resources below; 0: there are none */
	uint32_t mkey;             /* that the object uses */
	uint64_t features;         /* that the object was given */
	struct mlx5p_umem umem[3];
	struct mlx5p_obj counters;
	struct mlx5p_virtq_counters counters_base; /* at the last reset of statistics */

	pthread_mutex_t lock;      /* the following, against the event thread */
	struct mlx5p_evq evq;
	int kickfd, callfd;        /* -1: none, or not running */
};

/* A ring as the front-end configured it. */
struct mlx5p_ring {
	uint16_t size;
	uint16_t avail_index, used_index; /* where to go on */
	uint64_t desc, used, avail;       /* guest physical */
	int kickfd, callfd;               /* -1: the guest polls */
};

void mlx5p_virtq_init(struct mlx5p_virtq *vq, struct mlx5p_virtq_env *env, uint16_t index);

/** Destroy everything of a queue that is not running. */
void mlx5p_virtq_free(struct mlx5p_virtq *vq);

/**
 * Start the queue on @p ring with guest memory @p mkey. Rings its doorbell once and signals the call
 * descriptor once, so that nothing that was made available or used meanwhile is missed.
 * @return 0, or a negative errno, logged; the queue is not running then.
 */
int mlx5p_virtq_start(struct mlx5p_virtq *vq, const struct mlx5p_ring *ring, uint64_t features,
		uint32_t mkey);

/**
 * Stop the queue: from here on the card moves nothing. Tells where it stood.
 * @return 0, or a negative errno when the card does not tell (indices are untouched then); the queue
 *         is stopped in any case.
 */
int mlx5p_virtq_stop(struct mlx5p_virtq *vq, uint16_t *avail_index, uint16_t *used_index);

/** Destroy the object of a stopped queue; a no-op when there is none. */
void mlx5p_virtq_drop(struct mlx5p_virtq *vq);

/** Event thread: completions came; the guest kicked; the object went to error. */
void mlx5p_virtq_on_completion(struct mlx5p_virtq *vq);
void mlx5p_virtq_on_kick(struct mlx5p_virtq *vq);
void mlx5p_virtq_on_error(struct mlx5p_virtq *vq);

#endif /* MLX5P_VIRTQ_H */
