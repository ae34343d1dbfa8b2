/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mlx5_prm: the device interface of ConnectX as data.
 *
 * Owns: field layouts (layouts.def), constants of the PRM, typed access to mailboxes and objects,
 * and their printing. Knows neither DPDK nor verbs. No state: every function may be called from any
 * thread. A mailbox is a big-endian byte array, 4-byte aligned.
 *
 *	uint8_t in[PRM_BYTES(create_cq_in)] = {0};
 *	PRM_SET(create_cq_in, in, opcode, MLX5_CMD_OP_CREATE_CQ);
 *	void *cqc = PRM_ADDR(create_cq_in, in, cq_context);
 *	PRM_SET(cqc, cqc, log_cq_size, 8);
 */
#ifndef MLX5_PRM_H
#define MLX5_PRM_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "mlx5_prm_const.h"

/* Offset, width and size of every field as enum constants: PRM_<layout>__<field>__OFF, __WIDTH. */
#define LAYOUT(l, bits) enum { PRM_##l##__BITS = (bits),
#define FIELD(l, f, off, width) PRM_##l##__##f##__OFF = (off), PRM_##l##__##f##__WIDTH = (width),
#define ARRAY(l, f, off, width, n) FIELD(l, f, off, width)
#define SUB(l, f, off, sub, n) PRM_##l##__##f##__OFF = (off),
#define END(l) };
#include "layouts.def"
#undef LAYOUT
#undef FIELD
#undef ARRAY
#undef SUB
#undef END

/** Bytes of a layout, without its trailing array. */
#define PRM_BYTES(l) ((size_t)PRM_##l##__BITS / 8)
/** Byte offset of a field that starts on a byte (nested layouts, arrays). */
#define PRM_OFF(l, f) ((size_t)PRM_##l##__##f##__OFF / 8)
/** Address of a nested layout or array inside @p p. */
#define PRM_ADDR(l, p, f) ((void *)((uint8_t *)(uintptr_t)(p) + PRM_OFF(l, f)))
/** Read a field: uint32_t for up to 32 bits, uint64_t above. */
#define PRM_GET(l, p, f) \
	__builtin_choose_expr(PRM_##l##__##f##__WIDTH <= 32, \
		(uint32_t)prm_get((p), PRM_##l##__##f##__OFF, PRM_##l##__##f##__WIDTH), \
		prm_get((p), PRM_##l##__##f##__OFF, PRM_##l##__##f##__WIDTH))
/** Write a field; bits of @p v above the field's width are dropped. */
#define PRM_SET(l, p, f, v) \
	prm_set((p), PRM_##l##__##f##__OFF, PRM_##l##__##f##__WIDTH, (v))
/** Element @p i of an ARRAY field. */
#define PRM_GET_AT(l, p, f, i) \
	prm_get((p), PRM_##l##__##f##__OFF + (i) * PRM_##l##__##f##__WIDTH, \
		PRM_##l##__##f##__WIDTH)
#define PRM_SET_AT(l, p, f, i, v) \
	prm_set((p), PRM_##l##__##f##__OFF + (i) * PRM_##l##__##f##__WIDTH, \
		PRM_##l##__##f##__WIDTH, (v))

/*
 * Get and set by bit offset. A field either lies within one 32-bit word or is a whole aligned pair
 * of words; no field of the PRM does otherwise (test_prm holds that).
 */
static inline uint64_t
prm_get(const void *p, uint32_t off, uint32_t width)
{
	const uint8_t *word = (const uint8_t *)p + off / 32 * 4;
	uint32_t w;

	if (width == 64) {
		uint64_t q;

		memcpy(&q, word, sizeof(q));
		return be64toh(q);
	}
	memcpy(&w, word, sizeof(w));
	w = be32toh(w) >> (32 - off % 32 - width);
	return width == 32 ? w : w & ((UINT32_C(1) << width) - 1);
}

static inline void
prm_set(void *p, uint32_t off, uint32_t width, uint64_t v)
{
	uint8_t *word = (uint8_t *)p + off / 32 * 4;
	uint32_t shift, mask, w;

	if (width == 64) {
		v = htobe64(v);
		memcpy(word, &v, sizeof(v));
		return;
	}
	shift = 32 - off % 32 - width;
	mask = (width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1) << shift;
	memcpy(&w, word, sizeof(w));
	w = htobe32((be32toh(w) & ~mask) | ((uint32_t)v << shift & mask));
	memcpy(word, &w, sizeof(w));
}

/* ---- descriptions, for printers and tests ---- */

struct prm_layout;

struct prm_field {
	const char *name;
	uint32_t off;                 /* bits from the start of the layout */
	uint32_t width;               /* bits of one element */
	uint32_t count;               /* elements; 0 = up to the end of the mailbox */
	const struct prm_layout *sub; /* nested layout, NULL for integers */
};

struct prm_layout {
	const char *name;
	uint32_t bits;
	uint32_t nfields;
	const struct prm_field *fields;
};

/** All layouts in file order. @p n gets their number. */
const struct prm_layout *const *prm_layouts(unsigned int *n);

/** A layout by name, NULL when there is none. */
const struct prm_layout *prm_layout_find(const char *name);

/** PRM name of an opcode without its prefix ("CREATE_MKEY"), NULL if unknown. */
const char *prm_opcode_name(uint16_t opcode);

/** Opcode of a PRM name ("CREATE_MKEY"), -1 if unknown. */
int prm_opcode_by_name(const char *name);

/** Name and meaning of a command status ("BAD_PARAM_ERR"), "?" if unknown. */
const char *prm_status_name(uint8_t status);

/** Name of an error type of a virtqueue ("INVALID_BUFFER"), "?" if unknown. */
const char *prm_virtq_error_name(uint8_t type);

/** Layout of a command's input or output mailbox; general objects are told apart by obj_type, which
 * for an output is taken from @p in. NULL when unknown. */
const struct prm_layout *prm_cmd_layout_in(const void *in, size_t inlen);
const struct prm_layout *prm_cmd_layout_out(const void *in, size_t inlen);

/** Print the non-zero fields of @p p as " name=0x..", nested names joined by '.', on one line. */
void prm_print(FILE *out, const struct prm_layout *layout, const void *p, size_t len);

/** Zero the bits that the layout has names for: what is left of @p p has none. */
void prm_clear_known(const struct prm_layout *layout, void *p, size_t len);

/** Hex dump in the format that Linux's mlx5_core uses for command mailboxes: 16 bytes a line as
 * four 32-bit words, preceded by the offset. */
void prm_hexdump(FILE *out, const void *p, size_t len);

#endif /* MLX5_PRM_H */
