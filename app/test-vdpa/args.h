/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: what stands behind "--". Parsed before EAL starts, so that bad usage costs
 * nothing.
 */
#ifndef TEST_VDPA_ARGS_H
#define TEST_VDPA_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mem.h"

#define ARGS_MAX_PPS 100000000u

struct bench_kind;

struct args {
	const char *device;	/* NULL: the only one */
	const char *socket;	/* NULL: a device of this process */
	const char *json;	/* NULL: none */
	const struct bench_kind *bench;
	uint64_t mem_bytes;
	unsigned int regions;
	enum mem_backing backing;
	uint16_t pairs;
	uint16_t queue_size;
	bool packed;
	bool enable_late;
	bool interrupts;
	bool untouched;		/* new guests have not touched their memory */
	bool interactive;	/* a shell instead of a bench */
	uint32_t iterations;
	uint32_t gap_ms;
	uint32_t seconds;
	uint32_t pps;
	bool help, version;	/* asked for instead of a run */
};

/**
 * Parse. argv[0] is skipped, whatever it is.
 * Returns 0, or -EINVAL with one line in @p err that names the option and what it takes.
 */
int args_parse(struct args *a, int argc, char **argv, char *err, size_t errlen);

void args_usage(FILE *out);

#endif /* TEST_VDPA_ARGS_H */
