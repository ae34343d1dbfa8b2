/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: its life, its BAR, its lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

static uint64_t
doorbell_area_bytes(void)
{
	return UINT64_C(1) << (EMU_LOG_VAR + EMU_LOG_VARS);
}

/* Every VAR starts with a doorbell word that names no queue until somebody rings. */
static void
doorbells_idle(struct emu_dev *dev)
{
	const uint32_t idle = EMU_DOORBELL_IDLE;
	uint64_t var;

	for (var = EMU_BAR_DOORBELL_OFF; var < dev->bar_len; var += UINT64_C(1) << EMU_LOG_VAR)
		memcpy(dev->bar + var, &idle, sizeof(idle));
}

static int
bar_create(struct emu_dev *dev)
{
	int ret;

	dev->bar_len = EMU_BAR_DOORBELL_OFF + doorbell_area_bytes();
	dev->bar_fd = memfd_create("mlx5_emu_bar", MFD_CLOEXEC);
	if (dev->bar_fd < 0)
		return -errno;
	if (ftruncate(dev->bar_fd, (off_t)dev->bar_len) != 0) {
		ret = -errno;
		goto err_fd;
	}
	dev->bar = mmap(NULL, dev->bar_len, PROT_READ | PROT_WRITE, MAP_SHARED, dev->bar_fd, 0);
	if (dev->bar == MAP_FAILED) {
		ret = -errno;
		goto err_fd;
	}
	doorbells_idle(dev);
	return 0;
err_fd:
	close(dev->bar_fd);
	return ret;
}

static void
bar_destroy(struct emu_dev *dev)
{
	munmap(dev->bar, dev->bar_len);
	close(dev->bar_fd);
}

int
emu_dev_create(const struct emu_dev_config *cfg, const struct emu_host_ops *ops, void *host,
		emu_event_fn event, void *arg, struct emu_dev **out)
{
	struct emu_dev *dev;
	char why[256];
	int ret;

	dev = calloc(1, sizeof(*dev));
	if (dev == NULL)
		return -ENOMEM;
	dev->cfg = *cfg;
	dev->host_ops = ops;
	dev->host = host;
	dev->event = event;
	dev->event_arg = arg;
	dev->mkey_gen = 1; /* a zeroed TLB is of no generation */
	ret = emu_caps_init(&dev->caps, cfg, why, sizeof(why));
	if (ret != 0) {
		fprintf(stderr, "mlx5_emu: %s: %s\n", cfg->bdf, why);
		goto err_dev;
	}
	ret = -pthread_mutex_init(&dev->lock, NULL);
	if (ret != 0)
		goto err_dev;
	ret = emu_objs_init(dev);
	if (ret != 0)
		goto err_lock;
	ret = bar_create(dev);
	if (ret != 0)
		goto err_objs;
	ret = emu_wire_open(dev);
	if (ret != 0)
		goto err_bar;
	ret = emu_engine_start(dev);
	if (ret != 0)
		goto err_wire;
	emu_stats_dev_add(dev);
	*out = dev;
	return 0;
err_wire:
	emu_wire_close(dev);
err_bar:
	bar_destroy(dev);
err_objs:
	emu_objs_fini(dev);
err_lock:
	pthread_mutex_destroy(&dev->lock);
err_dev:
	free(dev);
	return ret;
}

void
emu_dev_destroy(struct emu_dev *dev)
{
	if (dev == NULL)
		return;
	emu_engine_stop(dev);
	emu_wire_close(dev);
	emu_stats_dev_del(dev);
	bar_destroy(dev);
	emu_objs_fini(dev);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

const struct emu_dev_config *
emu_dev_config(const struct emu_dev *dev)
{
	return &dev->cfg;
}

int
emu_dev_bar_fd(const struct emu_dev *dev)
{
	return dev->bar_fd;
}

void
emu_dev_doorbell_area(const struct emu_dev *dev, uint64_t *offset, uint64_t *length,
		uint64_t *var_length)
{
	*offset = EMU_BAR_DOORBELL_OFF;
	*length = dev->bar_len - EMU_BAR_DOORBELL_OFF;
	*var_length = UINT64_C(1) << EMU_LOG_VAR;
}

void
emu_dev_lock(struct emu_dev *dev)
{
	atomic_fetch_add(&dev->lock_waiters, 1);
	pthread_mutex_lock(&dev->lock);
	atomic_fetch_sub(&dev->lock_waiters, 1);
}

void
emu_dev_unlock(struct emu_dev *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

void
emu_event(struct emu_dev *dev, uint16_t type, uint16_t obj_type, uint32_t obj_id, uint8_t subtype)
{
	const struct emu_event ev = {
		.type = type,
		.obj_type = obj_type,
		.obj_id = obj_id,
		.subtype = subtype,
	};

	dev->event(dev->event_arg, &ev);
}
