/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Printing of mailboxes: decoded, and as a hex dump.
 */
#include <inttypes.h>
#include <stdbool.h>

#include "mlx5_prm.h"

/* Elements of an array that are worth a reader's time; a mailbox may hold thousands of pages. */
#define ARRAY_PRINT_MAX 8
/* Path of nested names; the deepest of the PRM is under 100 characters. */
#define PATH_MAX_LEN 192

static void print_layout(FILE *out, const char *path, const struct prm_layout *layout,
		const uint8_t *p, size_t len);

/* Elements of @p f that lie inside the mailbox of @p len bytes. */
static uint32_t
field_count(const struct prm_field *f, size_t len)
{
	size_t bits = len * 8, fit;

	if (f->off + f->width > bits)
		return 0;
	fit = (bits - f->off) / f->width;
	return f->count == 0 || f->count > fit ? (uint32_t)fit : f->count;
}

static bool
element_is_zero(const struct prm_field *f, const uint8_t *p, uint32_t i)
{
	const uint8_t *e;
	uint32_t b;

	if (f->sub == NULL)
		return prm_get(p, f->off + i * f->width, f->width) == 0;
	e = p + (f->off + i * f->width) / 8;
	for (b = 0; b < f->width / 8; b++) {
		if (e[b] != 0)
			return false;
	}
	return true;
}

/* Strings of bytes (addresses, keys) read better in one piece. */
static void
print_bytes(FILE *out, const char *path, const struct prm_field *f, const uint8_t *p, uint32_t n)
{
	bool zero = true;
	uint32_t i;

	for (i = 0; i < n; i++)
		zero = zero && element_is_zero(f, p, i);
	if (zero)
		return;
	fprintf(out, " %s%s=0x", path, f->name);
	for (i = 0; i < n; i++)
		fprintf(out, "%02x", p[f->off / 8 + i]);
}

static void
print_array(FILE *out, const char *path, const struct prm_field *f, const uint8_t *p, size_t len)
{
	uint32_t i, n = field_count(f, len), shown = 0, hidden = 0;
	char name[PATH_MAX_LEN];
	size_t at;

	for (i = 0; i < n; i++) {
		if (element_is_zero(f, p, i))
			continue;
		if (shown == ARRAY_PRINT_MAX) {
			hidden++;
			continue;
		}
		shown++;
		at = (f->off + i * f->width) / 8;
		if (f->sub != NULL) {
			snprintf(name, sizeof(name), "%s%s[%u].", path, f->name, i);
			print_layout(out, name, f->sub, p + at, f->width / 8);
		} else {
			fprintf(out, " %s%s[%u]=0x%" PRIx64, path, f->name, i,
				prm_get(p, f->off + i * f->width, f->width));
		}
	}
	if (hidden > 0)
		fprintf(out, " %s%s...%u", path, f->name, hidden);
}

static void
print_field(FILE *out, const char *path, const struct prm_field *f, const uint8_t *p, size_t len)
{
	char name[PATH_MAX_LEN];
	uint64_t v;

	if (f->count != 1) {
		if (f->sub == NULL && f->width == 8)
			print_bytes(out, path, f, p, field_count(f, len));
		else
			print_array(out, path, f, p, len);
		return;
	}
	if (f->sub != NULL) {
		/* A nested layout whose own trailing array ends the mailbox gets what is left of it;
		 * a mailbox that ends early still shows the fields that it has. */
		if (f->off / 8 < len) {
			snprintf(name, sizeof(name), "%s%s.", path, f->name);
			print_layout(out, name, f->sub, p + f->off / 8, len - f->off / 8);
		}
		return;
	}
	if (f->off + f->width > len * 8)
		return;
	v = prm_get(p, f->off, f->width);
	if (v != 0)
		fprintf(out, " %s%s=0x%" PRIx64, path, f->name, v);
}

static void
print_layout(FILE *out, const char *path, const struct prm_layout *layout, const uint8_t *p,
		size_t len)
{
	uint32_t i;

	for (i = 0; i < layout->nfields; i++)
		print_field(out, path, &layout->fields[i], p, len);
}

void
prm_print(FILE *out, const struct prm_layout *layout, const void *p, size_t len)
{
	/* Fields are read by whole words: what a mailbox has of a last one is not shown. */
	print_layout(out, "", layout, p, len - len % sizeof(uint32_t));
}

void
prm_clear_known(const struct prm_layout *layout, void *p, size_t len)
{
	const struct prm_field *f;
	uint32_t i, k, n;

	len -= len % sizeof(uint32_t);
	for (i = 0; i < layout->nfields; i++) {
		f = &layout->fields[i];
		if (f->sub != NULL && f->count == 1) {
			if (f->off / 8 < len)
				prm_clear_known(f->sub, (uint8_t *)p + f->off / 8,
					len - f->off / 8);
			continue;
		}
		n = field_count(f, len);
		for (k = 0; k < n; k++) {
			if (f->sub != NULL)
				prm_clear_known(f->sub, (uint8_t *)p + (f->off + k * f->width) / 8,
					f->width / 8);
			else
				prm_set(p, f->off + k * f->width, f->width, 0);
		}
	}
}

void
prm_hexdump(FILE *out, const void *p, size_t len)
{
	size_t off, i, n;
	uint32_t w;

	for (off = 0; off < len; off += 4 * sizeof(w)) {
		fprintf(out, "%03zx:", off);
		for (i = off; i < len && i < off + 4 * sizeof(w); i += sizeof(w)) {
			n = len - i < sizeof(w) ? len - i : sizeof(w);
			w = 0;
			memcpy(&w, (const uint8_t *)p + i, n);
			fprintf(out, " %08x", be32toh(w));
		}
		fputc('\n', out);
	}
}
