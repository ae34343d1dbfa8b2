/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "vhost_iotlb_dev.h"

/* One address space. The table is what the parent has; during a batch, what the parent will have,
 * as an open transaction of the table. */
struct address_space {
	struct vhost_iotlb *table;
};

struct vhost_iotlb_dev {
	const struct vhost_iotlb_parent_ops *ops;
	void *parent;
	struct vhost_iotlb_fe *fe;             /* the front-end that is open, or NULL */
	struct vhost_iotlb *none;              /* an empty table, always */
	unsigned int ngroups;
	unsigned int group_asid[VHOST_IOTLB_MAX_GROUPS];      /* what each group is bound to */
	unsigned int nas;
	struct address_space as[];             /* nas of them; nothing is shared between them: C7 */
};

struct vhost_iotlb_fe {
	struct vhost_iotlb_dev *dev;
	uint64_t acked;                        /* backend features acknowledged */
	bool negotiated;                       /* set_features was called */
	bool relies;                           /* a map operation or binding was done */
};

/* One step of a change, for a parent that takes them one by one. */
struct step {
	enum vhost_iotlb_op op;
	bool stuck;                            /* a map that the parent does not give back */
	struct vhost_iotlb_map map;
};

struct steps {
	struct step *v;
	int n;
	int stuck;                             /* how many are */
};

/* Does the parent translate itself, or does the platform IOMMU do it and nobody is to be told? */
static bool
has_own_translation(const struct vhost_iotlb_parent_ops *ops)
{
	return ops->set_map != NULL || ops->dma_map != NULL;
}

static struct vhost_iotlb *
as_table(const struct vhost_iotlb_dev *dev, unsigned int asid)
{
	return asid < dev->nas ? dev->as[asid].table : NULL;
}

static int
take_step(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	struct step **next = arg;

	*(*next)++ = (struct step){ .op = op, .map = *map };
	return 0;
}

/* Count the steps of the change that the transaction of @p table makes, and write them down for a
 * parent that takes them one by one. */
static int
steps_take(const struct vhost_iotlb_dev *dev, struct vhost_iotlb *table, struct steps *steps)
{
	struct step *next;
	int n = vhost_iotlb_txn_diff(table, NULL, NULL);

	if (n <= 0)
		return n;
	steps->n = n;
	if (dev->ops->set_map != NULL || dev->ops->dma_map == NULL)
		return 0;
	steps->v = calloc(n, sizeof(*steps->v));
	if (steps->v == NULL)
		return -ENOMEM;
	next = steps->v;
	n = vhost_iotlb_txn_diff(table, take_step, &next);
	return n < 0 ? n : 0;
}

static int
step_do(struct vhost_iotlb_dev *dev, unsigned int asid, const struct step *step)
{
	if (step->op == VHOST_IOTLB_OP_UNMAP)
		return dev->ops->dma_unmap(dev->parent, asid, step->map.start, step->map.last);
	return dev->ops->dma_map(dev->parent, asid, &step->map);
}

/* The first map of @p steps that is stuck in [start, last], or NULL. */
static const struct vhost_iotlb_map *
first_stuck(const struct steps *steps, uint64_t start, uint64_t last)
{
	for (int i = 0; steps->stuck > 0 && i < steps->n; i++) {
		const struct step *step = &steps->v[i];

		if (step->stuck && step->map.start <= last && step->map.last >= start)
			return &step->map;
	}
	return NULL;
}

/* Map in the parent again what @p table, which is the old one again, has in [start, last]. */
static void
map_again(struct vhost_iotlb_dev *dev, unsigned int asid, uint64_t start, uint64_t last)
{
	struct vhost_iotlb *table = as_table(dev, asid);
	const struct vhost_iotlb_map *map;
	struct vhost_iotlb_map slice;

	while ((map = vhost_iotlb_first(table, start, last)) != NULL) {
		slice = vhost_iotlb_map_slice(map, map->start < start ? start : map->start,
				map->last > last ? last : map->last);
		/* C9, as far as the parent lets us: the table says what the parent has. Should
		 * there be no memory to cut it out, the device faults there, which is the safe
		 * side. */
		if (dev->ops->dma_map(dev->parent, asid, &slice) < 0)
			(void)vhost_iotlb_del(table, slice.start, slice.last);
		if (slice.last == last)
			break;
		start = slice.last + 1;
	}
}

/* Put back what was unmapped in [start, last], but where something is stuck. */
static void
put_back(struct vhost_iotlb_dev *dev, unsigned int asid, const struct steps *steps,
		uint64_t start, uint64_t last)
{
	const struct vhost_iotlb_map *stuck;

	while ((stuck = first_stuck(steps, start, last)) != NULL) {
		if (stuck->start > start)
			map_again(dev, asid, start, stuck->start - 1);
		if (stuck->last >= last)
			return;
		start = stuck->last + 1;
	}
	map_again(dev, asid, start, last);
}

/* Take away what the step mapped. Where the parent does not give it back, the table is to say so:
 * what the device reaches is in the table, so that the release unmaps it. */
static void
take_away(struct vhost_iotlb_dev *dev, unsigned int asid, struct steps *steps, struct step *step)
{
	struct vhost_iotlb *table = as_table(dev, asid);

	if (dev->ops->dma_unmap(dev->parent, asid, step->map.start, step->map.last) == 0)
		return;
	step->stuck = true;
	steps->stuck++;
	(void)vhost_iotlb_del(table, step->map.start, step->map.last);
	(void)vhost_iotlb_add(table, &step->map);
}

/* Undo in the parent the first @p done of @p steps. The table is the old one again. */
static void
steps_undo(struct vhost_iotlb_dev *dev, unsigned int asid, struct steps *steps, int done)
{
	/* Unmaps come before maps in a change, so that going back the maps go first. */
	while (done > 0) {
		struct step *step = &steps->v[--done];

		if (step->op == VHOST_IOTLB_OP_MAP)
			take_away(dev, asid, steps, step);
		else
			put_back(dev, asid, steps, step->map.start, step->map.last);
	}
}

/* Tell the parent of a change. On an error @p *done steps of it were done and are to be undone. */
static int
steps_push(struct vhost_iotlb_dev *dev, unsigned int asid, const struct steps *steps, int *done)
{
	int ret = 0;

	*done = 0;
	if (steps->n == 0 || !has_own_translation(dev->ops))
		return 0;
	/* C8: however many operations it was made of, one set_map. C3: the first one ends the
	 * parent's initial mapping, without a word from us. */
	if (dev->ops->set_map != NULL)
		return dev->ops->set_map(dev->parent, asid, as_table(dev, asid));
	while (*done < steps->n) {
		ret = step_do(dev, asid, &steps->v[*done]);
		if (ret < 0)
			break;
		(*done)++;
	}
	return ret;
}

/* End the transaction of an address space: the change is in the table and in the parent, or in
 * neither. @p ret is how making the change went. Returns the number of steps or a negative
 * errno. */
static int
as_finish(struct vhost_iotlb_dev *dev, unsigned int asid, int ret)
{
	struct vhost_iotlb *table = as_table(dev, asid);
	struct steps steps = { 0 };
	int done = 0;

	if (ret >= 0)
		ret = steps_take(dev, table, &steps);
	if (ret >= 0)
		ret = steps_push(dev, asid, &steps, &done);
	if (ret >= 0) {
		vhost_iotlb_txn_commit(table);
		ret = steps.n;
	} else {
		/* C9: what failed leaves the table as it was. */
		vhost_iotlb_txn_abort(table);
		steps_undo(dev, asid, &steps, done);
	}
	free(steps.v);
	return ret;
}

static bool
ops_are_valid(const struct vhost_iotlb_parent_ops *ops)
{
	if (ops->reset == NULL || (ops->dma_map == NULL) != (ops->dma_unmap == NULL))
		return false;
	if (ops->features & VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_DESC_ASID))
		return false;
	if (ops->set_group_asid == NULL)
		return ops->ngroups == 0 && ops->vq_group == NULL && ops->vq_desc_group == NULL;
	return ops->ngroups > 0 && ops->ngroups <= VHOST_IOTLB_MAX_GROUPS;
}

int
vhost_iotlb_dev_create(const struct vhost_iotlb_parent_ops *ops, void *parent, unsigned int nas,
		struct vhost_iotlb_dev **dev)
{
	struct vhost_iotlb_dev *d;

	if (!ops_are_valid(ops) || nas == 0 || nas > VHOST_IOTLB_MAX_AS)
		return -EINVAL;
	d = calloc(1, sizeof(*d) + nas * sizeof(d->as[0]));
	if (d == NULL)
		return -ENOMEM;
	d->ops = ops;
	d->parent = parent;
	d->ngroups = ops->ngroups > 0 ? ops->ngroups : 1;
	d->none = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (d->none == NULL)
		goto nomem;
	for (; d->nas < nas; d->nas++) {
		d->as[d->nas].table = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
		if (d->as[d->nas].table == NULL)
			goto nomem;
	}
	*dev = d;
	return 0;
nomem:
	vhost_iotlb_dev_destroy(d);
	return -ENOMEM;
}

void
vhost_iotlb_dev_destroy(struct vhost_iotlb_dev *dev)
{
	if (dev == NULL)
		return;
	(void)vhost_iotlb_fe_release(dev->fe);
	while (dev->nas > 0)
		vhost_iotlb_destroy(dev->as[--dev->nas].table);
	vhost_iotlb_destroy(dev->none);
	free(dev);
}

uint64_t
vhost_iotlb_dev_features(const struct vhost_iotlb_dev *dev)
{
	const struct vhost_iotlb_parent_ops *ops = dev->ops;
	uint64_t features = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_MSG_V2) |
		VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_BATCH);

	if (dev->nas > 1)
		features |= VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_ASID);
	if (dev->nas > 1 && ops->vq_desc_group != NULL)
		features |= VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_DESC_ASID);
	/* C4: maps persist with the platform IOMMU, which no virtio reset reaches, and with a
	 * parent that can be told to end them, which is what reset_map is; or the parent says so
	 * itself. */
	if (!has_own_translation(ops) || ops->reset_map != NULL)
		features |= VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST);
	return features | ops->features;
}

unsigned int
vhost_iotlb_dev_nas(const struct vhost_iotlb_dev *dev)
{
	return dev->nas;
}

/*
 * Groups. They change which address space translates what, and never the address spaces: C7.
 */

unsigned int
vhost_iotlb_dev_ngroups(const struct vhost_iotlb_dev *dev)
{
	return dev->ngroups;
}

int
vhost_iotlb_dev_vq_group(const struct vhost_iotlb_dev *dev, unsigned int vq)
{
	unsigned int group = dev->ops->vq_group == NULL ? 0 : dev->ops->vq_group(dev->parent, vq);

	return group < dev->ngroups ? (int)group : -EIO;
}

int
vhost_iotlb_dev_vq_desc_group(const struct vhost_iotlb_dev *dev, unsigned int vq)
{
	unsigned int group;

	if (dev->ops->vq_desc_group == NULL)
		return -EOPNOTSUPP;
	group = dev->ops->vq_desc_group(dev->parent, vq);
	return group < dev->ngroups ? (int)group : -EIO;
}

int
vhost_iotlb_dev_group_asid(const struct vhost_iotlb_dev *dev, unsigned int group)
{
	return group < dev->ngroups ? (int)dev->group_asid[group] : -EINVAL;
}

static int
bind_group(struct vhost_iotlb_dev *dev, unsigned int group, unsigned int asid)
{
	int ret = 0;

	if (dev->group_asid[group] != asid)
		ret = dev->ops->set_group_asid(dev->parent, group, asid);
	if (ret == 0)
		dev->group_asid[group] = asid;
	return ret;
}

/* All groups return to address space 0. Returns 0 or the first error, after all were tried. */
static int
unbind_groups(struct vhost_iotlb_dev *dev)
{
	int first = 0, ret;

	for (unsigned int group = 0; group < dev->ngroups; group++) {
		ret = bind_group(dev, group, 0);
		if (ret < 0 && first == 0)
			first = ret;
	}
	return first;
}

/* The parent has cleared all its maps by itself: follow. */
static void
forget_maps(struct vhost_iotlb_dev *dev)
{
	for (unsigned int asid = 0; asid < dev->nas; asid++) {
		if (vhost_iotlb_txn_is_open(dev->as[asid].table))
			vhost_iotlb_txn_abort(dev->as[asid].table);
		vhost_iotlb_reset(dev->as[asid].table);
	}
}

/* C5: must a reset behave as it used to? Never before negotiation, and never without a front-end:
 * both are asked for here, and nothing is read that may not exist yet. */
static bool
wants_old_reset(const struct vhost_iotlb_fe *fe)
{
	return fe != NULL && (fe->negotiated || fe->relies) &&
		(fe->acked & VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST)) == 0;
}

int
vhost_iotlb_dev_reset(struct vhost_iotlb_dev *dev)
{
	int ret;

	/* C5, C6: the old behaviour is an op of its own. A parent without it is never made to look
	 * as if it had it, and a parent with it finds nothing to check in reset(). */
	if (wants_old_reset(dev->fe) && dev->ops->compat_reset != NULL) {
		ret = dev->ops->compat_reset(dev->parent, VHOST_IOTLB_RESET_CLEAN_MAP);
		if (ret == 0)
			forget_maps(dev);
	} else {
		/* C1: no table is touched and no map operation called. C2: nor is reset_map. */
		ret = dev->ops->reset(dev->parent);
	}
	return ret < 0 ? ret : unbind_groups(dev);
}

const struct vhost_iotlb *
vhost_iotlb_dev_table(const struct vhost_iotlb_dev *dev, unsigned int asid)
{
	return as_table(dev, asid);
}

int
vhost_iotlb_fe_open(struct vhost_iotlb_dev *dev, struct vhost_iotlb_fe **fe)
{
	if (dev->fe != NULL)
		return -EBUSY;
	dev->fe = calloc(1, sizeof(*dev->fe));
	if (dev->fe == NULL)
		return -ENOMEM;
	dev->fe->dev = dev;
	*fe = dev->fe;
	return 0;
}

/* What unmap_step() works on, and the first error it met. */
struct clearing {
	struct vhost_iotlb_dev *dev;
	unsigned int asid;
	int ret;
};

static int
unmap_step(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	struct clearing *c = arg;
	int ret = c->dev->ops->dma_unmap(c->dev->parent, c->asid, map->start, map->last);

	(void)op;
	if (ret < 0 && c->ret == 0)
		c->ret = ret;
	return 0;
}

/* Remove all maps of an address space from the parent and from the table. Allocates nothing: that a
 * front-end which is gone reaches no memory must not depend on memory. */
static int
as_clear(struct vhost_iotlb_dev *dev, unsigned int asid)
{
	struct vhost_iotlb *table = as_table(dev, asid);
	struct clearing c = { .dev = dev, .asid = asid };

	if (vhost_iotlb_txn_is_open(table))
		vhost_iotlb_txn_abort(table);
	if (vhost_iotlb_count(table) == 0)
		return 0;
	if (dev->ops->set_map != NULL)
		c.ret = dev->ops->set_map(dev->parent, asid, dev->none);
	else if (dev->ops->dma_map != NULL)
		(void)vhost_iotlb_diff(table, dev->none, unmap_step, &c);
	vhost_iotlb_reset(table);
	return c.ret;
}

int
vhost_iotlb_fe_release(struct vhost_iotlb_fe *fe)
{
	struct vhost_iotlb_dev *dev;
	int first = 0, ret;

	if (fe == NULL)
		return 0;
	dev = fe->dev;
	for (unsigned int asid = 0; asid < dev->nas; asid++) {
		ret = as_clear(dev, asid);
		if (ret < 0 && first == 0)
			first = ret;
	}
	ret = unbind_groups(dev);
	if (ret < 0 && first == 0)
		first = ret;
	/* C2: now that all maps are gone, and from nowhere else. The next front-end finds the
	 * initial mapping. */
	for (unsigned int asid = 0; asid < dev->nas && dev->ops->reset_map != NULL; asid++) {
		ret = dev->ops->reset_map(dev->parent, asid);
		if (ret < 0 && first == 0)
			first = ret;
	}
	dev->fe = NULL;
	free(fe);
	return first;
}

struct vhost_iotlb_dev *
vhost_iotlb_fe_dev(const struct vhost_iotlb_fe *fe)
{
	return fe->dev;
}

int
vhost_iotlb_fe_set_features(struct vhost_iotlb_fe *fe, uint64_t features)
{
	const uint64_t asid = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_ASID);
	const uint64_t desc_asid = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_DESC_ASID);

	if ((features & ~vhost_iotlb_dev_features(fe->dev)) != 0)
		return -EINVAL;
	if ((features & desc_asid) != 0 && (features & asid) == 0)
		return -EINVAL;
	if (fe->relies)
		return -EBUSY;
	fe->acked = features;
	fe->negotiated = true;
	return 0;
}

uint64_t
vhost_iotlb_fe_features(const struct vhost_iotlb_fe *fe)
{
	return fe->acked;
}

/* The table of an address space that the front-end may name, or NULL. */
static struct vhost_iotlb *
fe_table(const struct vhost_iotlb_fe *fe, unsigned int asid)
{
	if (asid != 0 && (fe->acked & VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_ASID)) == 0)
		return NULL;
	return as_table(fe->dev, asid);
}

int
vhost_iotlb_fe_set_group_asid(struct vhost_iotlb_fe *fe, unsigned int group, unsigned int asid)
{
	int ret;

	if (fe->dev->ops->set_group_asid == NULL)
		return -EOPNOTSUPP;
	if (group >= fe->dev->ngroups || fe_table(fe, asid) == NULL)
		return -EINVAL;
	ret = bind_group(fe->dev, group, asid);
	if (ret < 0)
		return ret;
	fe->relies = true;
	return 0;
}

/* What a change of one address space is: map if it is given, else unmap of [start, last]. */
static int
change(struct vhost_iotlb_fe *fe, unsigned int asid, const struct vhost_iotlb_map *map,
		uint64_t start, uint64_t last)
{
	struct vhost_iotlb *table = fe_table(fe, asid);
	bool batch;
	int ret;

	if (table == NULL)
		return -EINVAL;
	batch = vhost_iotlb_txn_is_open(table);
	if (!batch)
		(void)vhost_iotlb_txn_begin(table);
	ret = map != NULL ? vhost_iotlb_add(table, map) : vhost_iotlb_del(table, start, last);
	if (!batch)
		ret = as_finish(fe->dev, asid, ret);
	if (ret < 0)
		return ret;
	fe->relies = true;
	return 0;
}

int
vhost_iotlb_fe_map(struct vhost_iotlb_fe *fe, unsigned int asid, const struct vhost_iotlb_map *map)
{
	return change(fe, asid, map, map->start, map->last);
}

int
vhost_iotlb_fe_unmap(struct vhost_iotlb_fe *fe, unsigned int asid, uint64_t start, uint64_t last)
{
	return change(fe, asid, NULL, start, last);
}

int
vhost_iotlb_fe_batch_begin(struct vhost_iotlb_fe *fe, unsigned int asid)
{
	struct vhost_iotlb *table = fe_table(fe, asid);

	return table == NULL ? -EINVAL : vhost_iotlb_txn_begin(table);
}

int
vhost_iotlb_fe_batch_end(struct vhost_iotlb_fe *fe, unsigned int asid)
{
	struct vhost_iotlb *table = fe_table(fe, asid);
	int ret;

	if (table == NULL || !vhost_iotlb_txn_is_open(table))
		return -EINVAL;
	ret = as_finish(fe->dev, asid, 0);
	return ret < 0 ? ret : 0;
}

/* A table set to itself: emptying it first would leave nothing to fill it from. */
static int
keep_table(struct vhost_iotlb_fe *fe, unsigned int *changed)
{
	fe->relies = true;
	if (changed != NULL)
		*changed = 0;
	return 0;
}

int
vhost_iotlb_fe_set_table(struct vhost_iotlb_fe *fe, unsigned int asid,
		const struct vhost_iotlb *table, unsigned int *changed)
{
	struct vhost_iotlb *own = fe_table(fe, asid);
	const struct vhost_iotlb_map *map;
	int ret = 0;

	if (own == NULL)
		return -EINVAL;
	if (vhost_iotlb_txn_is_open(own))
		return -EBUSY;
	if (table == own)
		return keep_table(fe, changed);
	(void)vhost_iotlb_txn_begin(own);
	/* Everything out, everything in: the transaction's difference is that of the two tables. */
	vhost_iotlb_reset(own);
	VHOST_IOTLB_FOREACH(map, table) {
		ret = vhost_iotlb_add(own, map);
		if (ret < 0)
			break;
	}
	ret = as_finish(fe->dev, asid, ret);
	if (ret < 0)
		return ret;
	fe->relies = true;
	if (changed != NULL)
		*changed = ret;
	return 0;
}

int
vhost_iotlb_fe_reset(struct vhost_iotlb_fe *fe)
{
	return vhost_iotlb_dev_reset(fe->dev);
}

const struct vhost_iotlb *
vhost_iotlb_fe_table(const struct vhost_iotlb_fe *fe, unsigned int asid)
{
	return fe_table(fe, asid);
}
