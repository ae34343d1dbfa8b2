/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest at a vhost-user back-end: what benchmarks and the shell do with it.
 *
 * Owns: the guest, its memory, and the connection, from rig_open() to rig_close(). A start is
 * rig_ready(), rig_go(); a virtio reset is rig_stop(), rig_collect(), rig_reset(), rig_ready(),
 * rig_go(). Main thread.
 *
 * Errors: a negative errno, and one line in err that begins with the stage. After an error the rig
 * is only good for rig_abandon() and rig_close().
 */
#ifndef TEST_VDPA_RIG_H
#define TEST_VDPA_RIG_H

#include <sched.h>
#include <stdint.h>

#include "args.h"
#include "guest.h"
#include "layout.h"
#include "mem.h"
#include "session.h"

#define RIG_TRAFFIC_NS 10000000000ull	/* a driver that is not back by then won't come */
#define RIG_DRAIN_NS 3000000000ull	/* for the last packets of a run */

struct rig {
	const struct args *args;
	struct layout layout;
	struct layout_slices slices;	/* the regions of the next table */
	struct session session;
	struct guest guest;
	const char *path;		/* of the back-end */
	const char *second;		/* of another one, for benches that take two; or NULL */
	struct mem *mem;		/* where the guest lives; rig_move() changes it */
	char stage[48];			/* what goes on, in front of every error; may be empty */
	char err[288];
};

/* A stop as the guest saw it. */
struct rig_stop {
	uint64_t begin_ns;
	uint64_t last_rx_ns;	/* the last packet before it */
	uint64_t close_ns;	/* from the first GET_VRING_BASE to the last answer */
};

/**
 * Connect to the back-end at @p path, and make the guest, paused. @p cpus: where a guest without
 * an lcore of its own may run. @p plain as in net.h. -EINVAL: the arguments do not fit the device.
 * After an error there is nothing to close.
 */
int rig_open(struct rig *r, const struct args *args, const char *path, const cpu_set_t *cpus,
		bool plain);
void rig_close(struct rig *r);

/** Put a line into err, behind the stage. Returns @p ret. */
__attribute__((format(printf, 3, 4)))
int rig_fail(struct rig *r, int ret, const char *fmt, ...);

/** The guest, stopped, lives in @p mem from now on. Returns the memory that it lived in. */
struct mem *rig_move(struct rig *r, struct mem *mem);

/** Everything up to the message that makes the device start. */
int rig_ready(struct rig *r);
/** The same for a guest whose rings are in use, at these SET_VRING_BASE values. */
int rig_ready_at(struct rig *r, const uint32_t *bases);
/** Let guest and device run. @p conf_ns as session_go(). */
int rig_go(struct rig *r, uint64_t *conf_ns);
/** The same, but hold the guest: it runs from guest_resume() on. */
int rig_start_held(struct rig *r, uint64_t *conf_ns);
/** Enable or disable a virtqueue of the running device. A guest does not send on a disabled one. */
int rig_enable(struct rig *r, unsigned int vq, bool on);
/** Hold the guest, and stop the device with GET_VRING_BASE on all rings. */
int rig_stop(struct rig *r, struct rig_stop *stop);
/** The same; @p bases gets what GET_VRING_BASE says of each ring. */
int rig_stop_at(struct rig *r, struct rig_stop *stop, uint32_t *bases);
/** Take what the stopped device had done from the rings, and settle the ledger. */
int rig_collect(struct rig *r, const struct rig_stop *stop);
/** SET_STATUS 0. */
int rig_reset(struct rig *r);
/** Let the last packets arrive, and stop for good: a reset without a start. */
int rig_finish(struct rig *r, struct rig_stop *stop);
/** The guest, stopped and reset, loses its connection. */
void rig_disconnect(struct rig *r);
/** It gets a new one, which goes on with rig_ready(). */
int rig_reconnect(struct rig *r);
/** The run is over, whatever its state: hold the guest and settle the ledger. */
void rig_abandon(struct rig *r);

/** -EINTR after a signal, -EIO if the device broke the rings, else 0. */
int rig_trouble(struct rig *r);
/** Sleep, unless there is trouble. */
int rig_sleep(struct rig *r, uint64_t ns);
/** Until the first packet since rig_go() is seen. */
int rig_wait_first(struct rig *r);
/** Until a packet is seen from now on, for @p ns at most. */
int rig_wait_next(struct rig *r, uint64_t ns);
/** Until @p done says so of the guest, within the time that all buffers take to be used twice.
 * @p what says what has not happened by then. */
int rig_wait_turn(struct rig *r, bool (*done)(const struct net *net), const char *what);
/** Until traffic has been steady for a while, on all queue pairs. */
int rig_settle(struct rig *r);

#endif /* TEST_VDPA_RIG_H */
