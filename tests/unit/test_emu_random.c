/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core under commands that no driver sends: those of a whole working card, played again in any
 * order with fields, lengths, owners and opcodes changed, while its queues run. Each is answered as
 * firmware answers; mailboxes are exactly as long as the device is told, for a sanitizer to watch.
 * In the end everything that came into being can be destroyed: no reference was lost or left.
 *
 * The numbers are the same in every run; MLX5_TEST_SEED starts others.
 */
#include "emu_card.h"
#include "emu_fixture.h"

enum {
	ROUNDS = 20000,
	CORPUS = 128,
	MADE = ROUNDS,
	OUT_MAX = 4096 + 64,
	ANSWER = 8,                /* status and syndrome, which a refusal has, too */
	PASSES = 12,               /* of destruction: what is busy with another waits for it */
};

/* ---- what came into being: how it is destroyed ---- */

typedef uint8_t destruction[PRM_BYTES(delete_fte_in)];

static destruction made[MADE];
static unsigned int nmade;

/* Objects that go by 24 bits from 0x48 on in the answer, and in what destroys them. */
static uint16_t
destroys(uint16_t create)
{
	switch (create) {
	case MLX5_CMD_OP_ALLOC_UAR: return MLX5_CMD_OP_DEALLOC_UAR;
	case MLX5_CMD_OP_ALLOC_PD: return MLX5_CMD_OP_DEALLOC_PD;
	case MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN: return MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN;
	case MLX5_CMD_OP_CREATE_UMEM: return MLX5_CMD_OP_DESTROY_UMEM;
	case MLX5_CMD_OP_CREATE_MKEY: return MLX5_CMD_OP_DESTROY_MKEY;
	case MLX5_CMD_OP_CREATE_CQ: return MLX5_CMD_OP_DESTROY_CQ;
	case MLX5_CMD_OP_CREATE_QP: return MLX5_CMD_OP_DESTROY_QP;
	case MLX5_CMD_OP_CREATE_TIS: return MLX5_CMD_OP_DESTROY_TIS;
	case MLX5_CMD_OP_CREATE_RQT: return MLX5_CMD_OP_DESTROY_RQT;
	case MLX5_CMD_OP_CREATE_TIR: return MLX5_CMD_OP_DESTROY_TIR;
	default: return 0;
	}
}

static void
note_made(const uint8_t *in, const uint8_t *out)
{
	uint16_t opcode = PRM_GET(general_obj_in_cmd_hdr, in, opcode), how = destroys(opcode);
	uint8_t *d = made[nmade];

	assert_in_range(nmade, 0, MADE - 1);
	switch (opcode) {
	case MLX5_CMD_OP_CREATE_UCTX:
		how = MLX5_CMD_OP_DESTROY_UCTX;
		PRM_SET(destroy_uctx_in, d, uid, PRM_GET(create_uctx_out, out, uid));
		break;
	case MLX5_CMD_OP_CREATE_GENERAL_OBJECT:
		how = MLX5_CMD_OP_DESTROY_GENERAL_OBJECT;
		PRM_SET(general_obj_in_cmd_hdr, d, obj_type,
			PRM_GET(general_obj_in_cmd_hdr, in, obj_type));
		PRM_SET(general_obj_in_cmd_hdr, d, obj_id,
			PRM_GET(general_obj_out_cmd_hdr, out, obj_id));
		break;
	case MLX5_CMD_OP_CREATE_FLOW_TABLE:
		how = MLX5_CMD_OP_DESTROY_FLOW_TABLE;
		PRM_SET(destroy_flow_table_in, d, table_id,
			PRM_GET(create_flow_table_out, out, table_id));
		break;
	case MLX5_CMD_OP_CREATE_FLOW_GROUP:
		how = MLX5_CMD_OP_DESTROY_FLOW_GROUP;
		PRM_SET(destroy_flow_group_in, d, table_id,
			PRM_GET(create_flow_group_in, in, table_id));
		PRM_SET(destroy_flow_group_in, d, group_id,
			PRM_GET(create_flow_group_out, out, group_id));
		break;
	case MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY:
		how = MLX5_CMD_OP_DELETE_FLOW_TABLE_ENTRY;
		PRM_SET(delete_fte_in, d, table_id, PRM_GET(set_fte_in, in, table_id));
		PRM_SET(delete_fte_in, d, flow_index, PRM_GET(set_fte_in, in, flow_index));
		break;
	default:
		PRM_SET(dealloc_pd_in, d, pd, PRM_GET(alloc_pd_out, out, pd));
	}
	PRM_SET(general_obj_in_cmd_hdr, d, opcode, how);
	nmade += how != 0;
	if (how == 0)
		memset(d, 0, sizeof(made[0]));
}

/* By the kernel, which may destroy everybody's. Some are gone by now; some are busy until others
 * are. */
static void
destroy_made(struct card *card)
{
	uint8_t out[PRM_BYTES(delete_fte_out)];
	unsigned int i;

	for (i = nmade; i-- > 0;)
		emu_cmd(card->dev, made[i], sizeof(made[i]), out, sizeof(out));
}

/* ---- what a working card was told ---- */

static struct {
	uint8_t *in;
	size_t inlen, outlen;
} corpus[CORPUS];
static unsigned int ncorpus;
static bool recording;

int __real_emu_cmd(struct emu_dev *dev, const void *in, size_t inlen, void *out, size_t outlen);
int __wrap_emu_cmd(struct emu_dev *dev, const void *in, size_t inlen, void *out, size_t outlen);

int
__wrap_emu_cmd(struct emu_dev *dev, const void *in, size_t inlen, void *out, size_t outlen)
{
	int status;

	status = __real_emu_cmd(dev, in, inlen, out, outlen);
	if (recording) {
		assert_in_range(ncorpus, 0, CORPUS - 1);
		corpus[ncorpus].in = malloc(inlen);
		assert_non_null(corpus[ncorpus].in);
		memcpy(corpus[ncorpus].in, in, inlen);
		corpus[ncorpus].inlen = inlen;
		corpus[ncorpus++].outlen = outlen;
		if (status == 0)
			note_made(in, out);
	}
	return status;
}

static void
record(struct card **card, struct queue q[2], struct evq e[2])
{
	struct queue *rx[] = { &q[0] };
	uint8_t in[PRM_BYTES(modify_rqt_in) + PRM_BYTES(rq_num)] = {0};
	unsigned int i;

	recording = true;
	*card = card_new("");
	for (i = 0; i < 2; i++) {
		evq_create(*card, &e[i], 4, i == 1);
		evq_start(*card, &e[i]);
		queue_create_with(*card, &q[i], (uint16_t)i, 64, &e[i], card_counters(*card));
	}
	steer_all(*card, rx, 1);
	for (i = 0; i < 2; i++) {
		assert_int_equal(queue_set_state(&q[i], MLX5_VIRTQ_STATE_RDY), 0);
		queue_query(&q[i]);
		qp_state(*card, e[i].sw);
	}
	assert_int_equal(queue_set_state(&q[1], MLX5_VIRTQ_STATE_SUSPEND), 0);
	assert_int_equal(queue_set_state(&q[1], MLX5_VIRTQ_STATE_RDY), 0);
	/* Whatever these come to. */
	card_cmd(*card, MLX5_CMD_OP_CREATE_UCTX, in, PRM_BYTES(create_uctx_in), 16);
	card_cmd(*card, MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS, in, 16, 64);
	card_cmd(*card, MLX5_CMD_OP_MODIFY_RQT, in, sizeof(in), 16);
	for (i = 0; i < 2; i++)
		card_cmd(*card, MLX5_CMD_OP_DESTROY_GENERAL_OBJECT, in, 16, 16);
	recording = false;
}

/* ---- changes ---- */

static uint64_t seed = UINT64_C(0x1d872b41a5e0f93c);

static uint64_t
next_random(void)
{
	/* splitmix64 */
	uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool
one_in(unsigned int n)
{
	return next_random() % n == 0;
}

static uint64_t
random_value(unsigned int width)
{
	uint64_t max = width < 64 ? (UINT64_C(1) << width) - 1 : UINT64_MAX;

	switch (next_random() % 6) {
	case 0: return 0;
	case 1: return max;
	case 2: return next_random() & max;
	case 3: return (UINT64_C(1) << next_random() % width) & max;
	default: return next_random() % 12 & max; /* the number of something */
	}
}

/* Some field that lies inside the mailbox. */
static void
change_field(uint8_t *in, size_t inlen)
{
	const struct prm_layout *l = prm_cmd_layout_in(in, inlen);
	const struct prm_field *f;
	uint64_t base = 0;

	while (l != NULL && l->nfields > 0) {
		f = &l->fields[next_random() % l->nfields];
		base += f->off;
		if (f->sub == NULL) {
			if ((base + f->width + 63) / 32 * 4 <= inlen)
				prm_set(in, (uint32_t)base, f->width, random_value(f->width));
			return;
		}
		l = f->sub;
	}
}

static uint16_t
random_opcode(void)
{
	static const uint16_t all[] = {
#define X(name, op) op,
		PRM_OPCODES(X)
#undef X
	};

	return one_in(50) ? (uint16_t)next_random() : all[next_random() % DIM(all)];
}

/* A mailbox of its own allocation. */
static uint8_t *
make_input(const struct card *card, size_t *inlen, size_t *outlen)
{
	unsigned int i = (unsigned int)(next_random() % ncorpus), n;
	uint8_t *in;

	*inlen = corpus[i].inlen;
	*outlen = corpus[i].outlen;
	if (one_in(20))
		*inlen = 16 + next_random() % (one_in(2) ? 64 : *inlen + 64);
	if (one_in(20))
		*outlen = 16 + next_random() % (OUT_MAX - 16);
	in = calloc(1, *inlen);
	assert_non_null(in);
	memcpy(in, corpus[i].in, *inlen < corpus[i].inlen ? *inlen : corpus[i].inlen);
	for (n = (unsigned int)(next_random() % 4); n > 0; n--)
		change_field(in, *inlen);
	if (one_in(12))
		in[next_random() % *inlen] = (uint8_t)next_random();
	if (one_in(12))
		PRM_SET(general_obj_in_cmd_hdr, in, opcode, random_opcode());
	if (one_in(8))
		PRM_SET(general_obj_in_cmd_hdr, in, uid, one_in(2) ? card->uid : random_value(16));
	return in;
}

/* ---- answers ---- */

static unsigned int accepted;

static void
check_answer(int status, const uint8_t *in, const uint8_t *out, size_t outlen)
{
	size_t i;

	assert_in_range(status, 0, UINT8_MAX);
	assert_int_equal(PRM_GET(general_obj_out_cmd_hdr, out, status), status);
	assert_int_equal(PRM_GET(general_obj_out_cmd_hdr, out, syndrome) != 0, status != 0);
	assert_string_not_equal(prm_status_name((uint8_t)status), "?");
	for (i = ANSWER; status != 0 && i < outlen; i++)
		assert_int_equal(out[i], 0);
	accepted += status == 0;
	if (status == 0)
		note_made(in, out);
}

static void
no_command_harms_more_than_what_it_names(void **state)
{
	const char *given = getenv("MLX5_TEST_SEED");
	struct evq e[2];
	struct queue q[2];
	struct card *card;
	size_t inlen, outlen;
	uint8_t *in, *out;
	unsigned int i;

	(void)state;
	seed = given != NULL ? strtoull(given, NULL, 0) : seed;
	assert_int_equal(emu_trace_open("/dev/null"), 0);
	record(&card, q, e);
	for (i = 0; i < ROUNDS; i++) {
		in = make_input(card, &inlen, &outlen);
		out = malloc(outlen);
		assert_non_null(out);
		memset(out, 0xa5, outlen);
		check_answer(emu_cmd(card->dev, in, inlen, out, outlen), in, out, outlen);
		free(out);
		free(in);
		if (i % 16 == 0)
			card_kick(card);
	}
	/* Else the changes leave nothing to test. */
	assert_in_range(accepted, ROUNDS / 20, ROUNDS);
	for (i = 0; i < PASSES && report_number("alive.total") != 0; i++)
		destroy_made(card);
	assert_int_equal(report_number("alive.total"), 0);
	card_free(card);
	for (i = 0; i < ncorpus; i++)
		free(corpus[i].in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_command_harms_more_than_what_it_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
