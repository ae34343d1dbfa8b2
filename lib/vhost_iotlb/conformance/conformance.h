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
 * To run it on a parent of your own: fill a struct vhost_iotlb_conf_adapter and hand it to
 * vhost_iotlb_conf_main() from main(). tests/unit/vhost_iotlb_conformance.c does so.
 *
 * Threads: none of its own; one run at a time.
 */
#ifndef VHOST_IOTLB_CONFORMANCE_H
#define VHOST_IOTLB_CONFORMANCE_H

#include <stdio.h>

#include "vhost_iotlb_dev.h"

/** A parent under test. */
struct vhost_iotlb_conf_adapter {
	/** A word for reports, and for --parent. */
	const char *name;
	/** What it is, in some words, for --help. */
	const char *what;
	/** Its operations. NULL: no parent, the library is judged by itself, and nothing below is
	 * looked at. */
	const struct vhost_iotlb_parent_ops *ops;
	/** Make a parent of @p nas address spaces in its initial state, for one scenario. Returns
	 * NULL when it can't. */
	void *(*create)(unsigned int nas);
	void (*destroy)(void *parent);
	/** Let the device read 8 bytes at @p addr on behalf of @p group (0 for a parent without
	 * groups), whether or not it runs as far as virtio is concerned. Returns 0 or -EFAULT.
	 * NULL: only the order of the operations is judged. */
	int (*read)(void *parent, unsigned int group, uint64_t addr, uint64_t *value);
	/** Most address spaces that it can have; 0: as many as any scenario wants. */
	unsigned int max_nas;
	/** The initial mapping is empty, and not 1:1. */
	bool initial_is_empty;
};

/** What came of a run, for one parent. */
struct vhost_iotlb_conf_result {
	unsigned int passed, failed, left_out;
};

/**
 * Run all scenarios on the @p n parents of @p adapters, and count in @p results, one a parent. In
 * @p out each scenario is told in full: its rule, what it shows, the kind of parent, its sources,
 * what the front-end does, what the parent sees, in order, and what came of it with every parent.
 * With @p quiet only those that failed are. A failure says what was different.
 */
void
vhost_iotlb_conf_run(const struct vhost_iotlb_conf_adapter *const adapters[], size_t n, FILE *out,
		bool quiet, struct vhost_iotlb_conf_result results[]);

/** Print the scenarios as a part of a page of the guide (reStructuredText). */
void
vhost_iotlb_conf_print(FILE *out);

/** The program around it: options as --help says. Returns what main() is to return: 0, 1 (a
 * scenario failed) or 2 (bad usage). */
int
vhost_iotlb_conf_main(int argc, char **argv,
		const struct vhost_iotlb_conf_adapter *const adapters[], size_t n);

#endif /* VHOST_IOTLB_CONFORMANCE_H */
