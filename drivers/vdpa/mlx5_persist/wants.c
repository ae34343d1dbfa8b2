/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "wants.h"

void
mlx5p_wants_init(struct mlx5p_wants *w)
{
	int i;

	memset(w, 0, sizeof(*w));
	for (i = 0; i < MLX5P_CONNECTIONS; i++)
		w->of[i].vid = MLX5P_NOBODY;
}

/* Where it is remembered what @vid wants, -1: nowhere. */
static int
slot_of(const struct mlx5p_wants *w, int vid)
{
	int i;

	for (i = 0; i < MLX5P_CONNECTIONS; i++) {
		if (w->of[i].vid == vid)
			return i;
	}
	return -1;
}

void
mlx5p_wants_set(struct mlx5p_wants *w, int vid, int served, uint16_t queue, bool on)
{
	int slot = slot_of(w, vid);

	if (slot < 0) {
		slot = slot_of(w, MLX5P_NOBODY);
		if (slot < 0)
			slot = w->of[0].vid == served ? 1 : 0;
		memset(&w->of[slot], 0, sizeof(w->of[slot]));
		w->of[slot].vid = vid;
	}
	w->of[slot].queue[queue] = on;
}

bool
mlx5p_wants_queue(const struct mlx5p_wants *w, int vid, uint16_t queue)
{
	int slot = slot_of(w, vid);

	return vid != MLX5P_NOBODY && slot >= 0 && w->of[slot].queue[queue];
}

bool
mlx5p_wants_any(const struct mlx5p_wants *w, int vid)
{
	int slot = slot_of(w, vid);

	return vid != MLX5P_NOBODY && slot >= 0 &&
		memchr(w->of[slot].queue, true, sizeof(w->of[slot].queue)) != NULL;
}

void
mlx5p_wants_forget(struct mlx5p_wants *w, int vid)
{
	int slot = slot_of(w, vid);

	if (slot >= 0)
		w->of[slot].vid = MLX5P_NOBODY;
}
