/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a VMM says over vhost-user for a virtio-net device, in the order in which QEMU 7.2 and 8 say
 * it:
 *
 *   session_open    GET_FEATURES, GET/SET_PROTOCOL_FEATURES, SET_OWNER, GET_QUEUE_NUM, GET_CONFIG
 *   session_setup   SET_STATUS ACKNOWLEDGE, DRIVER; SET_FEATURES; SET_STATUS FEATURES_OK, read it;
 *                   SET_MEM_TABLE; for each ring NUM, BASE, ADDR, KICK, CALL; enable the rings
 *                   and read STATUS, which waits until the back-end is through with it all
 *   session_go      SET_STATUS DRIVER_OK, then GET_FEATURES as a barrier
 *   session_late    enable the rings that were left out
 *   session_remem   SET_MEM_TABLE while the device runs, then GET_FEATURES as a barrier
 *   session_stop    GET_VRING_BASE for each ring
 *   session_reset   SET_STATUS 0
 *
 * STATUS, MQ, REPLY_ACK and CONFIG are negotiated if offered. Without STATUS the rings are enabled
 * by session_go(), since that is what makes such a device start.
 *
 * Owns: the connection and what was negotiated over it. Main thread. Errors: a negative errno, one
 * line in err.
 */
#ifndef TEST_VDPA_SESSION_H
#define TEST_VDPA_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "args.h"
#include "dirty.h"
#include "fe.h"
#include "guest.h"

struct session {
	struct fe fe;
	const struct args *args;
	uint64_t offered;	/* virtio features */
	uint64_t features;	/* negotiated */
	uint8_t status;
	uint64_t table_ns;	/* when session_setup() sent the memory table, */
	uint64_t up_ns;		/* and when the barrier of session_go() was answered */
	char err[256];
};

/** Connect and negotiate. -ENOTSUP: the back-end lacks what the arguments ask for. */
int session_open(struct session *s, const struct args *args, const char *path);
void session_close(struct session *s);

/** Hardware address of the device, if it shows one. */
int session_mac(struct session *s, uint8_t mac[6]);

/** @p bases: SET_VRING_BASE of each ring, or NULL for rings after a reset. */
int session_setup(struct session *s, const struct net *net, const struct vu_mem_table *table,
		const uint32_t *bases);
/** @p ns gets the time from DRIVER_OK to the answer of the barrier. */
int session_go(struct session *s, uint64_t *ns);
int session_late(struct session *s);
/** Another table for the running device. @p ns gets the time from the message to the answer of the
 * barrier: the back-end stops the device, changes its memory, and starts it. */
int session_remem(struct session *s, const struct vu_mem_table *table, uint64_t *ns);
/** Whether the device can log what it writes. */
bool session_can_log(const struct session *s);
/** From now on the running device marks pages that it writes in @p log. */
int session_log(struct session *s, const struct net *net, const struct dirty_log *log);
/** Enable or disable one ring of a running device, and wait until it has been dealt with. */
int session_enable(struct session *s, unsigned int vq, bool on);
/** @p ns gets the time from the first GET_VRING_BASE to the answer of the last;
 * @p bases the indices of each ring, unless it is NULL. */
int session_stop(struct session *s, uint64_t *ns, uint32_t *bases);
int session_reset(struct session *s);

#endif /* TEST_VDPA_SESSION_H */
