/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Distributions of a value over the iterations of a benchmark, exact: all samples are kept.
 * No locks; one thread at a time.
 */
#ifndef TEST_VDPA_STATS_H
#define TEST_VDPA_STATS_H

#include <stddef.h>

struct series {
	double *v;
	size_t n;
	size_t cap;
};

struct dist {
	double min;
	double median;
	double p99;
	double max;
};

/** Add a sample. Returns 0 or -ENOMEM. */
int series_add(struct series *s, double value);
void series_free(struct series *s);

/**
 * Distribution of the samples. The median of an even number is the mean of the middle two; p99 is
 * the smallest sample that 99 % do not exceed (nearest rank). Returns 0, -ENODATA without samples,
 * or -ENOMEM.
 */
int series_dist(const struct series *s, struct dist *d);

#endif /* TEST_VDPA_STATS_H */
