/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run: a front-end that does what it is told in words.
 *
 * Owns: the words of scenarios and what they do. For the conformance suite and tests.
 */
#ifndef VHOST_IOTLB_CONF_RUN_H
#define VHOST_IOTLB_CONF_RUN_H

#include "recorder.h"

struct vhost_iotlb_conf_run {
	struct vhost_iotlb_conf_recorder recorder;
	struct vhost_iotlb_dev *dev;
	struct vhost_iotlb_fe *fe;                 /* NULL: none */
};

/** Begin, as vhost_iotlb_conf_recorder_begin(). */
int
vhost_iotlb_conf_run_begin(struct vhost_iotlb_conf_run *run, struct vhost_iotlb_conf_memory *memory,
		enum vhost_iotlb_conf_kind kind, unsigned int nas,
		const struct vhost_iotlb_conf_adapter *adapter);

void
vhost_iotlb_conf_run_end(struct vhost_iotlb_conf_run *run);

/** Do what @p verb says, in address space @p asid, with @p what. Returns what the library returned,
 * or -ENOSYS for what is no verb. */
int
vhost_iotlb_conf_do(struct vhost_iotlb_conf_run *run, const char *verb, unsigned int asid,
		const char *what);

/** A table with the maps of letters, or NULL. */
struct vhost_iotlb *
vhost_iotlb_conf_table_of(struct vhost_iotlb_conf_memory *memory, const char *letters);

/** Are tables, outside of batches, and bindings what the parent has? */
bool
vhost_iotlb_conf_in_step(const struct vhost_iotlb_conf_run *run);

#endif /* VHOST_IOTLB_CONF_RUN_H */
