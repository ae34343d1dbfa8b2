/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_conf: the conformance suite of the contract (vhost_iotlb_dev.h).
 *
 * Owns: a table of scenarios. Each is a kind of parent, what its front-end does, and the operations
 * that the parent must see, in order; and it names the message or the Linux commit that it comes
 * from. The suite runs them on any parent, through a small adapter, and prints them as a page of
 * the guide (doc/guides/iotlb.rst has the notation).
 *
 * A recorder stands between the library and the parent. It shows the library the operations that
 * the kind of the scenario has, writes down what it is told, hands it on to the parent under test,
 * and refuses where the scenario says so. A kind whose operations a parent lacks can't be played by
 * it; those scenarios are left out, and counted. Without a parent the scenarios judge the library
 * alone; with one they judge the parent too, whose device is made to read memory after every word.
 *
 * Threads: none of its own; one run at a time.
 */
#ifndef VHOST_IOTLB_CONFORMANCE_H
#define VHOST_IOTLB_CONFORMANCE_H

#include <stdio.h>

#include "vhost_iotlb_dev.h"

/** A parent under test. */
struct vhost_iotlb_conf_adapter {
	/** A word for reports. */
	const char *name;
	const struct vhost_iotlb_parent_ops *ops;
	/** Make a parent of @p nas address spaces in its initial state, for one scenario. Returns
	 * NULL when it can't. */
	void *(*create)(unsigned int nas);
	void (*destroy)(void *parent);
	/** Let the device read 8 bytes at @p addr on behalf of @p group (0 for a parent without
	 * groups), whether or not it runs as far as virtio is concerned. Returns 0 or -EFAULT.
	 * NULL: only the order of the operations is judged. */
	int (*read)(void *parent, unsigned int group, uint64_t addr, uint64_t *value);
	/** The initial mapping is empty, and not 1:1. */
	bool initial_is_empty;
};

/** What came of a run. */
struct vhost_iotlb_conf_result {
	unsigned int passed, failed, left_out;
};

/**
 * Run all scenarios on the parent of @p adapter, or on none (NULL). Each gets a line in @p out with
 * its rule and what it shows, failed ones another with the reason; with @p quiet those that pass
 * get none.
 */
struct vhost_iotlb_conf_result
vhost_iotlb_conf_run(const struct vhost_iotlb_conf_adapter *adapter, FILE *out, bool quiet);

/** Print the scenarios as a part of a page of the guide (reStructuredText). */
void
vhost_iotlb_conf_print(FILE *out);

#endif /* VHOST_IOTLB_CONFORMANCE_H */
