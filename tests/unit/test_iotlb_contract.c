/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The contract part of lib/vhost_iotlb, as far as no scenario of the conformance suite tells it:
 * what is offered and refused, want of memory, and random sequences over all kinds of parents, in
 * which any operation may fail, against the rules themselves. And the suite itself: it finds
 * parents that do not keep the contract.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run.h"
#include "scenarios.h"
#include "soft_parent.h"

#define AS VHOST_IOTLB_CONF_AS
#define GROUPS VHOST_IOTLB_CONF_GROUPS
#define PAGE VHOST_IOTLB_CONF_PAGE
#define ROUNDS 30000
#define SEED 0x2545f4914f6cdd1dull

#define F(name) VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_ ## name)

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

/* What the parent allocates is no business of the test of the library's allocations, which are all
 * made before the parent hears anything. */
static void
parent_is_called(void)
{
	alloc_fail_at = 0;
}

static struct vhost_iotlb_conf_memory memory;

static int
group_set_up(void **state)
{
	(void)state;
	return vhost_iotlb_conf_memory_create(&memory);
}

static int
group_tear_down(void **state)
{
	(void)state;
	vhost_iotlb_conf_memory_destroy(&memory);
	return 0;
}

static void
run_begin(struct vhost_iotlb_conf_run *r, enum vhost_iotlb_conf_kind kind, unsigned int nas)
{
	assert_int_equal(vhost_iotlb_conf_run_begin(r, &memory, kind, nas, NULL), 0);
	r->recorder.on_call = parent_is_called;
}

static int
act(struct vhost_iotlb_conf_run *r, const char *verb, const char *what)
{
	return vhost_iotlb_conf_do(r, verb, 0, what);
}

static struct vhost_iotlb_map
map_of(char letter)
{
	struct vhost_iotlb_map map;

	assert_true(vhost_iotlb_conf_map_of(&memory, letter, &map));
	return map;
}

static int
nothing_to_reset(void *parent)
{
	(void)parent;
	return 0;
}

static int
bind_nothing(void *parent, unsigned int group, unsigned int asid)
{
	(void)parent;
	(void)group;
	(void)asid;
	return 0;
}

/* The first two virtqueues are in group 0, the next two in group 1, and so on: further than there
 * are groups. */
static unsigned int
groups_by_pairs(void *parent, unsigned int vq)
{
	(void)parent;
	return vq / 2;
}

static void
features_are_those_that_the_parent_can_keep(void **state)
{
	static const struct vhost_iotlb_parent_ops suspending = { .reset = nothing_to_reset,
		.features = F(SUSPEND) | F(RESUME), .ngroups = GROUPS,
		.set_group_asid = bind_nothing, .vq_desc_group = groups_by_pairs };
	struct vhost_iotlb_dev *dev;
	struct vhost_iotlb_fe *fe;

	(void)state;
	assert_int_equal(vhost_iotlb_dev_create(&suspending, NULL, 2, &dev), 0);
	assert_int_equal(vhost_iotlb_dev_features(dev), F(IOTLB_MSG_V2) | F(IOTLB_BATCH) |
		F(IOTLB_ASID) | F(IOTLB_PERSIST) | F(SUSPEND) | F(RESUME) | F(DESC_ASID));
	assert_int_equal(vhost_iotlb_fe_open(dev, &fe), 0);
	assert_int_equal(vhost_iotlb_fe_set_features(fe, F(DESC_ASID)), -EINVAL);
	assert_int_equal(vhost_iotlb_fe_set_features(fe, F(DESC_ASID) | F(IOTLB_ASID)), 0);
	assert_int_equal(vhost_iotlb_fe_set_features(fe, F(ENABLE_AFTER_DRIVER_OK)), -EINVAL);
	assert_int_equal(vhost_iotlb_fe_features(fe), F(DESC_ASID) | F(IOTLB_ASID));
	vhost_iotlb_dev_destroy(dev);
	/* With one address space there is none for the rings. */
	assert_int_equal(vhost_iotlb_dev_create(&suspending, NULL, 1, &dev), 0);
	assert_int_equal(vhost_iotlb_dev_features(dev) & (F(IOTLB_ASID) | F(DESC_ASID)), 0);
	vhost_iotlb_dev_destroy(dev);
}

/* Names and values of Linux, to the compiler; linux/vhost_types.h itself has a say where it is new
 * enough, because vhost_iotlb_dev.h defines none that it has. */
#define IS_BIT(name, bit) \
	_Static_assert(VHOST_BACKEND_F_ ## name == (bit), "Linux: VHOST_BACKEND_F_" #name)
IS_BIT(IOTLB_MSG_V2, 0x1);
IS_BIT(IOTLB_BATCH, 0x2);
IS_BIT(IOTLB_ASID, 0x3);
IS_BIT(SUSPEND, 0x4);
IS_BIT(RESUME, 0x5);
IS_BIT(ENABLE_AFTER_DRIVER_OK, 0x6);
IS_BIT(DESC_ASID, 0x7);
IS_BIT(IOTLB_PERSIST, 0x8);
_Static_assert(VHOST_ACCESS_RO == 0x1 && VHOST_ACCESS_WO == 0x2 && VHOST_ACCESS_RW == 0x3,
	"Linux: VHOST_ACCESS_*");

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

static int
map_nothing(void *parent, unsigned int asid, const struct vhost_iotlb_map *map)
{
	(void)parent;
	(void)asid;
	(void)map;
	return 0;
}

static int
unmap_nothing(void *parent, unsigned int asid, uint64_t start, uint64_t last)
{
	(void)parent;
	(void)asid;
	(void)start;
	(void)last;
	return 0;
}

static void
a_device_without_the_needed_is_refused(void **state)
{
	static const struct vhost_iotlb_parent_ops bad[] = {
		{ .reset = NULL },
		{ .reset = nothing_to_reset, .dma_map = map_nothing },
		{ .reset = nothing_to_reset, .dma_unmap = unmap_nothing },
		{ .reset = nothing_to_reset, .set_group_asid = bind_nothing },
		{ .reset = nothing_to_reset, .set_group_asid = bind_nothing,
			.ngroups = VHOST_IOTLB_MAX_GROUPS + 1 },
		{ .reset = nothing_to_reset, .ngroups = 2 },
		{ .reset = nothing_to_reset, .vq_group = groups_by_pairs },
		{ .reset = nothing_to_reset, .vq_desc_group = groups_by_pairs },
		{ .reset = nothing_to_reset, .features = F(DESC_ASID) },
	};
	static const struct vhost_iotlb_parent_ops good = { .reset = nothing_to_reset };
	struct vhost_iotlb_dev *dev = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vhost_iotlb_dev_create(&bad[i], NULL, 1, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&good, NULL, 0, &dev), -EINVAL);
	assert_int_equal(vhost_iotlb_dev_create(&good, NULL, VHOST_IOTLB_MAX_AS + 1, &dev),
		-EINVAL);
	assert_null(dev);
	vhost_iotlb_dev_destroy(NULL);
	assert_int_equal(vhost_iotlb_fe_release(NULL), 0);
}

static void
one_front_end_at_a_time(void **state)
{
	struct vhost_iotlb_fe *second = NULL;
	struct vhost_iotlb_conf_run r;

	(void)state;
	run_begin(&r, VHOST_IOTLB_CONF_ON_CHIP, 1);
	assert_int_equal(act(&r, "open", ""), 0);
	assert_int_equal(vhost_iotlb_fe_open(r.dev, &second), -EBUSY);
	assert_null(second);
	assert_ptr_equal(vhost_iotlb_fe_dev(r.fe), r.dev);
	assert_ptr_equal(vhost_iotlb_fe_table(r.fe, 0), vhost_iotlb_dev_table(r.dev, 0));
	assert_null(vhost_iotlb_fe_table(r.fe, 1));
	assert_null(vhost_iotlb_dev_table(r.dev, 1));
	/* A device that goes away releases it. */
	assert_int_equal(act(&r, "map", "A"), 0);
	vhost_iotlb_dev_destroy(r.dev);
	assert_string_equal(r.recorder.log, "set_map0:A set_map0: reset_map0");
	r.dev = NULL;
	vhost_iotlb_conf_run_end(&r);
}

static void
a_virtqueue_has_its_groups(void **state)
{
	static const struct vhost_iotlb_parent_ops paired = { .reset = nothing_to_reset,
		.ngroups = 3, .set_group_asid = bind_nothing, .vq_group = groups_by_pairs,
		.vq_desc_group = groups_by_pairs };
	static const struct vhost_iotlb_parent_ops plain = { .reset = nothing_to_reset };
	struct vhost_iotlb_dev *dev;
	struct vhost_iotlb_fe *fe;

	(void)state;
	assert_int_equal(vhost_iotlb_dev_create(&paired, NULL, 2, &dev), 0);
	assert_int_equal(vhost_iotlb_dev_ngroups(dev), 3);
	assert_int_equal(vhost_iotlb_dev_vq_group(dev, 1), 0);
	assert_int_equal(vhost_iotlb_dev_vq_group(dev, 5), 2);
	assert_int_equal(vhost_iotlb_dev_vq_group(dev, 6), -EIO);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(dev, 2), 1);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(dev, 6), -EIO);
	assert_int_equal(vhost_iotlb_fe_open(dev, &fe), 0);
	assert_int_equal(vhost_iotlb_fe_set_features(fe, F(IOTLB_ASID)), 0);
	assert_int_equal(vhost_iotlb_fe_set_group_asid(fe, 2, 1), 0);
	assert_int_equal(vhost_iotlb_dev_group_asid(dev, 2), 1);
	assert_int_equal(vhost_iotlb_dev_group_asid(dev, 1), 0);
	assert_int_equal(vhost_iotlb_dev_group_asid(dev, 3), -EINVAL);
	/* The binding relies on what was acknowledged. */
	assert_int_equal(vhost_iotlb_fe_set_features(fe, 0), -EBUSY);
	vhost_iotlb_dev_destroy(dev);
	assert_int_equal(vhost_iotlb_dev_create(&plain, NULL, 1, &dev), 0);
	assert_int_equal(vhost_iotlb_dev_ngroups(dev), 1);
	assert_int_equal(vhost_iotlb_dev_vq_group(dev, 7), 0);
	assert_int_equal(vhost_iotlb_dev_vq_desc_group(dev, 0), -EOPNOTSUPP);
	assert_int_equal(vhost_iotlb_dev_group_asid(dev, 0), 0);
	vhost_iotlb_dev_destroy(dev);
}

static void
a_table_that_is_the_same_brings_new_addresses_and_descriptors(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_conf_table_of(&memory, "AB");
	struct vhost_iotlb_map a = map_of('A'), b = map_of('B');
	unsigned int changed = 99;
	struct vhost_iotlb_conf_run r;

	(void)state;
	a.addr += PAGE;
	b.backing.fd += 100;
	run_begin(&r, VHOST_IOTLB_CONF_ON_CHIP, 1);
	assert_int_equal(act(&r, "open", ""), 0);
	assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, t, &changed), 0);
	assert_int_equal(changed, 2);              /* two files: two maps */
	vhost_iotlb_reset(t);
	assert_int_equal(vhost_iotlb_add(t, &b), 0);
	assert_int_equal(vhost_iotlb_add(t, &a), 0);
	assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, t, &changed), 0);
	assert_int_equal(changed, 0);
	assert_string_equal(r.recorder.log, "set_map0:AB");
	assert_int_equal(vhost_iotlb_lookup(vhost_iotlb_fe_table(r.fe, 0), 0)->addr, a.addr);
	assert_int_equal(vhost_iotlb_lookup(vhost_iotlb_fe_table(r.fe, 0), PAGE)->backing.fd,
		b.backing.fd);
	vhost_iotlb_destroy(t);
	vhost_iotlb_conf_run_end(&r);
}

/* What the maps of "AB" say of where they are: A's host address, and B's descriptor. */
static void
assert_whereabouts(const struct vhost_iotlb_conf_run *r, uint64_t addr_of_a, int fd_of_b)
{
	const struct vhost_iotlb *t = vhost_iotlb_fe_table(r->fe, 0);

	assert_int_equal(vhost_iotlb_lookup(t, 0)->addr, addr_of_a);
	assert_int_equal(vhost_iotlb_lookup(t, PAGE)->backing.fd, fd_of_b);
}

/* A and B stay, and are known by other addresses and descriptors; C is new. */
static void
maps_that_stay_follow_the_new_table_only_if_it_comes_into_force(void **state)
{
	static const enum vhost_iotlb_conf_kind kinds[] = {
		VHOST_IOTLB_CONF_ON_CHIP, VHOST_IOTLB_CONF_BY_RANGE, VHOST_IOTLB_CONF_PLATFORM };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct vhost_iotlb *old = vhost_iotlb_conf_table_of(&memory, "");
		struct vhost_iotlb *new = vhost_iotlb_conf_table_of(&memory, "C");
		struct vhost_iotlb_map a = map_of('A'), b = map_of('B');
		uint64_t addr = a.addr;
		int fd = b.backing.fd;
		struct vhost_iotlb_conf_run r;

		run_begin(&r, kinds[i], 1);
		assert_int_equal(act(&r, "open", ""), 0);
		assert_int_equal(vhost_iotlb_add(old, &a), 0);
		assert_int_equal(vhost_iotlb_add(old, &b), 0);
		assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, old, NULL), 0);
		a.addr += PAGE;
		b.backing.fd += 100;
		assert_int_equal(vhost_iotlb_add(new, &a), 0);
		assert_int_equal(vhost_iotlb_add(new, &b), 0);
		if (kinds[i] != VHOST_IOTLB_CONF_PLATFORM) {
			r.recorder.fail_at = 1;
			assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, new, NULL),
				VHOST_IOTLB_CONF_ERROR);
			assert_whereabouts(&r, addr, fd);
		}
		assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, new, NULL), 0);
		assert_whereabouts(&r, a.addr, b.backing.fd);
		vhost_iotlb_destroy(old);
		vhost_iotlb_destroy(new);
		vhost_iotlb_conf_run_end(&r);
	}
}

static void
a_table_that_is_set_to_itself_stays(void **state)
{
	unsigned int changed = 99;
	struct vhost_iotlb_conf_run r;

	(void)state;
	run_begin(&r, VHOST_IOTLB_CONF_ON_CHIP, 1);
	assert_int_equal(act(&r, "open", ""), 0);
	assert_int_equal(act(&r, "table", "AB"), 0);
	assert_int_equal(vhost_iotlb_fe_set_table(r.fe, 0, vhost_iotlb_fe_table(r.fe, 0),
		&changed), 0);
	assert_int_equal(changed, 0);
	assert_int_equal(vhost_iotlb_count(vhost_iotlb_fe_table(r.fe, 0)), 2);
	assert_string_equal(r.recorder.log, "set_map0:AB");
	vhost_iotlb_conf_run_end(&r);
}

/* Run one call with its first, second, ... allocation failing, until it succeeds. Each time the
 * parent and the table are as they were. */
static void
exhaust(struct vhost_iotlb_conf_run *r, const char *verb, char letter)
{
	struct vhost_iotlb_map map = map_of(letter);
	struct vhost_iotlb *old = vhost_iotlb_copy(vhost_iotlb_fe_table(r->fe, 0));
	struct vhost_iotlb *want = vhost_iotlb_conf_table_of(&memory, "aE");
	unsigned int seen = r->recorder.set_maps + r->recorder.range_ops;
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
			assert_int_equal(r->recorder.set_maps + r->recorder.range_ops, seen);
		}
		assert_true(vhost_iotlb_conf_in_step(r));
	}
	assert_int_equal(ret, 0);
	vhost_iotlb_destroy(old);
	vhost_iotlb_destroy(want);
}

static void
out_of_memory_changes_nothing(void **state)
{
	static const enum vhost_iotlb_conf_kind kinds[] = {
		VHOST_IOTLB_CONF_ON_CHIP, VHOST_IOTLB_CONF_BY_RANGE };
	struct vhost_iotlb_dev *dev = NULL;
	struct vhost_iotlb_conf_run r;

	(void)state;
	/* The device, an empty table, two address spaces. */
	for (unsigned int n = 1; n <= 4; n++) {
		alloc_fail_at = n;
		assert_int_equal(vhost_iotlb_dev_create(&vhost_iotlb_soft_ops, NULL, 2, &dev),
			-ENOMEM);
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		run_begin(&r, kinds[i], 1);
		alloc_fail_at = 1;
		assert_int_equal(act(&r, "open", ""), -ENOMEM);
		assert_int_equal(act(&r, "open", ""), 0);
		assert_int_equal(act(&r, "map", "AE"), 0);
		exhaust(&r, "map", 'B');
		exhaust(&r, "unmap", 'f');
		exhaust(&r, "table", 'A');
		vhost_iotlb_conf_run_end(&r);
	}
}

/*
 * Parents that do not keep the contract: the software one, but for one operation.
 */

static int
forgetful_reset(void *parent)
{
	(void)vhost_iotlb_soft_ops.reset_map(parent, 0);
	return vhost_iotlb_soft_ops.reset(parent);
}

static int
lazy_compat_reset(void *parent, uint32_t flags)
{
	(void)flags;
	return vhost_iotlb_soft_ops.reset(parent);
}

static int
lazy_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	return vhost_iotlb_count(maps) == 0 ? 0 : vhost_iotlb_soft_ops.set_map(parent, asid, maps);
}

static int
set_map_of_all(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	(void)asid;
	(void)vhost_iotlb_soft_ops.set_map(parent, 1, maps);
	return vhost_iotlb_soft_ops.set_map(parent, 0, maps);
}

static int
lazy_reset_map(void *parent, unsigned int asid)
{
	(void)parent;
	(void)asid;
	return 0;
}

static void *
soft_create(unsigned int nas)
{
	return vhost_iotlb_soft_create(nas > 1 ? nas : 2);
}

static void
soft_destroy(void *parent)
{
	vhost_iotlb_soft_destroy(parent);
}

static int
soft_read(void *parent, unsigned int group, uint64_t addr, uint64_t *value)
{
	vhost_iotlb_soft_start(parent);
	return vhost_iotlb_soft_read(parent, group, addr, value, sizeof(*value));
}

/* What the suite makes of the software parent with @p ops instead of its own. */
static struct vhost_iotlb_conf_result
judge(const struct vhost_iotlb_parent_ops *ops, unsigned int max_nas, bool quiet, char **report)
{
	const struct vhost_iotlb_conf_adapter adapter = { .name = "judged", .ops = ops,
		.create = soft_create, .destroy = soft_destroy, .read = soft_read,
		.max_nas = max_nas };
	const struct vhost_iotlb_conf_adapter *const adapters[] = { &adapter };
	struct vhost_iotlb_conf_result result;
	size_t len;
	FILE *out = open_memstream(report, &len);

	vhost_iotlb_conf_run(adapters, 1, out, quiet, &result);
	fclose(out);
	assert_true(result.passed > 0);
	return result;
}

static void
the_suite_finds_a_parent_that_does_not_keep_the_contract(void **state)
{
	struct vhost_iotlb_parent_ops bad[7];
	char *report = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		bad[i] = vhost_iotlb_soft_ops;
	assert_int_equal(judge(&bad[0], 0, true, &report).failed, 0);
	assert_string_equal(report, "");
	free(report);
	bad[0].reset = forgetful_reset;
	bad[1].compat_reset = lazy_compat_reset;
	bad[2].set_map = lazy_set_map;
	bad[3].set_map = set_map_of_all;
	bad[4].reset_map = lazy_reset_map;
	bad[5].dma_unmap = unmap_nothing;
	bad[6].set_group_asid = bind_nothing;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(judge(&bad[i], 0, true, &report).failed > 0);
		assert_non_null(strstr(report, "    judged           FAILED: "));
		free(report);
	}
}

static void
what_a_parent_lacks_is_left_out(void **state)
{
	const struct vhost_iotlb_parent_ops ops = { .reset = vhost_iotlb_soft_ops.reset };
	struct vhost_iotlb_conf_result result;
	char *report = NULL;

	(void)state;
	result = judge(&ops, 0, false, &report);
	assert_int_equal(result.failed, 0);
	assert_true(result.left_out > result.passed);
	assert_non_null(strstr(report, "C1  a reset changes no map\n"
		"    parent           on-chip, from v4\n"
		"    front-end        open ack map:A map:B reset reset\n"
		"    parent sees      set_map0:A set_map0:AB reset reset\n"
		"    judged           left out\n"));
	assert_non_null(strstr(report, "C2  the platform IOMMU's parent is told nothing\n"
		"    parent           platform, from 4c8cf31885f6\n"
		"    front-end        open ack map:A unmap:A map:A release\n"
		"    parent sees      nothing\n"
		"    judged           ok\n"));
	free(report);
	/* Address spaces, too. */
	result = judge(&vhost_iotlb_soft_ops, 1, true, &report);
	assert_int_equal(result.failed, 0);
	assert_true(result.left_out > 0 && result.left_out < result.passed);
	free(report);
}

/* Are all of @p keys, which are separated by ", ", messages or commits that are listed? */
static void
assert_sources(const char *keys)
{
	while (*keys != '\0') {
		size_t len = strcspn(keys, ","), i = 0;

		while (i < vhost_iotlb_conf_nsources &&
				(strlen(vhost_iotlb_conf_sources[i].key) != len ||
				memcmp(vhost_iotlb_conf_sources[i].key, keys, len) != 0))
			i++;
		if (i == vhost_iotlb_conf_nsources)
			fail_msg("no source is \"%s\"", keys);
		keys += len + strspn(keys + len, ", ");
	}
}

static void
every_rule_has_scenarios_and_every_scenario_a_source(void **state)
{
	unsigned int scenarios[10] = { 0 };

	(void)state;
	for (size_t i = 0; i < vhost_iotlb_conf_nscenarios; i++) {
		const struct vhost_iotlb_conf_scenario *s = &vhost_iotlb_conf_scenarios[i];

		assert_int_equal(s->rule[0], 'C');
		scenarios[s->rule[1] - '0']++;
		assert_true(strlen(s->sources) > 0);
		assert_sources(s->sources);
	}
	for (unsigned int rule = 1; rule <= 9; rule++)
		assert_true(scenarios[rule] > 0);
	for (size_t i = 0; i < vhost_iotlb_conf_nmeetings; i++) {
		assert_sources(vhost_iotlb_conf_meetings[i].sources);
		/* Of every kind that is about resets and releases. */
		for (unsigned int kind = 0; kind <= VHOST_IOTLB_CONF_RANGE_CLEARED; kind++)
			assert_non_null(vhost_iotlb_conf_meetings[i].ops[kind]);
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
	struct vhost_iotlb *table[AS];
	unsigned int set_maps, reset_maps, range_ops;
	bool batch[AS];
};

static void
before_take(struct before *b, struct vhost_iotlb_conf_run *r)
{
	for (unsigned int asid = 0; asid < AS; asid++) {
		const struct vhost_iotlb *t = vhost_iotlb_dev_table(r->dev, asid);

		b->table[asid] = vhost_iotlb_copy(t);
		b->batch[asid] = vhost_iotlb_txn_is_open(t);
	}
	b->set_maps = r->recorder.set_maps;
	b->reset_maps = r->recorder.reset_maps;
	b->range_ops = r->recorder.range_ops;
	r->recorder.cleared = false;
}

static void
before_free(struct before *b)
{
	for (unsigned int asid = 0; asid < AS; asid++)
		vhost_iotlb_destroy(b->table[asid]);
}

static bool
unchanged(const struct before *b, const struct vhost_iotlb_conf_run *r, unsigned int asid)
{
	return vhost_iotlb_equal(b->table[asid], vhost_iotlb_dev_table(r->dev, asid));
}

/* No map operation was called. */
static void
check_no_maps(const struct before *b, const struct vhost_iotlb_conf_run *r)
{
	assert_int_equal(r->recorder.set_maps, b->set_maps);
	assert_int_equal(r->recorder.range_ops, b->range_ops);
	assert_int_equal(r->recorder.reset_maps, b->reset_maps);
}

static void
check_reset(const struct before *b, const struct vhost_iotlb_conf_run *r, bool clears)
{
	check_no_maps(b, r);                                            /* C1, C2 */
	assert_true(clears || !r->recorder.cleared);                    /* C5 */
	for (unsigned int asid = 0; asid < AS; asid++) {
		if (r->recorder.cleared) {
			assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(r->dev, asid)), 0);
			assert_true(r->recorder.initial[asid]);
		} else {
			assert_true(unchanged(b, r, asid));
		}
	}
}

/* C7: bindings and maps have nothing to do with each other. */
static void
check_bind(const struct before *b, const struct vhost_iotlb_conf_run *r)
{
	check_no_maps(b, r);
	for (unsigned int asid = 0; asid < AS; asid++)
		assert_true(unchanged(b, r, asid));
}

static void
check_change(const struct before *b, const struct vhost_iotlb_conf_run *r, const char *verb,
		unsigned int asid, int ret)
{
	bool ends_batch = strcmp(verb, "end") == 0;

	assert_true(r->recorder.set_maps <= b->set_maps + 1);           /* C8 */
	assert_int_equal(r->recorder.reset_maps, b->reset_maps);        /* C2 */
	assert_true(unchanged(b, r, 1 - asid));                         /* C7 */
	if (b->batch[asid] && !ends_batch)
		assert_int_equal(r->recorder.set_maps + r->recorder.range_ops,
			b->set_maps + b->range_ops);                    /* C8 */
	/* Unless the parent refused to undo it, too. */
	if (ret < 0 && !ends_batch && r->recorder.refused < 2)
		assert_true(unchanged(b, r, asid));                     /* C9 */
}

/* A new front-end with a will of its own. Returns whether its resets clear maps. */
static bool
random_front_end(struct vhost_iotlb_conf_run *r)
{
	static const char *const acks[] = { "none", "", "asid" };
	unsigned int kind = rnd(3);

	assert_int_equal(act(r, "open", ""), 0);
	assert_int_equal(act(r, "ack", acks[kind]), 0);
	return vhost_iotlb_conf_kinds[r->recorder.kind].ops.compat_reset != NULL &&
		(vhost_iotlb_fe_features(r->fe) & F(IOTLB_PERSIST)) == 0;
}

static void
random_release(struct vhost_iotlb_conf_run *r)
{
	unsigned int reset_maps = r->recorder.reset_maps;

	r->recorder.fail_at = rnd(3);
	(void)act(r, "release", "");
	r->recorder.fail_at = 0;
	if (vhost_iotlb_conf_kinds[r->recorder.kind].ops.reset_map != NULL)     /* C2 */
		assert_int_equal(r->recorder.reset_maps, reset_maps + AS);
	for (unsigned int asid = 0; asid < AS; asid++) {
		assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(r->dev, asid)), 0);
		/* What the parent refused to unmap it has still. */
		vhost_iotlb_reset(r->recorder.has[asid]);
	}
	r->recorder.log[0] = '\0';
}

static void
random_step(struct vhost_iotlb_conf_run *r, bool clears)
{
	static const char *const verbs[] = {
		"map", "unmap", "table", "begin", "end", "reset", "bind" };
	const char *verb = verbs[rnd(7)];
	char letters[8], one[2] = { "AaBCDEef"[rnd(8)], '\0' };
	unsigned int asid = rnd(AS);
	struct before b;
	int ret;

	before_take(&b, r);
	random_letters(letters);
	if (strcmp(verb, "bind") == 0)
		one[0] = '0' + rnd(GROUPS);
	r->recorder.fail_at = rnd(4) == 0 ? 1 + rnd(4) : 0;
	r->recorder.then_at = rnd(3);
	r->recorder.refused = 0;
	ret = vhost_iotlb_conf_do(r, verb, asid, strcmp(verb, "table") == 0 ? letters : one);
	r->recorder.fail_at = 0;
	r->recorder.then_at = 0;
	if (strcmp(verb, "bind") == 0)
		check_bind(&b, r);
	else if (strcmp(verb, "reset") == 0)
		check_reset(&b, r, clears);
	else
		check_change(&b, r, verb, asid, ret);
	assert_true(vhost_iotlb_conf_in_step(r));
	assert_null(r->recorder.fault);
	before_free(&b);
	r->recorder.log[0] = '\0';
}

static void
random_sequences_keep_the_rules(void **state)
{
	struct vhost_iotlb_conf_run r;
	bool clears = false;

	(void)state;
	random_state = SEED;
	for (unsigned int kind = 0; kind < VHOST_IOTLB_CONF_KINDS; kind++) {
		run_begin(&r, kind, AS);
		for (unsigned int i = 0; i < ROUNDS / VHOST_IOTLB_CONF_KINDS; i++) {
			if (r.fe == NULL)
				clears = random_front_end(&r);
			else if (rnd(20) == 0)
				random_release(&r);
			else
				random_step(&r, clears);
		}
		vhost_iotlb_conf_run_end(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_those_that_the_parent_can_keep),
		cmocka_unit_test(feature_bits_are_those_of_linux),
		cmocka_unit_test(a_device_without_the_needed_is_refused),
		cmocka_unit_test(one_front_end_at_a_time),
		cmocka_unit_test(a_virtqueue_has_its_groups),
		cmocka_unit_test(a_table_that_is_the_same_brings_new_addresses_and_descriptors),
		cmocka_unit_test(maps_that_stay_follow_the_new_table_only_if_it_comes_into_force),
		cmocka_unit_test(a_table_that_is_set_to_itself_stays),
		cmocka_unit_test(out_of_memory_changes_nothing),
		cmocka_unit_test(the_suite_finds_a_parent_that_does_not_keep_the_contract),
		cmocka_unit_test(what_a_parent_lacks_is_left_out),
		cmocka_unit_test(every_rule_has_scenarios_and_every_scenario_a_source),
		cmocka_unit_test(random_sequences_keep_the_rules),
	};

	return cmocka_run_group_tests_name("iotlb_contract", tests, group_set_up, group_tear_down);
}
