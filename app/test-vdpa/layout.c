/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "layout.h"
#include "mix.h"

#define HIGH_GPA (4ull << 30)		/* where memory goes on behind the hole of a PC */
#define LOW_MAX (3ull << 30)		/* what a PC shows below the hole at most */
#define FIRST_RING_GPA 0x10000u		/* drivers take guest address 0 for "none" */
#define RING_ALIGN 4096u		/* guests allocate rings in pages */
#define BUF_ALIGN 64u
#define PLUG_ALIGN (1ull << 30)		/* QEMU begins its area for DIMMs at such an address */

static uint64_t
align_up(uint64_t x, uint64_t a)
{
	return (x + a - 1) / a * a;
}

static uint64_t
align_down(uint64_t x, uint64_t a)
{
	return x / a * a;
}

static void
add_span(struct layout *l, uint64_t gpa, uint64_t bytes, unsigned int file)
{
	l->span[l->nspans++] = (struct layout_span){
		.gpa = gpa, .bytes = bytes, .file = file, .file_off = l->file_bytes[file],
	};
	l->file_bytes[file] += bytes;
	l->nfiles = file + 1;
}

static int
make_spans(struct layout *l)
{
	const struct layout_cfg *cfg = &l->cfg;
	uint64_t low, other;

	if (cfg->regions == 1) {
		add_span(l, 0, cfg->bytes, 0);
		return 0;
	}
	low = align_down(cfg->bytes / 8 * 3, cfg->page);
	if (low > LOW_MAX)
		low = LOW_MAX;
	other = cfg->regions == 2 ? 0 : align_down(cfg->bytes / 4, cfg->page);
	if (low == 0 || (cfg->regions > 2 && other == 0))
		return -ENOSPC;
	add_span(l, 0, low, 0);
	add_span(l, HIGH_GPA, cfg->bytes - low - other, 0);
	if (other > 0)
		add_span(l, HIGH_GPA + cfg->bytes - low - other, other, 1);
	return 0;
}

static unsigned int
span_rings(const struct layout *l, unsigned int span)
{
	return (l->cfg.rings + l->nspans - 1 - span) / l->nspans;
}

/* An odd number of cache lines: buffers then meet page borders in every possible way. */
static uint64_t
stride_of(uint64_t units)
{
	return ((units - 1) | 1) * BUF_ALIGN;
}

static void
place_plug(struct layout *l)
{
	const struct layout_span *last = &l->span[l->nspans - 1];
	uint64_t least = LAYOUT_BUF_BYTES / BUF_ALIGN + 1;
	uint64_t units = l->cfg.plug_bytes / (l->cfg.bufs / 2 + 1) / BUF_ALIGN;

	l->plug_gpa = align_up(last->gpa + last->bytes, PLUG_ALIGN);
	l->plug_stride = stride_of(units > least ? units : least);
}

int
layout_init(struct layout *l, const struct layout_cfg *cfg)
{
	uint64_t data = 0, units;
	unsigned int i;

	memset(l, 0, sizeof(*l));
	l->cfg = *cfg;
	if (make_spans(l) != 0)
		return -ENOSPC;
	l->ring_stride = align_up(cfg->ring_bytes, RING_ALIGN);
	for (i = 0; i < l->nspans; i++) {
		struct layout_span *s = &l->span[i];

		s->rings_off = s->gpa == 0 ? FIRST_RING_GPA : 0;
		s->data_off = s->rings_off + span_rings(l, i) * l->ring_stride;
		if (s->data_off >= s->bytes)
			return -ENOSPC;
		data += s->bytes - s->data_off;
	}
	/* Each span may waste one stride at its end. */
	units = data / (cfg->bufs + l->nspans) / BUF_ALIGN;
	if (units <= LAYOUT_BUF_BYTES / BUF_ALIGN)
		return -ENOSPC;
	l->buf_stride = stride_of(units);
	place_plug(l);
	return 0;
}

uint64_t
layout_ring_gpa(const struct layout *l, unsigned int ring)
{
	const struct layout_span *s = &l->span[ring % l->nspans];

	return s->gpa + s->rings_off + ring / l->nspans * l->ring_stride;
}

uint64_t
layout_buf_gpa(const struct layout *l, unsigned int buf)
{
	const struct layout_span *s = l->span;

	for (;; s++) {
		uint64_t room = (s->bytes - s->data_off) / l->buf_stride;

		if (buf < room || s == &l->span[l->nspans - 1])
			return s->gpa + s->data_off + buf * l->buf_stride;
		buf -= room;
	}
}

int
layout_plug_off(const struct layout *l, unsigned int buf, uint64_t *off)
{
	*off = buf / 2 * l->plug_stride;
	return buf % 2 == 1 && *off + LAYOUT_BUF_BYTES <= l->cfg.plug_bytes ? 0 : -ENOENT;
}

/* Deal @n pieces out to the spans, each time to the one whose pieces are the largest. */
static void
deal_pieces(const struct layout *l, unsigned int n, unsigned int *pieces)
{
	unsigned int i;

	for (i = 0; i < l->nspans; i++)
		pieces[i] = 1;
	for (n -= l->nspans; n > 0; n--) {
		unsigned int best = 0;

		for (i = 1; i < l->nspans; i++)
			if (l->span[i].bytes / pieces[i] > l->span[best].bytes / pieces[best])
				best = i;
		pieces[best]++;
	}
}

static void
add_slice(struct layout_slices *out, const struct layout_span *s, uint64_t from, uint64_t to)
{
	out->s[out->n++] = (struct layout_slice){
		.gpa = s->gpa + from, .bytes = to - from, .file = s->file,
		.file_off = s->file_off + from,
	};
}

static int
slice_span(const struct layout_span *s, unsigned int pieces, uint64_t align, uint64_t seed,
		struct layout_slices *out)
{
	uint64_t first = align_up(s->data_off, align), from = 0;
	uint64_t units = first < s->bytes ? (s->bytes - first) / align : 0;
	uint64_t share = units / pieces;
	unsigned int i;

	for (i = 1; i < pieces; i++) {
		uint64_t at;

		if (share == 0)
			return -ENOSPC;
		/* Somewhere in the i-th share: never at the same place as the cut before. */
		at = first + ((i - 1) * share + 1 + mix64(seed + i * MIX_STEP) % share) * align;
		add_slice(out, s, from, at);
		from = at;
	}
	if (from >= s->bytes)
		return -ENOSPC;
	add_slice(out, s, from, s->bytes);
	return 0;
}

int
layout_slice(const struct layout *l, unsigned int n, uint64_t align, uint64_t seed,
		struct layout_slices *out)
{
	unsigned int pieces[LAYOUT_MAX_SPANS];
	unsigned int i;

	out->n = 0;
	if (n < l->nspans || n > LAYOUT_MAX_SLICES)
		return -ENOSPC;
	deal_pieces(l, n, pieces);
	for (i = 0; i < l->nspans; i++) {
		int ret = slice_span(&l->span[i], pieces[i], align, mix64(seed * MIX_STEP + i),
				out);

		if (ret != 0)
			return ret;
	}
	return 0;
}
