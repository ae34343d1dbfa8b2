/* SPDX-License-Identifier: BSD-3-Clause */
/* Time as all measurements here take it: nanoseconds of CLOCK_MONOTONIC, in which
 * CLOCK_US, CLOCK_MS and CLOCK_S are given too. Any thread. */
#ifndef TEST_VDPA_CLOCK_H
#define TEST_VDPA_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_US 1000ull
#define CLOCK_MS 1000000ull
#define CLOCK_S 1000000000ull

static inline uint64_t
clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_S + ts.tv_nsec;
}

static inline void
clock_sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / CLOCK_S, .tv_nsec = ns % CLOCK_S };

	nanosleep(&ts, NULL);
}

#endif /* TEST_VDPA_CLOCK_H */
