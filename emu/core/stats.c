/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The books of the process, over all its devices: commands, objects, pins, DMA, packets; and their
 * report.
 *
 * Threads: counters are atomic; a report may miss what is under way.
 * Locks: devs_lock before a device's lock; kinds_lock inside of it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "core.h"

#define COUNT(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)
#define VALUE(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

/* ---- commands ---- */

/* A slot an opcode, and one for opcodes that do not exist. */
enum {
#define X(name, op) SLOT_##name,
	PRM_OPCODES(X)
#undef X
	SLOT_UNKNOWN,
	SLOTS
};

static struct {
	atomic_uint_fast64_t count, failed, ns;
} commands[SLOTS];

static unsigned int
slot_of(uint16_t opcode)
{
	switch (opcode) {
#define X(name, op) case op: return SLOT_##name;
	PRM_OPCODES(X)
#undef X
	default: return SLOT_UNKNOWN;
	}
}

void
emu_stats_cmd(uint16_t opcode, uint8_t status, uint64_t ns)
{
	unsigned int slot = slot_of(opcode);

	COUNT(commands[slot].count, 1);
	COUNT(commands[slot].failed, status != MLX5_CMD_STAT_OK);
	COUNT(commands[slot].ns, ns);
}

static void
print_commands(FILE *out)
{
	static const char *const names[SLOTS] = {
#define X(name, op) [SLOT_##name] = #name,
		PRM_OPCODES(X)
#undef X
		[SLOT_UNKNOWN] = "unknown",
	};
	uint64_t count[SLOTS], failed[SLOTS], all = 0, all_failed = 0;
	const char *comma = "";
	unsigned int i;

	/* Read once: the total is that of what is printed. */
	for (i = 0; i < SLOTS; i++) {
		all += count[i] = VALUE(commands[i].count);
		all_failed += failed[i] = VALUE(commands[i].failed);
	}
	fprintf(out, "\"commands\":{\"total\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"by_opcode\":{",
		all, all_failed);
	for (i = 0; i < SLOTS; i++) {
		if (count[i] == 0)
			continue;
		fprintf(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"failed\":%" PRIu64
			",\"ns\":%" PRIu64 "}", comma, names[i], count[i], failed[i],
			(uint64_t)VALUE(commands[i].ns));
		comma = ",";
	}
	fputs("}}", out);
}

/* ---- objects ---- */

/* Kinds are added as they turn up, and stay; the core's are there from the start. */
struct kind {
	const char *name;
	int64_t alive;
	uint64_t reclaimed;        /* from programs that closed a device without destroying it */
	struct kind *next;
};

static _Thread_local bool reclaiming;

void
emu_reclaim(bool on)
{
	reclaiming = on;
}

static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kind core_kinds[EMU_OBJ_TYPES];
static struct kind *kinds;

static void
kinds_init(void)
{
	int type;

	if (kinds != NULL)
		return;
	for (type = EMU_OBJ_TYPES - 1; type >= 0; type--) {
		core_kinds[type].name = emu_obj_type_name((enum emu_obj_type)type);
		core_kinds[type].next = kinds;
		kinds = &core_kinds[type];
	}
}

void
emu_alive_add(const char *type, int delta)
{
	struct kind **k;

	pthread_mutex_lock(&kinds_lock);
	kinds_init();
	for (k = &kinds; *k != NULL && strcmp((*k)->name, type) != 0; k = &(*k)->next)
		;
	if (*k == NULL) {
		*k = calloc(1, sizeof(**k));
		if (*k != NULL)
			(*k)->name = type;
	}
	if (*k != NULL) {
		(*k)->alive += delta;
		if (reclaiming && delta < 0)
			(*k)->reclaimed += (uint64_t)-delta;
	}
	pthread_mutex_unlock(&kinds_lock);
}

static void
print_alive(FILE *out)
{
	const struct kind *k;
	const char *comma = "";
	int64_t total = 0;

	pthread_mutex_lock(&kinds_lock);
	kinds_init();
	for (k = kinds; k != NULL; k = k->next)
		total += k->alive;
	fprintf(out, ",\"alive\":{\"total\":%" PRId64 ",\"by_type\":{", total);
	for (k = kinds; k != NULL; k = k->next) {
		fprintf(out, "%s\"%s\":%" PRId64, comma, k->name, k->alive);
		comma = ",";
	}
	fputs("}}", out);
	pthread_mutex_unlock(&kinds_lock);
}

/* Only what there is. */
static void
print_reclaimed(FILE *out)
{
	const struct kind *k;
	const char *comma = "";
	uint64_t total = 0;

	pthread_mutex_lock(&kinds_lock);
	for (k = kinds; k != NULL; k = k->next)
		total += k->reclaimed;
	fprintf(out, ",\"reclaimed\":{\"total\":%" PRIu64 ",\"by_type\":{", total);
	for (k = kinds; k != NULL; k = k->next) {
		if (k->reclaimed == 0)
			continue;
		fprintf(out, "%s\"%s\":%" PRIu64, comma, k->name, k->reclaimed);
		comma = ",";
	}
	fputs("}}", out);
	pthread_mutex_unlock(&kinds_lock);
}

/* ---- pins ---- */

static struct {
	atomic_int_fast64_t now;
	atomic_uint_fast64_t peak, total, calls, ns;
} pins;

void
emu_pins_add(int64_t bytes, uint64_t ns)
{
	int64_t now = COUNT(pins.now, bytes) + bytes;
	uint64_t peak = VALUE(pins.peak);

	if (bytes <= 0)
		return;
	COUNT(pins.total, (uint64_t)bytes);
	COUNT(pins.calls, 1);
	COUNT(pins.ns, ns);
	while (now > 0 && (uint64_t)now > peak &&
			!atomic_compare_exchange_weak(&pins.peak, &peak, (uint64_t)now))
		;
}

static void
print_pins(FILE *out)
{
	fprintf(out, ",\"pins\":{\"bytes_now\":%" PRId64 ",\"bytes_peak\":%" PRIu64
		",\"bytes_total\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"ns\":%" PRIu64 "}",
		(int64_t)VALUE(pins.now), (uint64_t)VALUE(pins.peak), (uint64_t)VALUE(pins.total),
		(uint64_t)VALUE(pins.calls), (uint64_t)VALUE(pins.ns));
}

/* ---- DMA ---- */

static atomic_uint_fast64_t dma_faults;

void
emu_stats_dma_fault(void)
{
	COUNT(dma_faults, 1);
}

/* ---- devices ---- */

struct past_dev {
	char bdf[16];
	uint64_t tx_packets, tx_drops, rx_packets, rx_drops;
	uint64_t dma_read, dma_written;
	STAILQ_ENTRY(past_dev) next;
};

static pthread_mutex_t devs_lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, emu_dev) devs = TAILQ_HEAD_INITIALIZER(devs);
static STAILQ_HEAD(, past_dev) past_devs = STAILQ_HEAD_INITIALIZER(past_devs);

void
emu_stats_dev_add(struct emu_dev *dev)
{
	pthread_mutex_lock(&devs_lock);
	TAILQ_INSERT_TAIL(&devs, dev, next);
	pthread_mutex_unlock(&devs_lock);
}

static void
snapshot(struct emu_dev *dev, struct past_dev *p)
{
	memcpy(p->bdf, dev->cfg.bdf, sizeof(p->bdf));
	emu_dev_lock(dev);
	p->tx_packets = dev->tx_packets;
	p->tx_drops = dev->tx_drops;
	p->rx_packets = dev->rx_packets;
	p->rx_drops = dev->rx_drops;
	p->dma_read = dev->dma_read;
	p->dma_written = dev->dma_written;
	emu_dev_unlock(dev);
}

void
emu_stats_dev_del(struct emu_dev *dev)
{
	struct past_dev *p = calloc(1, sizeof(*p));

	pthread_mutex_lock(&devs_lock);
	TAILQ_REMOVE(&devs, dev, next);
	if (p != NULL) {
		snapshot(dev, p);
		STAILQ_INSERT_TAIL(&past_devs, p, next);
	}
	pthread_mutex_unlock(&devs_lock);
}

static void
print_dev(FILE *out, const char **comma, const struct past_dev *p)
{
	fprintf(out, "%s{\"bdf\":\"%s\",\"tx_packets\":%" PRIu64 ",\"rx_packets\":%" PRIu64
		",\"rx_drops\":%" PRIu64 ",\"tx_drops\":%" PRIu64 "}", *comma, p->bdf,
		p->tx_packets, p->rx_packets, p->rx_drops, p->tx_drops);
	*comma = ",";
}

static void
print_dma(FILE *out)
{
	uint64_t read = 0, written = 0;
	struct past_dev *p, now;
	struct emu_dev *dev;

	pthread_mutex_lock(&devs_lock);
	STAILQ_FOREACH(p, &past_devs, next) {
		read += p->dma_read;
		written += p->dma_written;
	}
	TAILQ_FOREACH(dev, &devs, next) {
		snapshot(dev, &now);
		read += now.dma_read;
		written += now.dma_written;
	}
	pthread_mutex_unlock(&devs_lock);
	fprintf(out, ",\"dma\":{\"faults\":%" PRIu64 ",\"bytes_read\":%" PRIu64
		",\"bytes_written\":%" PRIu64 "}", (uint64_t)VALUE(dma_faults), read, written);
}

static void
print_devs(FILE *out)
{
	const char *comma = "";
	struct past_dev *p, now;
	struct emu_dev *dev;

	fputs(",\"devices\":[", out);
	pthread_mutex_lock(&devs_lock);
	STAILQ_FOREACH(p, &past_devs, next)
		print_dev(out, &comma, p);
	TAILQ_FOREACH(dev, &devs, next) {
		snapshot(dev, &now);
		print_dev(out, &comma, &now);
	}
	pthread_mutex_unlock(&devs_lock);
	fputs("]", out);
}

/* ---- fork ---- */

static void
forget_all(void)
{
	struct past_dev *p;
	struct kind *k;

	memset(commands, 0, sizeof(commands));
	for (k = kinds; k != NULL; k = k->next) {
		k->alive = 0;
		k->reclaimed = 0;
	}
	memset(&pins, 0, sizeof(pins));
	dma_faults = 0;
	/* Locks of the other process's devices may be held by threads that are not here. */
	TAILQ_INIT(&devs);
	while ((p = STAILQ_FIRST(&past_devs)) != NULL) {
		STAILQ_REMOVE_HEAD(&past_devs, next);
		free(p);
	}
}

void
emu_fork(enum emu_fork when)
{
	if (when == EMU_FORK_PREPARE) {
		pthread_mutex_lock(&devs_lock);
		pthread_mutex_lock(&kinds_lock);
	} else {
		if (when == EMU_FORK_CHILD)
			forget_all();
		pthread_mutex_unlock(&kinds_lock);
		pthread_mutex_unlock(&devs_lock);
	}
	emu_fail_fork(when);
	emu_trace_fork(when);
}

void
emu_report_print(FILE *out)
{
	fputs("{", out);
	print_commands(out);
	print_alive(out);
	print_reclaimed(out);
	print_pins(out);
	print_dma(out);
	print_devs(out);
	fputs("}\n", out);
}
