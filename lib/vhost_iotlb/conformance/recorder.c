/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "recorder.h"

#define PAGE VHOST_IOTLB_CONF_PAGE
#define AS VHOST_IOTLB_CONF_AS
#define GROUPS VHOST_IOTLB_CONF_GROUPS
/* What the host's own memory holds where the initial mapping is looked for. */
#define HOST_NUMBER UINT64_C(0x486f7374)

/* Write a call down. Returns whether it is to fail. */
static bool
note(struct vhost_iotlb_conf_recorder *r, const char *fmt, ...)
{
	size_t len = strlen(r->log);
	va_list ap;

	if (r->on_call != NULL)
		r->on_call();
	if (len > 0 && len < sizeof(r->log) - 1)
		r->log[len++] = ' ';
	va_start(ap, fmt);
	vsnprintf(r->log + len, sizeof(r->log) - len, fmt, ap);
	va_end(ap);
	if (r->fail_at == 0 || --r->fail_at != 0)
		return false;
	r->fail_at = r->then_at;
	r->then_at = 0;
	r->refused++;
	strncat(r->log, "!", sizeof(r->log) - strlen(r->log) - 1);
	return true;
}

static void
fault(struct vhost_iotlb_conf_recorder *r, const char *what)
{
	if (r->fault == NULL)
		r->fault = what;
}

/* Hand an operation on to the parent under test, if there is one. */
#define HAND_ON(r, op, ...) \
	((r)->adapter == NULL ? 0 : (r)->adapter->ops->op((r)->parent, ##__VA_ARGS__))

static int
rec_reset(void *parent)
{
	struct vhost_iotlb_conf_recorder *r = parent;

	return note(r, "reset") ? VHOST_IOTLB_CONF_ERROR : HAND_ON(r, reset);
}

/* Back to the initial mapping, in the model. */
static void
model_to_initial(struct vhost_iotlb_conf_recorder *r, unsigned int asid)
{
	vhost_iotlb_reset(r->has[asid]);
	r->initial[asid] = true;
}

static int
rec_compat_reset(void *parent, uint32_t flags)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	int ret = note(r, "compat_reset") ? VHOST_IOTLB_CONF_ERROR :
		HAND_ON(r, compat_reset, flags);

	if (flags != VHOST_IOTLB_RESET_CLEAN_MAP)
		fault(r, "compat_reset without CLEAN_MAP");
	for (unsigned int asid = 0; asid < AS && ret == 0; asid++)
		model_to_initial(r, asid);
	r->cleared = ret == 0;
	return ret;
}

static int
rec_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	const struct vhost_iotlb_map *map;
	char letters[VHOST_IOTLB_CONF_PAGES + 1] = "";
	size_t n = 0;
	int ret;

	r->set_maps++;
	VHOST_IOTLB_FOREACH(map, maps)
		if (n < sizeof(letters) - 1)
			letters[n++] = vhost_iotlb_conf_letter_of(r->memory, map);
	ret = note(r, "set_map%u:%s", asid, letters) ? VHOST_IOTLB_CONF_ERROR :
		HAND_ON(r, set_map, asid, maps);
	if (ret < 0)
		return ret;
	model_to_initial(r, asid);
	r->initial[asid] = false;
	VHOST_IOTLB_FOREACH(map, maps)
		if (vhost_iotlb_add(r->has[asid], map) < 0)
			fault(r, "set_map with a table that is none");
	return 0;
}

static int
rec_reset_map(void *parent, unsigned int asid)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	int ret = note(r, "reset_map%u", asid) ? VHOST_IOTLB_CONF_ERROR :
		HAND_ON(r, reset_map, asid);

	r->reset_maps++;
	if (ret == 0)
		model_to_initial(r, asid);
	return ret;
}

static int
rec_dma_map(void *parent, unsigned int asid, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	int ret;

	r->range_ops++;
	ret = note(r, "dma_map%u:%c", asid, vhost_iotlb_conf_letter_of(r->memory, map)) ?
		VHOST_IOTLB_CONF_ERROR : HAND_ON(r, dma_map, asid, map);
	if (ret < 0)
		return ret;
	r->initial[asid] = false;
	if (vhost_iotlb_add(r->has[asid], map) < 0)
		fault(r, "dma_map of what is mapped");
	return 0;
}

static int
rec_dma_unmap(void *parent, unsigned int asid, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	int ret;

	r->range_ops++;
	ret = note(r, "dma_unmap%u:%u-%u", asid, (unsigned int)(start / PAGE),
			(unsigned int)(last / PAGE)) ?
		VHOST_IOTLB_CONF_ERROR : HAND_ON(r, dma_unmap, asid, start, last);
	if (ret < 0)
		return ret;
	for (uint64_t at = start; at < last; at += PAGE)
		if (vhost_iotlb_lookup(r->has[asid], at) == NULL)
			fault(r, "dma_unmap of what is not mapped");
	return vhost_iotlb_del(r->has[asid], start, last);
}

static int
rec_set_group_asid(void *parent, unsigned int group, unsigned int asid)
{
	struct vhost_iotlb_conf_recorder *r = parent;
	int ret = note(r, "set_group_asid%u:%u", asid, group) ? VHOST_IOTLB_CONF_ERROR :
		HAND_ON(r, set_group_asid, group, asid);

	if (ret == 0)
		r->group_asid[group] = asid;
	return ret;
}

static unsigned int
rec_vq_group(void *parent, unsigned int vq)
{
	(void)parent;
	(void)vq;
	return 0;
}

static unsigned int
rec_vq_desc_group(void *parent, unsigned int vq)
{
	(void)parent;
	(void)vq;
	return 1;
}

const struct vhost_iotlb_conf_kind_info vhost_iotlb_conf_kinds[VHOST_IOTLB_CONF_KINDS] = {
	[VHOST_IOTLB_CONF_PLATFORM] = {
		"platform", "the platform IOMMU translates: no map operations",
		{ .reset = rec_reset },
	},
	[VHOST_IOTLB_CONF_ON_CHIP] = {
		"on-chip", "an on-chip IOMMU: ``set_map``, ``reset_map``",
		{ .reset = rec_reset, .set_map = rec_set_map, .reset_map = rec_reset_map },
	},
	[VHOST_IOTLB_CONF_NO_RESET_MAP] = {
		"no-reset-map", "an on-chip IOMMU without ``reset_map``",
		{ .reset = rec_reset, .set_map = rec_set_map },
	},
	[VHOST_IOTLB_CONF_USED_TO_CLEAR] = {
		"used-to-clear",
		"an on-chip IOMMU whose reset used to clear maps: ``compat_reset`` besides",
		{ .reset = rec_reset, .compat_reset = rec_compat_reset, .set_map = rec_set_map,
			.reset_map = rec_reset_map },
	},
	[VHOST_IOTLB_CONF_DECLARING] = {
		"declaring",
		"a vendor's IOMMU without ``reset_map`` that declares ``IOTLB_PERSIST``",
		{ .reset = rec_reset, .set_map = rec_set_map,
			.features = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST) },
	},
	[VHOST_IOTLB_CONF_BY_RANGE] = {
		"by-range", "an on-chip IOMMU that takes ranges: ``dma_map``, ``dma_unmap``",
		{ .reset = rec_reset, .dma_map = rec_dma_map, .dma_unmap = rec_dma_unmap,
			.reset_map = rec_reset_map },
	},
	[VHOST_IOTLB_CONF_RANGE_CLEARED] = {
		"range-cleared", "the same, whose reset used to clear maps",
		{ .reset = rec_reset, .compat_reset = rec_compat_reset, .dma_map = rec_dma_map,
			.dma_unmap = rec_dma_unmap, .reset_map = rec_reset_map },
	},
	[VHOST_IOTLB_CONF_BOTH_WAYS] = {
		"both-ways", "takes ranges and whole tables",
		{ .reset = rec_reset, .set_map = rec_set_map, .dma_map = rec_dma_map,
			.dma_unmap = rec_dma_unmap, .reset_map = rec_reset_map },
	},
	[VHOST_IOTLB_CONF_GROUPED] = {
		"grouped", "used-to-clear, with a group for data (0) and one for descriptors (1)",
		{ .reset = rec_reset, .compat_reset = rec_compat_reset, .set_map = rec_set_map,
			.reset_map = rec_reset_map, .ngroups = GROUPS,
			.set_group_asid = rec_set_group_asid, .vq_group = rec_vq_group,
			.vq_desc_group = rec_vq_desc_group },
	},
};

/* Has a parent the operations of a kind? */
static bool
can_play(const struct vhost_iotlb_parent_ops *ops, const struct vhost_iotlb_parent_ops *kind)
{
	return (kind->compat_reset == NULL || ops->compat_reset != NULL) &&
		(kind->set_map == NULL || ops->set_map != NULL) &&
		(kind->reset_map == NULL || ops->reset_map != NULL) &&
		(kind->dma_map == NULL || ops->dma_map != NULL) &&
		(kind->set_group_asid == NULL || ops->set_group_asid != NULL) &&
		kind->ngroups <= ops->ngroups;
}

int
vhost_iotlb_conf_recorder_begin(struct vhost_iotlb_conf_recorder *r,
		struct vhost_iotlb_conf_memory *memory, enum vhost_iotlb_conf_kind kind,
		unsigned int nas, const struct vhost_iotlb_conf_adapter *adapter)
{
	memset(r, 0, sizeof(*r));
	r->kind = kind;
	r->memory = memory;
	for (unsigned int asid = 0; asid < AS; asid++) {
		r->initial[asid] = true;
		r->has[asid] = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
		if (r->has[asid] == NULL)
			goto nomem;
	}
	if (adapter == NULL || adapter->ops == NULL)
		return 0;
	if (!can_play(adapter->ops, &vhost_iotlb_conf_kinds[kind].ops) ||
			(adapter->max_nas > 0 && nas > adapter->max_nas)) {
		vhost_iotlb_conf_recorder_end(r);
		return -EOPNOTSUPP;
	}
	r->parent = adapter->create(nas);
	if (r->parent == NULL)
		goto nomem;
	r->adapter = adapter;
	return 0;
nomem:
	vhost_iotlb_conf_recorder_end(r);
	return -ENOMEM;
}

void
vhost_iotlb_conf_recorder_end(struct vhost_iotlb_conf_recorder *r)
{
	if (r->adapter != NULL)
		r->adapter->destroy(r->parent);
	r->adapter = NULL;
	for (unsigned int asid = 0; asid < AS; asid++) {
		vhost_iotlb_destroy(r->has[asid]);
		r->has[asid] = NULL;
	}
}

/* The host's own memory, at its own address. */
static const char *
check_host(struct vhost_iotlb_conf_recorder *r, unsigned int group, bool reachable)
{
	uint64_t host = HOST_NUMBER, seen = 0;
	int ret = r->adapter->read(r->parent, group, (uintptr_t)&host, &seen);

	if (!reachable)
		return ret == 0 ? "the device reaches the host's memory" : NULL;
	return ret != 0 || seen != host ?
		"the device does not reach the host's memory, as the initial mapping would" : NULL;
}

static const char *
check_page(struct vhost_iotlb_conf_recorder *r, unsigned int group, uint64_t addr)
{
	const struct vhost_iotlb_map *map =
		vhost_iotlb_lookup(r->has[r->group_asid[group]], addr);
	uint64_t seen = 0;
	int ret = r->adapter->read(r->parent, group, addr, &seen);

	if (map == NULL)
		return ret == 0 ? "the device reads what is not mapped" : NULL;
	if (ret != 0)
		return "the device does not reach what is mapped";
	return seen != vhost_iotlb_conf_number_at(r->memory, map, addr) ?
		"the device reads other memory than what is mapped" : NULL;
}

const char *
vhost_iotlb_conf_recorder_check(struct vhost_iotlb_conf_recorder *r)
{
	const struct vhost_iotlb_parent_ops *ops = &vhost_iotlb_conf_kinds[r->kind].ops;
	unsigned int ngroups = ops->ngroups > 0 ? ops->ngroups : 1;
	const char *wrong = r->fault;

	/* Behind a platform IOMMU the parent knows nothing of maps. */
	if (wrong != NULL || r->adapter == NULL || r->adapter->read == NULL ||
			(ops->set_map == NULL && ops->dma_map == NULL))
		return wrong;
	for (unsigned int group = 0; group < ngroups && wrong == NULL; group++) {
		bool initial = r->initial[r->group_asid[group]];

		/* First, because a parent that is in a 1:1 mapping by mistake would be led astray
		 * by guest addresses. */
		wrong = check_host(r, group, initial && !r->adapter->initial_is_empty);
		if (initial && !r->adapter->initial_is_empty)
			continue;
		for (unsigned int i = 0; i < VHOST_IOTLB_CONF_PAGES && wrong == NULL; i++)
			wrong = check_page(r, group, i * PAGE);
	}
	return wrong;
}
