/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "withdrawn.h"

#define CHECK_BYTES 4096u

static bool
is_poison(const uint8_t *p, uint64_t len)
{
	/* All bytes equal their neighbour, and the first one is poison. */
	return p[0] == NET_POISON && memcmp(p, p + 1, len - 1) == 0;
}

void
withdrawn_begin(const struct net *net, struct mem *mem)
{
	unsigned int vq;

	for (vq = 0; vq < net->layout->cfg.rings; vq++)
		memset(mem_ptr(mem, layout_ring_gpa(net->layout, vq)), NET_POISON,
				net->layout->cfg.ring_bytes);
}

uint64_t
withdrawn_fill(const struct net *net, struct mem *mem)
{
	uint64_t changed = 0;
	unsigned int i;

	for (i = 0; i < net->layout->cfg.rings; i++)
		changed += !is_poison(mem_ptr(mem, layout_ring_gpa(net->layout, i)),
				net->layout->cfg.ring_bytes);
	changed += net_changed_rx_bufs(net, mem);
	for (i = 0; i < LAYOUT_MAX_FILES; i++)
		withdrawn_fill_file(&mem->file[i]);
	return changed;
}

void
withdrawn_fill_file(struct mem_file *f)
{
	if (f->base != NULL)
		memset(f->base, NET_POISON, f->bytes);
}

uint64_t
withdrawn_check_file(const struct mem_file *f)
{
	uint64_t changed = 0, at;

	for (at = 0; at < f->bytes; at += CHECK_BYTES)
		changed += !is_poison(f->base + at, CHECK_BYTES);
	return changed;
}

uint64_t
withdrawn_check(const struct mem *mem)
{
	uint64_t changed = 0;
	unsigned int i;

	for (i = 0; i < LAYOUT_MAX_FILES; i++)
		changed += withdrawn_check_file(&mem->file[i]);
	return changed;
}
