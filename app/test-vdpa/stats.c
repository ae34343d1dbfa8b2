/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

#define SERIES_FIRST_CAP 64

int
series_add(struct series *s, double value)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : SERIES_FIRST_CAP;
		double *v = realloc(s->v, cap * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = value;
	return 0;
}

void
series_free(struct series *s)
{
	free(s->v);
	*s = (struct series){0};
}

static int
cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
series_dist(const struct series *s, struct dist *d)
{
	double *v;

	if (s->n == 0)
		return -ENODATA;
	v = malloc(s->n * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	memcpy(v, s->v, s->n * sizeof(*v));
	qsort(v, s->n, sizeof(*v), cmp_double);
	d->min = v[0];
	d->median = s->n % 2 ? v[s->n / 2] : (v[s->n / 2 - 1] + v[s->n / 2]) / 2;
	d->p99 = v[(s->n * 99 + 99) / 100 - 1];
	d->max = v[s->n - 1];
	free(v);
	return 0;
}
