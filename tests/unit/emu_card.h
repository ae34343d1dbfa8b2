/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the data path share: a device, the memory of a guest and of its driver, event
 * queue pairs, split rings as a driver works on them, and steering of everything to some queues.
 *
 * Helpers that make something fail the test when the device refuses; those that return a status
 * don't. One test thread; the device's own thread runs beside it.
 */
#ifndef EMU_CARD_H
#define EMU_CARD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <engine.h>

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

/* The guest's memory starts at this guest-physical address: none of the host's. */
#define CARD_GPA UINT64_C(0x100000000)

enum {
	CARD_MEM = 8 << 20,
	CARD_EVENTS = 256,
	CARD_WAIT_MS = 30000,
	/* Long enough for the device to notice what it must not act upon. */
	CARD_QUIET_MS = 20,
};

struct card {
	struct emu_dev *dev;
	uint8_t *mem;              /* CARD_MEM bytes, all of them behind mkey */
	size_t used;               /* by card_alloc() */
	uint8_t *gone;             /* a page that DMA does not reach, NULL: none */
	uint8_t *bar;
	uint16_t uid;
	uint32_t pd, td, uar, tis, umem, mkey;
	uint32_t syndrome;         /* of the last command */
	uint8_t out[MLX5_CQE_BYTES + PRM_BYTES(query_qp_out)]; /* of the last command */

	pthread_mutex_t lock;
	struct emu_event event[CARD_EVENTS];
	unsigned int nevents;
};

/** A device of the default configuration with @p spec on top. */
struct card *card_new(const char *spec);
void card_free(struct card *card);
/** cmocka setup and teardown, with no spec. */
int card_setup(void **state);
int card_teardown(void **state);

/** Zeroed memory, aligned to @p align bytes. */
void *card_alloc(struct card *card, size_t len, size_t align);
uint64_t card_gpa(const struct card *card, const void *p);
/** Where memory lies in the umem that covers all of it. */
uint64_t card_off(const struct card *card, const void *p);

/** Execute a command in the card's user context. Returns the status; card->out is the answer. */
uint8_t card_cmd(struct card *card, uint16_t opcode, void *in, size_t inlen, size_t outlen);
/** A command on what goes by the 24 bits from 0x48 on. */
uint8_t card_destroy(struct card *card, uint16_t opcode, uint32_t id);
/** DESTROY_GENERAL_OBJECT. */
uint8_t card_destroy_general(struct card *card, uint16_t type, uint32_t id);
uint32_t card_counters(struct card *card);

/** How many events of a type about an object were raised. */
unsigned int card_events(struct card *card, uint16_t type, uint32_t obj_id);

/* A field of a mailbox, a value that is wrong for it, and what the device says then. */
struct refusal {
	uint32_t off, width;
	uint64_t val;
	uint8_t status;
};
/* Field @f of layout @l, which starts @base bytes into the mailbox. */
#define CHANGE(base, l, f, v, st) { \
		(base) * 8 + PRM_##l##__##f##__OFF, PRM_##l##__##f##__WIDTH, (v), \
		MLX5_CMD_STAT_##st }

/** Each of @p r alone makes a good mailbox bad, with a syndrome that no other has. */
void check_refusals(struct card *card, uint16_t opcode, const void *good, size_t len, size_t outlen,
		const struct refusal *r, size_t n);

/* A number that no object has. */
enum { NO_SUCH_ID = 0xfffff0 };

/* Wait until a condition holds; fail the test if it never does. */
#define WAIT_FOR(cond) do { \
		unsigned int ms_; \
		for (ms_ = 0; !(cond) && ms_ < CARD_WAIT_MS * 10; ms_++) \
			usleep(100); \
		assert_true(cond); \
	} while (0)

/* ---- event queue pairs ---- */

struct evq {
	uint32_t cqn, fw, sw;
	uint32_t log_size;
	uint8_t *cqe;              /* the CQ's entries */
	uint32_t *cq_dbr, *qp_dbr;
	uint32_t arm_sn;
};

/** The mailbox of a good CREATE_CQ in memory that is allocated for it. */
void evq_fill_cq(struct card *card, struct evq *e, uint32_t log_size, uint8_t *in);
/** That of a good CREATE_QP, of a firmware or a software QP. */
void evq_fill_fw(struct card *card, uint8_t *in);
void evq_fill_sw(struct card *card, struct evq *e, uint8_t *in);
/** CQ (@p collapsed) and both queue pairs, in RST. */
void evq_create(struct card *card, struct evq *e, uint32_t log_size, bool collapsed);
/** Connect both ends and post all receive WQEs. */
void evq_start(struct card *card, struct evq *e);
/** One change of a QP's state by its opcode. */
uint8_t qp_modify(struct card *card, uint16_t opcode, uint32_t qpn, uint32_t remote);
uint8_t qp_state(struct card *card, uint32_t qpn);
/** Receive producer counter, consumer counter, and arming at @p ci. */
void evq_post(struct evq *e, uint32_t producer);
void evq_consume(struct evq *e, uint32_t ci);
void evq_arm(struct card *card, struct evq *e, uint32_t ci);
/** wqe_counter of entry @p i. */
uint16_t evq_counter(const struct evq *e, unsigned int i);

/* ---- queues and their rings ---- */

enum ring_kind { RING_DIRECT, RING_INDIRECT };
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, AVAIL_NO_INTERRUPT = 1 };

struct seg {
	void *addr;
	uint32_t len;
};

struct queue {
	struct card *card;
	uint32_t id;
	uint16_t index, size;
	struct emu_vring_desc *desc;
	uint16_t *avail;           /* flags, idx, ring */
	uint16_t *used;            /* flags, idx; elements from byte 4 */
	uint16_t next_desc, seen;
};

/** A ring of @p size, and the mailbox of a good CREATE in NO_MSIX mode. */
void queue_fill(struct card *card, struct queue *q, uint16_t index, uint16_t size, uint8_t *in);
/** Execute a CREATE; sets q->id if it succeeds. */
uint8_t queue_try_create(struct queue *q, uint8_t *in);
/** All of it, in INIT. */
void queue_create(struct card *card, struct queue *q, uint16_t index, uint16_t size);
/** With an event queue pair and counters (0: none). */
void queue_create_with(struct card *card, struct queue *q, uint16_t index, uint16_t size,
		const struct evq *e, uint32_t counters);
/** The mailbox of a MODIFY of nothing yet; its object is PRM_ADDR(create_virtio_net_q_in, in,
 * obj_context). */
void queue_fill_modify(const struct queue *q, uint64_t select, uint8_t *in);
uint8_t queue_modify(struct queue *q, uint8_t *in);
uint8_t queue_set_state(struct queue *q, unsigned int state);
/** virtio_net_q_object as QUERY returns it, valid until the next command. */
const void *queue_query(struct queue *q);
unsigned int queue_state(struct queue *q);
uint8_t queue_destroy(struct queue *q);

/** Ring the doorbell that all queues share. */
void card_kick(struct card *card);
/** Make a chain of @p n pieces available. Returns its head. */
uint16_t queue_add(struct queue *q, enum ring_kind kind, const struct seg *segs, unsigned int n,
		bool write);
/** Make a head available as it is. */
void queue_add_head(struct queue *q, uint16_t head);
uint16_t queue_used_idx(const struct queue *q);
struct emu_vring_used_elem queue_used(const struct queue *q, uint16_t i);

/* ---- steering ---- */

/** RQT of @p n queues; 0 if refused. */
uint32_t steer_rqt(struct card *card, struct queue *const *queues, uint32_t n);
/** Mailbox of a TIR that does not hash. */
void steer_fill_tir(struct card *card, uint8_t *in, uint32_t rqtn);
uint32_t steer_tir(struct card *card, uint32_t rqtn);
/** Table of one level, and a rule in a group of its own at index 0 (NULL: matches all). */
uint32_t steer_table(struct card *card, uint8_t level);
void steer_rule(struct card *card, uint32_t table, uint32_t index, const void *mask,
		const void *value, uint32_t tirn);
/** Everything that arrives goes to these queues, without a hash. */
void steer_all(struct card *card, struct queue *const *queues, uint32_t n);

#endif /* EMU_CARD_H */
