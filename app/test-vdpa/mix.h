/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repeatable noise: what frames, layouts and slices take their variety from, so that sender and
 * receiver, and two runs, agree. No state, any thread.
 */
#ifndef TEST_VDPA_MIX_H
#define TEST_VDPA_MIX_H

#include <stdint.h>

#define MIX_STEP 0x9e3779b97f4a7c15ull	/* 2^64 / golden ratio: the increment of splitmix64 */

/** A bijection of 64 bits that leaves no visible pattern (the finaliser of splitmix64). */
static inline uint64_t
mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

#endif /* TEST_VDPA_MIX_H */
