/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recorder: a parent of any kind, which writes down what it is told and may hand it on to another.
 *
 * Owns: the operations of every kind of parent that scenarios have; the log of what was called; and
 * a model of what a parent that was told the same must have. For the conformance suite and tests.
 */
#ifndef VHOST_IOTLB_CONF_RECORDER_H
#define VHOST_IOTLB_CONF_RECORDER_H

#include "conformance.h"
#include "memory.h"

#define VHOST_IOTLB_CONF_AS 2u
#define VHOST_IOTLB_CONF_GROUPS 2u
#define VHOST_IOTLB_CONF_LOG 1024

/** What an operation that is told to fail returns. */
#define VHOST_IOTLB_CONF_ERROR (-EIO)

/** Kinds of parents. */
enum vhost_iotlb_conf_kind {
	VHOST_IOTLB_CONF_PLATFORM,
	VHOST_IOTLB_CONF_ON_CHIP,
	VHOST_IOTLB_CONF_NO_RESET_MAP,
	VHOST_IOTLB_CONF_USED_TO_CLEAR,
	VHOST_IOTLB_CONF_DECLARING,
	VHOST_IOTLB_CONF_BY_RANGE,
	VHOST_IOTLB_CONF_RANGE_CLEARED,
	VHOST_IOTLB_CONF_BOTH_WAYS,
	VHOST_IOTLB_CONF_GROUPED,
	VHOST_IOTLB_CONF_KINDS,
};

struct vhost_iotlb_conf_kind_info {
	const char *name;
	const char *what;
	/** Its operations are those of the recorder that are not NULL here. */
	struct vhost_iotlb_parent_ops ops;
};

/** What each kind is and has. The operations work on a struct vhost_iotlb_conf_recorder. */
extern const struct vhost_iotlb_conf_kind_info vhost_iotlb_conf_kinds[VHOST_IOTLB_CONF_KINDS];

struct vhost_iotlb_conf_recorder {
	enum vhost_iotlb_conf_kind kind;
	struct vhost_iotlb_conf_memory *memory;
	/** Handed on to; NULL: nobody. */
	const struct vhost_iotlb_conf_adapter *adapter;
	void *parent;
	/** What was called, words separated by spaces; refused ones end in "!". */
	char log[VHOST_IOTLB_CONF_LOG];
	/** Countdowns to an operation that fails, and to another one after it; 0: none does. */
	unsigned int fail_at, then_at;
	/** Operations that failed because they were told to. */
	unsigned int refused;
	/** Called so far. */
	unsigned int set_maps, range_ops, reset_maps;
	/** Unless NULL, called with each operation. */
	void (*on_call)(void);
	/** The model: what a parent has that was told the same. */
	struct vhost_iotlb *has[VHOST_IOTLB_CONF_AS];
	bool initial[VHOST_IOTLB_CONF_AS];
	unsigned int group_asid[VHOST_IOTLB_CONF_GROUPS];
	/** compat_reset was called and not refused. */
	bool cleared;
	/** What an operation was told that it must never be, or what went wrong; NULL: nothing. */
	const char *fault;
};

/** Begin: a parent of @p kind and @p nas address spaces, in its initial state, on top of that of
 * @p adapter (NULL, or one without operations: of none). Returns 0; -EOPNOTSUPP: that parent lacks
 * an operation of the kind, or has too few address spaces; or -ENOMEM. */
int
vhost_iotlb_conf_recorder_begin(struct vhost_iotlb_conf_recorder *r,
		struct vhost_iotlb_conf_memory *memory, enum vhost_iotlb_conf_kind kind,
		unsigned int nas, const struct vhost_iotlb_conf_adapter *adapter);

void
vhost_iotlb_conf_recorder_end(struct vhost_iotlb_conf_recorder *r);

/** Does the parent under test reach what the model has, and nothing else? Returns what is wrong, or
 * NULL. */
const char *
vhost_iotlb_conf_recorder_check(struct vhost_iotlb_conf_recorder *r);

#endif /* VHOST_IOTLB_CONF_RECORDER_H */
