/* SPDX-License-Identifier: BSD-3-Clause */
#include "tree.h"

enum side { LOW, HIGH };

static int
height(const struct vhost_iotlb_node *n)
{
	return n == NULL ? 0 : n->height;
}

static void
update_height(struct vhost_iotlb_node *n)
{
	int low = height(n->child[LOW]), high = height(n->child[HIGH]);

	n->height = (low > high ? low : high) + 1;
}

/* Hang @p n, which may be NULL, in the place that @p old has below @p parent (NULL: the root). */
static void
replace(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *parent,
		const struct vhost_iotlb_node *old, struct vhost_iotlb_node *n)
{
	if (parent == NULL)
		tree->root = n;
	else
		parent->child[parent->child[HIGH] == old ? HIGH : LOW] = n;
	if (n != NULL)
		n->parent = parent;
}

static void
set_child(struct vhost_iotlb_node *n, enum side side, struct vhost_iotlb_node *child)
{
	n->child[side] = child;
	if (child != NULL)
		child->parent = n;
}

/* Let the child of @p n on the other side take its place, and @p n sink to @p side. Returns that
 * child. */
static struct vhost_iotlb_node *
rotate(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n, enum side side)
{
	enum side other = side == LOW ? HIGH : LOW;
	struct vhost_iotlb_node *up = n->child[other];

	replace(tree, n->parent, n, up);
	set_child(n, other, up->child[side]);
	set_child(up, side, n);
	update_height(n);
	update_height(up);
	return up;
}

/* Restore the balance at @p n, whose subtrees are balanced and differ by at most 2 in height.
 * Returns the node that is now on top. */
static struct vhost_iotlb_node *
balance(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n)
{
	int lean = height(n->child[HIGH]) - height(n->child[LOW]);
	enum side heavy = lean > 0 ? HIGH : LOW;
	enum side light = lean > 0 ? LOW : HIGH;
	struct vhost_iotlb_node *child = n->child[heavy];

	if (lean >= -1 && lean <= 1) {
		update_height(n);
		return n;
	}
	if (height(child->child[light]) > height(child->child[heavy]))
		rotate(tree, child, heavy);
	return rotate(tree, n, light);
}

/* A subtree of @p n has changed its height by one: put things right from there up. */
static void
retrace(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n)
{
	while (n != NULL) {
		int before = n->height;

		n = balance(tree, n);
		if (n->height == before)
			return;
		n = n->parent;
	}
}

struct vhost_iotlb_node *
vhost_iotlb_tree_seek(const struct vhost_iotlb_tree *tree, uint64_t addr)
{
	struct vhost_iotlb_node *n = tree->root, *found = NULL;

	while (n != NULL) {
		if (n->map.last >= addr) {
			found = n;
			if (n->map.start <= addr)
				break;
			n = n->child[LOW];
		} else {
			n = n->child[HIGH];
		}
	}
	return found;
}

struct vhost_iotlb_node *
vhost_iotlb_tree_next(const struct vhost_iotlb_node *n)
{
	struct vhost_iotlb_node *up;

	if (n->child[HIGH] != NULL) {
		up = n->child[HIGH];
		while (up->child[LOW] != NULL)
			up = up->child[LOW];
		return up;
	}
	for (up = n->parent; up != NULL && up->child[HIGH] == n; up = up->parent)
		n = up;
	return up;
}

void
vhost_iotlb_tree_insert(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n)
{
	struct vhost_iotlb_node **link = &tree->root, *parent = NULL;

	while (*link != NULL) {
		parent = *link;
		link = &parent->child[n->map.start > parent->map.start ? HIGH : LOW];
	}
	*link = n;
	n->parent = parent;
	n->child[LOW] = NULL;
	n->child[HIGH] = NULL;
	n->height = 1;
	retrace(tree, parent);
}

void
vhost_iotlb_tree_remove(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n)
{
	struct vhost_iotlb_node *heir, *from;

	if (n->child[LOW] == NULL || n->child[HIGH] == NULL) {
		heir = n->child[n->child[LOW] == NULL ? HIGH : LOW];
		from = n->parent;
		replace(tree, n->parent, n, heir);
		retrace(tree, from);
		return;
	}
	/* The node after n has no lower child: it leaves its place easily and takes n's, height
	 * included. */
	heir = vhost_iotlb_tree_next(n);
	from = heir;
	if (heir->parent != n) {
		from = heir->parent;
		set_child(from, LOW, heir->child[HIGH]);
		set_child(heir, HIGH, n->child[HIGH]);
	}
	set_child(heir, LOW, n->child[LOW]);
	heir->height = n->height;
	replace(tree, n->parent, n, heir);
	retrace(tree, from);
}
