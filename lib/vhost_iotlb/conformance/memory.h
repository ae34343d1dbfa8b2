/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory: the memory of the scenarios, by letters.
 *
 * Owns: files, and which of their pages a letter maps where. A to D are pages of different files;
 * E is two pages of one, e its first and f its second; a is another file's at the address of A.
 * Each page of a file begins with a number of its own, so that what a device reads tells where it
 * read. For the conformance suite and tests.
 */
#ifndef VHOST_IOTLB_CONF_MEMORY_H
#define VHOST_IOTLB_CONF_MEMORY_H

#include "vhost_iotlb.h"

#define VHOST_IOTLB_CONF_PAGE UINT64_C(4096)
/** Guest pages that letters map: none is at or above it. */
#define VHOST_IOTLB_CONF_PAGES 10u
#define VHOST_IOTLB_CONF_FILES 6u

struct vhost_iotlb_conf_memory {
	int fd[VHOST_IOTLB_CONF_FILES];
	struct vhost_iotlb_backing backing[VHOST_IOTLB_CONF_FILES];
	/** Every file is mapped at several places, and known by several descriptors: which is told
	 * is another one each time. */
	char *at[VHOST_IOTLB_CONF_FILES][2];
	int other_fd[VHOST_IOTLB_CONF_FILES];
	unsigned int told;
};

/** Make the files. Returns 0 or a negative errno. */
int
vhost_iotlb_conf_memory_create(struct vhost_iotlb_conf_memory *m);

void
vhost_iotlb_conf_memory_destroy(struct vhost_iotlb_conf_memory *m);

/** The map of a letter. Returns false for one that means nothing. */
bool
vhost_iotlb_conf_map_of(struct vhost_iotlb_conf_memory *m, char letter,
		struct vhost_iotlb_map *map);

/** The letter of a map, or '?'. */
char
vhost_iotlb_conf_letter_of(const struct vhost_iotlb_conf_memory *m,
		const struct vhost_iotlb_map *map);

/** The number at the beginning of the page that @p map shows at @p addr. */
uint64_t
vhost_iotlb_conf_number_at(const struct vhost_iotlb_conf_memory *m,
		const struct vhost_iotlb_map *map, uint64_t addr);

#endif /* VHOST_IOTLB_CONF_MEMORY_H */
