/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rdma-core face: what its files share.
 *
 * The face plays the kernel's mlx5_ib and, in the same breath, libibverbs and libmlx5: a
 * program's calls to those libraries end here, because this library is loaded before them. Each
 * call does what the kernel would do for it: checks, pins, and the firmware commands with the
 * same user id; everything else is refused with the errno that a real one gives. Nothing here
 * looks into the device: it sees emu.h, as the kernel sees a card.
 *
 * Objects: everything a program holds is a struct face_obj in its context's list, and goes with
 * the context at the latest, in the reverse order of its creation, as the kernel does when a
 * file is closed.
 *
 * Threads: the interface's functions may be called from any thread. As with the real libraries,
 * a program does not destroy what another of its threads is using.
 * Locks: a context's (its list), a device's of events, of VARs and of flow rules, the process's
 * (making devices). The one of events is taken by the device's callback: no command is issued
 * under it.
 */
#ifndef EMU_FACE_H
#define EMU_FACE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>

#include <mlx5_prm.h>

#include "emu.h"
#include "unsupported.h"

#define FACE_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

struct emu_host;
struct face_ctx;

/* ---- devices (device.c), and who makes them (process.c) ---- */

struct face_events;
struct face_flows;
struct face_vars;

struct face_dev {
	struct ibv_device ibv;     /* what the program sees of it; lives as long as the process */
	struct emu_dev *dev;
	struct emu_host *host;
	unsigned int index;
	uint8_t caps[PRM_BYTES(cmd_hca_cap)];   /* read when the driver loads */
	uint32_t null_key;         /* dump_fill_mkey: the key of null memory regions */
	atomic_uint key_variant;   /* low 8 bits of the next memory key */
	struct face_events *events;
	struct face_flows *flows;
	struct face_vars *vars;
};

/** Make a device and load its "driver". Returns 0 or a negative errno, after a line on stderr. */
int face_dev_create(const struct emu_dev_config *cfg, unsigned int index, const char *sysfs,
		struct emu_host *host, struct face_dev **dev);
void face_dev_destroy(struct face_dev *dev);

static inline struct face_dev *
face_dev_of(struct ibv_device *ibv)
{
	return FACE_CONTAINER(ibv, struct face_dev, ibv);
}

/* Entries of a port's table of GIDs (port_tables.c). */
enum { FACE_GIDS = 16 };

/** Set the operations of queries. */
void face_device_ops(struct verbs_context *verbs);

/** The devices of this process, which are made at the first call. Returns their number, or a
 * negative errno after a line on stderr. */
int face_devices(struct face_dev *const **devs);

/* ---- commands (cmd.c) ---- */

/** Issue a command of the kernel's. Returns 0, or the errno that mlx5_core makes of its status. */
int face_cmd(struct face_dev *dev, const void *in, size_t inlen, void *out, size_t outlen);

/** Issue a command for a user. Returns 0, or -EREMOTEIO when its status says why it failed. */
int face_cmd_user(struct face_dev *dev, const void *in, size_t inlen, void *out, size_t outlen);

/* ---- contexts (context.c) ---- */

/* What a program created. */
struct face_obj {
	struct face_ctx *ctx;
	/* Destroy and free. 0, or a negative errno: it is still there. */
	int (*destroy)(struct face_obj *obj);
	TAILQ_ENTRY(face_obj) next;
};

struct face_uars;

struct face_ctx {
	struct face_dev *dev;
	uint16_t uid;              /* user context of DevX; 0: opened without */
	uint32_t tdn;              /* transport domain that the kernel gives every context */
	pthread_mutex_t lock;
	TAILQ_HEAD(face_objs, face_obj) objs;   /* in order of creation */
	struct face_uars *uars;
	struct mlx5dv_ctx_allocators allocators;
	struct verbs_context verbs;
};

static inline struct face_ctx *
face_ctx_of(struct ibv_context *ibv)
{
	return FACE_CONTAINER(ibv, struct face_ctx, verbs.context);
}

/** Put a new object into its context's list. */
void face_obj_add(struct face_ctx *ctx, struct face_obj *obj, int (*destroy)(struct face_obj *obj));
/** Destroy it. Returns 0, or a negative errno and leaves it. */
int face_obj_destroy(struct face_obj *obj);

/* ---- the ways to fail ---- */

/** Of a function that returns a pointer: set errno from a negative errno. */
static inline void *
face_null(int rc)
{
	errno = -rc;
	return NULL;
}

/** Of a function that returns 0 or an errno: both get it. */
static inline int
face_errno(int rc)
{
	if (rc != 0)
		errno = -rc;
	return -rc;
}

/* ---- memory (memory.c): protection domains, memory regions, umems ---- */

/** The operation behind ibv_alloc_null_mr(). */
struct ibv_mr *face_alloc_null_mr(struct ibv_pd *pd);

/* ---- DevX objects (devx.c) ---- */

struct face_sub;

struct mlx5dv_devx_obj {
	struct face_obj obj;
	uint16_t opcode;           /* that created it */
	uint16_t obj_type;         /* of a general object, else 0 */
	uint32_t id;
	LIST_HEAD(, face_sub) subs;   /* to its events; under the lock of events */
	size_t dinlen;
	uint8_t din[];             /* the command that destroys it */
};

/* ---- UARs and VARs (uar.c) ---- */

int face_vars_create(struct face_dev *dev);
void face_vars_destroy(struct face_dev *dev);

/** Prepare a context's UARs: it gets the one that is not cached, as far as the device has one. */
int face_uars_create(struct face_ctx *ctx);
/** Give the UARs back. */
void face_uars_destroy(struct face_ctx *ctx);

/* ---- event queues and channels (event.c) ---- */

/* Event queues for completions: vector n is event queue number FACE_EQN_FIRST + n. */
enum { FACE_EQN_FIRST = 4, FACE_VECTORS_MAX = 64 };

int face_events_create(struct face_dev *dev);
void face_events_destroy(struct face_dev *dev);
/** The device's callback. */
void face_event(void *dev, const struct emu_event *ev);
/** An object is gone: so are the subscriptions to it. */
void face_events_forget(struct mlx5dv_devx_obj *obj);
/** Completion vectors of a device: one a processor. */
unsigned int face_vectors(void);

/* ---- flow rules (flow.c) ---- */

int face_flows_create(struct face_dev *dev);
void face_flows_destroy(struct face_dev *dev);
/** The operation behind ibv_destroy_flow(). */
int face_destroy_flow(struct ibv_flow *flow);

/* ---- what is not there (unsupported.c) ---- */

/** Fill the operations that nobody set with ones that say so. */
void face_fill_unsupported(struct verbs_context *verbs);

#endif /* EMU_FACE_H */
