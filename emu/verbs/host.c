/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bus addresses: a number that counts up, whose unit is 1 GiB, << 30 | the low bits of the
 * virtual address. The number modulo the table's size is the entry's index; the entry holds the
 * whole number, so that an address of a range that was unpinned finds nobody, for as long as 34
 * bits last.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "host.h"
#include "orphans.h"
#include "pages.h"
#include "vma.h"

enum {
	UNIT_SHIFT = 30,
	UNITS = 1 << 16,           /* pins at a time; a process has no more mappings */
	PAGE_SHIFT = 12,
	PAGE = 1 << PAGE_SHIFT,
};

#define UNIT_BYTES (UINT64_C(1) << UNIT_SHIFT)
#define UNIT_END (UINT64_C(1) << (64 - UNIT_SHIFT))

/* Bytes of a pin that are contiguous in memory. */
struct segment {
	uint64_t from, to;         /* from the pin's first byte */
	uint8_t *host;             /* of from */
};

struct pin {
	uint64_t bus;              /* page-aligned */
	uint64_t len;
	uint64_t given;            /* what pin() returned: of a byte in the first page */
	uint64_t unit;             /* the first */
	size_t nunits;
	bool writable;
	struct emu_alias alias;
	struct emu_pages_hold *holds;
	size_t nholds;
	uint64_t *frames;          /* of each page, 0: not pinned but locked; NULL: not checked */
	atomic_flag said;          /* that a page has left */
	size_t nsegments;
	struct segment segments[];
};

struct entry {
	_Atomic uint64_t unit;     /* 0: nothing here for DMA */
	struct pin *pin;           /* NULL: free. Under the lock; for DMA after unit matched */
};

struct emu_host {
	pthread_mutex_t lock;
	uint64_t next;             /* unit to give out next */
	struct emu_pages *pages;
	struct entry *entries;
	int pagemap;               /* -1: pages are not checked */
};

int
emu_host_create(struct emu_host **host)
{
	struct emu_host *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return -ENOMEM;
	rc = emu_pages_create(&h->pages);
	if (rc != 0)
		goto err;
	h->entries = mmap(NULL, UNITS * sizeof(*h->entries), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (h->entries == MAP_FAILED) {
		rc = -ENOMEM;
		goto err_pages;
	}
	pthread_mutex_init(&h->lock, NULL);
	/* Bus address 0 is nobody's. */
	h->next = UNITS;
	h->pagemap = -1;
	emu_guard_install();
	*host = h;
	return 0;

err_pages:
	emu_pages_destroy(h->pages);
err:
	free(h);
	return rc;
}

int
emu_host_check_orphans(struct emu_host *h)
{
	int fd = emu_orphans_open();

	if (fd < 0)
		return fd;
	h->pagemap = fd;
	return 0;
}

/* ---- pin ---- */

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static struct entry *
entry_of(struct emu_host *h, uint64_t unit)
{
	return &h->entries[unit % UNITS];
}

/* Take as many consecutive units as the pin needs. */
static int
take_units(struct emu_host *h, struct pin *pin)
{
	uint64_t unit, tried = 0;
	size_t i = 0;

	pthread_mutex_lock(&h->lock);
	for (unit = h->next; tried < 2 * UNITS; unit += i + 1, tried += i + 1) {
		/* Their entries are consecutive, too. */
		if (unit % UNITS + pin->nunits > UNITS) {
			i = UNITS - unit % UNITS - 1;
			continue;
		}
		for (i = 0; i < pin->nunits && entry_of(h, unit + i)->pin == NULL; i++)
			;
		if (i == pin->nunits)
			break;
	}
	if (tried >= 2 * UNITS || unit + pin->nunits > UNIT_END) {
		pthread_mutex_unlock(&h->lock);
		return -ENOMEM;
	}
	pin->unit = unit;
	h->next = unit + pin->nunits;
	for (i = 0; i < pin->nunits; i++)
		entry_of(h, unit + i)->pin = pin;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static void
give_units(struct emu_host *h, struct pin *pin)
{
	size_t i;

	pthread_mutex_lock(&h->lock);
	for (i = 0; i < pin->nunits; i++)
		entry_of(h, pin->unit + i)->pin = NULL;
	pthread_mutex_unlock(&h->lock);
}

/* Where a mapping's bytes are reached: in the alias if it was mapped again, else where the
 * program has them. */
static uint8_t *
host_of(const struct pin *pin, const struct emu_vma *vma, uint64_t first)
{
	return vma->shared ? pin->alias.base + (vma->from - first) :
		(uint8_t *)(uintptr_t)vma->from;
}

static void
drop_pages(struct emu_host *h, struct pin *pin)
{
	while (pin->nholds > 0)
		emu_pages_drop(h->pages, &pin->holds[--pin->nholds]);
	free(pin->holds);
	pin->holds = NULL;
}

/* Pin where the program has the memory mapped: its page tables are filled already, as they are
 * when a real card's driver pins. The alias fills its own as DMA gets there. */
static int
hold_pages(struct emu_host *h, struct pin *pin, const struct emu_vma *vmas, size_t n)
{
	size_t i, room = 0;
	int rc = 0;

	for (i = 0; i < n; i++)
		room += (vmas[i].to - vmas[i].from + EMU_PAGES_HOLD_MAX - 1) / EMU_PAGES_HOLD_MAX;
	pin->holds = calloc(room, sizeof(*pin->holds));
	if (pin->holds == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		uint64_t at = vmas[i].from;

		while (at < vmas[i].to) {
			uint64_t len = vmas[i].to - at;

			if (len > EMU_PAGES_HOLD_MAX)
				len = EMU_PAGES_HOLD_MAX;
			rc = emu_pages_hold(h->pages, (void *)(uintptr_t)at, len, vmas[i].writable,
				&pin->holds[pin->nholds]);
			if (rc != 0) {
				drop_pages(h, pin);
				return rc;
			}
			pin->nholds++;
			at += len;
		}
	}
	return 0;
}

/* Note which pages are pinned, where the program has them mapped. Locked pages may be moved by the
 * kernel: theirs are not noted. */
static int
note_frames(struct emu_host *h, struct pin *pin, uint64_t first)
{
	const struct emu_pages_hold *hold;
	size_t i;
	int rc = 0;

	if (h->pagemap < 0)
		return 0;
	pin->frames = calloc(pin->len >> PAGE_SHIFT, sizeof(*pin->frames));
	if (pin->frames == NULL)
		return -ENOMEM;
	for (i = 0; i < pin->nholds && rc == 0; i++) {
		hold = &pin->holds[i];
		if (hold->ring != EMU_PAGES_LOCKED)
			rc = emu_orphans_note(h->pagemap, hold->addr, hold->len >> PAGE_SHIFT,
				pin->frames + (((uintptr_t)hold->addr - first) >> PAGE_SHIFT));
	}
	return rc;
}

/* Fill the alias's page tables while the pages are all there: what is missing in them later has
 * left. */
static int
populate(const struct pin *pin)
{
	const struct segment *s;
	size_t i;

	for (i = 0; pin->frames != NULL && i < pin->nsegments; i++) {
		s = &pin->segments[i];
		if (madvise(s->host, s->to - s->from, MADV_POPULATE_READ) != 0)
			return -errno;
	}
	return 0;
}

static void
set_segments(struct pin *pin, const struct emu_vma *vmas, size_t n)
{
	struct segment *s = NULL;
	size_t i;

	for (i = 0; i < n; i++) {
		uint8_t *host = host_of(pin, &vmas[i], vmas[0].from);
		uint64_t from = vmas[i].from - vmas[0].from, to = vmas[i].to - vmas[0].from;

		if (s != NULL && s->host + (s->to - s->from) == host) {
			s->to = to;
			continue;
		}
		s = &pin->segments[pin->nsegments++];
		*s = (struct segment){ .from = from, .to = to, .host = host };
	}
}

/* Make a pin of page-aligned [from, to), not yet visible to DMA. */
static int
pin_create(struct emu_host *h, uint64_t from, uint64_t to, bool write, struct pin **out)
{
	struct emu_vma *vmas;
	struct pin *pin;
	size_t n;
	int rc;

	rc = emu_vma_find(from, to, write, &vmas, &n);
	if (rc != 0)
		return rc;
	pin = calloc(1, sizeof(*pin) + n * sizeof(pin->segments[0]));
	if (pin == NULL) {
		rc = -ENOMEM;
		goto out_vmas;
	}
	pin->len = to - from;
	pin->writable = write;
	pin->nunits = ((to - 1) >> UNIT_SHIFT) - (from >> UNIT_SHIFT) + 1;
	rc = emu_vma_alias(vmas, n, &pin->alias);
	if (rc != 0)
		goto err_pin;
	rc = hold_pages(h, pin, vmas, n);
	if (rc != 0)
		goto err_alias;
	set_segments(pin, vmas, n);
	rc = note_frames(h, pin, from);
	if (rc == 0)
		rc = populate(pin);
	if (rc != 0)
		goto err_hold;
	rc = take_units(h, pin);
	if (rc != 0)
		goto err_hold;
	pin->bus = pin->unit << UNIT_SHIFT | (from & (UNIT_BYTES - 1));
	*out = pin;
	goto out_vmas;

err_hold:
	free(pin->frames);
	drop_pages(h, pin);
err_alias:
	emu_vma_unalias(&pin->alias);
err_pin:
	free(pin);
out_vmas:
	free(vmas);
	return rc;
}

static void
pin_destroy(struct emu_host *h, struct pin *pin)
{
	drop_pages(h, pin);
	emu_vma_unalias(&pin->alias);
	give_units(h, pin);
	free(pin->frames);
	free(pin);
}

static int
host_pin(void *host, uint64_t addr, uint64_t len, unsigned int flags, uint64_t *bus)
{
	const uint64_t in_page = PAGE - 1;
	struct emu_host *h = host;
	uint64_t from = addr & ~in_page, to = (addr + len + in_page) & ~in_page;
	uint64_t start = now_ns();
	struct pin *pin;
	int rc, cancel;
	size_t i;

	if (len == 0 || addr + len < addr || to <= from || to - from > UNITS * UNIT_BYTES)
		return -EFAULT;
	emu_guard_install();
	/* A system call, for the program: not a place at which a thread is cancelled. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	rc = pin_create(h, from, to, (flags & EMU_PIN_WRITE) != 0, &pin);
	pthread_setcancelstate(cancel, NULL);
	if (rc != 0)
		return rc;
	pin->given = pin->bus + (addr - from);
	*bus = pin->given;
	for (i = 0; i < pin->nunits; i++)
		atomic_store_explicit(&entry_of(h, pin->unit + i)->unit, pin->unit + i,
			memory_order_release);
	emu_pins_add((int64_t)(to - from), now_ns() - start);
	return 0;
}

static void
host_unpin(void *host, uint64_t bus)
{
	struct emu_host *h = host;
	struct entry *first = entry_of(h, bus >> UNIT_SHIFT);
	uint64_t start = now_ns(), len;
	struct pin *pin;
	size_t i;

	pthread_mutex_lock(&h->lock);
	pin = first->pin;
	if (pin == NULL || pin->given != bus || atomic_load(&first->unit) != pin->unit) {
		pthread_mutex_unlock(&h->lock);
		return;
	}
	for (i = 0; i < pin->nunits; i++)
		atomic_store(&first[i].unit, 0);
	pthread_mutex_unlock(&h->lock);
	emu_guard_wait(first, first + pin->nunits);
	len = pin->len;
	pin_destroy(h, pin);
	emu_pins_add(-(int64_t)len, now_ns() - start);
}

void
emu_host_destroy(struct emu_host *h)
{
	size_t i;

	if (h == NULL)
		return;
	for (i = 0; i < UNITS; i++) {
		struct pin *pin = h->entries[i].pin;

		if (pin != NULL)
			host_unpin(h, pin->given);
	}
	if (h->pagemap >= 0)
		close(h->pagemap);
	munmap(h->entries, UNITS * sizeof(*h->entries));
	emu_pages_destroy(h->pages);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* ---- DMA ---- */

/* Are the pages at @p off of a pin still those that were pinned? */
static bool
pages_stayed(const struct emu_host *h, struct pin *pin, const void *host, uint64_t off,
		uint32_t len)
{
	uint64_t first = off >> PAGE_SHIFT, last = (off + len - 1) >> PAGE_SHIFT;

	if (pin->frames == NULL || emu_orphans_same(h->pagemap, host, last - first + 1,
			pin->frames + first))
		return true;
	if (!atomic_flag_test_and_set(&pin->said))
		fprintf(stderr, "mlx5-emu: DMA to a page that has left its file, 0x%llx bytes into "
			"0x%llx that were pinned: refused (--check orphans)\n",
			(unsigned long long)off, (unsigned long long)pin->len);
	return false;
}

/* Copy within one unit; the entry is held. */
static int
copy_unit(const struct emu_host *h, struct emu_guard *g, struct entry *e, uint64_t bus, void *buf,
		uint32_t len, enum emu_guard_op op)
{
	uint64_t unit = bus >> UNIT_SHIFT, off;
	const struct segment *s;
	struct pin *pin;

	if (unit == 0 || atomic_load_explicit(&e->unit, memory_order_acquire) != unit)
		return -EFAULT;
	pin = e->pin;
	off = bus - pin->bus;       /* below the first byte: wraps, and is too large */
	if (off > pin->len || len > pin->len - off ||
			(op != EMU_GUARD_LOAD && !pin->writable))
		return -EFAULT;
	for (s = pin->segments; len > 0; s++) {
		uint32_t n;
		int rc;

		if (off >= s->to)
			continue;
		n = len < s->to - off ? len : (uint32_t)(s->to - off);
		if (!pages_stayed(h, pin, s->host + (off - s->from), off, n))
			return -EFAULT;
		rc = emu_guard_copy(g, s->host + (off - s->from), buf, n, op);
		if (rc != 0)
			return rc;
		buf = (uint8_t *)buf + n;
		off += n;
		len -= n;
	}
	return 0;
}

static int
host_copy(struct emu_host *h, uint64_t bus, void *buf, uint32_t len, enum emu_guard_op op)
{
	struct emu_guard *g = emu_guard_self();
	int rc = 0;

	if (g == NULL)
		return -EFAULT;
	while (len > 0 && rc == 0) {
		struct entry *e = entry_of(h, bus >> UNIT_SHIFT);
		uint64_t room = UNIT_BYTES - (bus & (UNIT_BYTES - 1));
		uint32_t n = len < room ? len : (uint32_t)room;

		emu_guard_enter(g, e);
		rc = copy_unit(h, g, e, bus, buf, n, op);
		emu_guard_leave(g);
		buf = (uint8_t *)buf + n;
		bus += n;
		len -= n;
	}
	return rc;
}

static int
host_read(void *host, uint64_t bus, void *dst, uint32_t len)
{
	return host_copy(host, bus, dst, len, EMU_GUARD_LOAD);
}

static int
host_write(void *host, uint64_t bus, const void *src, uint32_t len)
{
	return host_copy(host, bus, (void *)(uintptr_t)src, len, EMU_GUARD_STORE);
}

static int
host_set_bits(void *host, uint64_t bus, uint8_t bits)
{
	return host_copy(host, bus, &bits, sizeof(bits), EMU_GUARD_SET_BITS);
}

/* The program may have put handlers of its own in the place of the guard's since the last pin. */
static void
host_begin(void *host)
{
	(void)host;
	if (emu_guard_covered())
		emu_guard_install();
}

const struct emu_host_ops emu_host_ops = {
	.pin = host_pin,
	.unpin = host_unpin,
	.begin = host_begin,
	.read = host_read,
	.write = host_write,
	.set_bits = host_set_bits,
};
