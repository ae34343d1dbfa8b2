/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the event thread looks at completion queues: event_mode, event_us and no_traffic_time.
 *
 * Owns: the decision between sleeping until the card raises an event and polling, and how long to
 * sleep between two polls. Pure: no device, no clock, no lock; the event thread's alone.
 *
 * MLX5P_EVENT_INTERRUPT never polls. The timer modes begin asleep; an event starts the polling, and
 * as many polls in a row that found nothing as no_traffic_time says end it. Between two polls
 * passes
 * - MLX5P_EVENT_FIXED_TIMER: event_us;
 * - MLX5P_EVENT_DYNAMIC_TIMER: event_us at first; event_us more after each poll that found nothing,
 *   and the n-th part after one that found n completions.
 */
#ifndef MLX5P_PACE_H
#define MLX5P_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* NVIDIA's numbers. */
enum mlx5p_event_mode {
	MLX5P_EVENT_DYNAMIC_TIMER = 0,
	MLX5P_EVENT_FIXED_TIMER = 1,
	MLX5P_EVENT_INTERRUPT = 2,
};

struct mlx5p_pace {
	enum mlx5p_event_mode mode;
	uint32_t step_us;          /* event_us */
	uint32_t patience;         /* no_traffic_time */
	bool polling;
	uint32_t delay_us;         /* until the next poll */
	uint32_t in_vain;          /* polls in a row that found nothing */
};

void mlx5p_pace_init(struct mlx5p_pace *pace, enum mlx5p_event_mode mode, uint32_t event_us,
		uint32_t no_traffic_time);

/** The card raised an event: there is traffic. */
void mlx5p_pace_traffic(struct mlx5p_pace *pace);

/** A poll found @p found completions in the busiest queue. Afterwards pace->polling tells whether
 * there is to be another one, after pace->delay_us, or the card is to be asked for events. */
void mlx5p_pace_polled(struct mlx5p_pace *pace, uint32_t found);

#endif /* MLX5P_PACE_H */
