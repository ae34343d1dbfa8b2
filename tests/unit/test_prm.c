/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/mlx5_prm: layouts against the tables of Linux and DPDK, access, printing, names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#include <mlx5_prm.h>

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

/* ---- tables ---- */

struct row {
	const char *layout, *field;
	uint32_t off, width, count;
	const char *nested;
};

struct size {
	const char *layout;
	uint32_t bits;
};

struct table {
	const char *source;
	const struct row *rows;
	size_t nrows;
	const struct size *sizes;
	size_t nsizes;
};

#define ROW(l, f, o, w, n, s) { #l, #f, o, w, n, #s },
#define SIZE(l, b)
#define CONST(n, v)
static const struct row linux_rows[] = {
#include "prm_linux.inc"
};
static const struct row dpdk_rows[] = {
#include "prm_dpdk.inc"
};
#undef ROW
#undef SIZE
#define ROW(l, f, o, w, n, s)
#define SIZE(l, b) { #l, b },
static const struct size linux_sizes[] = {
#include "prm_linux.inc"
};
static const struct size dpdk_sizes[] = {
#include "prm_dpdk.inc"
};
#undef SIZE
#undef CONST
#define SIZE(l, b)
#define CONST(n, v) { #n, n, v },
static const struct {
	const char *name;
	uint64_t ours, theirs;
} constants[] = {
#include "prm_linux.inc"
#include "prm_dpdk.inc"
};
#undef ROW
#undef SIZE
#undef CONST

enum { LINUX, DPDK, TABLES };

static const struct table tables[TABLES] = {
	[LINUX] = { "Linux 6.12", linux_rows, DIM(linux_rows), linux_sizes, DIM(linux_sizes) },
	[DPDK] = { "DPDK 22.11", dpdk_rows, DIM(dpdk_rows), dpdk_sizes, DIM(dpdk_sizes) },
};

/* Rows that say something else than we do, and why we do not follow. */
static const struct {
	int table;
	struct row row;
} deviations[] = {
	/* DPDK calls by this name the older capability, which Linux renamed to
	 * relaxed_ordering_read_pci_enabled when the new one came. */
	{ DPDK, { "cmd_hca_cap", "relaxed_ordering_read", 0x0e9, 1, 1, "none" } },
	/* The field grew by a bit at its top. */
	{ DPDK, { "mkc", "log_page_size", 0x1db, 5, 1, "none" } },
	/* DPDK leaves the elements of its trailing array untyped. */
	{ DPDK, { "create_cq_in", "pas", 0x880, 0, 1, "none" } },
	/* A union with flow counters. Linux counts the larger entries that extended_destination
	 * asks for, whose first half is ours; DPDK has one entry of ours. */
	{ LINUX, { "flow_context", "destination", 0x1800, 128, 0,
		"dest_format_flow_counter_list_auto" } },
	{ DPDK, { "flow_context", "destination", 0x1800, 64, 1,
		"dest_format_flow_counter_list_auto" } },
	/* DPDK counts that one entry into the sizes of what contains it. */
	{ DPDK, { "set_fte_in", "flow_context", 0x200, 0x1840, 1, "flow_context" } },
	/* DPDK's struct ends behind its last named field. */
	{ DPDK, { "create_virtio_q_counters_in", "virtio_q_counters", 0x080, 0x1d0, 1,
		"virtio_q_counters" } },
	/* Both declare this output with the header of an input. The two are of one size, but the
	 * device answers with status and syndrome. */
	{ LINUX, { "query_virtio_q_counters_out", "hdr", 0x000, 128, 1,
		"general_obj_in_cmd_hdr" } },
	{ DPDK, { "query_virtio_q_counters_out", "hdr", 0x000, 128, 1,
		"general_obj_in_cmd_hdr" } },
};

static const struct row *
row_find(const struct table *t, const char *layout, const char *field)
{
	size_t i;

	for (i = 0; i < t->nrows; i++) {
		if (strcmp(t->rows[i].layout, layout) == 0 && strcmp(t->rows[i].field, field) == 0)
			return &t->rows[i];
	}
	return NULL;
}

static const struct size *
size_find(const struct table *t, const char *layout)
{
	size_t i;

	for (i = 0; i < t->nsizes; i++) {
		if (strcmp(t->sizes[i].layout, layout) == 0)
			return &t->sizes[i];
	}
	return NULL;
}

static bool
row_is_deviation(int table, const struct row *r)
{
	const struct row *d;
	size_t i;

	for (i = 0; i < DIM(deviations); i++) {
		d = &deviations[i].row;
		if (deviations[i].table == table && strcmp(d->layout, r->layout) == 0 &&
				strcmp(d->field, r->field) == 0)
			return d->off == r->off && d->width == r->width &&
				d->count == r->count && strcmp(d->nested, r->nested) == 0;
	}
	return false;
}

static bool
row_matches(const struct row *r, const struct prm_field *f)
{
	if (r->off != f->off)
		return false;
	if (f->sub != NULL)
		return r->width == f->width && r->count == f->count &&
			strcmp(r->nested, f->sub->name) == 0;
	/* What they declare as a union or struct may be a plain array to us. */
	if (strcmp(r->nested, "none") != 0 && f->count > 1)
		return r->width * r->count == f->width * f->count;
	return r->width == f->width && r->count == f->count;
}

/* Returns the number of complaints, each printed. */
static unsigned int
check_field(const struct prm_layout *l, const struct prm_field *f)
{
	unsigned int named = 0, wrong = 0;
	const struct row *r;
	int t;

	for (t = 0; t < TABLES; t++) {
		r = row_find(&tables[t], l->name, f->name);
		if (r == NULL)
			continue;
		named++;
		if (row_matches(r, f) || row_is_deviation(t, r))
			continue;
		print_error("%s.%s is at %#x, %u bits, %u times; in %s at %#x, %u, %u, %s\n",
			l->name, f->name, f->off, f->width, f->count,
			tables[t].source, r->off, r->width, r->count, r->nested);
		wrong++;
	}
	if (named == 0) {
		print_error("%s.%s is in no table\n", l->name, f->name);
		wrong++;
	}
	return wrong;
}

static void
every_field_agrees_with_its_sources(void **state)
{
	const struct prm_layout *const *l;
	unsigned int n, i, j, wrong = 0;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < l[i]->nfields; j++)
			wrong += check_field(l[i], &l[i]->fields[j]);
	}
	assert_int_equal(wrong, 0);
}

static void
every_layout_has_the_size_of_its_source(void **state)
{
	const struct prm_layout *const *l;
	const struct size *s;
	unsigned int n, i, wrong = 0;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		/* DPDK ends many structs early; its sizes count where Linux has no such struct. */
		s = size_find(&tables[LINUX], l[i]->name);
		if (s == NULL)
			s = size_find(&tables[DPDK], l[i]->name);
		if (s != NULL && s->bits == l[i]->bits)
			continue;
		print_error("%s has %#x bits, its source %#x\n", l[i]->name, l[i]->bits,
			s != NULL ? s->bits : 0);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void
every_deviation_is_still_one(void **state)
{
	const struct prm_field *f = NULL;
	const struct prm_layout *l;
	const struct row *r;
	size_t i;
	uint32_t j;

	(void)state;
	for (i = 0; i < DIM(deviations); i++) {
		l = prm_layout_find(deviations[i].row.layout);
		assert_non_null(l);
		for (j = 0; j < l->nfields; j++) {
			if (strcmp(l->fields[j].name, deviations[i].row.field) == 0)
				f = &l->fields[j];
		}
		assert_non_null(f);
		r = row_find(&tables[deviations[i].table], l->name, f->name);
		assert_non_null(r);
		assert_true(row_is_deviation(deviations[i].table, r));
		assert_false(row_matches(r, f));
	}
}

static void
constants_agree_with_their_sources(void **state)
{
	unsigned int wrong = 0;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(constants); i++) {
		if (constants[i].ours == constants[i].theirs)
			continue;
		print_error("%s is %#llx, in its source %#llx\n", constants[i].name,
			(unsigned long long)constants[i].ours,
			(unsigned long long)constants[i].theirs);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static bool
is_constant_of_a_source(const char *name)
{
	size_t i;

	for (i = 0; i < DIM(constants); i++) {
		if (strcmp(constants[i].name, name) == 0)
			return true;
	}
	return false;
}

static void
every_opcode_and_status_has_a_source(void **state)
{
	static const char *const names[] = {
#define X(name, value) "MLX5_CMD_OP_" #name,
		PRM_OPCODES(X)
#undef X
#define X(name, value) "MLX5_CMD_STAT_" #name,
		PRM_STATUSES(X)
#undef X
	};
	size_t i;

	(void)state;
	for (i = 0; i < DIM(names); i++) {
		if (!is_constant_of_a_source(names[i]))
			fail_msg("%s is in no table", names[i]);
	}
}

/* ---- what prm_get and prm_set rely on ---- */

static uint32_t
last_bit(const struct prm_field *f)
{
	return f->off + f->width * (f->count == 0 ? 1 : f->count) - 1;
}

static void
no_field_crosses_a_word_but_aligned_pairs(void **state)
{
	const struct prm_layout *const *l;
	const struct prm_field *f;
	unsigned int n, i, j;
	uint32_t e, off;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		assert_int_equal(l[i]->bits % 32, 0);
		for (j = 0; j < l[i]->nfields; j++) {
			f = &l[i]->fields[j];
			for (e = 0; e < (f->count == 0 ? 1 : f->count); e++) {
				off = f->off + e * f->width;
				if (f->sub != NULL || f->width == 64)
					assert_int_equal(off % 32, 0);
				else
					assert_int_equal(off / 32, (off + f->width - 1) / 32);
			}
			if (f->sub == NULL)
				assert_in_range(f->width, 1, 64);
		}
	}
}

static void
fields_lie_inside_and_trailing_arrays_at_the_end(void **state)
{
	const struct prm_layout *const *l;
	const struct prm_field *f;
	unsigned int n, i, j;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < l[i]->nfields; j++) {
			f = &l[i]->fields[j];
			if (f->count == 0)
				assert_int_equal(f->off, l[i]->bits);
			else
				assert_true(last_bit(f) < l[i]->bits);
		}
	}
}

/* Two views of one place: a table of software owned steering, and one of hardware steering. */
static bool
may_overlap(const struct prm_field *a, const struct prm_field *b)
{
	static const char sw[] = "sw_owner_icm_root_", hw[] = "rtc_id_";

	return strncmp(a->name, sw, strlen(sw)) == 0 && strncmp(b->name, hw, strlen(hw)) == 0;
}

static void
check_apart(const struct prm_layout *l, const struct prm_field *a, const struct prm_field *b)
{
	assert_string_not_equal(a->name, b->name);
	if (last_bit(a) >= b->off && last_bit(b) >= a->off && !may_overlap(a, b))
		fail_msg("%s: %s and %s overlap", l->name, a->name, b->name);
}

static void
fields_do_not_overlap(void **state)
{
	const struct prm_layout *const *l;
	unsigned int n, i, j, k;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < l[i]->nfields; j++) {
			for (k = j + 1; k < l[i]->nfields; k++)
				check_apart(l[i], &l[i]->fields[j], &l[i]->fields[k]);
		}
	}
}

static void
layout_names_are_unique_and_found(void **state)
{
	const struct prm_layout *const *l;
	unsigned int n, i;

	(void)state;
	l = prm_layouts(&n);
	assert_true(n > 0);
	for (i = 0; i < n; i++)
		assert_ptr_equal(prm_layout_find(l[i]->name), l[i]);
	assert_null(prm_layout_find("no_such_layout"));
	assert_null(prm_layout_find(""));
}

/* ---- get and set ---- */

/* What prm_set should do, a bit at a time. */
static void
set_bits(uint8_t *p, uint32_t off, uint32_t width, uint64_t v)
{
	uint32_t i, bit;

	for (i = 0; i < width; i++) {
		bit = off + i;
		p[bit / 8] &= ~(0x80u >> bit % 8);
		if (v >> (width - 1 - i) & 1)
			p[bit / 8] |= 0x80u >> bit % 8;
	}
}

static void
check_round_trip(const struct prm_layout *l, uint32_t off, uint32_t width)
{
	static const uint64_t patterns[] = { 0, UINT64_MAX, 1, UINT64_C(0xa5a5a5a5a5a5a5a5),
		UINT64_C(0x0123456789abcdef), UINT64_C(1) << 63 };
	static const uint8_t fills[] = { 0x00, 0xff, 0x5a };
	uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
	size_t len = l->bits / 8 + 8, i, j;
	uint8_t *have = malloc(len), *want = malloc(len);

	assert_non_null(have);
	assert_non_null(want);
	for (i = 0; i < DIM(fills); i++) {
		for (j = 0; j < DIM(patterns); j++) {
			memset(have, fills[i], len);
			memset(want, fills[i], len);
			prm_set(have, off, width, patterns[j]);
			set_bits(want, off, width, patterns[j]);
			assert_memory_equal(have, want, len);
			assert_true(prm_get(have, off, width) == (patterns[j] & mask));
		}
	}
	free(want);
	free(have);
}

static void
set_then_get_returns_the_value_and_leaves_neighbours(void **state)
{
	const struct prm_layout *const *l;
	const struct prm_field *f;
	unsigned int n, i, j;
	uint32_t last;

	(void)state;
	l = prm_layouts(&n);
	for (i = 0; i < n; i++) {
		for (j = 0; j < l[i]->nfields; j++) {
			f = &l[i]->fields[j];
			if (f->sub != NULL)
				continue;
			last = f->count > 1 ? f->count - 1 : 0;
			check_round_trip(l[i], f->off, f->width);
			check_round_trip(l[i], f->off + last * f->width, f->width);
		}
	}
}

static void
typed_access_reaches_the_bytes_of_the_manual(void **state)
{
	uint8_t in[PRM_BYTES(create_cq_in) + 16] = {0};
	void *cqc = PRM_ADDR(create_cq_in, in, cq_context);

	(void)state;
	assert_int_equal(PRM_BYTES(create_cq_in), 272);
	PRM_SET(create_cq_in, in, opcode, MLX5_CMD_OP_CREATE_CQ);
	PRM_SET(create_cq_in, in, uid, 0x1234);
	assert_memory_equal(in, "\x04\x00\x12\x34", 4);
	assert_ptr_equal(cqc, in + 16);
	PRM_SET(cqc, cqc, log_cq_size, 0xff);       /* five bits: the rest is dropped */
	PRM_SET(cqc, cqc, uar_page, 0xabcdef);
	assert_memory_equal(in + 16 + 12, "\x1f\xab\xcd\xef", 4);
	PRM_SET(cqc, cqc, dbr_addr, UINT64_C(0x0102030405060708));
	assert_memory_equal(in + 16 + 56, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	assert_true(PRM_GET(cqc, cqc, dbr_addr) == UINT64_C(0x0102030405060708));
	assert_int_equal(sizeof(PRM_GET(cqc, cqc, dbr_addr)), 8);
	assert_int_equal(sizeof(PRM_GET(cqc, cqc, uar_page)), 4);
	assert_int_equal(PRM_OFF(create_cq_in, pas), 272);
	PRM_SET_AT(create_cq_in, in, pas, 1, UINT64_C(0x1122334455667788));
	assert_memory_equal(in + 280, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	assert_true(PRM_GET_AT(create_cq_in, in, pas, 1) == UINT64_C(0x1122334455667788));
	assert_true(PRM_GET_AT(create_cq_in, in, pas, 0) == 0);
}

static void
access_needs_no_alignment_of_the_host(void **state)
{
	uint8_t raw[PRM_BYTES(klm) + 1] = {0}, *klm = raw + 1;

	(void)state;
	PRM_SET(klm, klm, address, UINT64_C(0xfedcba9876543210));
	PRM_SET(klm, klm, mkey, 0x89abcdef);
	assert_true(PRM_GET(klm, klm, address) == UINT64_C(0xfedcba9876543210));
	assert_int_equal(PRM_GET(klm, klm, mkey), 0x89abcdef);
	assert_int_equal(raw[0], 0);
}

/* ---- printing ---- */

static char *
printed(const struct prm_layout *layout, const void *p, size_t len)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	if (layout != NULL)
		prm_print(out, layout, p, len);
	else
		prm_hexdump(out, p, len);
	fclose(out);
	return text;
}

static void
assert_prints(const struct prm_layout *layout, const void *p, size_t len, const char *want)
{
	char *text = printed(layout, p, len);

	assert_string_equal(text, want);
	free(text);
}

static void
print_shows_non_zero_fields_with_the_names_of_what_contains_them(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)] = {0};
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *vq = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	(void)state;
	assert_prints(prm_layout_find("create_virtio_net_q_in"), in, sizeof(in), "");
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, MLX5_CMD_OP_CREATE_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	PRM_SET(virtio_q, vq, desc_addr, UINT64_C(0x123456789abcdef0));
	assert_prints(prm_cmd_layout_in(in, sizeof(in)), in, sizeof(in),
		" general_obj_in_cmd_hdr.opcode=0xa00 general_obj_in_cmd_hdr.obj_type=0xd"
		" obj_context.state=0x1 obj_context.virtio_q_context.desc_addr=0x123456789abcdef0");
}

static void
print_bounds_trailing_arrays(void **state)
{
	uint8_t in[PRM_BYTES(create_rqt_in) + 12 * PRM_BYTES(rq_num)] = {0};
	uint8_t *ctx = PRM_ADDR(create_rqt_in, in, rqt_context);
	uint8_t umem[PRM_BYTES(create_umem_in) + 16 * 8] = {0};
	uint32_t i;

	(void)state;
	for (i = 0; i < 12; i++) {
		PRM_SET(rq_num, ctx + PRM_OFF(rqtc, rq_num) + i * PRM_BYTES(rq_num), rq_num,
			i == 3 ? 0 : i + 1);
	}
	assert_prints(prm_layout_find("create_rqt_in"), in, sizeof(in),
		" rqt_context.rq_num[0].rq_num=0x1 rqt_context.rq_num[1].rq_num=0x2"
		" rqt_context.rq_num[2].rq_num=0x3 rqt_context.rq_num[4].rq_num=0x5"
		" rqt_context.rq_num[5].rq_num=0x6 rqt_context.rq_num[6].rq_num=0x7"
		" rqt_context.rq_num[7].rq_num=0x8 rqt_context.rq_num[8].rq_num=0x9"
		" rqt_context.rq_num...3");

	for (i = 0; i < 16; i++)
		PRM_SET_AT(umem, PRM_ADDR(create_umem_in, umem, umem), mtt, i, (i + 1) << 12);
	assert_prints(prm_layout_find("create_umem_in"), umem, sizeof(umem),
		" umem.mtt[0]=0x1000 umem.mtt[1]=0x2000 umem.mtt[2]=0x3000 umem.mtt[3]=0x4000"
		" umem.mtt[4]=0x5000 umem.mtt[5]=0x6000 umem.mtt[6]=0x7000 umem.mtt[7]=0x8000"
		" umem.mtt...8");
}

static void
print_writes_bytes_in_one_piece(void **state)
{
	uint8_t match[PRM_BYTES(fte_match_set_lyr_2_4)] = {0};
	uint8_t *src = PRM_ADDR(fte_match_set_lyr_2_4, match, src_ipv4_src_ipv6);

	(void)state;
	memcpy(src + 12, "\x0a\x00\x00\x01", 4);
	assert_prints(prm_layout_find("fte_match_set_lyr_2_4"), match, sizeof(match),
		" src_ipv4_src_ipv6=0x0000000000000000000000000a000001");
}

static void
print_stops_where_the_mailbox_ends(void **state)
{
	const struct prm_layout *l = prm_layout_find("create_mkey_in");
	uint8_t in[PRM_BYTES(create_mkey_in)], *cut;
	size_t len;
	char *text;

	(void)state;
	memset(in, 0xff, sizeof(in));
	for (len = 0; len <= sizeof(in); len++) {
		/* Exactly this length: a sanitizer sees the first byte too much. */
		cut = malloc(len);
		assert_true(cut != NULL || len == 0);
		memcpy(cut, in, len);
		text = printed(l, cut, len);
		if (len < 4) /* the word that the opcode is in */
			assert_string_equal(text, "");
		else
			assert_true(strncmp(text, " opcode=0xffff", 14) == 0);
		free(text);
		free(cut);
	}
}

static void
hexdump_has_the_format_of_mlx5_core(void **state)
{
	uint8_t p[40];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)i;
	assert_prints(NULL, p, 32,
		"000: 00010203 04050607 08090a0b 0c0d0e0f\n"
		"010: 10111213 14151617 18191a1b 1c1d1e1f\n");
	assert_prints(NULL, p, 40,
		"000: 00010203 04050607 08090a0b 0c0d0e0f\n"
		"010: 10111213 14151617 18191a1b 1c1d1e1f\n"
		"020: 20212223 24252627\n");
	/* A mailbox that ends within a word: the rest of it is shown as zeros. */
	assert_prints(NULL, p + 1, 6, "000: 01020304 05060000\n");
	assert_prints(NULL, p, 0, "");
}

/* ---- names, and layouts of commands ---- */

static const uint16_t opcodes[] = {
#define X(name, op) op,
	PRM_OPCODES(X)
#undef X
};

static void
opcode_names_go_both_ways(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < DIM(opcodes); i++)
		assert_int_equal(prm_opcode_by_name(prm_opcode_name(opcodes[i])), opcodes[i]);
	assert_string_equal(prm_opcode_name(0x200), "CREATE_MKEY");
	assert_string_equal(prm_opcode_name(0x50a), "2RST_QP");
	assert_null(prm_opcode_name(0));
	assert_null(prm_opcode_name(0xffff));
	assert_int_equal(prm_opcode_by_name("CREATE_MKE"), -1);
	assert_int_equal(prm_opcode_by_name("create_mkey"), -1);
	assert_int_equal(prm_opcode_by_name(""), -1);
}

static void
statuses_have_names(void **state)
{
	(void)state;
	assert_string_equal(prm_status_name(0), "OK");
	assert_string_equal(prm_status_name(3), "BAD_PARAM_ERR");
	assert_string_equal(prm_status_name(0x50), "BAD_INP_LEN_ERR");
	assert_string_equal(prm_status_name(0xee), "?");
}

static void
assert_layouts(uint16_t opcode, uint16_t obj_type, const char *in_name, const char *out_name)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	const struct prm_layout *lin, *lout;

	PRM_SET(general_obj_in_cmd_hdr, in, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, obj_type);
	lin = prm_cmd_layout_in(in, sizeof(in));
	lout = prm_cmd_layout_out(in, sizeof(in));
	assert_non_null(lin);
	assert_non_null(lout);
	assert_string_equal(lin->name, in_name);
	assert_string_equal(lout->name, out_name);
}

static void
every_command_has_layouts_that_begin_with_the_common_header(void **state)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	const struct prm_layout *lin, *lout;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(opcodes); i++) {
		PRM_SET(general_obj_in_cmd_hdr, in, opcode, opcodes[i]);
		lin = prm_cmd_layout_in(in, sizeof(in));
		lout = prm_cmd_layout_out(in, sizeof(in));
		assert_non_null(lin);
		assert_non_null(lout);
		assert_string_equal(lin->fields[0].name, "opcode");
		assert_int_equal(lin->fields[0].width, 16);
		assert_string_equal(lout->fields[0].name, "status");
		assert_true(lin->bits >= 128);
		assert_true(lout->bits >= 128);
	}
}

static void
commands_have_the_layouts_of_their_name(void **state)
{
	(void)state;
	assert_layouts(MLX5_CMD_OP_CREATE_MKEY, 0, "create_mkey_in", "create_mkey_out");
	assert_layouts(MLX5_CMD_OP_QUERY_HCA_CAP, 0, "query_hca_cap_in", "query_hca_cap_out");
	assert_layouts(MLX5_CMD_OP_2RST_QP, 0, "qp_2rst_in", "qp_2rst_out");
	assert_layouts(MLX5_CMD_OP_MODIFY_RQT, 0, "modify_rqt_in", "modify_rqt_out");
	assert_layouts(MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, 0, "set_fte_in", "set_fte_out");
	assert_layouts(MLX5_CMD_OP_DELETE_FLOW_TABLE_ENTRY, 0, "delete_fte_in", "delete_fte_out");
	/* The op_mod of a plain command lies where an object's type does: it must not matter. */
	assert_layouts(MLX5_CMD_OP_CREATE_TIR, MLX5_OBJ_TYPE_VIRTIO_NET_Q, "create_tir_in",
		"create_tir_out");
}

static void
general_objects_have_the_layouts_of_their_type(void **state)
{
	const uint16_t q = MLX5_OBJ_TYPE_VIRTIO_NET_Q, c = MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS;

	(void)state;
	assert_layouts(MLX5_CMD_OP_CREATE_GENERAL_OBJECT, q, "create_virtio_net_q_in",
		"general_obj_out_cmd_hdr");
	assert_layouts(MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, q, "create_virtio_net_q_in",
		"general_obj_out_cmd_hdr");
	assert_layouts(MLX5_CMD_OP_QUERY_GENERAL_OBJECT, q, "general_obj_in_cmd_hdr",
		"query_virtio_net_q_out");
	assert_layouts(MLX5_CMD_OP_DESTROY_GENERAL_OBJECT, q, "general_obj_in_cmd_hdr",
		"general_obj_out_cmd_hdr");
	assert_layouts(MLX5_CMD_OP_CREATE_GENERAL_OBJECT, c, "create_virtio_q_counters_in",
		"general_obj_out_cmd_hdr");
	assert_layouts(MLX5_CMD_OP_QUERY_GENERAL_OBJECT, c, "general_obj_in_cmd_hdr",
		"query_virtio_q_counters_out");
	/* Of an unknown type only the headers are known. */
	assert_layouts(MLX5_CMD_OP_CREATE_GENERAL_OBJECT, 0xffff, "general_obj_in_cmd_hdr",
		"general_obj_out_cmd_hdr");
}

static void
mailboxes_that_name_no_command_have_no_layout(void **state)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};

	(void)state;
	assert_null(prm_cmd_layout_in(in, sizeof(in)));
	assert_null(prm_cmd_layout_out(in, sizeof(in)));
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	assert_non_null(prm_cmd_layout_in(in, 8));
	assert_null(prm_cmd_layout_in(in, 7));
	assert_null(prm_cmd_layout_out(in, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_agrees_with_its_sources),
		cmocka_unit_test(every_layout_has_the_size_of_its_source),
		cmocka_unit_test(every_deviation_is_still_one),
		cmocka_unit_test(constants_agree_with_their_sources),
		cmocka_unit_test(every_opcode_and_status_has_a_source),
		cmocka_unit_test(no_field_crosses_a_word_but_aligned_pairs),
		cmocka_unit_test(fields_lie_inside_and_trailing_arrays_at_the_end),
		cmocka_unit_test(fields_do_not_overlap),
		cmocka_unit_test(layout_names_are_unique_and_found),
		cmocka_unit_test(set_then_get_returns_the_value_and_leaves_neighbours),
		cmocka_unit_test(typed_access_reaches_the_bytes_of_the_manual),
		cmocka_unit_test(access_needs_no_alignment_of_the_host),
		cmocka_unit_test(print_shows_non_zero_fields_with_the_names_of_what_contains_them),
		cmocka_unit_test(print_bounds_trailing_arrays),
		cmocka_unit_test(print_writes_bytes_in_one_piece),
		cmocka_unit_test(print_stops_where_the_mailbox_ends),
		cmocka_unit_test(hexdump_has_the_format_of_mlx5_core),
		cmocka_unit_test(opcode_names_go_both_ways),
		cmocka_unit_test(statuses_have_names),
		cmocka_unit_test(every_command_has_layouts_that_begin_with_the_common_header),
		cmocka_unit_test(commands_have_the_layouts_of_their_name),
		cmocka_unit_test(general_objects_have_the_layouts_of_their_type),
		cmocka_unit_test(mailboxes_that_name_no_command_have_no_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
