/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtqueue: the card's queue object and what belongs to it.
 *
 * Owns: the virtio_net_q object, its three queue buffers, its event queue and its counters, and
 * while it runs the use of the guest's kick descriptor (which the vhost library owns) and call
 * descriptor.
 *
 * States, and who moves between them (all under the device's lock):
 *
 *	NONE		no object on the card
 *	INIT		object in INIT: never ran, everything of it may change
 *	RUNNING		object in RDY: the card works on the guest's rings
 *	SUSPENDED	object in SUSPEND: quiet, indices known, everything of it may change
 *	DOWN		ran and had to be given up; no object, indices known if the card told them
 *
 *	NONE -> INIT		prepare(), renew(), where the object may be of use later
 *	SUSPENDED -> INIT	renew(): via NONE
 *	NONE -> RUNNING		start(): create, then modify to RDY
 *	INIT -> RUNNING		start(): one modify of state and of what differs, where the card can
 *				change that; else via NONE
 *	SUSPENDED -> RUNNING	start(): likewise, where the card resumes and reuse_queues=1
 *	SUSPENDED -> SUSPENDED	rewind(): other indices; start() finds what the object has by then
 *	RUNNING -> SUSPENDED	stop(): modify to SUSPEND, query the indices
 *	RUNNING -> RUNNING	halt(): modify to SUSPEND; what is left is stop()'s
 *	RUNNING -> NONE		stop() of a queue in error: its object can only be destroyed
 *	RUNNING -> RUNNING	pause() and go_on(), through SUSPENDED
 *	RUNNING -> RUNNING	recover(): from error, through DOWN and NONE, where the card stood
 *	RUNNING -> DOWN		halt() that the card refused; recover() that failed or came too often; refused set_bitmap();
 *				go_on() that failed
 *	DOWN -> NONE		stop()
 *	INIT, SUSPENDED -> NONE	drop()
 *
 * Buffers, event queue and counters are made at the first start() or prepare() and live until
 * free(), through all of these; another ring size remakes them.
 *
 * An object that the card does not let go keeps its index and its buffers; the next object of this
 * queue waits until it does, and every start tries.
 *
 * Indices: a queue goes on at the used index that the card reports, both ways. In between lie
 * descriptors that it read ahead and did not use; a vhost-user front-end keeps one index only, and
 * Linux says of the available index that firmware does not report it right (mlx5_vdpa,
 * get_vq_state).
 *
 * Locking: lock guards the descriptors and the event queue against the event thread. The rest
 * belongs to the holder of the device's lock, or the configuration thread that works on this queue
 * for it.
 */
#ifndef MLX5P_VIRTQ_H
#define MLX5P_VIRTQ_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devx.h"
#include "evq.h"
#include "retries.h"
#include "ring.h"
#include "umem.h"

struct mlx5p_call;
struct mlx5p_events;

/* What all queues of a device share. */
struct mlx5p_virtq_env {
	struct mlx5p_hw *hw;
	struct mlx5p_events *events;
	struct mlx5p_moderation moderation;
	bool interrupts;           /* event_mode=2: event queues ask for the next event at once */
	uint64_t changeable;       /* in an object that does not run: MLX5_VIRTQ_MODIFY_* */
	atomic_uint_fast64_t made; /* queue objects, since the probe */
	atomic_bool reuse;         /* SUSPEND -> RDY: allowed and possible; no more once refused */
	atomic_bool no_ring_mkey;  /* the card refused one */
	atomic_bool rewind;        /* rewind() is worth trying; no more once refused */
	/* Called before a queue object is destroyed: no RQT may list it afterwards. */
	void (*unlist)(void *arg, uint32_t virtq_id);
	void *unlist_arg;
};

/* What all queues of a connection share. */
struct mlx5p_guest {
	uint64_t features;         /* negotiated */
	uint32_t mkey;             /* of its memory */
	uint32_t ring_mkey;        /* of its rings, 0: the same */
	struct mlx5p_bitmap bitmap; /* of its dirty log */
};

enum mlx5p_virtq_state {
	MLX5P_VIRTQ_NONE,
	MLX5P_VIRTQ_INIT,
	MLX5P_VIRTQ_RUNNING,
	MLX5P_VIRTQ_SUSPENDED,
	MLX5P_VIRTQ_DOWN,
};

struct mlx5p_virtq {
	struct mlx5p_virtq_env *env;
	uint16_t index;
	enum mlx5p_virtq_state state;
	struct mlx5p_obj obj;
	struct mlx5p_obj refused;  /* an object that was to be destroyed and is not yet */
	struct mlx5p_virtq_attr attr; /* as the object has it... */
	uint64_t doubtful;         /* ...but for these, MLX5_VIRTQ_MODIFY_*: nobody knows */
	bool event_qp_spent;       /* an object on it was destroyed: reset it before the next */
	uint16_t size;             /* of the resources below; 0: there are none */
	struct mlx5p_umem umem[3];
	struct mlx5p_obj counters;
	struct mlx5p_virtq_counters counters_base; /* at the last reset of statistics */
	struct mlx5p_ring ring;    /* that it runs on; in DOWN: its indices where it stopped */
	struct mlx5p_guest guest;  /* likewise */
	bool index_known;          /* in DOWN */
	bool halted;               /* between halt() and stop() */
	bool paused;               /* between pause() and go_on() */
	struct mlx5p_retries retries;
	uint64_t errors, recoveries; /* since the last reset of statistics */

	pthread_mutex_t lock;      /* the following, against the event thread */
	struct mlx5p_evq evq;
	int kickfd;                /* -1: none, or not running */
	struct mlx5p_call *call;   /* NULL likewise */
	bool kicked;               /* since start() */
};

void mlx5p_virtq_init(struct mlx5p_virtq *vq, struct mlx5p_virtq_env *env, uint16_t index);

/** Destroy everything of a queue that is not running. */
void mlx5p_virtq_free(struct mlx5p_virtq *vq);

/**
 * Make ahead of time what a ring of @p size descriptors needs. A queue that has it is left alone.
 * @return 0, or a negative errno, logged; then nothing is left, but what the card did not let go.
 */
int mlx5p_virtq_prepare(struct mlx5p_virtq *vq, uint16_t size);

/**
 * Make another object in place of the one of a stopped queue, in INIT, like it but for the keys
 * @p mkey (0: not known yet) and @p ring_mkey, where the card may be able to use it; else get as
 * far as possible without. @p reset: it is expected to go on at index 0; else where it stopped.
 * @return 0, or a negative errno, logged; the queue has no object then.
 */
int mlx5p_virtq_renew(struct mlx5p_virtq *vq, uint32_t mkey, uint32_t ring_mkey, bool reset);

/** Is the object of a stopped queue to go on, and not where a ring that starts from scratch does? */
bool mlx5p_virtq_stands_off(const struct mlx5p_virtq *vq);

/**
 * Set such an object to where a ring starts from scratch, ahead of the next start, which compares
 * what it needs with what it finds. Where the ring stopped is not forgotten: go_on() goes there.
 * @return 0; or a negative errno, logged once for all queues: start() sets it in any case.
 */
int mlx5p_virtq_rewind(struct mlx5p_virtq *vq);

/**
 * Start the queue on @p ring. Rings its doorbell once and signals the call descriptor once, so that
 * nothing that was made available or used meanwhile is missed.
 * @return 0, or a negative errno, logged; the queue is not running then.
 */
int mlx5p_virtq_start(struct mlx5p_virtq *vq, const struct mlx5p_ring *ring,
		const struct mlx5p_guest *guest);

/** From here on the card moves nothing in this queue. Where it stands, stop() tells, which follows.
 * A queue that does not run is left alone. */
void mlx5p_virtq_halt(struct mlx5p_virtq *vq);

/**
 * Stop the queue: from here on the card moves nothing. Tells where to go on.
 * @return 0, or a negative errno when the card does not tell (@p index is untouched then); the
 *         queue is stopped in any case.
 */
int mlx5p_virtq_stop(struct mlx5p_virtq *vq, uint16_t *index);

/** Stop a running queue for a moment. */
void mlx5p_virtq_pause(struct mlx5p_virtq *vq);

/** Let it go on where it stands, in the memory of @p mkey with rings in that of @p ring_mkey, as
 * after start(). One that can't goes down, with one line. */
void mlx5p_virtq_go_on(struct mlx5p_virtq *vq, uint32_t mkey, uint32_t ring_mkey);

/** Destroy the object of a stopped queue; a no-op when there is none. */
void mlx5p_virtq_drop(struct mlx5p_virtq *vq);

/**
 * The card said that the queue is in error: see whether that is so, and bring it back. One line
 * tells what came of it.
 * @return true: its object is gone, maybe another one runs in its place; false: a false alarm.
 */
bool mlx5p_virtq_recover(struct mlx5p_virtq *vq);

/** Have a running queue mark its writes elsewhere, or nowhere. If the card refuses, the queue
 * goes down: better no network than a migrated guest with stale pages. @return 0, or a negative
 * errno, logged. */
int mlx5p_virtq_set_bitmap(struct mlx5p_virtq *vq, const struct mlx5p_bitmap *bitmap);

/* ---- event thread ---- */

/** The event queue raised an event: take completions, tell the guest, and ask for the next event if
 * this device goes by interrupts. */
void mlx5p_virtq_on_event(struct mlx5p_virtq *vq);

/** Take completions and tell the guest. @return how many there were. */
uint32_t mlx5p_virtq_poll(struct mlx5p_virtq *vq);

/** Ask for an event at the next completion, unless that was done. */
void mlx5p_virtq_arm(struct mlx5p_virtq *vq);

/** The guest kicked. @return true at the first kick since the start. */
bool mlx5p_virtq_on_kick(struct mlx5p_virtq *vq);

/** Interrupt the guest. */
void mlx5p_virtq_call(struct mlx5p_virtq *vq);

#endif /* MLX5P_VIRTQ_H */
