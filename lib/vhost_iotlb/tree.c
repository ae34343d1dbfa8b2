/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tree.h"

#define LEAF VHOST_IOTLB_LEAF
#define INNER VHOST_IOTLB_INNER

/* A node holds at least half of what it can, so that the tree is flat. Exempt are the root and the
 * last node of each level, so that a table that grows upwards has full nodes. Inner nodes have two
 * children or more in any case. */
static const unsigned int most[] = { [LEAF] = VHOST_IOTLB_LEAF_MAPS, [INNER] = VHOST_IOTLB_FANOUT };
static const unsigned int least[] = {
	[LEAF] = VHOST_IOTLB_LEAF_MAPS / 2, [INNER] = VHOST_IOTLB_FANOUT / 2,
};

/*
 * Searching.
 */

/* How many of the keys, which ascend, are at or below @p addr; @p room, a constant, is how many
 * there are room for. Looks at the last key of each group, and then at one group: no read waits for
 * more than one other, and no branch depends on a key, which would be mispredicted half of the
 * time. */
static inline unsigned int
keys_upto(const uint64_t *key, unsigned int room, const struct vhost_iotlb_node *node,
		uint64_t addr)
{
	const unsigned int group = VHOST_IOTLB_KEY_GROUP;
	unsigned int upto = 0, in_group = 0;

	for (unsigned int i = group - 1; i + 1 < room; i += group)
		upto += (key[i] <= addr) * group;
	for (unsigned int i = 0; i < group; i++)
		in_group += key[upto + i] <= addr;
	upto += in_group;
	/* Only there unused keys count. */
	return addr == VHOST_IOTLB_NO_KEY ? node->n : upto;
}

static inline unsigned int
maps_upto(const struct vhost_iotlb_leaf *leaf, uint64_t addr)
{
	return keys_upto(leaf->start, VHOST_IOTLB_KEYS(VHOST_IOTLB_LEAF_MAPS), &leaf->node, addr);
}

/* The child whose maps are the last ones to start at or below @p addr, or the first child. */
static inline unsigned int
child_upto(const struct vhost_iotlb_inner *inner, uint64_t addr)
{
	return keys_upto(inner->low, VHOST_IOTLB_KEYS(VHOST_IOTLB_FANOUT), &inner->node, addr) - 1;
}

/* Does map @p at of @p leaf, which starts at or below @p addr, end at or above it? */
static inline bool
map_reaches(const struct vhost_iotlb_leaf *leaf, unsigned int at, uint64_t addr)
{
	return addr - leaf->start[at] <= leaf->span[at] ||
		(leaf->span[at] == VHOST_IOTLB_LONG && addr <= leaf->map[at].last);
}

/* Ask for what a search reads of a leaf, but for the lines that it reads first anyway. In a large
 * table none of it is in the cache, and which of these lines is needed the others tell: one wait
 * for memory instead of two or three in a row. */
static inline void
leaf_prefetch(const struct vhost_iotlb_leaf *leaf)
{
	const unsigned int spans = VHOST_IOTLB_LINE / sizeof(leaf->span[0]);

	__builtin_prefetch(&leaf->start[VHOST_IOTLB_KEYS(VHOST_IOTLB_LEAF_MAPS) - 1]);
	for (unsigned int i = 0; i < VHOST_IOTLB_LEAF_MAPS; i += spans)
		__builtin_prefetch(&leaf->span[i]);
}

struct vhost_iotlb_leaf *
vhost_iotlb_tree_find(const struct vhost_iotlb_tree *tree, uint64_t addr, unsigned int *at)
{
	struct vhost_iotlb_node *node = tree->root.node;
	struct vhost_iotlb_leaf *leaf;
	unsigned int upto;

	if (node == NULL)
		return NULL;
	for (unsigned int level = tree->root.height; level > 0; level--) {
		struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);

		node = inner->child[child_upto(inner, addr)];
	}
	leaf = vhost_iotlb_leaf_of(node);
	leaf_prefetch(leaf);
	upto = maps_upto(leaf, addr);
	if (upto == 0 || !map_reaches(leaf, upto - 1, addr))
		return NULL;
	*at = upto - 1;
	return leaf;
}

/* The first map below child @p at of @p inner, which is @p height levels above the leaves. */
static struct vhost_iotlb_pos
first_below(struct vhost_iotlb_inner *inner, unsigned int at, unsigned int height)
{
	for (; height > 1; height--) {
		inner = vhost_iotlb_inner_of(inner->child[at]);
		at = 0;
	}
	return (struct vhost_iotlb_pos){
		.leaf = vhost_iotlb_leaf_of(inner->child[at]), .up = inner, .up_at = at };
}

struct vhost_iotlb_pos
vhost_iotlb_tree_seek(const struct vhost_iotlb_root *root, uint64_t addr)
{
	struct vhost_iotlb_node *node = root->node;
	struct vhost_iotlb_inner *after = NULL;    /* the last one with children behind the way */
	unsigned int after_at = 0, after_height = 0;
	struct vhost_iotlb_pos pos = { NULL };

	if (node == NULL)
		return pos;
	for (unsigned int height = root->height; height > 0; height--) {
		pos.up = vhost_iotlb_inner_of(node);
		pos.up_at = child_upto(pos.up, addr);
		if (pos.up_at + 1 < node->n) {
			after = pos.up;
			after_at = pos.up_at + 1;
			after_height = height;
		}
		node = pos.up->child[pos.up_at];
	}
	pos.leaf = vhost_iotlb_leaf_of(node);
	pos.at = maps_upto(pos.leaf, addr);
	if (pos.at > 0 && map_reaches(pos.leaf, pos.at - 1, addr))
		pos.at--;
	if (pos.at < node->n)
		return pos;
	if (after == NULL)
		return (struct vhost_iotlb_pos){ NULL };
	return first_below(after, after_at, after_height);
}

void
vhost_iotlb_tree_step(const struct vhost_iotlb_root *root, struct vhost_iotlb_pos *pos)
{
	struct vhost_iotlb_leaf *after = vhost_iotlb_pos_after(pos);
	uint64_t last;

	if (++pos->at < pos->leaf->node.n) {
		/* By the time the walk gets there it is in the cache. */
		if (after != NULL)
			__builtin_prefetch(&after->map[pos->at]);
		return;
	}
	if (after != NULL) {
		pos->leaf = after;
		pos->at = 0;
		pos->up_at++;
		return;
	}
	last = pos->leaf->map[pos->at - 1].last;
	*pos = last == UINT64_MAX ? (struct vhost_iotlb_pos){ NULL } :
		vhost_iotlb_tree_seek(root, last + 1);
}

/*
 * The way from the root to a map, for changing it: at each level the node, and which child comes
 * next; in the leaf, how many maps start at or below the address.
 */

struct step {
	struct vhost_iotlb_node *node;
	unsigned int at;
};

struct path {
	struct step step[VHOST_IOTLB_MAX_HEIGHT + 1];
};

static enum vhost_iotlb_node_kind
kind_at(const struct vhost_iotlb_tree *tree, unsigned int level)
{
	return level == tree->root.height ? LEAF : INNER;
}

static void
path_find(const struct vhost_iotlb_tree *tree, uint64_t start, struct path *path)
{
	struct vhost_iotlb_node *node = tree->root.node;
	unsigned int level;

	for (level = 0; level < tree->root.height; level++) {
		struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);

		path->step[level] = (struct step){ node, child_upto(inner, start) };
		node = inner->child[path->step[level].at];
	}
	path->step[level] = (struct step){ node, maps_upto(vhost_iotlb_leaf_of(node), start) };
}

/* Find the way and make all nodes on it writable. */
static void
path_own(struct vhost_iotlb_tree *tree, uint64_t start, struct path *path)
{
	struct vhost_iotlb_node **link = &tree->root.node;

	path_find(tree, start, path);
	for (unsigned int level = 0; level <= tree->root.height; level++) {
		struct step *step = &path->step[level];

		*link = vhost_iotlb_node_own(&tree->nodes, *link, kind_at(tree, level));
		step->node = *link;
		if (level < tree->root.height)
			link = &vhost_iotlb_inner_of(step->node)->child[step->at];
	}
}

/* Does the way lead to the end of the tree: is nothing behind its place? */
static bool
path_is_last(const struct vhost_iotlb_tree *tree, const struct path *path)
{
	unsigned int level;

	for (level = 0; level < tree->root.height; level++)
		if (path->step[level].at + 1 < path->step[level].node->n)
			return false;
	return path->step[level].at == path->step[level].node->n;
}

/* The first map of the leaf at the end of the way has changed: say so where its start is known. */
static void
path_tell_low(struct vhost_iotlb_tree *tree, const struct path *path)
{
	const struct step *leaf = &path->step[tree->root.height];
	unsigned int level = tree->root.height;

	/* Only the last leaf can be empty, and it is about to be dropped. */
	while (leaf->node->n > 0 && level-- > 0) {
		const struct step *step = &path->step[level];

		if (step->at > 0) {
			vhost_iotlb_inner_of(step->node)->low[step->at] =
				vhost_iotlb_leaf_of(leaf->node)->start[0];
			return;
		}
	}
}

/*
 * Entries of nodes: maps of a leaf, children of an inner node.
 */

/* Copy @p n entries from one place to another, of the same node or another one. */
static void
entries_move(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *to, unsigned int to_at,
		struct vhost_iotlb_node *from, unsigned int from_at, unsigned int n)
{
	if (kind == LEAF) {
		struct vhost_iotlb_leaf *t = vhost_iotlb_leaf_of(to);
		struct vhost_iotlb_leaf *f = vhost_iotlb_leaf_of(from);

		memmove(&t->start[to_at], &f->start[from_at], n * sizeof(t->start[0]));
		memmove(&t->span[to_at], &f->span[from_at], n * sizeof(t->span[0]));
		memmove(&t->map[to_at], &f->map[from_at], n * sizeof(t->map[0]));
		memmove(&t->age[to_at], &f->age[from_at], n * sizeof(t->age[0]));
	} else {
		struct vhost_iotlb_inner *t = vhost_iotlb_inner_of(to);
		struct vhost_iotlb_inner *f = vhost_iotlb_inner_of(from);

		memmove(&t->low[to_at], &f->low[from_at], n * sizeof(t->low[0]));
		memmove(&t->child[to_at], &f->child[from_at], n * sizeof(t->child[0]));
	}
}

/* Forget the entries from @p n on. */
static void
entries_drop(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *node, unsigned int n)
{
	uint64_t *key = kind == LEAF ? vhost_iotlb_leaf_of(node)->start :
		vhost_iotlb_inner_of(node)->low;

	for (unsigned int i = n; i < node->n; i++)
		key[i] = VHOST_IOTLB_NO_KEY;
	node->n = n;
}

/* Make room for an entry at @p at. */
static void
entry_open(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *node, unsigned int at)
{
	entries_move(kind, node, at + 1, node, at, node->n - at);
	node->n++;
}

/* Close the gap that the entry at @p at leaves. */
static void
entry_close(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *node, unsigned int at)
{
	entries_move(kind, node, at, node, at + 1, node->n - at - 1);
	entries_drop(kind, node, node->n - 1);
}

static void
leaf_set(struct vhost_iotlb_leaf *leaf, unsigned int at, const struct vhost_iotlb_map *map,
		uint64_t age)
{
	uint64_t span = map->last - map->start;

	leaf->start[at] = map->start;
	leaf->span[at] = span < VHOST_IOTLB_LONG ? span : VHOST_IOTLB_LONG;
	leaf->map[at] = *map;
	leaf->age[at] = age;
}

/* Where the lowest map below @p right starts, whose entries came from a node before it: its parent
 * is to know, and it itself need not. */
static uint64_t
take_low(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *right)
{
	struct vhost_iotlb_inner *inner;
	uint64_t low;

	if (kind == LEAF)
		return vhost_iotlb_leaf_of(right)->start[0];
	inner = vhost_iotlb_inner_of(right);
	low = inner->low[0];
	inner->low[0] = 0;
	return low;
}

/*
 * Inserting.
 */

/* Make room for an entry at @p *at of the full node @p *node: a new node behind it takes a part of
 * its entries. Returns the new one. *node and *at become where the entry goes. With @p last, @p
 * *node is the last of its level and the entry goes to its end. */
static struct vhost_iotlb_node *
node_split(struct vhost_iotlb_tree *tree, enum vhost_iotlb_node_kind kind,
		struct vhost_iotlb_node **node, unsigned int *at, bool last)
{
	struct vhost_iotlb_node *right = vhost_iotlb_node_take(&tree->nodes, kind);
	struct vhost_iotlb_node *left = *node;
	unsigned int stay = left->n / 2;

	if (last)
		stay = kind == LEAF ? left->n : left->n - 1;
	right->n = left->n - stay;
	entries_move(kind, right, 0, left, stay, right->n);
	entries_drop(kind, left, stay);
	if (*at > stay || last) {
		*node = right;
		*at -= stay;
	}
	return right;
}

/* Hang @p child, whose maps start at @p low, behind the child that the way leads to at the level
 * above @p level. */
static void
insert_child(struct vhost_iotlb_tree *tree, const struct path *path, unsigned int level,
		uint64_t low, struct vhost_iotlb_node *child, bool last)
{
	struct vhost_iotlb_inner *root;

	while (level-- > 0) {
		struct vhost_iotlb_node *node = path->step[level].node, *right = NULL;
		unsigned int at = path->step[level].at + 1;

		if (node->n == most[INNER])
			right = node_split(tree, INNER, &node, &at, last);
		entry_open(INNER, node, at);
		vhost_iotlb_inner_of(node)->low[at] = low;
		vhost_iotlb_inner_of(node)->child[at] = child;
		if (right == NULL)
			return;
		child = right;
		low = take_low(INNER, right);
	}
	root = vhost_iotlb_inner_of(vhost_iotlb_node_take(&tree->nodes, INNER));
	root->node.n = 2;
	root->child[0] = tree->root.node;
	root->child[1] = child;
	root->low[0] = 0;
	root->low[1] = low;
	tree->root.node = &root->node;
	tree->root.height++;
}

void
vhost_iotlb_tree_insert(struct vhost_iotlb_tree *tree, const struct vhost_iotlb_map *map,
		uint64_t age)
{
	unsigned int height = tree->root.height, at;
	struct vhost_iotlb_node *node, *right = NULL;
	struct path path;
	bool last;

	if (tree->root.node == NULL)
		tree->root.node = vhost_iotlb_node_take(&tree->nodes, LEAF);
	path_own(tree, map->start, &path);
	last = path_is_last(tree, &path);
	node = path.step[height].node;
	at = path.step[height].at;
	if (node->n == most[LEAF])
		right = node_split(tree, LEAF, &node, &at, last);
	entry_open(LEAF, node, at);
	leaf_set(vhost_iotlb_leaf_of(node), at, map, age);
	/* A map that becomes the first of its leaf becomes the first of all: otherwise the way had
	 * led to the leaf before. So there is no low to tell. */
	if (right != NULL)
		insert_child(tree, &path, height, take_low(LEAF, right), right, last);
	tree->root.count++;
}

/*
 * Removing.
 */

/* Even out @p left and @p right, neighbours that hold too much for one node. */
static void
nodes_even(enum vhost_iotlb_node_kind kind, struct vhost_iotlb_node *left,
		struct vhost_iotlb_node *right)
{
	unsigned int want = (left->n + right->n) / 2, n;

	if (left->n < want) {
		n = want - left->n;
		entries_move(kind, left, left->n, right, 0, n);
		left->n = want;
		entries_move(kind, right, 0, right, n, right->n - n);
		entries_drop(kind, right, right->n - n);
	} else {
		n = left->n - want;
		entries_move(kind, right, n, right, 0, right->n);
		right->n += n;
		entries_move(kind, right, 0, left, want, n);
		entries_drop(kind, left, want);
	}
}

/* Children @p at and @p at + 1 of @p parent, of which one has too few entries: make them one node,
 * or even them out. */
static void
join_children(struct vhost_iotlb_tree *tree, enum vhost_iotlb_node_kind kind,
		struct vhost_iotlb_inner *parent, unsigned int at)
{
	struct vhost_iotlb_node *left, *right;

	left = vhost_iotlb_node_own(&tree->nodes, parent->child[at], kind);
	right = vhost_iotlb_node_own(&tree->nodes, parent->child[at + 1], kind);
	parent->child[at] = left;
	parent->child[at + 1] = right;
	if (kind == INNER)
		vhost_iotlb_inner_of(right)->low[0] = parent->low[at + 1];
	if (left->n + right->n > most[kind]) {
		nodes_even(kind, left, right);
		parent->low[at + 1] = take_low(kind, right);
		return;
	}
	entries_move(kind, left, left->n, right, 0, right->n);
	left->n += right->n;
	entry_close(INNER, &parent->node, at + 1);
	vhost_iotlb_node_drop(&tree->nodes, right, kind);
}

/* The root has lost an entry. */
static void
shrink_root(struct vhost_iotlb_tree *tree)
{
	struct vhost_iotlb_node *root = tree->root.node;

	if (tree->root.height > 0 && root->n == 1) {
		tree->root.node = vhost_iotlb_inner_of(root)->child[0];
		tree->root.height--;
		vhost_iotlb_node_drop(&tree->nodes, root, INNER);
	} else if (root->n == 0) {
		tree->root.node = NULL;
		vhost_iotlb_node_drop(&tree->nodes, root, LEAF);
	}
}

void
vhost_iotlb_tree_remove(struct vhost_iotlb_tree *tree, uint64_t start)
{
	unsigned int level = tree->root.height;
	struct path path;

	path_own(tree, start, &path);
	entry_close(LEAF, path.step[level].node, path.step[level].at - 1);
	tree->root.count--;
	if (path.step[level].at == 1)
		path_tell_low(tree, &path);
	for (; level > 0; level--) {
		enum vhost_iotlb_node_kind kind = kind_at(tree, level);
		const struct step *up = &path.step[level - 1];

		if (path.step[level].node->n >= least[kind])
			return;
		join_children(tree, kind, vhost_iotlb_inner_of(up->node),
			up->at > 0 ? up->at - 1 : 0);
	}
	shrink_root(tree);
}

void
vhost_iotlb_tree_cut(struct vhost_iotlb_tree *tree, uint64_t start,
		const struct vhost_iotlb_map *part, uint64_t age)
{
	struct path path;
	struct step *step;

	path_own(tree, start, &path);
	step = &path.step[tree->root.height];
	leaf_set(vhost_iotlb_leaf_of(step->node), step->at - 1, part, age);
	if (step->at == 1)
		path_tell_low(tree, &path);
}

/*
 * What changes need.
 */

/* A copy of each node on the way that may not be written, a new node for each full one from the
 * leaf up, and a new root if the old one is among them. */
void
vhost_iotlb_tree_need_insert(const struct vhost_iotlb_tree *tree, uint64_t start,
		struct vhost_iotlb_need *need)
{
	bool splits = true;
	struct path path;

	if (tree->root.node == NULL) {
		need->n[LEAF]++;
		return;
	}
	path_find(tree, start, &path);
	for (unsigned int level = tree->root.height + 1; level-- > 0;) {
		const struct vhost_iotlb_node *node = path.step[level].node;
		enum vhost_iotlb_node_kind kind = kind_at(tree, level);

		if (!vhost_iotlb_node_is_own(&tree->nodes, node))
			need->n[kind]++;
		splits = splits && node->n == most[kind];
		if (splits)
			need->n[kind]++;
	}
	if (splits)
		need->n[INNER]++;
}

/* Twice the way: a copy of each node and a new one beside it or a copy of its neighbour; and a new
 * root. */
void
vhost_iotlb_tree_need_any(const struct vhost_iotlb_tree *tree, struct vhost_iotlb_need *need)
{
	need->n[LEAF] += 2;
	need->n[INNER] += 2 * tree->root.height + 1;
}

/* Count the nodes below @p node, itself included, through which ways into the range lead and that
 * may not be written. */
static void
need_below(const struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *node, unsigned int level,
		uint64_t start, uint64_t last, struct vhost_iotlb_need *need)
{
	if (!vhost_iotlb_node_is_own(&tree->nodes, node))
		need->n[kind_at(tree, level)]++;
	if (kind_at(tree, level) == INNER) {
		struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);
		unsigned int end = child_upto(inner, last);

		for (unsigned int at = child_upto(inner, start); at <= end; at++)
			need_below(tree, inner->child[at], level + 1, start, last, need);
	}
}

/* A copy of each node on the ways, and of their neighbours on either side: a node that has lost too
 * much joins one of them. It does so once, since it holds enough of the neighbour's entries then,
 * which are outside of the range. */
void
vhost_iotlb_tree_need_range(const struct vhost_iotlb_tree *tree, uint64_t start, uint64_t last,
		struct vhost_iotlb_need *need)
{
	unsigned int height = tree->root.height;

	/* Outside of transactions nodes are only given back. */
	if (tree->root.node == NULL || !vhost_iotlb_nodes_in_txn(&tree->nodes))
		return;
	need_below(tree, tree->root.node, 0, start, last, need);
	if (height > 0) {
		need->n[LEAF] += 2;
		need->n[INNER] += 2 * (height - 1);
	}
}

/*
 * Whole trees.
 */

static void
drop_below(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *node, unsigned int height)
{
	if (height > 0) {
		struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);

		for (unsigned int at = 0; at < node->n; at++)
			drop_below(tree, inner->child[at], height - 1);
	}
	vhost_iotlb_node_drop(&tree->nodes, node, height > 0 ? INNER : LEAF);
}

void
vhost_iotlb_tree_clear(struct vhost_iotlb_tree *tree)
{
	if (vhost_iotlb_nodes_in_txn(&tree->nodes)) {
		vhost_iotlb_nodes_restart(&tree->nodes);
		tree->all_gone = true;
	} else if (tree->root.node != NULL) {
		drop_below(tree, tree->root.node, tree->root.height);
	}
	tree->root = (struct vhost_iotlb_root){ 0 };
}

/* Copy the nodes below @p node. Returns NULL when out of memory, with nothing left of the copy. */
static struct vhost_iotlb_node *
copy_below(struct vhost_iotlb_tree *copy, struct vhost_iotlb_node *node, unsigned int height)
{
	enum vhost_iotlb_node_kind kind = height > 0 ? INNER : LEAF;
	struct vhost_iotlb_need need = { 0 };
	struct vhost_iotlb_node *twin;

	need.n[kind] = 1;
	if (vhost_iotlb_nodes_reserve(&copy->nodes, &need) < 0)
		return NULL;
	twin = vhost_iotlb_node_copy(&copy->nodes, node, kind);
	for (unsigned int at = 0; kind == INNER && at < node->n; at++) {
		struct vhost_iotlb_node *child = copy_below(copy,
			vhost_iotlb_inner_of(node)->child[at], height - 1);

		if (child == NULL) {
			twin->n = at;
			drop_below(copy, twin, height);
			return NULL;
		}
		vhost_iotlb_inner_of(twin)->child[at] = child;
	}
	return twin;
}

int
vhost_iotlb_tree_copy(struct vhost_iotlb_tree *copy, const struct vhost_iotlb_tree *tree)
{
	if (tree->root.node == NULL)
		return 0;
	copy->root.node = copy_below(copy, tree->root.node, tree->root.height);
	if (copy->root.node == NULL)
		return -ENOMEM;
	copy->root.height = tree->root.height;
	copy->root.count = tree->root.count;
	return 0;
}

void
vhost_iotlb_tree_fini(struct vhost_iotlb_tree *tree)
{
	vhost_iotlb_tree_clear(tree);
	vhost_iotlb_nodes_fini(&tree->nodes);
}

void
vhost_iotlb_tree_begin(struct vhost_iotlb_tree *tree)
{
	tree->before = tree->root;
	tree->all_gone = false;
	vhost_iotlb_nodes_begin(&tree->nodes);
}

void
vhost_iotlb_tree_commit(struct vhost_iotlb_tree *tree)
{
	vhost_iotlb_nodes_commit(&tree->nodes);
	if (tree->all_gone && tree->before.node != NULL)
		drop_below(tree, tree->before.node, tree->before.height);
	tree->before = (struct vhost_iotlb_root){ 0 };
}

void
vhost_iotlb_tree_abort(struct vhost_iotlb_tree *tree)
{
	vhost_iotlb_nodes_abort(&tree->nodes);
	tree->root = tree->before;
}
