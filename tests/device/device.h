/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mlx5 device under test, through rdma-core alone.
 *
 * Owns: the open device with its protection domain, doorbell pages and capabilities; commands with
 * what came of them; one builder an object. Used by every program of this folder; one thread. The
 * same programs run on an emulated device and on a card: MLX5_TEST_DEVICE names the RDMA device,
 * else the first mlx5 device is taken.
 *
 * A builder fills the mailbox of a create with what is right. A test changes one field of it, and
 * then asks for the object or for the refusal.
 */
#ifndef TEST_DEVICE_H
#define TEST_DEVICE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>

#include <mlx5_prm.h>

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

struct dev {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	uint32_t pdn;
	uint32_t eqn;
	struct mlx5dv_devx_uar *uar;
	struct mlx5dv_var *var;
	uint8_t *var_page;
	uint8_t hca_cap[PRM_BYTES(query_hca_cap_out)];     /* whole outputs of QUERY_HCA_CAP */
	uint8_t virtio_cap[PRM_BYTES(query_hca_cap_out)];
	struct mlx5dv_devx_obj *td;
	uint32_t tdn;
	struct mlx5dv_devx_obj *tis;
	uint32_t tisn;
};

/** Group fixtures of cmocka: *state is the struct dev. Everything has to be gone at the end. */
int dev_setup(void **state);
int dev_teardown(void **state);

/** Open one more context of the same device: a foreign user of it. NULL on failure. */
struct dev *dev_open(bool with_var);
/** Open the device at the other end of the wire: MLX5_TEST_PEER, else the next mlx5 device. */
struct dev *dev_open_peer(const struct dev *d);
/** Close it. Returns 0, or -1 when something that it owns could not be destroyed. */
int dev_close(struct dev *d);

/* Capability fields by PRM name. */
#define HCA_CAP(d, f) PRM_GET(cmd_hca_cap, PRM_ADDR(query_hca_cap_out, (d)->hca_cap, capability), f)
#define VIRTIO_CAP(d, f) \
	PRM_GET(virtio_emulation_cap, PRM_ADDR(query_hca_cap_out, (d)->virtio_cap, capability), f)

/* ---- commands and what came of them ---- */

struct verdict {
	int err;                   /* 0, or what rdma-core says; EREMOTEIO: firmware refused */
	uint8_t status;            /* of firmware */
	uint32_t syndrome;
};

struct obj {
	struct mlx5dv_devx_obj *obj;
	uint32_t id;               /* its number; of an mkey the whole key */
};

/** A command that is about no object. */
struct verdict dev_cmd(struct dev *d, const void *in, size_t inlen, void *out, size_t outlen);
/** Create by any create command; o->id is the number that its output holds. */
struct verdict dev_create(struct dev *d, const void *in, size_t inlen, struct obj *o);
struct verdict dev_modify(struct obj *o, const void *in, size_t inlen);
struct verdict dev_query(struct obj *o, const void *in, size_t inlen, void *out, size_t outlen);

/* Assertions say the verdict in full when they fail. */
#define assert_accepted(v) check_accepted((v), __FILE__, __LINE__)
/* Firmware refused with this status, and with a syndrome. */
#define assert_refused(v, stat) check_refused((v), MLX5_CMD_STAT_##stat, __FILE__, __LINE__)
/* The kernel stopped it before it came to firmware. */
#define assert_refused_by_kernel(v) check_refused_by_kernel((v), __FILE__, __LINE__)
/* Creating @in fails with this status; makes nothing. */
#define assert_create_refused(d, in, len, stat) \
	check_create_refused((d), (in), (len), MLX5_CMD_STAT_##stat, __FILE__, __LINE__)

void check_accepted(struct verdict v, const char *file, int line);
void check_refused(struct verdict v, uint8_t status, const char *file, int line);
void check_refused_by_kernel(struct verdict v, const char *file, int line);
void check_create_refused(struct dev *d, const void *in, size_t len, uint8_t status,
		const char *file, int line);

/** Create an object that has to come into being. */
#define create(d, in, len) check_create((d), (in), (len), __FILE__, __LINE__)
struct obj check_create(struct dev *d, const void *in, size_t len, const char *file, int line);
/** Destroy an object that has to go; a no-op for a zeroed one. */
#define destroy(o) check_destroy((o), __FILE__, __LINE__)
void check_destroy(struct obj *o, const char *file, int line);
/** Destroying fails because something else needs the object, which lives on. */
#define assert_busy(o) check_busy((o), __FILE__, __LINE__)
void check_busy(struct obj *o, const char *file, int line);
/** Clean up after a test that may have failed: no assertion. */
void discard(struct obj *o);

/* An id of the given width in bits that nothing has: devices count from below. */
#define NO_SUCH_ID(bits) ((1u << (bits)) - 3)

/* ---- umems ---- */

struct umem {
	void *addr;
	size_t len;
	struct mlx5dv_devx_umem *umem;
	uint32_t id;
};

/** Zeroed pages of our own, registered. */
struct umem umem_create(struct dev *d, size_t len);
void umem_destroy(struct umem *u);
void umem_discard(struct umem *u);

/* ---- builders: mailboxes of creates with everything right ---- */

void fill_td(uint8_t in[PRM_BYTES(alloc_transport_domain_in)]);
void fill_tis(uint8_t in[PRM_BYTES(create_tis_in)], uint32_t td);
void fill_pd(uint8_t in[PRM_BYTES(alloc_pd_in)]);
void fill_counters(uint8_t in[PRM_BYTES(create_virtio_q_counters_in)]);

/** CQ of 1 << @p log_size entries at the start of the umem, doorbell record at @p dbr_off. */
void fill_cq(const struct dev *d, uint8_t in[PRM_BYTES(create_cq_in)], uint32_t umem_id,
		uint32_t dbr_off, uint32_t log_size);

/** A QP that firmware sends events from. */
void fill_fw_qp(const struct dev *d, uint8_t in[PRM_BYTES(create_qp_in)]);
/** A QP with 1 << @p log_size receive WQEs at the start of the umem. */
void fill_sw_qp(const struct dev *d, uint8_t in[PRM_BYTES(create_qp_in)], uint32_t cqn,
		uint32_t umem_id, uint32_t dbr_off, uint32_t log_size);
/** A state step of a QP: MLX5_CMD_OP_RST2INIT_QP, ... Returns the mailbox's length. */
size_t fill_qp_step(uint8_t in[PRM_BYTES(rst2init_qp_in)], uint16_t opcode, uint32_t qpn,
		uint32_t remote_qpn);

/** Direct mkey over a umem, addresses from @p iova. */
void fill_umem_mkey(const struct dev *d, uint8_t in[PRM_BYTES(create_mkey_in)], uint32_t umem_id,
		uint64_t iova, uint64_t len);

struct klm {
	uint32_t bytes;
	uint32_t mkey;
	uint64_t address;
};

/* Entries that the tests of this folder put into one key at most. */
#define KLM_MAX 16
#define KLM_MKEY_IN_BYTES (PRM_BYTES(create_mkey_in) + KLM_MAX * PRM_BYTES(klm))
/** Indirect mkey over @p n entries from @p start. Returns the mailbox's length. */
size_t fill_klm_mkey(const struct dev *d, uint8_t in[KLM_MKEY_IN_BYTES], uint64_t start,
		const struct klm *klm, uint32_t n);

#define RQT_MAX 16
#define RQT_IN_BYTES (PRM_BYTES(create_rqt_in) + RQT_MAX * PRM_BYTES(rq_num))
/** RQT over @p n virtqueues (at most RQT_MAX). Returns the mailbox's length. */
size_t fill_rqt(uint8_t in[RQT_IN_BYTES], const uint32_t *virtqs, uint32_t n);
/** MODIFY_RQT likewise. */
size_t fill_modify_rqt(uint8_t in[RQT_IN_BYTES], uint32_t rqtn, const uint32_t *virtqs, uint32_t n);
/** TIR that hashes nothing: everything goes to the table's first queue. */
void fill_tir(const struct dev *d, uint8_t in[PRM_BYTES(create_tir_in)], uint32_t rqtn);

/* ---- waiting ---- */

/* How long something may take that has to happen, and how long we watch that nothing does. */
enum { WAIT_MS = 30000, QUIET_MS = 40 };

uint64_t now_ms(void);
void sleep_us(unsigned int us);

/* Wait until an expression is true; false after WAIT_MS. */
#define wait_until(expr) ({ \
	uint64_t end_ = now_ms() + WAIT_MS; \
	bool ok_; \
	while (!(ok_ = !!(expr)) && now_ms() < end_) \
		sleep_us(200); \
	ok_ || !!(expr); \
})

#endif /* TEST_DEVICE_H */
