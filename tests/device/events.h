/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion events of virtqueues, and events of objects.
 *
 * Owns: a CQ and the pair of QPs that a virtqueue's events travel (firmware's end sends, ours
 * receives and completes into the CQ), and event channels.
 */
#ifndef TEST_EVENTS_H
#define TEST_EVENTS_H

#include "device.h"

/* ---- channels ---- */

struct channel {
	struct mlx5dv_devx_event_channel *ch;
};

struct channel channel_create(struct dev *d);
void channel_discard(struct channel *c);
/** Events of @p type about @p obj arrive with @p cookie. */
void channel_subscribe(struct channel *c, struct obj *obj, uint16_t type, uint64_t cookie);
/** Wait up to @p ms for an event. Returns its cookie, 0 if none came. */
uint64_t channel_wait(struct channel *c, unsigned int ms);

/* ---- completion queue and event queue pair ---- */

enum { EVQ_LOG_SIZE = 4, EVQ_SIZE = 1 << EVQ_LOG_SIZE };

struct evq {
	struct dev *d;
	struct umem umem;          /* CQEs, doorbell records, receive WQEs */
	struct obj cq, fw_qp, sw_qp;
	uint32_t cq_dbr_off, qp_dbr_off, wq_off;
	uint32_t arm_sn;
};

/** A CQ of EVQ_SIZE entries alone. */
void evq_create_cq(struct evq *e, struct dev *d);
/** And both QPs, in RST. */
void evq_create(struct evq *e, struct dev *d);
/** Through INIT and RTR to RTS, connected, with EVQ_SIZE receive WQEs posted. */
void evq_connect(struct evq *e);
void evq_destroy(struct evq *e);
void evq_discard(struct evq *e);

struct verdict qp_step(struct obj *qp, uint16_t opcode, uint32_t remote_qpn);
/** State of a QP by QUERY_QP. */
uint8_t qp_state(struct obj *qp);

/** Receive WQEs that the device may consume, counted from the start. */
void evq_post_receives(struct evq *e, uint32_t total);
/** Entries that the device has written, of the first EVQ_SIZE. */
uint32_t evq_completions(const struct evq *e);
const uint8_t *evq_cqe(const struct evq *e, uint32_t i);
/** Ask for an event on the first completion after @p ci. */
void evq_arm(struct evq *e, uint32_t ci);
/** Change the doorbell record as evq_arm() does, but do not ring. */
uint64_t evq_arm_record(struct evq *e, uint32_t ci);
/** Ring without a change of the record. */
void evq_ring(const struct evq *e, uint64_t doorbell);

#endif /* TEST_EVENTS_H */
