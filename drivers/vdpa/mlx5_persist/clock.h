/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CLOCK_MONOTONIC in ns, in which timers (events.h) are set. On any thread, without a lock.
 */
#ifndef MLX5P_CLOCK_H
#define MLX5P_CLOCK_H

#include <stdint.h>
#include <time.h>

#define MLX5P_NS_IN_MS UINT64_C(1000000)

static inline uint64_t
mlx5p_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 * MLX5P_NS_IN_MS + now.tv_nsec;
}

#endif /* MLX5P_CLOCK_H */
