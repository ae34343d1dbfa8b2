/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "device.h"

/* ---- the device ---- */

/* The device named in an environment variable, else the first that is not @p other. */
static struct ibv_context *
open_context(const char *variable, const struct ibv_device *other)
{
	struct mlx5dv_context_attr attr = { .flags = MLX5DV_CONTEXT_FLAGS_DEVX };
	const char *want = getenv(variable);
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *ctx = NULL;
	int i;

	for (i = 0; list != NULL && list[i] != NULL && ctx == NULL; i++) {
		if (want != NULL ? strcmp(ibv_get_device_name(list[i]), want) == 0 :
				list[i] != other && mlx5dv_is_supported(list[i]))
			ctx = mlx5dv_open_device(list[i], &attr);
	}
	if (ctx == NULL)
		fprintf(stderr, "no mlx5 device could be opened with DevX%s%s\n",
			want != NULL ? ": " : "", want != NULL ? want : "");
	if (list != NULL)
		ibv_free_device_list(list);
	return ctx;
}

static bool
query_cap(struct dev *d, uint16_t type, void *out)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0};

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, type | MLX5_HCA_CAP_OPMOD_CUR);
	return dev_cmd(d, in, sizeof(in), out, PRM_BYTES(query_hca_cap_out)).err == 0;
}

static bool
alloc_pd(struct dev *d)
{
	struct mlx5dv_pd dvpd = {0};
	struct mlx5dv_obj obj = { .pd = { .out = &dvpd } };

	d->pd = ibv_alloc_pd(d->ctx);
	if (d->pd == NULL)
		return false;
	obj.pd.in = d->pd;
	if (mlx5dv_init_obj(&obj, MLX5DV_OBJ_PD) != 0)
		return false;
	d->pdn = dvpd.pdn;
	return true;
}

static bool
alloc_var(struct dev *d)
{
	void *page;

	d->var = mlx5dv_alloc_var(d->ctx, 0);
	if (d->var == NULL)
		return false;
	page = mmap(NULL, d->var->length, PROT_READ | PROT_WRITE, MAP_SHARED, d->ctx->cmd_fd,
		d->var->mmap_off);
	if (page == MAP_FAILED)
		return false;
	d->var_page = page;
	return true;
}

static bool
alloc_td_tis(struct dev *d)
{
	uint8_t td[PRM_BYTES(alloc_transport_domain_in)], tis[PRM_BYTES(create_tis_in)];
	struct obj o = {0};

	fill_td(td);
	if (dev_create(d, td, sizeof(td), &o).err != 0)
		return false;
	d->td = o.obj;
	d->tdn = o.id;
	fill_tis(tis, d->tdn);
	if (dev_create(d, tis, sizeof(tis), &o).err != 0)
		return false;
	d->tis = o.obj;
	d->tisn = o.id;
	return true;
}

/* Everything on an open context, which may be NULL. */
static struct dev *
dev_on(struct ibv_context *ctx, bool with_var)
{
	struct dev *d = calloc(1, sizeof(*d));
	const char *step = "context";

	if (d == NULL)
		return NULL;
	d->ctx = ctx;
	if (d->ctx == NULL)
		goto fail;
	step = "capabilities";
	if (!query_cap(d, MLX5_HCA_CAP_GENERAL, d->hca_cap) ||
			!query_cap(d, MLX5_HCA_CAP_VDPA_EMULATION, d->virtio_cap))
		goto fail;
	step = "protection domain";
	if (!alloc_pd(d))
		goto fail;
	step = "event queue";
	if (mlx5dv_devx_query_eqn(d->ctx, 0, &d->eqn) != 0)
		goto fail;
	step = "UAR";
	d->uar = mlx5dv_devx_alloc_uar(d->ctx, MLX5DV_UAR_ALLOC_TYPE_NC);
	if (d->uar == NULL)
		d->uar = mlx5dv_devx_alloc_uar(d->ctx, MLX5DV_UAR_ALLOC_TYPE_BF);
	if (d->uar == NULL)
		goto fail;
	step = "VAR";
	if (with_var && !alloc_var(d))
		goto fail;
	step = "transport domain and TIS";
	if (!alloc_td_tis(d))
		goto fail;
	return d;
fail:
	fprintf(stderr, "cannot set up the device: %s: %s\n", step, strerror(errno));
	dev_close(d);
	return NULL;
}

struct dev *
dev_open(bool with_var)
{
	return dev_on(open_context("MLX5_TEST_DEVICE", NULL), with_var);
}

struct dev *
dev_open_peer(const struct dev *d)
{
	return dev_on(open_context("MLX5_TEST_PEER", d->ctx->device), true);
}

int
dev_close(struct dev *d)
{
	int failed = 0;

	if (d == NULL)
		return 0; /* a set-up that failed said so */
	if (d->tis != NULL && mlx5dv_devx_obj_destroy(d->tis) != 0)
		failed++;
	if (d->td != NULL && mlx5dv_devx_obj_destroy(d->td) != 0)
		failed++;
	if (d->var_page != NULL)
		munmap(d->var_page, d->var->length);
	if (d->var != NULL)
		mlx5dv_free_var(d->var);
	if (d->uar != NULL)
		mlx5dv_devx_free_uar(d->uar);
	if (d->pd != NULL && ibv_dealloc_pd(d->pd) != 0)
		failed++;
	if (d->ctx != NULL && ibv_close_device(d->ctx) != 0)
		failed++;
	free(d);
	return failed == 0 ? 0 : -1;
}

int
dev_setup(void **state)
{
	*state = dev_open(true);
	return *state != NULL ? 0 : -1;
}

int
dev_teardown(void **state)
{
	if (dev_close(*state) == 0)
		return 0;
	fprintf(stderr, "objects were left that the device could not be closed over\n");
	return -1;
}

/* ---- commands ---- */

static struct verdict
verdict_of(int err, const void *out)
{
	struct verdict v = { .err = err };

	v.status = PRM_GET(general_obj_out_cmd_hdr, out, status);
	v.syndrome = PRM_GET(general_obj_out_cmd_hdr, out, syndrome);
	return v;
}

struct verdict
dev_cmd(struct dev *d, const void *in, size_t inlen, void *out, size_t outlen)
{
	int err;

	memset(out, 0, outlen);
	err = mlx5dv_devx_general_cmd(d->ctx, in, inlen, out, outlen);
	return verdict_of(err, out);
}

/* The field of an output that holds the new object's number. */
static uint32_t
created_id(const void *in, const void *out)
{
	switch (PRM_GET(general_obj_in_cmd_hdr, in, opcode)) {
	case MLX5_CMD_OP_CREATE_GENERAL_OBJECT:
		return PRM_GET(general_obj_out_cmd_hdr, out, obj_id);
	case MLX5_CMD_OP_CREATE_MKEY:
		/* The key: its index, and the variant that the create chose. */
		return PRM_GET(create_mkey_out, out, mkey_index) << 8 | PRM_GET(mkc,
			PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry), mkey_7_0);
	default:
		/* All other creates have a 24-bit number in the low bits of the third word. */
		return PRM_GET(create_tis_out, out, tisn);
	}
}

struct verdict
dev_create(struct dev *d, const void *in, size_t inlen, struct obj *o)
{
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};

	errno = 0;
	o->obj = mlx5dv_devx_obj_create(d->ctx, in, inlen, out, sizeof(out));
	if (o->obj == NULL)
		return verdict_of(errno != 0 ? errno : EIO, out);
	o->id = created_id(in, out);
	return verdict_of(0, out);
}

struct verdict
dev_modify(struct obj *o, const void *in, size_t inlen)
{
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};
	int err = mlx5dv_devx_obj_modify(o->obj, in, inlen, out, sizeof(out));

	return verdict_of(err, out);
}

struct verdict
dev_query(struct obj *o, const void *in, size_t inlen, void *out, size_t outlen)
{
	int err;

	memset(out, 0, outlen);
	err = mlx5dv_devx_obj_query(o->obj, in, inlen, out, outlen);
	return verdict_of(err, out);
}

static void
say_verdict(struct verdict v, const char *wanted)
{
	print_error("wanted: %s; came: error %d (%s), status 0x%02x %s, syndrome 0x%08x\n", wanted,
		v.err, strerror(v.err), v.status, prm_status_name(v.status), v.syndrome);
}

void
check_accepted(struct verdict v, const char *file, int line)
{
	if (v.err == 0 && v.status == MLX5_CMD_STAT_OK)
		return;
	say_verdict(v, "accepted");
	_fail(file, line);
}

void
check_refused(struct verdict v, uint8_t status, const char *file, int line)
{
	if (v.err == EREMOTEIO && v.status == status && v.syndrome != 0)
		return;
	say_verdict(v, prm_status_name(status));
	_fail(file, line);
}

void
check_refused_by_kernel(struct verdict v, const char *file, int line)
{
	if (v.err != 0 && v.err != EREMOTEIO && v.status == MLX5_CMD_STAT_OK)
		return;
	say_verdict(v, "refused by the kernel");
	_fail(file, line);
}

void
check_create_refused(struct dev *d, const void *in, size_t len, uint8_t status, const char *file,
		int line)
{
	struct obj o = {0};
	struct verdict v = dev_create(d, in, len, &o);

	discard(&o);
	check_refused(v, status, file, line);
}

struct obj
check_create(struct dev *d, const void *in, size_t len, const char *file, int line)
{
	struct obj o = {0};

	check_accepted(dev_create(d, in, len, &o), file, line);
	return o;
}

void
check_destroy(struct obj *o, const char *file, int line)
{
	struct obj gone = *o;
	int err;

	if (gone.obj == NULL)
		return;
	err = mlx5dv_devx_obj_destroy(gone.obj);
	if (err != 0) {
		print_error("cannot destroy 0x%x: %s\n", gone.id, strerror(err));
		_fail(file, line);
	}
	*o = (struct obj) {0};
}

void
check_busy(struct obj *o, const char *file, int line)
{
	int err = mlx5dv_devx_obj_destroy(o->obj);

	if (err == EBUSY)
		return;
	print_error("destroying 0x%x, which is in use: %s\n", o->id, strerror(err));
	if (err == 0)
		*o = (struct obj) {0};
	_fail(file, line);
}

void
discard(struct obj *o)
{
	if (o->obj != NULL)
		mlx5dv_devx_obj_destroy(o->obj);
	*o = (struct obj) {0};
}

/* ---- umems ---- */

struct umem
umem_create(struct dev *d, size_t len)
{
	struct umem u = { .len = len };

	u.addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(u.addr, MAP_FAILED);
	u.umem = mlx5dv_devx_umem_reg(d->ctx, u.addr, len, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(u.umem);
	u.id = u.umem->umem_id;
	return u;
}

void
umem_discard(struct umem *u)
{
	if (u->umem != NULL)
		mlx5dv_devx_umem_dereg(u->umem);
	if (u->addr != NULL)
		munmap(u->addr, u->len);
	*u = (struct umem) {0};
}

void
umem_destroy(struct umem *u)
{
	assert_int_equal(mlx5dv_devx_umem_dereg(u->umem), 0);
	u->umem = NULL;
	umem_discard(u);
}

/* ---- builders ---- */

void
fill_td(uint8_t in[PRM_BYTES(alloc_transport_domain_in)])
{
	memset(in, 0, PRM_BYTES(alloc_transport_domain_in));
	PRM_SET(alloc_transport_domain_in, in, opcode, MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN);
}

void
fill_tis(uint8_t in[PRM_BYTES(create_tis_in)], uint32_t td)
{
	void *tisc = PRM_ADDR(create_tis_in, in, ctx);

	memset(in, 0, PRM_BYTES(create_tis_in));
	PRM_SET(create_tis_in, in, opcode, MLX5_CMD_OP_CREATE_TIS);
	PRM_SET(tisc, tisc, transport_domain, td);
}

void
fill_pd(uint8_t in[PRM_BYTES(alloc_pd_in)])
{
	memset(in, 0, PRM_BYTES(alloc_pd_in));
	PRM_SET(alloc_pd_in, in, opcode, MLX5_CMD_OP_ALLOC_PD);
}

void
fill_counters(uint8_t in[PRM_BYTES(create_virtio_q_counters_in)])
{
	memset(in, 0, PRM_BYTES(create_virtio_q_counters_in));
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, MLX5_CMD_OP_CREATE_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
}

void
fill_cq(const struct dev *d, uint8_t in[PRM_BYTES(create_cq_in)], uint32_t umem_id,
		uint32_t dbr_off, uint32_t log_size)
{
	void *cqc = PRM_ADDR(create_cq_in, in, cq_context);

	memset(in, 0, PRM_BYTES(create_cq_in));
	PRM_SET(create_cq_in, in, opcode, MLX5_CMD_OP_CREATE_CQ);
	PRM_SET(create_cq_in, in, cq_umem_valid, 1);
	PRM_SET(create_cq_in, in, cq_umem_id, umem_id);
	PRM_SET(cqc, cqc, oi, 1); /* these tests never move the consumer counter */
	PRM_SET(cqc, cqc, log_cq_size, log_size);
	PRM_SET(cqc, cqc, uar_page, d->uar->page_id);
	PRM_SET(cqc, cqc, c_eqn_or_apu_element, d->eqn);
	PRM_SET(cqc, cqc, dbr_umem_valid, 1);
	PRM_SET(cqc, cqc, dbr_umem_id, umem_id);
	PRM_SET(cqc, cqc, dbr_addr, dbr_off);
}

static void *
fill_qp(const struct dev *d, uint8_t in[PRM_BYTES(create_qp_in)])
{
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);

	memset(in, 0, PRM_BYTES(create_qp_in));
	PRM_SET(create_qp_in, in, opcode, MLX5_CMD_OP_CREATE_QP);
	PRM_SET(qpc, qpc, st, MLX5_QP_ST_RC);
	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	PRM_SET(qpc, qpc, pd, d->pdn);
	PRM_SET(qpc, qpc, no_sq, 1);
	PRM_SET(qpc, qpc, ts_format, HCA_CAP(d, rq_ts_format) != 0 ?
		MLX5_TIMESTAMP_FORMAT_DEFAULT : MLX5_TIMESTAMP_FORMAT_FREE_RUNNING);
	return qpc;
}

void
fill_fw_qp(const struct dev *d, uint8_t in[PRM_BYTES(create_qp_in)])
{
	void *qpc = fill_qp(d, in);

	PRM_SET(qpc, qpc, rq_type, MLX5_QP_ZERO_LEN_RQ);
}

void
fill_sw_qp(const struct dev *d, uint8_t in[PRM_BYTES(create_qp_in)], uint32_t cqn,
		uint32_t umem_id, uint32_t dbr_off, uint32_t log_size)
{
	void *qpc = fill_qp(d, in);

	PRM_SET(qpc, qpc, uar_page, d->uar->page_id);
	PRM_SET(qpc, qpc, cqn_rcv, cqn);
	PRM_SET(qpc, qpc, rq_type, MLX5_QP_NON_ZERO_RQ);
	PRM_SET(qpc, qpc, log_rq_size, log_size);
	PRM_SET(qpc, qpc, dbr_umem_valid, 1);
	PRM_SET(qpc, qpc, dbr_umem_id, umem_id);
	PRM_SET(qpc, qpc, dbr_addr, dbr_off);
	PRM_SET(create_qp_in, in, wq_umem_valid, 1);
	PRM_SET(create_qp_in, in, wq_umem_id, umem_id);
}

size_t
fill_qp_step(uint8_t in[PRM_BYTES(rst2init_qp_in)], uint16_t opcode, uint32_t qpn,
		uint32_t remote_qpn)
{
	void *qpc = PRM_ADDR(rst2init_qp_in, in, qpc);
	void *path = PRM_ADDR(qpc, qpc, primary_address_path);

	memset(in, 0, PRM_BYTES(rst2init_qp_in));
	PRM_SET(rst2init_qp_in, in, opcode, opcode);
	PRM_SET(rst2init_qp_in, in, qpn, qpn);
	if (opcode == MLX5_CMD_OP_2RST_QP)
		return PRM_BYTES(qp_2rst_in);
	PRM_SET(ads, path, vhca_port_num, 1);
	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	switch (opcode) {
	case MLX5_CMD_OP_RST2INIT_QP:
		PRM_SET(qpc, qpc, rre, 1);
		PRM_SET(qpc, qpc, rwe, 1);
		break;
	case MLX5_CMD_OP_INIT2RTR_QP:
		PRM_SET(ads, path, fl, 1);
		PRM_SET(qpc, qpc, mtu, MLX5_QP_MTU_256);
		PRM_SET(qpc, qpc, log_msg_max, MLX5_QP_LOG_MSG_MAX);
		PRM_SET(qpc, qpc, remote_qpn, remote_qpn);
		break;
	default:
		PRM_SET(ads, path, ack_timeout, MLX5_QP_ACK_TIMEOUT);
		PRM_SET(qpc, qpc, retry_count, MLX5_QP_RETRY_MAX);
		PRM_SET(qpc, qpc, rnr_retry, MLX5_QP_RETRY_MAX);
		break;
	}
	return PRM_BYTES(rst2init_qp_in);
}

static void *
fill_mkc(const struct dev *d, uint8_t *in, uint8_t mode, uint64_t start, uint64_t len)
{
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);

	PRM_SET(create_mkey_in, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	PRM_SET(mkc, mkc, access_mode_1_0, mode);
	PRM_SET(mkc, mkc, lr, 1);
	PRM_SET(mkc, mkc, lw, 1);
	PRM_SET(mkc, mkc, qpn, 0xffffff); /* any QP */
	PRM_SET(mkc, mkc, pd, d->pdn);
	PRM_SET(mkc, mkc, start_addr, start);
	PRM_SET(mkc, mkc, len, len);
	return mkc;
}

void
fill_umem_mkey(const struct dev *d, uint8_t in[PRM_BYTES(create_mkey_in)], uint32_t umem_id,
		uint64_t iova, uint64_t len)
{
	/* Two 8-byte page addresses make an octword. */
	uint32_t log_page = 12, octwords = ((len >> log_page) + 1) / 2;
	void *mkc;

	memset(in, 0, PRM_BYTES(create_mkey_in));
	mkc = fill_mkc(d, in, MLX5_MKC_ACCESS_MODE_MTT, iova, len);
	PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, in, mkey_umem_id, umem_id);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, octwords);
	PRM_SET(mkc, mkc, log_page_size, log_page);
	PRM_SET(mkc, mkc, translations_octword_size, octwords);
}

size_t
fill_klm_mkey(const struct dev *d, uint8_t in[KLM_MKEY_IN_BYTES], uint64_t start,
		const struct klm *klm, uint32_t n)
{
	uint8_t *entry = PRM_ADDR(create_mkey_in, in, klm_pas_mtt);
	uint32_t i, padded = (n + 3) & ~3u; /* the list comes in groups of four */
	uint64_t len = 0;
	void *mkc;

	assert_in_range(n, 1, KLM_MAX);
	memset(in, 0, KLM_MKEY_IN_BYTES);
	for (i = 0; i < n; i++, entry += PRM_BYTES(klm)) {
		PRM_SET(klm, entry, byte_count, klm[i].bytes);
		PRM_SET(klm, entry, mkey, klm[i].mkey);
		PRM_SET(klm, entry, address, klm[i].address);
		len += klm[i].bytes;
	}
	mkc = fill_mkc(d, in, MLX5_MKC_ACCESS_MODE_KLM, start, len);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, padded);
	PRM_SET(mkc, mkc, translations_octword_size, padded);
	return PRM_BYTES(create_mkey_in) + padded * PRM_BYTES(klm);
}

size_t
fill_rqt(uint8_t in[RQT_IN_BYTES], const uint32_t *virtqs, uint32_t n)
{
	uint8_t *rqtc = PRM_ADDR(create_rqt_in, in, rqt_context);
	uint8_t *entry = PRM_ADDR(rqtc, rqtc, rq_num);
	uint32_t i;

	assert_in_range(n, 1, RQT_MAX);
	memset(in, 0, RQT_IN_BYTES);
	PRM_SET(create_rqt_in, in, opcode, MLX5_CMD_OP_CREATE_RQT);
	PRM_SET(rqtc, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q);
	PRM_SET(rqtc, rqtc, rqt_max_size, n);
	PRM_SET(rqtc, rqtc, rqt_actual_size, n);
	for (i = 0; i < n; i++, entry += PRM_BYTES(rq_num))
		PRM_SET(rq_num, entry, rq_num, virtqs[i]);
	return PRM_BYTES(create_rqt_in) + n * PRM_BYTES(rq_num);
}

size_t
fill_modify_rqt(uint8_t in[RQT_IN_BYTES], uint32_t rqtn, const uint32_t *virtqs, uint32_t n)
{
	/* The context of the two lies at the same place. */
	size_t len = fill_rqt(in, virtqs, n);

	PRM_SET(modify_rqt_in, in, opcode, MLX5_CMD_OP_MODIFY_RQT);
	PRM_SET(modify_rqt_in, in, rqtn, rqtn);
	PRM_SET(rqt_bitmask, PRM_ADDR(modify_rqt_in, in, bitmask), rqn_list, 1);
	return len;
}

void
fill_tir(const struct dev *d, uint8_t in[PRM_BYTES(create_tir_in)], uint32_t rqtn)
{
	void *tirc = PRM_ADDR(create_tir_in, in, ctx);

	memset(in, 0, PRM_BYTES(create_tir_in));
	PRM_SET(create_tir_in, in, opcode, MLX5_CMD_OP_CREATE_TIR);
	PRM_SET(tirc, tirc, disp_type, MLX5_TIRC_DISP_TYPE_INDIRECT);
	PRM_SET(tirc, tirc, indirect_table, rqtn);
	PRM_SET(tirc, tirc, transport_domain, d->tdn);
	PRM_SET(tirc, tirc, rx_hash_fn, MLX5_RX_HASH_FN_TOEPLITZ);
}

/* ---- waiting ---- */

uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
sleep_us(unsigned int us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };

	nanosleep(&ts, NULL);
}
