/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scenarios: what the suite runs, as data.
 *
 * Owns: the table of scenarios and where each comes from. doc/guides/iotlb.rst says how they are
 * told. For run.c and print.c.
 */
#ifndef VHOST_IOTLB_CONF_SCENARIOS_H
#define VHOST_IOTLB_CONF_SCENARIOS_H

#include <stddef.h>

#include "recorder.h"

/** A message or commit that scenarios come from. */
struct vhost_iotlb_conf_source {
	const char *key;
	const char *what;
};

struct vhost_iotlb_conf_scenario {
	/** "C1" to "C9". */
	const char *rule;
	/** What it shows, in words. */
	const char *what;
	enum vhost_iotlb_conf_kind kind;
	unsigned int nas;
	/** What the front-end does. */
	const char *front_end;
	/** What the parent sees. */
	const char *ops;
	/** Keys of its sources, separated by ", ". */
	const char *sources;
};

/** A front-end, to be met with all kinds of parents. */
struct vhost_iotlb_conf_meeting {
	const char *what;
	/** What the front-end does, "P" standing for the acknowledgement of IOTLB_PERSIST. */
	const char *front_end;
	const char *sources;
	/** What a parent of each kind sees; NULL: not met. */
	const char *ops[VHOST_IOTLB_CONF_KINDS];
};

extern const struct vhost_iotlb_conf_source vhost_iotlb_conf_sources[];
extern const size_t vhost_iotlb_conf_nsources;

extern const struct vhost_iotlb_conf_scenario vhost_iotlb_conf_scenarios[];
extern const size_t vhost_iotlb_conf_nscenarios;

extern const struct vhost_iotlb_conf_meeting vhost_iotlb_conf_meetings[];
extern const size_t vhost_iotlb_conf_nmeetings;

/** Does a kind of parent offer IOTLB_PERSIST (C4)? */
bool
vhost_iotlb_conf_persists(enum vhost_iotlb_conf_kind kind);

#endif /* VHOST_IOTLB_CONF_SCENARIOS_H */
