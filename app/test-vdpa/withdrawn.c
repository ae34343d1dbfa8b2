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
		if (mem->file[i].base != NULL)
			memset(mem->file[i].base, NET_POISON, mem->file[i].bytes);
	return changed;
}

uint64_t
withdrawn_check(const struct mem *mem)
{
	uint64_t changed = 0, at;
	unsigned int i;

	for (i = 0; i < LAYOUT_MAX_FILES; i++)
		for (at = 0; at < mem->file[i].bytes; at += CHECK_BYTES)
			changed += !is_poison(mem->file[i].base + at, CHECK_BYTES);
	return changed;
}
