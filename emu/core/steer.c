/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steering objects: TIS (where transmit queues send), RQT (a table of receive queues), TIR (which
 * entry of an RQT a frame goes to). Flow tables, which choose a TIR, are in flow.c.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "engine.h"

/* Syndromes, one set for all: each command uses those that apply. */
enum {
	SYN_NO_ROOM = 1,
	SYN_NOT_FOUND,
	SYN_BUSY,
	SYN_TD,                    /* no such transport domain */
	SYN_TLS,                   /* tls_en: not offered */
	SYN_LAG,                   /* lag_tx_port_affinity: above num_lag_ports */
	SYN_UNDERLAY,              /* underlay_qpn: this is no InfiniBand port */
	SYN_LIST_TYPE,             /* list_q_type: the device has virtio queues alone */
	SYN_MAX_SIZE,              /* rqt_max_size: 0, above log_max_rqt_size, or changed */
	SYN_ACTUAL_SIZE,           /* rqt_actual_size: 0 or above rqt_max_size */
	SYN_LIST_SHORT,            /* the mailbox ends before the list does */
	SYN_QUEUE,                 /* an entry is no virtio queue of this user context */
	SYN_QUEUE_DIRECTION,       /* an entry is a transmit queue */
	SYN_VHCA,                  /* rq_vhca_id_format: entries of other functions */
	SYN_BITMASK,               /* MODIFY_RQT changes the list, or nothing */
	SYN_DISPATCH,              /* disp_type: neither direct nor indirect */
	SYN_INLINE_RQ,             /* a direct TIR needs an RQ, which the device does not have */
	SYN_RQT,                   /* no such RQT */
	SYN_HASH_FN,               /* rx_hash_fn: none and Toeplitz are offered */
	SYN_HASH_FIELDS,           /* fields that can't be hashed */
	SYN_TUNNEL,                /* hashing inner headers: not offered */
	SYN_LRO,                   /* packet_merge_mask: not offered */
	SYN_LOOPBACK,              /* self_lb_block: the only loopback here is a wire */
};

struct tis {
	struct emu_obj obj;
	struct emu_obj *td;
};

struct rqt {
	struct emu_obj obj;
	uint32_t max, actual;
	struct emu_virtq **entry;  /* max pointers; NULL: the queue is gone */
};

struct emu_tir {
	struct emu_obj obj;
	struct emu_obj *td;
	struct rqt *rqt;
	bool hashed;               /* else every frame goes to entry 0 */
	bool symmetric;
	uint8_t l3, l4;            /* what it hashes: 4 or 6; IPPROTO_TCP or IPPROTO_UDP */
	uint8_t fields;            /* MLX5_HASH_FIELD_SEL_* */
	struct emu_toeplitz toeplitz;
};

/* ---- Toeplitz ---- */

static uint32_t
key_window(const uint8_t *key, unsigned int bit)
{
	uint64_t w = 0;
	unsigned int i;

	for (i = 0; i < 5; i++)
		w = w << 8 | (bit / 8 + i < EMU_TOEPLITZ_KEY ? key[bit / 8 + i] : 0);
	return (uint32_t)(w >> (8 - bit % 8));
}

void
emu_toeplitz_init(struct emu_toeplitz *t, const uint8_t key[EMU_TOEPLITZ_KEY])
{
	unsigned int half, val, bit;

	memset(t, 0, sizeof(*t));
	for (half = 0; half < EMU_TOEPLITZ_INPUT_MAX * 2; half++) {
		for (val = 0; val < 16; val++) {
			for (bit = 0; bit < 4; bit++) {
				if ((val & (8u >> bit)) != 0)
					t->part[half][val] ^= key_window(key, half * 4 + bit);
			}
		}
	}
}

uint32_t
emu_toeplitz_hash(const struct emu_toeplitz *t, const uint8_t *input, unsigned int len)
{
	uint32_t hash = 0;
	unsigned int i;

	for (i = 0; i < len; i++)
		hash ^= t->part[2 * i][input[i] >> 4] ^ t->part[2 * i + 1][input[i] & 0xf];
	return hash;
}

/* ---- from a TIR to a queue ---- */

/* Append the source and the destination, as selected. A symmetric hash takes the smaller one first,
 * so that both directions of a flow come to the same. */
static unsigned int
append_pair(const struct emu_tir *tir, uint8_t *input, unsigned int src_field,
		unsigned int dst_field, const uint8_t *src, const uint8_t *dst, unsigned int len)
{
	const uint8_t *swap = src;
	unsigned int n = 0;

	if (tir->symmetric && memcmp(src, dst, len) > 0) {
		src = dst;
		dst = swap;
	}
	if ((tir->fields & src_field) != 0) {
		memcpy(input, src, len);
		n += len;
	}
	if ((tir->fields & dst_field) != 0) {
		memcpy(input + n, dst, len);
		n += len;
	}
	return n;
}

static uint32_t
tir_hash(const struct emu_tir *tir, const struct emu_flow_key *key)
{
	const uint8_t *m = (const uint8_t *)key->match;
	const unsigned int src = PRM_OFF(fte_match_set_lyr_2_4, src_ipv4_src_ipv6);
	const unsigned int dst = PRM_OFF(fte_match_set_lyr_2_4, dst_ipv4_dst_ipv6);
	unsigned int addr = tir->l3 == 4 ? sizeof(struct in_addr) : sizeof(struct in6_addr);
	unsigned int skip = sizeof(struct in6_addr) - addr; /* IPv4 lies at the end of the field */
	unsigned int sport, dport, n;
	uint8_t input[EMU_TOEPLITZ_INPUT_MAX];

	if (!tir->hashed || key->l3 != tir->l3)
		return 0;
	n = append_pair(tir, input, MLX5_HASH_FIELD_SEL_SRC_IP, MLX5_HASH_FIELD_SEL_DST_IP,
		m + src + skip, m + dst + skip, addr);
	if (key->l4 == tir->l4) {
		sport = key->l4 == IPPROTO_TCP ? PRM_OFF(fte_match_set_lyr_2_4, tcp_sport) :
			PRM_OFF(fte_match_set_lyr_2_4, udp_sport);
		dport = key->l4 == IPPROTO_TCP ? PRM_OFF(fte_match_set_lyr_2_4, tcp_dport) :
			PRM_OFF(fte_match_set_lyr_2_4, udp_dport);
		n += append_pair(tir, input + n, MLX5_HASH_FIELD_SEL_L4_SPORT,
			MLX5_HASH_FIELD_SEL_L4_DPORT, m + sport, m + dport, sizeof(in_port_t));
	}
	return emu_toeplitz_hash(&tir->toeplitz, input, n);
}

struct emu_virtq *
emu_tir_pick(const struct emu_tir *tir, const struct emu_flow_key *key)
{
	const struct rqt *rqt = tir->rqt;
	uint32_t hash = tir_hash(tir, key);

	if ((rqt->actual & (rqt->actual - 1)) == 0)
		return rqt->entry[hash & (rqt->actual - 1)];
	return rqt->entry[hash % rqt->actual];
}

/* ---- TIS ---- */

static uint8_t
create_tis(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *ctx = PRM_ADDR(create_tis_in, c->in, ctx);
	uint32_t lag_ports = PRM_GET(cmd_hca_cap, dev->caps.general, num_lag_ports);
	struct emu_obj *td;
	struct tis *tis;

	if (PRM_GET(tisc, ctx, tls_en))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TLS);
	if (PRM_GET(tisc, ctx, underlay_qpn) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UNDERLAY);
	/* NVIDIA's driver counts its ports from 1, and has one where the device says none. */
	if (PRM_GET(tisc, ctx, lag_tx_port_affinity) > (lag_ports > 0 ? lag_ports : 1))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LAG);
	td = emu_obj_find(dev, EMU_TD, PRM_GET(tisc, ctx, transport_domain), c->uid);
	if (td == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TD);
	tis = emu_obj_new(dev, EMU_TIS, c->uid, sizeof(*tis));
	if (tis == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	tis->td = td;
	emu_obj_hold(td);
	PRM_SET(create_tis_out, c->out, tisn, tis->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_tis(struct emu_dev *dev, struct emu_cmd *c)
{
	struct tis *tis = emu_obj_find(dev, EMU_TIS, PRM_GET(destroy_tis_in, c->in, tisn), c->uid);

	if (tis == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (tis->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_put(tis->td);
	emu_obj_del(tis);
	return MLX5_CMD_STAT_OK;
}

/* ---- RQT ---- */

/* Entry @p i of the list in a command. */
static struct emu_virtq *
list_queue(struct emu_dev *dev, const struct emu_cmd *c, const void *rqtc, uint32_t i)
{
	const uint8_t *list = PRM_ADDR(rqtc, rqtc, rq_num);
	uint32_t id = PRM_GET(rq_num, list + i * PRM_BYTES(rq_num), rq_num);

	return emu_obj_find(dev, EMU_VIRTIO_NET_Q, id, c->uid);
}

/* Sizes and entries; @p before is the length of the mailbox without its list. */
static uint8_t
check_list(struct emu_dev *dev, struct emu_cmd *c, const void *rqtc, uint32_t max, size_t before)
{
	uint32_t i, n = PRM_GET(rqtc, rqtc, rqt_actual_size);
	struct emu_virtq *vq;

	if (PRM_GET(rqtc, rqtc, list_q_type) != MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LIST_TYPE);
	if (PRM_GET(rqtc, rqtc, rq_vhca_id_format))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_VHCA);
	if (n == 0 || n > max)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_ACTUAL_SIZE);
	if (c->inlen < before + n * PRM_BYTES(rq_num))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_INP_LEN_ERR, SYN_LIST_SHORT);
	for (i = 0; i < n; i++) {
		vq = list_queue(dev, c, rqtc, i);
		if (vq == NULL)
			return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_QUEUE);
		if (emu_virtq_is_tx(vq))
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_QUEUE_DIRECTION);
	}
	return MLX5_CMD_STAT_OK;
}

static void
rqt_clear(struct rqt *rqt)
{
	for (; rqt->actual > 0; rqt->actual--) {
		if (rqt->entry[rqt->actual - 1] != NULL)
			rqt->entry[rqt->actual - 1]->rqt_entries--;
	}
}

static void
rqt_fill(struct rqt *rqt, const struct emu_cmd *c, const void *rqtc)
{
	uint32_t i, n = PRM_GET(rqtc, rqtc, rqt_actual_size);

	for (i = 0; i < n; i++) {
		rqt->entry[i] = list_queue(rqt->obj.dev, c, rqtc, i);
		rqt->entry[i]->rqt_entries++;
	}
	rqt->actual = n;
}

static void
rqt_fini(void *obj)
{
	free(((struct rqt *)obj)->entry);
}

void
emu_steer_forget(struct emu_virtq *vq)
{
	struct rqt *rqt = NULL;
	uint32_t i;

	while (vq->rqt_entries > 0 && (rqt = emu_obj_next(vq->obj.dev, EMU_RQT, rqt)) != NULL) {
		for (i = 0; i < rqt->actual; i++) {
			if (rqt->entry[i] == vq) {
				rqt->entry[i] = NULL;
				vq->rqt_entries--;
			}
		}
	}
}

static uint8_t
create_rqt(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *rqtc = PRM_ADDR(create_rqt_in, c->in, rqt_context);
	uint32_t max = PRM_GET(rqtc, rqtc, rqt_max_size);
	struct emu_virtq **entry;
	struct rqt *rqt;
	uint8_t status;

	if (max == 0 || max > 1u << PRM_GET(cmd_hca_cap, dev->caps.general, log_max_rqt_size))
		return emu_refuse(c, MLX5_CMD_STAT_LIM_ERR, SYN_MAX_SIZE);
	status = check_list(dev, c, rqtc, max, PRM_BYTES(create_rqt_in));
	if (status != MLX5_CMD_STAT_OK)
		return status;
	entry = calloc(max, sizeof(*entry));
	rqt = entry != NULL ? emu_obj_new(dev, EMU_RQT, c->uid, sizeof(*rqt)) : NULL;
	if (rqt == NULL) {
		free(entry);
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	}
	rqt->obj.fini = rqt_fini;
	rqt->max = max;
	rqt->entry = entry;
	rqt_fill(rqt, c, rqtc);
	PRM_SET(create_rqt_out, c->out, rqtn, rqt->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
modify_rqt(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *rqtc = PRM_ADDR(modify_rqt_in, c->in, ctx);
	const void *bitmask = PRM_ADDR(modify_rqt_in, c->in, bitmask);
	uint32_t max = PRM_GET(rqtc, rqtc, rqt_max_size);
	struct rqt *rqt = emu_obj_find(dev, EMU_RQT, PRM_GET(modify_rqt_in, c->in, rqtn), c->uid);
	uint8_t status;

	if (rqt == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	/* rqn_list is the last of 64 bits, and the only one with a meaning. */
	if (prm_get(bitmask, 0, 64) != 1)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_BITMASK);
	/* DPDK repeats the size, Linux leaves it out. */
	if (max != 0 && max != rqt->max)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MAX_SIZE);
	status = check_list(dev, c, rqtc, rqt->max, PRM_BYTES(modify_rqt_in));
	if (status != MLX5_CMD_STAT_OK)
		return status;
	rqt_clear(rqt);
	rqt_fill(rqt, c, rqtc);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_rqt(struct emu_dev *dev, struct emu_cmd *c)
{
	struct rqt *rqt = emu_obj_find(dev, EMU_RQT, PRM_GET(destroy_rqt_in, c->in, rqtn), c->uid);

	if (rqt == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (rqt->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	rqt_clear(rqt);
	emu_obj_del(rqt);
	return MLX5_CMD_STAT_OK;
}

/* ---- TIR ---- */

static uint8_t
check_tirc(struct emu_cmd *c, const void *tirc)
{
	const void *inner = PRM_ADDR(tirc, tirc, rx_hash_field_selector_inner);
	const void *outer = PRM_ADDR(tirc, tirc, rx_hash_field_selector_outer);
	const uint32_t fields = MLX5_HASH_FIELD_SEL_SRC_IP | MLX5_HASH_FIELD_SEL_DST_IP |
		MLX5_HASH_FIELD_SEL_L4_SPORT | MLX5_HASH_FIELD_SEL_L4_DPORT;
	uint32_t fn = PRM_GET(tirc, tirc, rx_hash_fn);

	if (PRM_GET(tirc, tirc, tls_en))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TLS);
	if (PRM_GET(tirc, tirc, packet_merge_mask) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LRO);
	if (PRM_GET(tirc, tirc, self_lb_block) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LOOPBACK);
	if (PRM_GET(tirc, tirc, tunneled_offload_en) ||
			PRM_GET(rx_hash_field_select, inner, selected_fields) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TUNNEL);
	if (fn != MLX5_RX_HASH_FN_NONE && fn != MLX5_RX_HASH_FN_TOEPLITZ)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_HASH_FN);
	if ((PRM_GET(rx_hash_field_select, outer, selected_fields) & ~fields) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_HASH_FIELDS);
	switch (PRM_GET(tirc, tirc, disp_type)) {
	case MLX5_TIRC_DISP_TYPE_INDIRECT:
		return MLX5_CMD_STAT_OK;
	case MLX5_TIRC_DISP_TYPE_DIRECT:
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_INLINE_RQ);
	default:
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DISPATCH);
	}
}

static void
tir_init(struct emu_tir *tir, const void *tirc)
{
	const void *outer = PRM_ADDR(tirc, tirc, rx_hash_field_selector_outer);

	tir->symmetric = PRM_GET(tirc, tirc, rx_hash_symmetric);
	tir->fields = PRM_GET(rx_hash_field_select, outer, selected_fields);
	tir->hashed = PRM_GET(tirc, tirc, rx_hash_fn) != MLX5_RX_HASH_FN_NONE && tir->fields != 0;
	tir->l3 = PRM_GET(rx_hash_field_select, outer, l3_prot_type) == MLX5_L3_PROT_TYPE_IPV4 ?
		4 : 6;
	tir->l4 = PRM_GET(rx_hash_field_select, outer, l4_prot_type) == MLX5_L4_PROT_TYPE_TCP ?
		IPPROTO_TCP : IPPROTO_UDP;
	emu_toeplitz_init(&tir->toeplitz, PRM_ADDR(tirc, tirc, rx_hash_toeplitz_key));
}

static uint8_t
create_tir(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *tirc = PRM_ADDR(create_tir_in, c->in, ctx);
	uint8_t status = check_tirc(c, tirc);
	struct emu_obj *td;
	struct emu_tir *tir;
	struct rqt *rqt;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	rqt = emu_obj_find(dev, EMU_RQT, PRM_GET(tirc, tirc, indirect_table), c->uid);
	if (rqt == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_RQT);
	td = emu_obj_find(dev, EMU_TD, PRM_GET(tirc, tirc, transport_domain), c->uid);
	if (td == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TD);
	tir = emu_obj_new(dev, EMU_TIR, c->uid, sizeof(*tir));
	if (tir == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	tir_init(tir, tirc);
	tir->rqt = rqt;
	tir->td = td;
	emu_obj_hold(rqt);
	emu_obj_hold(td);
	PRM_SET(create_tir_out, c->out, tirn, tir->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_tir(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_tir *tir = emu_obj_find(dev, EMU_TIR, PRM_GET(destroy_tir_in, c->in, tirn),
		c->uid);

	if (tir == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (tir->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_put(tir->td);
	emu_obj_put(tir->rqt);
	emu_obj_del(tir);
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_steer[] = {
	EMU_CMD(CREATE_TIS, create_tis, create_tis),
	EMU_CMD(DESTROY_TIS, destroy_tis, destroy_tis),
	EMU_CMD(CREATE_RQT, create_rqt, create_rqt),
	EMU_CMD(MODIFY_RQT, modify_rqt, modify_rqt),
	EMU_CMD(DESTROY_RQT, destroy_rqt, destroy_rqt),
	EMU_CMD(CREATE_TIR, create_tir, create_tir),
	EMU_CMD(DESTROY_TIR, destroy_tir, destroy_tir),
	EMU_CMD(CREATE_FLOW_TABLE, create_flow_table, emu_create_flow_table),
	EMU_CMD(DESTROY_FLOW_TABLE, destroy_flow_table, emu_destroy_flow_table),
	EMU_CMD(CREATE_FLOW_GROUP, create_flow_group, emu_create_flow_group),
	EMU_CMD(DESTROY_FLOW_GROUP, destroy_flow_group, emu_destroy_flow_group),
	EMU_CMD(SET_FLOW_TABLE_ENTRY, set_fte, emu_set_fte),
	EMU_CMD(DELETE_FLOW_TABLE_ENTRY, delete_fte, emu_delete_fte),
	EMU_CMDS_END
};
