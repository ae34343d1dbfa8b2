/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shell: a guest that the user leads by commands, with the habits of testpmd.
 *
 * Owns: the rig while it runs. Its device is started before the first prompt; traffic begins with
 * "start". Commands come from standard input, a terminal or not. Main thread.
 */
#ifndef TEST_VDPA_SHELL_H
#define TEST_VDPA_SHELL_H

#include <sched.h>

#include <rte_vdpa.h>

#include "args.h"

struct shell_cfg {
	const struct args *args;
	const char *path;		/* of the vhost-user back-end */
	const char *device;		/* its name */
	const char *driver;		/* NULL: a back-end elsewhere, like the next one */
	struct rte_vdpa_device *dev;
	const cpu_set_t *cpus;		/* as bench_run() */
};

/**
 * Run until "quit", the end of input, or a signal.
 * Returns 0, or a negative errno with one line in @p err; -EINVAL: the arguments do not fit the
 * device.
 */
int shell_run(const struct shell_cfg *cfg, char *err, size_t errlen);

#endif /* TEST_VDPA_SHELL_H */
