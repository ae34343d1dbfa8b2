/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "scenarios.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define PLATFORM VHOST_IOTLB_CONF_PLATFORM
#define ON_CHIP VHOST_IOTLB_CONF_ON_CHIP
#define NO_RESET_MAP VHOST_IOTLB_CONF_NO_RESET_MAP
#define USED_TO_CLEAR VHOST_IOTLB_CONF_USED_TO_CLEAR
#define DECLARING VHOST_IOTLB_CONF_DECLARING
#define BY_RANGE VHOST_IOTLB_CONF_BY_RANGE
#define RANGE_CLEARED VHOST_IOTLB_CONF_RANGE_CLEARED
#define BOTH_WAYS VHOST_IOTLB_CONF_BOTH_WAYS
#define GROUPED VHOST_IOTLB_CONF_GROUPED

/* Messages by what they are cited as; commits of Linux by the beginning of their names. */
const struct vhost_iotlb_conf_source vhost_iotlb_conf_sources[] = {
	{ "Liu-18", "Si-Wei Liu, 18 October 2023, \"Re: [PATCH 2/4] vhost-vdpa: reset vendor"
		" specific mapping to initial state in .release\"" },
	{ "Wang-20", "Jason Wang, 20 October 2023, \"Re: [PATCH 2/4] vhost-vdpa: reset vendor"
		" specific mapping to initial state in .release\", with Si-Wei Liu's and Eugenio"
		" Pérez' messages that it answers" },
	{ "v4", "Si-Wei Liu, 21 October 2023, \"[v4,0/7] vdpa: decouple reset of iotlb mapping from"
		" device reset\"" },
	{ "Liu-23", "Si-Wei Liu, 23 October 2023, answer to Jason Wang on v4" },
	{ "Liu-24", "Si-Wei Liu, 24 October 2023, answer to Lei Yang on v4, which points to the"
		" fix of an oops" },
	{ "d2cf1b6e3b85", "Linux, \"vdpa: introduce .reset_map operation callback\"" },
	{ "1d0f874bfe78", "Linux, \"vhost-vdpa: reset vendor specific mapping to initial state in"
		" .release\"" },
	{ "4398776f7a6d", "Linux, \"vhost-vdpa: introduce IOTLB_PERSIST backend feature bit\"" },
	{ "a26f2e4e68ee", "Linux, \"vdpa: introduce .compat_reset operation callback\"" },
	{ "bc91df5c70ac", "Linux, \"vhost-vdpa: clean iotlb map during reset for older"
		" userspace\"" },
	{ "2eacf4b5e3eb", "Linux, \"vdpa/mlx5: implement .reset_map driver op\"" },
	{ "0bbe30668d89", "Linux, \"vhost: factor out IOTLB\"" },
	{ "4c8cf31885f6", "Linux, \"vhost: introduce vDPA-based backend\"" },
	{ "25abc060d282", "Linux, \"vhost-vdpa: support IOTLB batching hints\"" },
	{ "c070c1912a83", "Linux, \"vhost-vdpa: fix an iotlb memory leak\"" },
	{ "91233ad71186", "Linux, \"vhost: support ASID in IOTLB API\"" },
	{ "3d5698793897", "Linux, \"vhost-vdpa: introduce asid based IOTLB\"" },
	{ "84d7c8fd3aad", "Linux, \"vhost-vdpa: introduce uAPI to set group ASID\"" },
	{ "7db0d6027e69", "Linux, \"vhost-vdpa: introduce descriptor group backend feature\"" },
	{ "c8068d9bae0c", "Linux, \"vhost-vdpa: uAPI to get dedicated descriptor group id\"" },
	{ "map-error", "Linux, \"vhost-vdpa: fix vhost_vdpa_map() on error condition\", October"
		" 2020" },
};
const size_t vhost_iotlb_conf_nsources = COUNT(vhost_iotlb_conf_sources);

const struct vhost_iotlb_conf_scenario vhost_iotlb_conf_scenarios[] = {
	{ "C1", "a reset changes no map", ON_CHIP, 1,
		"open ack map:A map:B reset reset", "set_map0:A set_map0:AB reset reset", "v4" },
	{ "C1", "nor of a parent that takes ranges", BY_RANGE, 1,
		"open ack map:A reset map:B", "dma_map0:A reset dma_map0:B", "v4" },
	{ "C1", "a table that is the same after the reset costs nothing", ON_CHIP, 1,
		"open ack table:AB reset table:AB", "set_map0:AB reset", "v4" },
	{ "C1", "nor if it is sliced differently", ON_CHIP, 1,
		"open ack table:AE reset table:Aef reset table:AE", "set_map0:AE reset reset",
		"v4" },
	{ "C1", "other memory at the same addresses is another table", ON_CHIP, 1,
		"open ack table:AB reset table:aB", "set_map0:AB reset set_map0:aB", "v4" },
	{ "C1", "a failed reset changes no map either", USED_TO_CLEAR, 1,
		"open ack:none map:A fail:1 reset=EIO map:A=EEXIST", "set_map0:A compat_reset!",
		"bc91df5c70ac" },
	{ "C1", "a reset leaves an open batch open", ON_CHIP, 1,
		"open ack begin map:A reset map:B end", "reset set_map0:AB", "v4, 25abc060d282" },

	{ "C2", "release unmaps all, then restores the initial mapping", ON_CHIP, 1,
		"open ack map:A release", "set_map0:A set_map0: reset_map0",
		"1d0f874bfe78, Wang-20" },
	{ "C2", "in every address space, all maps before the first initial one", ON_CHIP, 2,
		"open ack map0:A map1:B release",
		"set_map0:A set_map1:B set_map0: set_map1: reset_map0 reset_map1", "1d0f874bfe78" },
	{ "C2", "ranges are unmapped in the fewest runs", BY_RANGE, 1,
		"open ack table:ABD release",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1 dma_unmap0:5-5 reset_map0",
		"c070c1912a83" },
	{ "C2", "a parent without reset_map has its maps removed", NO_RESET_MAP, 1,
		"open ack map:A release", "set_map0:A set_map0:", "c070c1912a83, Liu-18" },
	{ "C2", "nothing is mapped: nothing to unmap", ON_CHIP, 1,
		"open release", "reset_map0", "1d0f874bfe78" },
	{ "C2", "a second front-end starts with nothing", ON_CHIP, 1,
		"open ack map:A release open ack map:A",
		"set_map0:A set_map0: reset_map0 set_map0:A", "1d0f874bfe78" },
	{ "C2", "an open batch ends with its front-end, unseen", ON_CHIP, 1,
		"open ack map:A begin map:B release", "set_map0:A set_map0: reset_map0",
		"25abc060d282" },
	{ "C2", "a parent that refuses the unmap is still told to start over", ON_CHIP, 1,
		"open ack map:A fail:1 release=EIO open map:A",
		"set_map0:A set_map0:! reset_map0 set_map0:A", "1d0f874bfe78, Wang-20" },
	{ "C2", "a reset_map that fails is told, and the front-end is gone", ON_CHIP, 2,
		"open ack fail:1 release=EIO open", "reset_map0! reset_map1", "2eacf4b5e3eb" },
	{ "C2", "one range that is refused does not save the others", BY_RANGE, 1,
		"open ack table:ABD fail:1 release=EIO",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1! dma_unmap0:5-5 reset_map0",
		"c070c1912a83" },
	{ "C2", "the platform IOMMU's parent is told nothing", PLATFORM, 1,
		"open ack map:A unmap:A map:A release", "", "4c8cf31885f6" },

	{ "C3", "the first set_map of an address space ends its initial mapping", GROUPED, 2,
		"open ack bind1:1 map1:A", "set_group_asid1:1 set_map1:A", "v4" },
	{ "C3", "so does the first dma_map", BY_RANGE, 1, "open ack map:A", "dma_map0:A", "v4" },
	{ "C3", "no reset brings it back", ON_CHIP, 1,
		"open ack map:A reset unmap:A reset", "set_map0:A reset set_map0: reset",
		"v4, d2cf1b6e3b85" },
	{ "C3", "reset_map does", ON_CHIP, 1,
		"open ack map:A unmap:A release", "set_map0:A set_map0: reset_map0",
		"d2cf1b6e3b85" },
	{ "C3", "and the old reset", USED_TO_CLEAR, 1,
		"open ack:none map:A reset", "set_map0:A compat_reset", "bc91df5c70ac" },

	{ "C4", "IOTLB_PERSIST is offered behind the platform IOMMU", PLATFORM, 1,
		"open ack:persist", "", "4398776f7a6d, Wang-20" },
	{ "C4", "with reset_map", ON_CHIP, 1, "open ack:persist", "", "4398776f7a6d, Wang-20" },
	{ "C4", "and when declared", DECLARING, 1, "open ack:persist", "",
		"4398776f7a6d, Liu-18" },
	{ "C4", "and else not", NO_RESET_MAP, 1, "open ack:persist=EINVAL", "",
		"4398776f7a6d, Wang-20" },
	{ "C4", "IOTLB_ASID is offered with two address spaces", ON_CHIP, 1,
		"open ack:asid=EINVAL", "", "91233ad71186" },
	{ "C4", "DESC_ASID with groups for descriptors, and needs IOTLB_ASID", GROUPED, 2,
		"open ack:desc=EINVAL ack:asid+desc", "", "7db0d6027e69" },
	{ "C4", "and else not", ON_CHIP, 2, "open ack:asid+desc=EINVAL", "", "7db0d6027e69" },

	{ "C5", "not acknowledged: the old reset, of a parent that had it", USED_TO_CLEAR, 1,
		"open ack:none map:A reset map:A", "set_map0:A compat_reset set_map0:A",
		"bc91df5c70ac, Wang-20" },
	{ "C5", "acknowledged: the reset that leaves maps alone", USED_TO_CLEAR, 1,
		"open ack:persist map:A reset map:A=EEXIST", "set_map0:A reset", "bc91df5c70ac" },
	{ "C5", "a front-end that never negotiates, but maps, is an old one", USED_TO_CLEAR, 1,
		"open map:A reset", "set_map0:A compat_reset", "bc91df5c70ac" },
	{ "C5", "before negotiation the reset is the compliant one", USED_TO_CLEAR, 1,
		"open reset ack:none reset", "reset compat_reset", "Liu-23" },
	{ "C5", "before any front-end exists too", USED_TO_CLEAR, 1,
		"reset open ack:none map:A release reset",
		"reset set_map0:A set_map0: reset_map0 reset", "Liu-24" },
	{ "C5", "the old reset clears every address space", USED_TO_CLEAR, 2,
		"open ack:asid map0:A map1:B reset map0:A map1:B",
		"set_map0:A set_map1:B compat_reset set_map0:A set_map1:B", "bc91df5c70ac" },
	{ "C5", "and drops open batches with what they were built on", USED_TO_CLEAR, 1,
		"open ack:none map:A begin map:B reset end=EINVAL map:B",
		"set_map0:A compat_reset set_map0:B", "bc91df5c70ac, 25abc060d282" },
	{ "C5", "after it nothing is left to unmap", USED_TO_CLEAR, 1,
		"open ack:none map:A reset release", "set_map0:A compat_reset reset_map0",
		"bc91df5c70ac" },
	{ "C5", "by ranges: what it cleared is not unmapped again", RANGE_CLEARED, 1,
		"open ack:none map:A reset table:AB",
		"dma_map0:A compat_reset dma_map0:A dma_map0:B", "bc91df5c70ac" },
	{ "C5", "a parent that never cleared maps is not made to", ON_CHIP, 1,
		"open ack:none map:A reset map:A=EEXIST", "set_map0:A reset", "Liu-18, Wang-20" },
	{ "C5", "nor one that can't even restore its initial mapping", NO_RESET_MAP, 1,
		"open ack:none map:A reset", "set_map0:A reset", "Liu-18" },

	{ "C6", "the next front-end negotiates for itself", USED_TO_CLEAR, 1,
		"open ack:none map:A reset release open ack:persist map:A reset",
		"set_map0:A compat_reset reset_map0 set_map0:A reset", "a26f2e4e68ee, Wang-20" },
	{ "C6", "what was acknowledged holds once maps rely on it", USED_TO_CLEAR, 1,
		"open ack:persist map:A ack:none=EBUSY reset", "set_map0:A reset",
		"4398776f7a6d" },

	{ "C7", "address spaces do not meet", ON_CHIP, 2,
		"open ack map0:A map1:A unmap0:A", "set_map0:A set_map1:A set_map0:",
		"3d5698793897" },
	{ "C7", "nor do their batches", ON_CHIP, 2,
		"open ack begin0 map0:A map1:B begin1 map1:C end1 end0",
		"set_map1:B set_map1:BC set_map0:A", "3d5698793897" },
	{ "C7", "a failure in one leaves the other alone", ON_CHIP, 2,
		"open ack map0:A fail:1 map1:B=EIO map0:B map1:B",
		"set_map0:A set_map1:B! set_map0:AB set_map1:B", "3d5698793897" },
	{ "C7", "there are only so many", ON_CHIP, 2,
		"open ack map2:A=EINVAL unmap2:A=EINVAL begin2=EINVAL end2=EINVAL table2:A=EINVAL",
		"", "91233ad71186" },
	{ "C7", "those other than 0 are for front-ends that know of them", ON_CHIP, 2,
		"open map1:A=EINVAL begin1=EINVAL ack:persist table1:A=EINVAL map:A",
		"set_map0:A", "91233ad71186" },
	{ "C7", "binding a group changes no map", GROUPED, 2,
		"open ack map0:A map1:B bind1:1 bind1:1 bind0:1",
		"set_map0:A set_map1:B set_group_asid1:1 set_group_asid0:1",
		"84d7c8fd3aad, c8068d9bae0c" },
	{ "C7", "a reset returns the groups to address space 0, and leaves the maps", GROUPED, 2,
		"open ack map1:B bind1:1 reset reset bind1:1 map1:B=EEXIST",
		"set_map1:B set_group_asid1:1 reset set_group_asid0:1 reset set_group_asid1:1",
		"2eacf4b5e3eb, 84d7c8fd3aad" },
	{ "C7", "so does the old reset, which leaves none", GROUPED, 2,
		"open ack:asid map1:B bind1:1 reset map1:B",
		"set_map1:B set_group_asid1:1 compat_reset set_group_asid0:1 set_map1:B",
		"2eacf4b5e3eb, bc91df5c70ac" },
	{ "C7", "so does a release, between the last unmap and the initial mapping", GROUPED, 2,
		"open ack map1:B bind1:0 bind1:1 release",
		"set_map1:B set_group_asid1:0 set_group_asid1:1 set_map1: set_group_asid0:0"
		" set_group_asid0:1 reset_map0 reset_map1", "1d0f874bfe78, 84d7c8fd3aad" },
	{ "C7", "a group that the parent does not bind stays where it is", GROUPED, 2,
		"open ack bind1:0 fail:1 bind0:0=EIO fail:1 bind1:1=EIO fail:2 reset=EIO reset",
		"set_group_asid1:0 set_group_asid0:0! set_group_asid1:1! reset"
		" set_group_asid0:0! reset set_group_asid0:0", "84d7c8fd3aad" },
	{ "C7", "there are only so many groups", GROUPED, 2,
		"open bind1:1=EINVAL ack bind1:2=EINVAL bind2:1=EINVAL", "", "84d7c8fd3aad" },
	{ "C7", "or none to bind", ON_CHIP, 2, "open ack bind0:0=EOPNOTSUPP", "",
		"84d7c8fd3aad" },

	{ "C8", "a batch is one set_map", ON_CHIP, 1,
		"open ack begin map:A map:B map:D unmap:B end", "set_map0:AD", "25abc060d282" },
	{ "C8", "a batch that comes to nothing is none", ON_CHIP, 1,
		"open ack map:A begin map:B unmap:B unmap:A map:A end begin end", "set_map0:A",
		"25abc060d282" },
	{ "C8", "for ranges it is the fewest of them", BY_RANGE, 1,
		"open ack begin map:A map:B map:D end begin unmap:A unmap:B map:a end",
		"dma_map0:A dma_map0:B dma_map0:D dma_unmap0:0-1 dma_map0:a", "25abc060d282" },
	{ "C8", "a table is a batch", BY_RANGE, 1,
		"open ack table:ABE table:AefC",
		"dma_map0:A dma_map0:B dma_map0:E dma_unmap0:1-1 dma_map0:C", "25abc060d282" },
	{ "C8", "neighbours in address and file are one map", BY_RANGE, 1,
		"open ack map:e begin unmap:e map:e map:f end", "dma_map0:e dma_map0:f",
		"25abc060d282" },
	{ "C8", "set_map is preferred to ranges", BOTH_WAYS, 1,
		"open ack begin map:A map:B end", "set_map0:AB", "25abc060d282" },
	{ "C8", "batches do not nest, and end once", ON_CHIP, 1,
		"open ack begin begin=EBUSY table:A=EBUSY map:A end end=EINVAL", "set_map0:A",
		"25abc060d282" },

	{ "C9", "an overlap is refused and changes nothing", ON_CHIP, 1,
		"open ack map:A map:a=EEXIST unmap:A", "set_map0:A set_map0:", "4c8cf31885f6" },
	{ "C9", "in a batch it leaves the rest of the batch", ON_CHIP, 1,
		"open ack begin map:A map:a=EEXIST map:B end", "set_map0:AB",
		"4c8cf31885f6, 25abc060d282" },
	{ "C9", "a map that the parent refuses is not in the table", ON_CHIP, 1,
		"open ack map:A fail:1 map:B=EIO map:B", "set_map0:A set_map0:AB! set_map0:AB",
		"map-error" },
	{ "C9", "an unmap that the parent refuses is still in it", ON_CHIP, 1,
		"open ack map:A fail:1 unmap:A=EIO map:A=EEXIST unmap:A",
		"set_map0:A set_map0:! set_map0:", "map-error" },
	{ "C9", "a batch that the parent refuses never was", ON_CHIP, 1,
		"open ack map:A begin unmap:A map:B fail:1 end=EIO map:B",
		"set_map0:A set_map0:B! set_map0:AB", "map-error, 25abc060d282" },
	{ "C9", "a table that the parent refuses leaves the old one", ON_CHIP, 1,
		"open ack table:AB fail:1 table:AC=EIO table:AB table:AC",
		"set_map0:AB set_map0:AC! set_map0:AC", "map-error" },
	{ "C9", "ranges done before the failed one are undone", BY_RANGE, 1,
		"open ack table:ABE fail:4 table:aCDe=EIO table:ABE",
		"dma_map0:A dma_map0:B dma_map0:E dma_unmap0:0-1 dma_unmap0:9-9 dma_map0:a"
		" dma_map0:C! dma_unmap0:0-0 dma_map0:f dma_map0:A dma_map0:B", "map-error" },
	{ "C9", "what can't be put back leaves the table", BY_RANGE, 1,
		"open ack table:AB fail:2+1 table:a=EIO table:AB",
		"dma_map0:A dma_map0:B dma_unmap0:0-1 dma_map0:a! dma_map0:A! dma_map0:B"
		" dma_map0:A", "map-error" },
	{ "C9", "what can't be taken away again stays in the table", BY_RANGE, 1,
		"open ack table:AB fail:3+1 table:aC=EIO table:aB release",
		"dma_map0:A dma_map0:B dma_unmap0:0-1 dma_map0:a dma_map0:C! dma_unmap0:0-0!"
		" dma_map0:B dma_unmap0:0-1 reset_map0", "map-error" },
	{ "C9", "an unmap of nothing calls nobody", ON_CHIP, 1, "open ack unmap:A unmap:D", "",
		"0bbe30668d89" },
};
const size_t vhost_iotlb_conf_nscenarios = COUNT(vhost_iotlb_conf_scenarios);

const struct vhost_iotlb_conf_meeting vhost_iotlb_conf_meetings[] = {
	{ "acknowledges IOTLB_PERSIST", "open P map:A reset map:B release", "4398776f7a6d", {
		[PLATFORM] = "reset",
		[ON_CHIP] = "set_map0:A reset set_map0:AB set_map0: reset_map0",
		[NO_RESET_MAP] = "set_map0:A reset set_map0:AB set_map0:",
		[USED_TO_CLEAR] = "set_map0:A reset set_map0:AB set_map0: reset_map0",
		[DECLARING] = "set_map0:A reset set_map0:AB set_map0:",
		[BY_RANGE] = "dma_map0:A reset dma_map0:B dma_unmap0:0-1 reset_map0",
		[RANGE_CLEARED] = "dma_map0:A reset dma_map0:B dma_unmap0:0-1 reset_map0",
	} },
	{ "does not acknowledge it", "open ack:none map:A reset map:B release", "bc91df5c70ac", {
		[PLATFORM] = "reset",
		[ON_CHIP] = "set_map0:A reset set_map0:AB set_map0: reset_map0",
		[NO_RESET_MAP] = "set_map0:A reset set_map0:AB set_map0:",
		[USED_TO_CLEAR] = "set_map0:A compat_reset set_map0:B set_map0: reset_map0",
		[DECLARING] = "set_map0:A reset set_map0:AB set_map0:",
		[BY_RANGE] = "dma_map0:A reset dma_map0:B dma_unmap0:0-1 reset_map0",
		[RANGE_CLEARED] = "dma_map0:A compat_reset dma_map0:B dma_unmap0:1-1 reset_map0",
	} },
	{ "resets before it negotiates", "open reset ack:none map:A reset release", "Liu-23", {
		[PLATFORM] = "reset reset",
		[ON_CHIP] = "reset set_map0:A reset set_map0: reset_map0",
		[NO_RESET_MAP] = "reset set_map0:A reset set_map0:",
		[USED_TO_CLEAR] = "reset set_map0:A compat_reset reset_map0",
		[DECLARING] = "reset set_map0:A reset set_map0:",
		[BY_RANGE] = "reset dma_map0:A reset dma_unmap0:0-0 reset_map0",
		[RANGE_CLEARED] = "reset dma_map0:A compat_reset reset_map0",
	} },
	{ "is not there yet, and no more, at a reset", "reset open ack:none map:A release reset",
		"Liu-24", {
		[PLATFORM] = "reset reset",
		[ON_CHIP] = "reset set_map0:A set_map0: reset_map0 reset",
		[NO_RESET_MAP] = "reset set_map0:A set_map0: reset",
		[USED_TO_CLEAR] = "reset set_map0:A set_map0: reset_map0 reset",
		[DECLARING] = "reset set_map0:A set_map0: reset",
		[BY_RANGE] = "reset dma_map0:A dma_unmap0:0-0 reset_map0 reset",
		[RANGE_CLEARED] = "reset dma_map0:A dma_unmap0:0-0 reset_map0 reset",
	} },
	{ "leaves, and a second one comes",
		"open ack:none map:A release open P map:B reset release", "1d0f874bfe78", {
		[PLATFORM] = "reset",
		[ON_CHIP] = "set_map0:A set_map0: reset_map0 set_map0:B reset set_map0: reset_map0",
		[NO_RESET_MAP] = "set_map0:A set_map0: set_map0:B reset set_map0:",
		[USED_TO_CLEAR] =
			"set_map0:A set_map0: reset_map0 set_map0:B reset set_map0: reset_map0",
		[DECLARING] = "set_map0:A set_map0: set_map0:B reset set_map0:",
		[BY_RANGE] = "dma_map0:A dma_unmap0:0-0 reset_map0 dma_map0:B reset dma_unmap0:1-1"
			" reset_map0",
		[RANGE_CLEARED] = "dma_map0:A dma_unmap0:0-0 reset_map0 dma_map0:B reset"
			" dma_unmap0:1-1 reset_map0",
	} },
};
const size_t vhost_iotlb_conf_nmeetings = COUNT(vhost_iotlb_conf_meetings);

bool
vhost_iotlb_conf_persists(enum vhost_iotlb_conf_kind kind)
{
	return kind != VHOST_IOTLB_CONF_NO_RESET_MAP;
}
