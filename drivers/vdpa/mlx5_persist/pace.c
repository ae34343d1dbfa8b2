/* SPDX-License-Identifier: BSD-3-Clause */
#include "pace.h"

void
mlx5p_pace_init(struct mlx5p_pace *pace, enum mlx5p_event_mode mode, uint32_t event_us,
		uint32_t no_traffic_time)
{
	*pace = (struct mlx5p_pace) {
		.mode = mode, .step_us = event_us, .patience = no_traffic_time,
	};
}

void
mlx5p_pace_traffic(struct mlx5p_pace *pace)
{
	if (pace->mode == MLX5P_EVENT_INTERRUPT || pace->polling)
		return;
	pace->polling = true;
	pace->delay_us = pace->step_us;
	pace->in_vain = 0;
}

static uint32_t
next_delay(const struct mlx5p_pace *pace, uint32_t found)
{
	if (pace->mode == MLX5P_EVENT_FIXED_TIMER)
		return pace->step_us;
	if (found > 0)
		return pace->delay_us / found;
	return pace->delay_us > UINT32_MAX - pace->step_us ? UINT32_MAX :
		pace->delay_us + pace->step_us;
}

void
mlx5p_pace_polled(struct mlx5p_pace *pace, uint32_t found)
{
	pace->in_vain = found > 0 ? 0 : pace->in_vain + 1;
	pace->delay_us = next_delay(pace, found);
	if (pace->in_vain >= pace->patience)
		pace->polling = false;
}
