/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The contract part of lib/vhost_iotlb: a table of scenarios, each a parent of some kind, what its
 * front-end does, and the operations that the parent must see, in order; then random sequences over
 * all kinds of parents, in which any operation may fail, against the rules themselves.
 *
 * A scenario is told in words, separated by spaces:
 *	open, release             the front-end comes and goes
 *	ack, ack:persist, ack:asid, ack:none
 *	                          it acknowledges all that is offered, IOTLB_PERSIST alone,
 *	                          IOTLB_ASID alone, nothing
 *	map:AB, unmap:A           map operations, by the letter of the memory (see memory[])
 *	table:AB                  the whole table at once
 *	begin, end                a batch
 *	bind:1                    a group is bound to an address space
 *	reset                     a virtio reset
 *	fail:N, fail:N+M          the N-th operation of the parent from here on fails, and the
 *	                          M-th after that one
 * A digit behind the verb names the address space (map1:A); "=ERROR" behind a word says that it is
 * refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vhost_iotlb_dev.h"

#define MAX_AS 2u
#define GROUPS 3u
#define LOG_SIZE 1024
#define PAGE 0x1000u
#define PARENT_ERROR (-EIO)
#define ROUNDS 30000
#define SEED 0x2545f4914f6cdd1dull

/* Allocation number alloc_fail_at (1 is the next) fails; 0: none does. */
static unsigned int alloc_fail_at;

void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static bool
alloc_fails(void)
{
	return alloc_fail_at != 0 && --alloc_fail_at == 0;
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

/* The memory of the scenarios. A to D are in different files; E is one file in two pages, e its
 * first, f its second page; a is other memory at the addresses of A. */
static const struct memory {
	char letter;
	unsigned int page, pages;                  /* guest address */
	ino_t ino;
	unsigned int offset;                       /* in the file, pages */
} memory[] = {
	{ 'A', 0, 1, 1, 0 }, { 'a', 0, 1, 9, 0 }, { 'B', 1, 1, 2, 0 }, { 'C', 2, 1, 3, 0 },
	{ 'D', 5, 1, 4, 0 }, { 'E', 8, 2, 5, 4 }, { 'e', 8, 1, 5, 4 }, { 'f', 9, 1, 5, 5 },
};

static const struct memory *
memory_of(char letter)
{
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
		if (memory[i].letter == letter)
			return &memory[i];
	fail_msg("no memory %c", letter);
	return NULL;
}

static unsigned int mapped_at;                 /* moves host addresses and descriptors about */

static struct vhost_iotlb_map
map_of(char letter)
{
	const struct memory *m = memory_of(letter);

	mapped_at++;
	return (struct vhost_iotlb_map){
		.start = m->page * PAGE,
		.last = (m->page + m->pages) * PAGE - 1,
		.addr = (uint64_t)mapped_at << 32,
		.perm = VHOST_ACCESS_RW,
		.backing = { .dev = 7, .ino = m->ino, .offset = m->offset * PAGE, .fd = mapped_at },
	};
}

static char
letter_of(const struct vhost_iotlb_map *map)
{
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
		const struct memory *m = &memory[i];

		if (map->start == m->page * PAGE && map->backing.ino == m->ino &&
				map->last == (m->page + m->pages) * PAGE - 1)
			return m->letter;
	}
	return '?';
}

/* A parent that writes down what it is told, and keeps what its device would have. */
struct parent {
	char log[LOG_SIZE];
	struct vhost_iotlb *has[MAX_AS];
	bool initial[MAX_AS];                      /* the initial mapping is in force */
	unsigned int fail_at, then_at;             /* countdowns; 0: none fails */
	unsigned int set_maps, reset_maps, map_ops; /* called so far */
	unsigned int group_asid[GROUPS];
	bool cleared;                              /* by compat_reset */
	bool kept_maps;                            /* it refused to unmap at a release */
};

static int
note(struct parent *p, const char *fmt, ...)
{
	size_t len = strlen(p->log);
	va_list ap;

	/* What the parent allocates is no business of the test of the library's allocations, which
	 * are all made before the parent hears anything. */
	alloc_fail_at = 0;
	if (len < sizeof(p->log) - 1) {
		va_start(ap, fmt);
		vsnprintf(p->log + len, sizeof(p->log) - len, fmt, ap);
		va_end(ap);
	}
	if (p->fail_at == 0 || --p->fail_at != 0)
		return 0;
	p->fail_at = p->then_at;
	p->then_at = 0;
	strncat(p->log, "!", sizeof(p->log) - strlen(p->log) - 1);
	return PARENT_ERROR;
}

static int
parent_reset(void *parent)
{
	return note(parent, " reset");
}

static int
parent_compat_reset(void *parent, uint32_t flags)
{
	struct parent *p = parent;
	int ret = note(p, " compat_reset");

	assert_int_equal(flags, VHOST_IOTLB_RESET_CLEAN_MAP);
	for (unsigned int asid = 0; asid < MAX_AS && ret == 0; asid++) {
		vhost_iotlb_reset(p->has[asid]);
		p->initial[asid] = true;
	}
	p->cleared = ret == 0;
	return ret;
}

static int
parent_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct parent *p = parent;
	const struct vhost_iotlb_map *map;
	char names[LOG_SIZE / 4] = "";
	size_t n = 0;
	int ret;

	p->set_maps++;
	VHOST_IOTLB_FOREACH(map, maps)
		if (n < sizeof(names) - 1)
			names[n++] = letter_of(map);
	ret = note(p, " set_map%u:%s", asid, names);
	if (ret < 0)
		return ret;
	p->initial[asid] = false;
	vhost_iotlb_reset(p->has[asid]);
	VHOST_IOTLB_FOREACH(map, maps)
		assert_int_equal(vhost_iotlb_add(p->has[asid], map), 0);
	return 0;
}

static int
parent_reset_map(void *parent, unsigned int asid)
{
	struct parent *p = parent;
	int ret = note(p, " reset_map%u", asid);

	p->reset_maps++;
	if (ret == 0)
		p->initial[asid] = true;
	return ret;
}

static int
parent_dma_map(void *parent, unsigned int asid, const struct vhost_iotlb_map *map)
{
	struct parent *p = parent;
	int ret = note(p, " dma_map%u:%c", asid, letter_of(map));

	p->map_ops++;
	if (ret < 0)
		return ret;
	p->initial[asid] = false;
	/* An overlap would be the library's mistake. */
	assert_int_equal(vhost_iotlb_add(p->has[asid], map), 0);
	return 0;
}

static int
parent_dma_unmap(void *parent, unsigned int asid, uint64_t start, uint64_t last)
{
	struct parent *p = parent;
	int ret = note(p, " dma_unmap%u:%u-%u", asid, (unsigned int)(start / PAGE),
		(unsigned int)(last / PAGE));

	p->map_ops++;
	if (ret < 0)
		return ret;
	for (uint64_t at = start; at < last; at += PAGE)
		assert_non_null(vhost_iotlb_lookup(p->has[asid], at));
	return vhost_iotlb_del(p->has[asid], start, last);
}

static int
parent_set_group_asid(void *parent, unsigned int group, unsigned int asid)
{
	struct parent *p = parent;
	int ret = note(p, " set_group_asid%u:%u", asid, group);

	if (ret == 0)
		p->group_asid[group] = asid;
	return ret;
}

/* Virtqueues 0 and 1 are in group 0, virtqueue 2 in group 1, its like in a group that is not
 * there. */
static unsigned int
parent_vq_group(void *parent, unsigned int vq)
{
	(void)parent;
	return vq / 2;
}

static unsigned int
parent_vq_desc_group(void *parent, unsigned int vq)
{
	(void)parent;
	return vq < 4 ? 2 : GROUPS;
}

/* The kinds of parents. */
static const struct vhost_iotlb_parent_ops
	platform = { .reset = parent_reset },
	on_chip = { .reset = parent_reset, .set_map = parent_set_map,
		.reset_map = parent_reset_map },
	no_reset_map = { .reset = parent_reset, .set_map = parent_set_map },
	used_to_clear = { .reset = parent_reset, .compat_reset = parent_compat_reset,
		.set_map = parent_set_map, .reset_map = parent_reset_map },
	declaring = { .reset = parent_reset, .set_map = parent_set_map,
		.features = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST) },
	by_range = { .reset = parent_reset, .dma_map = parent_dma_map,
		.dma_unmap = parent_dma_unmap, .reset_map = parent_reset_map },
	by_range_cleared = { .reset = parent_reset, .compat_reset = parent_compat_reset,
		.dma_map = parent_dma_map, .dma_unmap = parent_dma_unmap,
		.reset_map = parent_reset_map },
	both_ways = { .reset = parent_reset, .set_map = parent_set_map, .dma_map = parent_dma_map,
		.dma_unmap = parent_dma_unmap, .reset_map = parent_reset_map },
	grouped = { .reset = parent_reset, .compat_reset = parent_compat_reset,
		.set_map = parent_set_map, .reset_map = parent_reset_map, .ngroups = GROUPS,
		.set_group_asid = parent_set_group_asid, .vq_group = parent_vq_group,
		.vq_desc_group = parent_vq_desc_group };

static const struct scenario {
	const char *rule, *what;
	const struct vhost_iotlb_parent_ops *parent;
	unsigned int nas;
	const char *front_end;                     /* what it does */
	const char *ops;                           /* what the parent sees */
} scenarios[] = {
	{ "C1", "a reset changes no map", &on_chip, 1,
		"open ack map:A map:B reset reset", "set_map0:A set_map0:AB reset reset" },
	{ "C1", "nor of a parent that takes ranges", &by_range, 1,
		"open ack map:A reset map:B", "dma_map0:A reset dma_map0:B" },
	{ "C1", "a table that is the same after the reset costs nothing", &on_chip, 1,
		"open ack table:AB reset table:AB", "set_map0:AB reset" },
	{ "C1", "nor if it is sliced differently", &on_chip, 1,
		"open ack table:AE reset table:Aef reset table:AE", "set_map0:AE reset reset" },
	{ "C1", "other memory at the same addresses is another table", &on_chip, 1,
		"open ack table:AB reset table:aB", "set_map0:AB reset set_map0:aB" },
	{ "C1", "a failed reset changes no map either", &used_to_clear, 1,
		"open ack:none map:A fail:1 reset=EIO map:A=EEXIST",
		"set_map0:A compat_reset!" },
	{ "C1", "a reset leaves an open batch open", &on_chip, 1,
		"open ack begin map:A reset map:B end", "reset set_map0:AB" },

	{ "C2", "release unmaps all, then restores the initial mapping", &on_chip, 1,
		"open ack map:A release", "set_map0:A set_map0: reset_map0" },
	{ "C2", "in every address space, all maps before the first initial one", &on_chip, 2,
		"open ack map0:A map1:B release",
		"set_map0:A set_map1:B set_map0: set_map1: reset_map0 reset_map1" },
	{ "C2", "ranges are unmapped in the fewest runs", &by_range, 1,
		"open ack table:ABD release",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1 dma_unmap0:5-5 reset_map0" },
	{ "C2", "a parent without reset_map has its maps removed", &no_reset_map, 1,
		"open ack map:A release", "set_map0:A set_map0:" },
	{ "C2", "nothing is mapped: nothing to unmap", &on_chip, 1,
		"open release", "reset_map0" },
	{ "C2", "a second front-end starts with nothing", &on_chip, 1,
		"open ack map:A release open ack map:A",
		"set_map0:A set_map0: reset_map0 set_map0:A" },
	{ "C2", "an open batch ends with its front-end, unseen", &on_chip, 1,
		"open ack map:A begin map:B release", "set_map0:A set_map0: reset_map0" },
	{ "C2", "a parent that refuses the unmap is still told to start over", &on_chip, 1,
		"open ack map:A fail:1 release=EIO open map:A",
		"set_map0:A set_map0:! reset_map0 set_map0:A" },
	{ "C2", "a reset_map that fails is told, and the front-end is gone", &on_chip, 2,
		"open ack fail:1 release=EIO open", "reset_map0! reset_map1" },
	{ "C2", "one range that is refused does not save the others", &by_range, 1,
		"open ack table:ABD fail:1 release=EIO",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1! dma_unmap0:5-5 reset_map0" },
	{ "C2", "the platform IOMMU's parent is told nothing", &platform, 1,
		"open ack map:A unmap:A map:A release", "" },

	{ "C5", "not acknowledged: the old reset, of a parent that had it", &used_to_clear, 1,
		"open ack:none map:A reset map:A", "set_map0:A compat_reset set_map0:A" },
	{ "C5", "acknowledged: the reset that leaves maps alone", &used_to_clear, 1,
		"open ack:persist map:A reset map:A=EEXIST", "set_map0:A reset" },
	{ "C5", "a front-end that never negotiates, but maps, is an old one", &used_to_clear, 1,
		"open map:A reset", "set_map0:A compat_reset" },
	{ "C5", "before negotiation the reset is the compliant one", &used_to_clear, 1,
		"open reset ack:none reset", "reset compat_reset" },
	{ "C5", "before any front-end exists too", &used_to_clear, 1,
		"reset open ack:none map:A release reset",
		"reset set_map0:A set_map0: reset_map0 reset" },
	{ "C5", "the old reset clears every address space", &used_to_clear, 2,
		"open ack:asid map0:A map1:B reset map0:A map1:B",
		"set_map0:A set_map1:B compat_reset set_map0:A set_map1:B" },
	{ "C5", "and drops open batches with what they were built on", &used_to_clear, 1,
		"open ack:none map:A begin map:B reset end=EINVAL map:B",
		"set_map0:A compat_reset set_map0:B" },
	{ "C5", "after it nothing is left to unmap", &used_to_clear, 1,
		"open ack:none map:A reset release", "set_map0:A compat_reset reset_map0" },
	{ "C5", "by ranges: what it cleared is not unmapped again", &by_range_cleared, 1,
		"open ack:none map:A reset table:AB",
		"dma_map0:A compat_reset dma_map0:A dma_map0:B" },
	{ "C5", "a parent that never cleared maps is not made to", &on_chip, 1,
		"open ack:none map:A reset map:A=EEXIST", "set_map0:A reset" },
	{ "C5", "nor one that can't even restore its initial mapping", &no_reset_map, 1,
		"open ack:none map:A reset", "set_map0:A reset" },
	{ "C6", "the next front-end negotiates for itself", &used_to_clear, 1,
		"open ack:none map:A reset release open ack:persist map:A reset",
		"set_map0:A compat_reset reset_map0 set_map0:A reset" },
	{ "C6", "what was acknowledged holds once maps rely on it", &used_to_clear, 1,
		"open ack:persist map:A ack:none=EBUSY reset", "set_map0:A reset" },

	{ "C7", "address spaces do not meet", &on_chip, 2,
		"open ack map0:A map1:A unmap0:A", "set_map0:A set_map1:A set_map0:" },
	{ "C7", "nor do their batches", &on_chip, 2,
		"open ack begin0 map0:A map1:B begin1 map1:C end1 end0",
		"set_map1:B set_map1:BC set_map0:A" },
	{ "C7", "a failure in one leaves the other alone", &on_chip, 2,
		"open ack map0:A fail:1 map1:B=EIO map0:B map1:B",
		"set_map0:A set_map1:B! set_map0:AB set_map1:B" },
	{ "C7", "there are only so many", &on_chip, 1,
		"open ack map1:A=EINVAL unmap1:A=EINVAL begin1=EINVAL end1=EINVAL table1:A=EINVAL",
		"" },

	{ "C7", "and those other than 0 are for front-ends that know of them", &on_chip, 2,
		"open map1:A=EINVAL begin1=EINVAL ack:persist table1:A=EINVAL map:A",
		"set_map0:A" },
	{ "C7", "binding a group changes no map", &grouped, 2,
		"open ack map0:A map1:B bind1:2 bind1:2 bind0:2",
		"set_map0:A set_map1:B set_group_asid1:2 set_group_asid0:2" },
	{ "C7", "a reset returns the groups to address space 0, and leaves the maps", &grouped, 2,
		"open ack map1:B bind1:2 reset reset bind1:2 map1:B=EEXIST",
		"set_map1:B set_group_asid1:2 reset set_group_asid0:2 reset set_group_asid1:2" },
	{ "C7", "so does the old reset, which leaves none", &grouped, 2,
		"open ack:asid map1:B bind1:2 reset map1:B",
		"set_map1:B set_group_asid1:2 compat_reset set_group_asid0:2 set_map1:B" },
	{ "C7", "so does a release, between the last unmap and the initial mapping", &grouped, 2,
		"open ack map1:B bind1:1 bind1:2 release",
		"set_map1:B set_group_asid1:1 set_group_asid1:2 set_map1: set_group_asid0:1"
		" set_group_asid0:2 reset_map0 reset_map1" },
	{ "C7", "a group that the parent does not bind stays where it is", &grouped, 2,
		"open ack bind1:1 fail:1 bind0:1=EIO fail:1 bind1:2=EIO fail:2 reset=EIO reset",
		"set_group_asid1:1 set_group_asid0:1! set_group_asid1:2! reset"
		" set_group_asid0:1! reset set_group_asid0:1" },
	{ "C7", "there are only so many groups", &grouped, 2,
		"open bind1:1=EINVAL ack bind1:3=EINVAL bind2:1=EINVAL", "" },
	{ "C7", "or none to bind", &on_chip, 2, "open ack bind0:0=EOPNOTSUPP", "" },

	{ "C8", "a batch is one set_map", &on_chip, 1,
		"open ack begin map:A map:B map:D unmap:B end", "set_map0:AD" },
	{ "C8", "a batch that comes to nothing is none", &on_chip, 1,
		"open ack map:A begin map:B unmap:B unmap:A map:A end begin end", "set_map0:A" },
	{ "C8", "for ranges it is the fewest of them", &by_range, 1,
		"open ack begin map:A map:B map:D end begin unmap:A unmap:B map:a end",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1 dma_map0:a" },
	{ "C8", "a table is a batch", &by_range, 1,
		"open ack table:ABE table:AefC",
		"dma_map0:A dma_map0:B dma_map0:E dma_unmap0:1-1 dma_map0:C" },
	{ "C8", "neighbours in address and file are one map", &by_range, 1,
		"open ack map:e begin unmap:e map:e map:f end", "dma_map0:e dma_map0:f" },
	{ "C8", "set_map is preferred to ranges", &both_ways, 1,
		"open ack begin map:A map:B end", "set_map0:AB" },
	{ "C8", "batches do not nest, and end once", &on_chip, 1,
		"open ack begin begin=EBUSY table:A=EBUSY map:A end end=EINVAL", "set_map0:A" },

	{ "C9", "an overlap is refused and changes nothing", &on_chip, 1,
		"open ack map:A map:a=EEXIST unmap:A", "set_map0:A set_map0:" },
	{ "C9", "in a batch it leaves the rest of the batch", &on_chip, 1,
		"open ack begin map:A map:a=EEXIST map:B end", "set_map0:AB" },
	{ "C9", "a map that the parent refuses is not in the table", &on_chip, 1,
		"open ack map:A fail:1 map:B=EIO map:B", "set_map0:A set_map0:AB! set_map0:AB" },
	{ "C9", "an unmap that the parent refuses is still in it", &on_chip, 1,
		"open ack map:A fail:1 unmap:A=EIO map:A=EEXIST unmap:A",
		"set_map0:A set_map0:! set_map0:" },
	{ "C9", "a batch that the parent refuses never was", &on_chip, 1,
		"open ack map:A begin unmap:A map:B fail:1 end=EIO map:B",
		"set_map0:A set_map0:B! set_map0:AB" },
	{ "C9", "a table that the parent refuses leaves the old one", &on_chip, 1,
		"open ack table:AB fail:1 table:AC=EIO table:AB table:AC",
		"set_map0:AB set_map0:AC! set_map0:AC" },
	{ "C9", "ranges done before the failed one are undone", &by_range, 1,
		"open ack table:ABE fail:4 table:aCDe=EIO table:ABE",
		"dma_map0:A dma_map0:B dma_map0:E dma_unmap0:0-1 dma_unmap0:9-9 dma_map0:a"
		" dma_map0:C! dma_unmap0:0-0 dma_map0:f dma_map0:A dma_map0:B" },
	{ "C9", "what can't be put back leaves the table", &by_range, 1,
		"open ack table:AB fail:2+1 table:a=EIO table:AB",
		"dma_map0:A dma_map0:B dma_unmap0:0-1 dma_map0:a! dma_map0:A! dma_map0:B"
		" dma_map0:A" },
	{ "C9", "an unmap of nothing calls nobody", &on_chip, 1, "open ack unmap:A unmap:D", "" },
};

/* One run of a scenario. */
struct run {
	struct parent parent;
	struct vhost_iotlb_dev *dev;
	struct vhost_iotlb_fe *fe;
};

static void
run_begin(struct run *r, const struct vhost_iotlb_parent_ops *ops, unsigned int nas)
{
	memset(r, 0, sizeof(*r));
	for (unsigned int asid = 0; asid < MAX_AS; asid++) {
		r->parent.has[asid] = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
		r->parent.initial[asid] = true;
	}
	assert_int_equal(vhost_iotlb_dev_create(ops, &r->parent, nas, &r->dev), 0);
}

static void
run_end(struct run *r)
{
	vhost_iotlb_dev_destroy(r->dev);
	for (unsigned int asid = 0; asid < MAX_AS; asid++)
		vhost_iotlb_destroy(r->parent.has[asid]);
}

static struct vhost_iotlb *
table_of(const char *letters)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map map;

	for (; *letters != '\0'; letters++) {
		map = map_of(*letters);
		assert_int_equal(vhost_iotlb_add(t, &map), 0);
	}
	return t;
}

static int
do_maps(struct vhost_iotlb_fe *fe, const char *verb, unsigned int asid, const char *letters)
{
	struct vhost_iotlb_map map;
	struct vhost_iotlb *t;
	int ret = 0;

	if (strcmp(verb, "table") == 0) {
		t = table_of(letters);
		ret = vhost_iotlb_fe_set_table(fe, asid, t, NULL);
		vhost_iotlb_destroy(t);
		return ret;
	}
	for (; *letters != '\0' && ret == 0; letters++) {
		map = map_of(*letters);
		if (strcmp(verb, "map") == 0)
			ret = vhost_iotlb_fe_map(fe, asid, &map);
		else
			ret = vhost_iotlb_fe_unmap(fe, asid, map.start, map.last);
	}
	return ret;
}

static int
do_ack(struct run *r, const char *what)
{
	uint64_t persist = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST);

	if (strcmp(what, "none") == 0)
		return vhost_iotlb_fe_set_features(r->fe, 0);
	if (strcmp(what, "persist") == 0)
		return vhost_iotlb_fe_set_features(r->fe, persist);
	if (strcmp(what, "asid") == 0)
		return vhost_iotlb_fe_set_features(r->fe,
			VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_ASID));
	return vhost_iotlb_fe_set_features(r->fe, vhost_iotlb_dev_features(r->dev));
}

static int
do_verb(struct run *r, const char *verb, unsigned int asid, const char *what)
{
	int ret;

	if (strcmp(verb, "open") == 0)
		return vhost_iotlb_fe_open(r->dev, &r->fe);
	if (strcmp(verb, "release") == 0) {
		ret = vhost_iotlb_fe_release(r->fe);
		r->fe = NULL;
		r->parent.kept_maps = ret < 0;
		return ret;
	}
	if (strcmp(verb, "ack") == 0)
		return do_ack(r, what);
	if (strcmp(verb, "bind") == 0)
		return vhost_iotlb_fe_set_group_asid(r->fe, strtoul(what, NULL, 10), asid);
	if (strcmp(verb, "begin") == 0)
		return vhost_iotlb_fe_batch_begin(r->fe, asid);
	if (strcmp(verb, "end") == 0)
		return vhost_iotlb_fe_batch_end(r->fe, asid);
	if (strcmp(verb, "reset") == 0)
		return r->fe != NULL ? vhost_iotlb_fe_reset(r->fe) : vhost_iotlb_dev_reset(r->dev);
	return do_maps(r->fe, verb, asid, what);
}

static const struct {
	const char *name;
	int value;
} errors[] = { { "EIO", -EIO }, { "EEXIST", -EEXIST }, { "EINVAL", -EINVAL }, { "EBUSY", -EBUSY },
	{ "EOPNOTSUPP", -EOPNOTSUPP } };

static int
error_of(const char *name)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].value;
	fail_msg("no error %s", name);
	return 0;
}

/* One word of a scenario: VERB[ASID][:WHAT][=ERROR]. */
static void
do_word(struct run *r, char *word, const char *scenario)
{
	char *error = strchr(word, '='), *what = strchr(word, ':');
	char verb[16] = "";
	unsigned int asid = 0;
	int want, got;

	if (error != NULL)
		*error++ = '\0';
	if (what != NULL)
		*what++ = '\0';
	sscanf(word, "%15[a-z]%u", verb, &asid);
	if (strcmp(verb, "fail") == 0) {
		sscanf(what, "%u+%u", &r->parent.fail_at, &r->parent.then_at);
		return;
	}
	want = error == NULL ? 0 : error_of(error);
	got = do_verb(r, verb, asid, what == NULL ? "" : what);
	if (got != want)
		fail_msg("%s: \"%s\" gives %d, not %d", scenario, word, got, want);
}

/* Outside of batches the table is what the parent has, and so are the bindings of groups. */
static void
assert_in_step(const struct run *r, const struct vhost_iotlb_parent_ops *ops)
{
	for (unsigned int group = 0; group < ops->ngroups; group++)
		assert_int_equal(vhost_iotlb_dev_group_asid(r->dev, group),
			r->parent.group_asid[group]);
	if ((ops->set_map == NULL && ops->dma_map == NULL) || r->parent.kept_maps)
		return;
	for (unsigned int asid = 0; asid < vhost_iotlb_dev_nas(r->dev); asid++) {
		const struct vhost_iotlb *t = vhost_iotlb_dev_table(r->dev, asid);

		if (!vhost_iotlb_txn_is_open(t))
			assert_true(vhost_iotlb_equal(t, r->parent.has[asid]));
	}
}

static void
run_scenario(const struct scenario *s)
{
	char words[256], *word, *save = NULL;
	struct run r;

	assert_true(strlen(s->front_end) < sizeof(words));
	strcpy(words, s->front_end);
	run_begin(&r, s->parent, s->nas);
	for (word = strtok_r(words, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
		do_word(&r, word, s->what);
	if (strcmp(r.parent.log[0] == ' ' ? r.parent.log + 1 : r.parent.log, s->ops) != 0)
		fail_msg("%s, %s:\n\"%s\"\nmade the parent see\n\"%s\", not\n \"%s\"", s->rule,
			s->what, s->front_end, r.parent.log, s->ops);
	assert_in_step(&r, s->parent);
	run_end(&r);
}

static void
every_scenario_shows_the_expected_operations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		run_scenario(&scenarios[i]);
}

#define F(name) VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_ ## name)

static void
persistence_is_offered_by_those_that_can_keep_it(void **state)
{
	static const struct vhost_iotlb_parent_ops suspending = { .reset = parent_reset,
		.features = F(SUSPEND) | F(RESUME), .ngroups = GROUPS,
		.set_group_asid = parent_set_group_asid, .vq_desc_group = parent_vq_desc_group };
	static const struct {
		const struct vhost_iotlb_parent_ops *ops;
		bool persist;
	} kinds[] = {                          /* C4 */
		{ &platform, true }, { &on_chip, true }, { &no_reset_map, false },
		{ &used_to_clear, true }, { &declaring, true }, { &by_range, true },
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_begin(&r, kinds[i].ops, 1);
		assert_int_equal(vhost_iotlb_dev_features(r.dev), F(IOTLB_MSG_V2) | F(IOTLB_BATCH) |
			(kinds[i].persist ? F(IOTLB_PERSIST) : 0));
		assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
		assert_int_equal(vhost_iotlb_fe_set_features(r.fe, F(IOTLB_PERSIST)),
			kinds[i].persist ? 0 : -EINVAL);
		assert_int_equal(vhost_iotlb_fe_features(r.fe),
			kinds[i].persist ? F(IOTLB_PERSIST) : 0);
		run_end(&r);
	}
	run_begin(&r, &suspending, 2);
	assert_int_equal(vhost_iotlb_dev_features(r.dev), F(IOTLB_MSG_V2) | F(IOTLB_BATCH) |
		F(IOTLB_ASID) | F(IOTLB_PERSIST) | F(SUSPEND) | F(RESUME) | F(DESC_ASID));
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
	assert_int_equal(vhost_iotlb_fe_set_features(r.fe, F(DESC_ASID)), -EINVAL);
	assert_int_equal(vhost_iotlb_fe_set_features(r.fe, F(DESC_ASID) | F(IOTLB_ASID)), 0);
	assert_int_equal(vhost_iotlb_fe_set_features(r.fe, F(ENABLE_AFTER_DRIVER_OK)), -EINVAL);
	assert_int_equal(vhost_iotlb_fe_features(r.fe), F(DESC_ASID) | F(IOTLB_ASID));
	run_end(&r);
}

static void
feature_bits_are_those_of_linux(void **state)
{
	(void)state;
	assert_int_equal(F(IOTLB_MSG_V2), 1 << 1);
	assert_int_equal(F(IOTLB_BATCH), 1 << 2);
	assert_int_equal(F(IOTLB_ASID), 1 << 3);
	assert_int_equal(F(SUSPEND), 1 << 4);
	assert_int_equal(F(RESUME), 1 << 5);
	assert_int_equal(F(ENABLE_AFTER_DRIVER_OK), 1 << 6);
	assert_int_equal(F(DESC_ASID), 1 << 7);
	assert_int_equal(F(IOTLB_PERSIST), 1 << 8);
}

static void
a_device_without_the_needed_is_refused(void **state)
{
	static const struct vhost_iotlb_parent_ops
		nothing = { 0 },
		half = { .reset = parent_reset, .dma_map = parent_dma_map },
		other_half = { .reset = parent_reset, .dma_unmap = parent_dma_unmap },
		no_groups = { .reset = parent_reset, .set_group_asid = parent_set_group_asid },
		many_groups = { .reset = parent_reset, .set_group_asid = parent_set_group_asid,
			.ngroups = VHOST_IOTLB_MAX_GROUPS + 1 },
		no_binding = { .reset = parent_reset, .ngroups = 2 },
		no_binding_of_rings = { .reset = parent_reset,
			.vq_desc_group = parent_vq_desc_group },
		only_says_so = { .reset = parent_reset, .features = F(DESC_ASID) };
	struct vhost_iotlb_dev *dev = NULL;

	(void)state;
	assert_int_equal(vhost_iotlb_dev_create(&nothing, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&half, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&other_half, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&no_groups, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&many_groups, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&no_binding, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&no_binding_of_rings, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&only_says_so, NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&on_chip, NULL, 0, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&on_chip, NULL, VHOST_IOTLB_MAX_AS + 1, &dev),
		-EINVAL);
	assert_null(dev);
	vhost_iotlb_dev_destroy(NULL);
	assert_int_equal(vhost_iotlb_fe_release(NULL), 0);
}

static void
one_front_end_at_a_time(void **state)
{
	struct vhost_iotlb_fe *second = NULL;
	struct run r;

	(void)state;
	run_begin(&r, &on_chip, 1);
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &second), -EBUSY);
	assert_null(second);
	assert_ptr_equal(vhost_iotlb_fe_dev(r.fe), r.dev);
	assert_ptr_equal(vhost_iotlb_fe_table(r.fe, 0), vhost_iotlb_dev_table(r.dev, 0));
	assert_null(vhost_iotlb_fe_table(r.fe, 1));
	/* A device that goes away releases it. */
	assert_int_equal(do_maps(r.fe, "map", 0, "A"), 0);
	vhost_iotlb_dev_destroy(r.dev);
	assert_string_equal(r.parent.log, " set_map0:A set_map0: reset_map0");
	r.dev = NULL;
	run_end(&r);
}

static void
a_virtqueue_has_its_groups(void **state)
{
	struct run r;

	(void)state;
	run_begin(&r, &grouped, 2);
	assert_int_equal(vhost_iotlb_dev_ngroups(r.dev), GROUPS);
	assert_int_equal(vhost_iotlb_dev_vq_group(r.dev, 1), 0);
	assert_int_equal(vhost_iotlb_dev_vq_group(r.dev, 2), 1);
	assert_int_equal(vhost_iotlb_dev_vq_group(r.dev, 2 * GROUPS), -EIO);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(r.dev, 0), 2);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(r.dev, 4), -EIO);
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
	assert_int_equal(do_ack(&r, "all"), 0);
	assert_int_equal(vhost_iotlb_fe_set_group_asid(r.fe, 2, 1), 0);
	assert_int_equal(vhost_iotlb_dev_group_asid(r.dev, 2), 1);
	assert_int_equal(vhost_iotlb_dev_group_asid(r.dev, 1), 0);
	assert_int_equal(vhost_iotlb_dev_group_asid(r.dev, GROUPS), -EINVAL);
	assert_int_equal(do_ack(&r, "none"), -EBUSY);      /* the binding relies on it */
	run_end(&r);
	assert_int_equal(r.parent.group_asid[2], 0);
	run_begin(&r, &on_chip, 2);
	assert_int_equal(vhost_iotlb_dev_ngroups(r.dev), 1);
	assert_int_equal(vhost_iotlb_dev_vq_group(r.dev, 7), 0);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(r.dev, 0), -EOPNOTSUPP);
	assert_int_equal(vhost_iotlb_dev_group_asid(r.dev, 0), 0);
	run_end(&r);
	/* With one address space there is none for the rings. */
	run_begin(&r, &grouped, 1);
	assert_int_equal(vhost_iotlb_dev_features(r.dev) & (F(IOTLB_ASID) | F(DESC_ASID)), 0);
	run_end(&r);
}

static void
a_table_that_is_the_same_brings_new_addresses_and_descriptors(void **state)
{
	struct vhost_iotlb *t = table_of("AB");
	struct vhost_iotlb_map a = map_of('A'), b = map_of('B');
	unsigned int changed = 99;
	struct run r;

	(void)state;
	run_begin(&r, &on_chip, 1);
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
	assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, t, &changed), 0);
	assert_int_equal(changed, 2);              /* two files: two maps */
	vhost_iotlb_reset(t);
	assert_int_equal(vhost_iotlb_add(t, &b), 0);
	assert_int_equal(vhost_iotlb_add(t, &a), 0);
	assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, t, &changed), 0);
	assert_int_equal(changed, 0);
	assert_string_equal(r.parent.log, " set_map0:AB");
	assert_int_equal(vhost_iotlb_lookup(vhost_iotlb_fe_table(r.fe, 0), 0)->addr, a.addr);
	assert_int_equal(vhost_iotlb_lookup(vhost_iotlb_fe_table(r.fe, 0), PAGE)->backing.fd,
		b.backing.fd);
	vhost_iotlb_destroy(t);
	run_end(&r);
}

/* Run one call with its first, second, ... allocation failing, until it succeeds. Each time the
 * parent and the table are as they were. */
static void
exhaust(struct run *r, const struct vhost_iotlb_parent_ops *ops, const char *verb, char letter)
{
	struct vhost_iotlb_map map = map_of(letter);
	struct vhost_iotlb *old = vhost_iotlb_copy(vhost_iotlb_fe_table(r->fe, 0));
	struct vhost_iotlb *want = table_of("aE");
	unsigned int seen = r->parent.set_maps + r->parent.map_ops;
	int ret = -ENOMEM;

	for (unsigned int n = 1; ret == -ENOMEM; n++) {
		alloc_fail_at = n;
		if (strcmp(verb, "table") == 0)
			ret = vhost_iotlb_fe_set_table(r->fe, 0, want, NULL);
		else if (strcmp(verb, "map") == 0)
			ret = vhost_iotlb_fe_map(r->fe, 0, &map);
		else
			ret = vhost_iotlb_fe_unmap(r->fe, 0, map.start, map.last);
		alloc_fail_at = 0;
		if (ret == -ENOMEM) {
			assert_true(vhost_iotlb_equal(old, vhost_iotlb_fe_table(r->fe, 0)));
			assert_int_equal(r->parent.set_maps + r->parent.map_ops, seen);
		}
		assert_in_step(r, ops);
	}
	assert_int_equal(ret, 0);
	vhost_iotlb_destroy(old);
	vhost_iotlb_destroy(want);
}

static void
out_of_memory_changes_nothing(void **state)
{
	static const struct vhost_iotlb_parent_ops *const kinds[] = { &on_chip, &by_range };
	struct vhost_iotlb_dev *dev = NULL;
	struct run r;

	(void)state;
	/* The device, an empty table, two address spaces. */
	for (unsigned int n = 1; n <= 4; n++) {
		alloc_fail_at = n;
		assert_int_equal(vhost_iotlb_dev_create(&on_chip, NULL, 2, &dev), -ENOMEM);
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_begin(&r, kinds[i], 1);
		alloc_fail_at = 1;
		assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), -ENOMEM);
		assert_int_equal(vhost_iotlb_fe_open(r.dev, &r.fe), 0);
		assert_int_equal(do_maps(r.fe, "map", 0, "AE"), 0);
		exhaust(&r, kinds[i], "map", 'B');
		exhaust(&r, kinds[i], "unmap", 'f');
		exhaust(&r, kinds[i], "table", 'A');
		run_end(&r);
	}
}

/*
 * Random sequences. Every step is held against the rules by what it may have changed.
 */

static uint64_t random_state;

static unsigned int
rnd(unsigned int below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 32) % below;
}

/* Some of the memory that does not overlap, in some slices. */
static void
random_letters(char letters[8])
{
	static const char *const choices[][3] = {
		{ "", "A", "a" }, { "", "B", "B" }, { "", "C", "C" }, { "", "D", "D" },
		{ "E", "ef", "e" },
	};

	letters[0] = '\0';
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		strcat(letters, choices[i][rnd(3)]);
}

struct before {
	struct vhost_iotlb *table[MAX_AS];
	unsigned int set_maps, reset_maps, map_ops;
	bool batch[MAX_AS];
};

static void
before_take(struct before *b, const struct run *r)
{
	for (unsigned int asid = 0; asid < MAX_AS; asid++) {
		const struct vhost_iotlb *t = vhost_iotlb_dev_table(r->dev, asid);

		b->table[asid] = vhost_iotlb_copy(t);
		b->batch[asid] = vhost_iotlb_txn_is_open(t);
	}
	b->set_maps = r->parent.set_maps;
	b->reset_maps = r->parent.reset_maps;
	b->map_ops = r->parent.map_ops;
}

static void
before_free(struct before *b)
{
	for (unsigned int asid = 0; asid < MAX_AS; asid++)
		vhost_iotlb_destroy(b->table[asid]);
}

static bool
unchanged(const struct before *b, const struct run *r, unsigned int asid)
{
	return vhost_iotlb_equal(b->table[asid], vhost_iotlb_dev_table(r->dev, asid));
}

static void
check_reset(const struct before *b, const struct run *r, bool clears)
{
	/* C1, C2: no map operation, no reset_map. */
	assert_int_equal(r->parent.set_maps, b->set_maps);
	assert_int_equal(r->parent.map_ops, b->map_ops);
	assert_int_equal(r->parent.reset_maps, b->reset_maps);
	for (unsigned int asid = 0; asid < MAX_AS; asid++) {
		if (clears && r->parent.cleared) { /* C5 */
			assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(r->dev, asid)), 0);
			assert_true(r->parent.initial[asid]);
		} else {
			assert_true(unchanged(b, r, asid));
		}
	}
}

/* C7: bindings and maps have nothing to do with each other. */
static void
check_bind(const struct before *b, const struct run *r)
{
	assert_int_equal(r->parent.set_maps, b->set_maps);
	assert_int_equal(r->parent.map_ops, b->map_ops);
	for (unsigned int asid = 0; asid < MAX_AS; asid++)
		assert_true(unchanged(b, r, asid));
}

static void
check_change(const struct before *b, const struct run *r, const char *verb, unsigned int asid,
		int ret)
{
	bool ends_batch = strcmp(verb, "end") == 0;

	assert_true(r->parent.set_maps <= b->set_maps + 1);             /* C8 */
	assert_int_equal(r->parent.reset_maps, b->reset_maps);          /* C2 */
	assert_true(unchanged(b, r, 1 - asid));                         /* C7 */
	if (b->batch[asid] && !ends_batch)
		assert_int_equal(r->parent.set_maps + r->parent.map_ops,
			b->set_maps + b->map_ops);                      /* C8 */
	if (ret < 0 && !ends_batch)
		assert_true(unchanged(b, r, asid));                     /* C9 */
}

/* A new front-end with a will of its own. Returns whether its resets clear maps. */
static bool
random_front_end(struct run *r, const struct vhost_iotlb_parent_ops *ops)
{
	static const char *const acks[] = { "none", "all", "asid" };
	unsigned int kind = rnd(3);
	bool offered = (vhost_iotlb_dev_features(r->dev) & F(IOTLB_PERSIST)) != 0;

	assert_int_equal(do_verb(r, "open", 0, ""), 0);
	assert_int_equal(do_ack(r, acks[kind]), 0);
	return ops->compat_reset != NULL && !(kind == 1 && offered);
}

static void
random_release(struct run *r, const struct vhost_iotlb_parent_ops *ops)
{
	unsigned int reset_maps = r->parent.reset_maps;

	(void)do_verb(r, "release", 0, "");
	assert_in_step(r, ops);
	if (ops->reset_map != NULL)                                     /* C2 */
		assert_int_equal(r->parent.reset_maps, reset_maps + MAX_AS);
	for (unsigned int asid = 0; asid < MAX_AS; asid++) {
		assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(r->dev, asid)), 0);
		vhost_iotlb_reset(r->parent.has[asid]);
	}
	r->parent.kept_maps = false;
	r->parent.log[0] = '\0';
}

static void
random_step(struct run *r, const struct vhost_iotlb_parent_ops *ops, bool clears)
{
	static const char *const verbs[] = {
		"map", "unmap", "table", "begin", "end", "reset", "bind" };
	const char *verb = verbs[rnd(7)];
	unsigned int asid = rnd(MAX_AS);
	char letters[8], one[2] = { memory[rnd(8)].letter, '\0' };
	struct before b;
	int ret;

	before_take(&b, r);
	r->parent.cleared = false;
	random_letters(letters);
	r->parent.fail_at = rnd(4) == 0 ? 1 + rnd(4) : 0;
	if (strcmp(verb, "bind") == 0)
		one[0] = '0' + rnd(GROUPS);
	ret = do_verb(r, verb, asid, strcmp(verb, "table") == 0 ? letters : one);
	r->parent.fail_at = 0;
	if (strcmp(verb, "bind") == 0)
		check_bind(&b, r);
	else if (strcmp(verb, "reset") == 0)
		check_reset(&b, r, clears);
	else
		check_change(&b, r, verb, asid, ret);
	assert_in_step(r, ops);
	before_free(&b);
	r->parent.log[0] = '\0';
}

static void
random_sequences_keep_the_rules(void **state)
{
	static const struct vhost_iotlb_parent_ops *const kinds[] = {
		&platform, &on_chip, &no_reset_map, &used_to_clear, &declaring, &by_range,
		&by_range_cleared, &both_ways, &grouped,
	};
	const size_t n = sizeof(kinds) / sizeof(kinds[0]);
	bool clears = false;
	struct run r;

	(void)state;
	random_state = SEED;
	for (size_t i = 0; i < n; i++) {
		run_begin(&r, kinds[i], MAX_AS);
		for (unsigned int round = 0; round < ROUNDS / n; round++) {
			if (r.fe == NULL) {
				clears = random_front_end(&r, kinds[i]);
			} else if (rnd(20) == 0) {
				r.parent.fail_at = rnd(3);
				random_release(&r, kinds[i]);
				r.parent.fail_at = 0;
			} else {
				random_step(&r, kinds[i], clears);
			}
		}
		run_end(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_scenario_shows_the_expected_operations),
		cmocka_unit_test(persistence_is_offered_by_those_that_can_keep_it),
		cmocka_unit_test(feature_bits_are_those_of_linux),
		cmocka_unit_test(a_device_without_the_needed_is_refused),
		cmocka_unit_test(one_front_end_at_a_time),
		cmocka_unit_test(a_virtqueue_has_its_groups),
		cmocka_unit_test(a_table_that_is_the_same_brings_new_addresses_and_descriptors),
		cmocka_unit_test(out_of_memory_changes_nothing),
		cmocka_unit_test(random_sequences_keep_the_rules),
	};

	return cmocka_run_group_tests_name("iotlb_contract", tests, NULL, NULL);
}
