/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The result of a benchmark for people (a table) and for scripts (JSON; its keys are promises).
 * No state, main thread.
 */
#ifndef TEST_VDPA_REPORT_H
#define TEST_VDPA_REPORT_H

#include <stdio.h>

#include "args.h"
#include "bench.h"

struct report {
	const struct args *args;
	const struct bench_result *res;
	const char *device;	/* name of the vDPA device, or the path of a socket */
	const char *driver;	/* NULL: a back-end elsewhere */
};

void report_table(const struct report *r, FILE *out);

/** Returns 0, -ENOMEM, or the errno of writing. */
int report_json(const struct report *r, FILE *out);

#endif /* TEST_VDPA_REPORT_H */
