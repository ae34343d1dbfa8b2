/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include <mlx5_prm.h>

#include "devx.h"
#include "path.h"

uint64_t
mlx5p_path_changeable(const struct mlx5p_caps *caps)
{
	uint64_t select = MLX5_VIRTQ_MODIFY_STATE | MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE;

	if (caps->virtio_net_q_addr_modify)
		select |= MLX5_VIRTQ_MODIFY_ADDRS;
	if (caps->virtio_q_index_modify)
		select |= MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_USED_IDX;
	if (caps->vnet_modify_ext)
		select |= MLX5_VIRTQ_MODIFY_Q_TYPE | MLX5_VIRTQ_MODIFY_Q_MKEY |
			MLX5_VIRTQ_MODIFY_VIRTIO_VERSION | MLX5_VIRTQ_MODIFY_QUEUE_FEATURES |
			MLX5_VIRTQ_MODIFY_QUEUE_PERIOD;
	if (caps->desc_group_mkey_supported)
		select |= MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY;
	return select;
}

bool
mlx5p_path_resumes(const struct mlx5p_caps *caps)
{
	return caps->freeze_to_rdy_supported && caps->virtio_q_index_modify;
}

/* Under which conditions it is one command; nothing where all may change. */
static void
describe_conditions(const struct mlx5p_caps *caps, bool resumes, char *text, size_t len)
{
	bool addr = !caps->virtio_net_q_addr_modify, ext = !caps->vnet_modify_ext;

	snprintf(text, len, "%s%s%s%s%s%s",
		!resumes && !caps->virtio_q_index_modify ? " at index 0" : "",
		addr || ext ? ", as long as " : "", addr ? "ring addresses" : "",
		addr && ext ? " and " : "", ext ? "memory, features and ring type" : "",
		addr || ext ? " stay the same" : "");
}

/* What would make it better. @return true: nothing. */
static bool
describe_missing(const struct mlx5p_caps *caps, bool reuse, char *text, size_t len)
{
	const struct {
		const char *name;
		bool has;
	} wanted[] = {
		{ "freeze_to_rdy_supported", caps->freeze_to_rdy_supported },
		{ "virtio_q_index_modify", caps->virtio_q_index_modify },
		{ "virtio_net_q_addr_modify", caps->virtio_net_q_addr_modify },
		{ "vnet_modify_ext", caps->vnet_modify_ext },
	};
	size_t i, at = 0;

	text[0] = '\0';
	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (!wanted[i].has)
			at += snprintf(text + at, len - at, "%s%s", at == 0 ?
				"; better with " : ", ", wanted[i].name);
	}
	if (at == 0 && !reuse)
		snprintf(text, len, "; better with reuse_queues=1");
	return at == 0 && reuse;
}

bool
mlx5p_path_describe(const struct mlx5p_caps *caps, bool reuse, char *text, size_t len)
{
	bool resumes = reuse && mlx5p_path_resumes(caps);
	char conditions[128], missing[192];
	bool best;

	describe_conditions(caps, resumes, conditions, sizeof(conditions));
	best = describe_missing(caps, reuse, missing, sizeof(missing));
	snprintf(text, len, "%s: one command each at the next start%s%s",
		resumes ? "resume: queues stay through a reset" :
		"renew: queues are made anew in the background after a reset", conditions, missing);
	return best;
}
