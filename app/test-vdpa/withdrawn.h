/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that was taken away from the device, and is watched: a write to it is a defect,
 * since by now it might belong to somebody else.
 *
 * Every byte of it gets poisoned, and must stay so. Filling a large guest takes long, too long for
 * the blackout that is being measured; so at first only the rings are filled (receive buffers bear
 * poison in their first bytes anyway, see net.h) and the rest once traffic flows again. Main
 * thread; the device has been stopped in between.
 */
#ifndef TEST_VDPA_WITHDRAWN_H
#define TEST_VDPA_WITHDRAWN_H

#include <stdint.h>

#include "net.h"

/** Right behind net_stop(), while the driver still lives in @p mem. */
void withdrawn_begin(const struct net *net, struct mem *mem);
/** Judge the time since withdrawn_begin(), and fill the rest. Returns how many places changed. */
uint64_t withdrawn_fill(const struct net *net, struct mem *mem);
/** Judge the time since withdrawn_fill(). Returns how many pages have changed. */
uint64_t withdrawn_check(const struct mem *mem);

/** The same two for one file, all of which was given up before the device was stopped. */
void withdrawn_fill_file(struct mem_file *f);
uint64_t withdrawn_check_file(const struct mem_file *f);

#endif /* TEST_VDPA_WITHDRAWN_H */
