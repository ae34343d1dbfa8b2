/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Object tables: ids, ownership, limits, and the account of what is alive.
 *
 * One table a type. An id is an index into it, so that a lookup is one load. Ids are handed out in
 * ascending order and wrap at the table's size; a table grows when it is half full, so that many
 * other ids are handed out before one comes back, and a stale id is noticed instead of naming a
 * newcomer.
 */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

enum {
	BITS_PER_WORD = 64,
	TABLE_FIRST_SIZE = 1024,
	/* Ids are 24 bits wide in most contexts; a user context's is 16. */
	ID_SPACE = 1 << 24,
	UID_SPACE = 1 << 16,
	/* Objects whose number no capability page of this model limits. */
	UNCAPPED_LIMIT = 1 << 16,
};

struct table {
	void **slot;               /* by id; size entries */
	uint64_t *used;            /* a bit an id, to walk and to find room quickly */
	uint32_t size;             /* power of two */
	uint32_t space;            /* size grows up to this */
	uint32_t first;            /* lowest id */
	uint32_t last;             /* id handed out last */
	uint32_t limit;            /* objects alive at most */
	uint32_t alive;
};

struct emu_objs {
	struct table table[EMU_OBJ_TYPES];
};

const char *
emu_obj_type_name(enum emu_obj_type type)
{
	static const char *const names[EMU_OBJ_TYPES] = {
		[EMU_UCTX] = "uctx",
		[EMU_UAR] = "uar",
		[EMU_PD] = "pd",
		[EMU_UMEM] = "umem",
		[EMU_MKEY] = "mkey",
		[EMU_CQ] = "cq",
		[EMU_QP] = "qp",
		[EMU_TD] = "td",
		[EMU_TIS] = "tis",
		[EMU_TIR] = "tir",
		[EMU_RQT] = "rqt",
		[EMU_FLOW_TABLE] = "flow_table",
		[EMU_FLOW_GROUP] = "flow_group",
		[EMU_FTE] = "flow_table_entry",
		[EMU_VIRTIO_NET_Q] = "virtio_net_q",
		[EMU_VIRTIO_Q_COUNTERS] = "virtio_q_counters",
	};

	return names[type];
}

/* How many objects of a type the device's capabilities allow. */
static uint32_t
type_limit(const struct emu_dev *dev, enum emu_obj_type type)
{
	const void *gen = dev->caps.general;

	switch (type) {
	case EMU_UCTX: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_uctx);
	case EMU_UAR: return EMU_UARS - 1; /* page 0 has no id */
	case EMU_PD: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_pd);
	case EMU_UMEM: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_umem);
	case EMU_MKEY: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_mkey);
	case EMU_CQ: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_cq);
	case EMU_QP: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_qp);
	case EMU_TD: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_transport_domain);
	case EMU_TIS: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_tis);
	case EMU_TIR: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_tir);
	case EMU_RQT: return 1u << PRM_GET(cmd_hca_cap, gen, log_max_rqt);
	case EMU_VIRTIO_NET_Q:
		return PRM_GET(virtio_emulation_cap, dev->caps.vdpa, max_num_virtio_queues);
	default: return UNCAPPED_LIMIT;
	}
}

static uint32_t
type_space(enum emu_obj_type type)
{
	switch (type) {
	case EMU_UCTX: return UID_SPACE;
	case EMU_UAR: return EMU_UARS;
	default: return ID_SPACE;
	}
}

static int
table_resize(struct table *t, uint32_t size)
{
	uint32_t old_words = t->size / BITS_PER_WORD, words = size / BITS_PER_WORD;
	uint64_t *used;
	void **slot;

	slot = realloc(t->slot, size * sizeof(*slot));
	if (slot == NULL)
		return -ENOMEM;
	t->slot = slot;
	used = realloc(t->used, words * sizeof(*used));
	if (used == NULL)
		return -ENOMEM;
	t->used = used;
	memset(slot + t->size, 0, (size - t->size) * sizeof(*slot));
	memset(used + old_words, 0, (words - old_words) * sizeof(*used));
	t->size = size;
	return 0;
}

/* Lowest id from @p from on whose bit equals @p want; the table's size when there is none. */
static uint32_t
table_scan(const struct table *t, uint32_t from, bool want)
{
	uint32_t word = from / BITS_PER_WORD, words = t->size / BITS_PER_WORD;
	uint64_t bits, mask = UINT64_MAX << (from % BITS_PER_WORD);

	for (; word < words; word++, mask = UINT64_MAX) {
		bits = (want ? t->used[word] : ~t->used[word]) & mask;
		if (bits != 0)
			return word * BITS_PER_WORD + (uint32_t)__builtin_ctzll(bits);
	}
	return t->size;
}

/* An id for a new object, 0 when the table is full. */
static uint32_t
table_alloc_id(struct table *t)
{
	uint32_t id;

	if (t->alive >= t->limit)
		return 0;
	/* A table that can't grow is still good until it is full. */
	if (t->alive >= t->size / 2 && t->size < t->space)
		table_resize(t, t->size * 2);
	id = table_scan(t, t->last + 1 < t->size ? t->last + 1 : t->first, false);
	if (id == t->size)
		id = table_scan(t, t->first, false);
	return id == t->size ? 0 : id;
}

static void
table_set(struct table *t, uint32_t id, void *obj)
{
	t->slot[id] = obj;
	t->used[id / BITS_PER_WORD] ^= UINT64_C(1) << (id % BITS_PER_WORD);
}

int
emu_objs_init(struct emu_dev *dev)
{
	int type, ret;
	struct table *t;

	dev->objs = calloc(1, sizeof(*dev->objs));
	if (dev->objs == NULL)
		return -ENOMEM;
	for (type = 0; type < EMU_OBJ_TYPES; type++) {
		t = &dev->objs->table[type];
		t->space = type_space(type);
		t->limit = type_limit(dev, type);
		/* The null key has an index of its own that no key may get. */
		t->first = type == EMU_MKEY ? (EMU_NULL_MKEY >> EMU_MKEY_INDEX_SHIFT) + 1 : 1;
		t->last = t->first - 1;
		ret = table_resize(t, t->space < TABLE_FIRST_SIZE ? t->space : TABLE_FIRST_SIZE);
		if (ret != 0) {
			emu_objs_fini(dev);
			return ret;
		}
	}
	return 0;
}

void
emu_objs_fini(struct emu_dev *dev)
{
	struct emu_obj *obj;
	struct table *t;
	uint32_t id;
	int type;

	if (dev->objs == NULL)
		return;
	for (type = 0; type < EMU_OBJ_TYPES; type++) {
		t = &dev->objs->table[type];
		for (id = table_scan(t, 0, true); id < t->size; id = table_scan(t, id + 1, true)) {
			obj = t->slot[id];
			if (obj->fini != NULL)
				obj->fini(obj);
			free(obj);
		}
		free(t->slot);
		free(t->used);
	}
	free(dev->objs);
	dev->objs = NULL;
}

void *
emu_obj_new(struct emu_dev *dev, enum emu_obj_type type, uint16_t uid, size_t size)
{
	struct table *t = &dev->objs->table[type];
	uint32_t id = table_alloc_id(t);
	struct emu_obj *obj;

	if (id == 0)
		return NULL;
	obj = calloc(1, size);
	if (obj == NULL)
		return NULL;
	obj->dev = dev;
	obj->type = type;
	obj->uid = uid;
	obj->id = id;
	table_set(t, id, obj);
	t->last = id;
	t->alive++;
	/* A user context is busy as long as something of its own is left. */
	if (uid != 0)
		emu_obj_hold(emu_obj_find(dev, EMU_UCTX, uid, 0));
	emu_alive_add(emu_obj_type_name(type), 1);
	return obj;
}

void
emu_obj_del(void *p)
{
	struct emu_obj *obj = p;
	struct table *t = &obj->dev->objs->table[obj->type];

	table_set(t, obj->id, NULL);
	t->alive--;
	if (obj->uid != 0)
		emu_obj_put(emu_obj_find(obj->dev, EMU_UCTX, obj->uid, 0));
	emu_alive_add(emu_obj_type_name(obj->type), -1);
	if (obj->fini != NULL)
		obj->fini(obj);
	free(obj);
}

void *
emu_obj_find(struct emu_dev *dev, enum emu_obj_type type, uint32_t id, uint16_t uid)
{
	const struct table *t = &dev->objs->table[type];
	struct emu_obj *obj = id < t->size ? t->slot[id] : NULL;

	return obj != NULL && (uid == 0 || obj->uid == uid) ? obj : NULL;
}

void *
emu_obj_next(struct emu_dev *dev, enum emu_obj_type type, void *prev)
{
	const struct table *t = &dev->objs->table[type];
	uint32_t id = table_scan(t, prev != NULL ? ((struct emu_obj *)prev)->id + 1 : 0, true);

	return id < t->size ? t->slot[id] : NULL;
}
