/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA: from a memory key and an address, or a umem and an offset, to the host's memory.
 *
 * Lock: dev->lock, like everything that looks at objects.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "mkey.h"

/* Where an access goes, which way. */
struct access {
	struct emu_dev *dev;
	bool write;
	bool set_bits;             /* those of the one byte in buf, instead of writing it */
	uint8_t *buf;              /* the device's side; only read when write */
};

/* ---- faults ---- */

static bool debug;

static void
debug_init(void)
{
	debug = getenv("MLX5_EMU_DEBUG") != NULL;
}

static bool
debug_on(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, debug_init);
	return debug;
}

static int
fault(const struct access *a, const char *space, uint32_t id, uint64_t at, const char *why)
{
	emu_stats_dma_fault();
	if (debug_on())
		fprintf(stderr, "mlx5_emu: %s: DMA fault: %s of %s 0x%x at 0x%" PRIx64 ": %s\n",
			a->dev->cfg.name, a->write ? "write" : "read", space, id, at, why);
	return -EFAULT;
}

/* One access of the host's memory, contiguous in bus addresses. */
static int
host_access(struct access *a, uint64_t bus, uint32_t len)
{
	const struct emu_host_ops *ops = a->dev->host_ops;
	int ret;

	if (a->set_bits)
		return ops->set_bits(a->dev->host, bus, *a->buf);
	ret = a->write ? ops->write(a->dev->host, bus, a->buf, len) :
		ops->read(a->dev->host, bus, a->buf, len);
	a->buf += len;
	return ret;
}

static void
count_bytes(const struct access *a, uint32_t len)
{
	if (a->write)
		a->dev->dma_written += len;
	else
		a->dev->dma_read += len;
}

/* ---- memory keys ---- */

/* The run that holds the byte at @p off of a key, off < len. */
static uint64_t
find_run(const struct emu_mkey *mkey, uint64_t off)
{
	uint64_t lo = 0, hi = mkey->nruns, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (mkey->run[mid].off <= off)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* One level: the checks of @p key at @p va, then where it leads. @p t shrinks to what lies in one
 * run with va. Returns the key that was looked at, or NULL and why not. */
static const struct emu_mkey *
step(struct emu_dev *dev, struct emu_tlb *t, bool write, uint32_t *key, uint64_t *va,
		const char **why)
{
	const struct emu_mkey *mkey;
	uint64_t off, i, before, after, end;

	*why = "null key";
	if (*key == EMU_NULL_MKEY)
		return NULL;
	mkey = emu_obj_find(dev, EMU_MKEY, *key >> EMU_MKEY_INDEX_SHIFT, 0);
	*why = "no such key";
	if (mkey == NULL || mkey->variant != (uint8_t)*key)
		return NULL;
	*why = "key of another protection domain";
	if (mkey->pd->id != t->pdn)
		return NULL;
	*why = write ? "no local write access" : "no local read access";
	if (write ? !mkey->local_write : !mkey->local_read)
		return NULL;
	off = *va - mkey->start;
	*why = "outside the key's range";
	if (*va < mkey->start || off >= mkey->len)
		return NULL;
	i = find_run(mkey, off);
	end = i + 1 < mkey->nruns ? mkey->run[i + 1].off : mkey->len;
	before = off - mkey->run[i].off;
	after = end - 1 - off;
	/* Until the walk ends, va and last count the bytes around. */
	t->va = before < t->va ? before : t->va;
	t->last = after < t->last ? after : t->last;
	t->readable = t->readable && mkey->local_read;
	t->writable = t->writable && mkey->local_write;
	*va = mkey->run[i].target + before;
	*key = mkey->run[i].key;
	return mkey;
}

/* Look up what holds @p va, with as much around it as translates alike. */
static int
translate(const struct access *a, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va)
{
	uint32_t max = PRM_GET(cmd_hca_cap, a->dev->caps.general, max_indirection);
	struct emu_tlb t = {
		.pdn = pdn,
		.mkey = mkey,
		.va = UINT64_MAX,
		.last = UINT64_MAX,
		.readable = true,
		.writable = true,
	};
	const struct emu_mkey *m;
	uint64_t at = va;
	uint32_t key = mkey, depth;
	const char *why;

	for (depth = 0;; depth++) {
		m = step(a->dev, &t, a->write, &key, &at, &why);
		if (m == NULL)
			return fault(a, "mkey", mkey, va, why);
		if (!m->indirect)
			break;
		if (depth == max)
			return fault(a, "mkey", mkey, va, "too many levels of indirection");
	}
	t.bus = at - t.va;
	t.last = va + t.last;
	t.va = va - t.va;
	t.gen = a->dev->mkey_gen;
	*tlb = t;
	return 0;
}

static inline bool
tlb_hit(const struct access *a, const struct emu_tlb *t, uint32_t pdn, uint32_t mkey, uint64_t va)
{
	return t->gen == a->dev->mkey_gen && t->mkey == mkey && t->pdn == pdn &&
		va >= t->va && va <= t->last && (a->write ? t->writable : t->readable);
}

static int
mkey_access(struct access *a, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va,
		uint32_t len)
{
	uint32_t left = len, chunk;
	uint64_t run;

	for (; left > 0; left -= chunk, va += chunk) {
		if (!tlb_hit(a, tlb, pdn, mkey, va) && translate(a, tlb, pdn, mkey, va) != 0)
			return -EFAULT;
		run = tlb->last - va; /* bytes behind this one: the count itself may not fit */
		chunk = run < left ? (uint32_t)run + 1 : left;
		if (host_access(a, tlb->bus + (va - tlb->va), chunk) != 0)
			return fault(a, "mkey", mkey, va, "the host refused it");
	}
	count_bytes(a, len);
	return 0;
}

int
emu_dma_read(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va,
		void *dst, uint32_t len)
{
	struct access a = { .dev = dev, .buf = dst };

	return mkey_access(&a, tlb, pdn, mkey, va, len);
}

int
emu_dma_write(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va,
		const void *src, uint32_t len)
{
	struct access a = { .dev = dev, .write = true, .buf = (uint8_t *)(uintptr_t)src };

	return mkey_access(&a, tlb, pdn, mkey, va, len);
}

int
emu_dma_set_bits(struct emu_dev *dev, struct emu_tlb *tlb, uint32_t pdn, uint32_t mkey, uint64_t va,
		uint8_t bits)
{
	struct access a = { .dev = dev, .write = true, .set_bits = true, .buf = &bits };

	return mkey_access(&a, tlb, pdn, mkey, va, sizeof(bits));
}

/* ---- umems ---- */

static int
umem_access(struct access *a, const struct emu_umem *umem, uint64_t off, uint32_t len)
{
	uint64_t size = UINT64_C(1) << umem->log_page_size;
	uint64_t at = off + umem->page_offset, in_page;
	uint32_t left = len, chunk;

	if (off > umem->length || len > umem->length - off)
		return fault(a, "umem", umem->obj.id, off, "outside the umem");
	for (; left > 0; left -= chunk, at += chunk) {
		in_page = at & (size - 1);
		chunk = size - in_page < left ? (uint32_t)(size - in_page) : left;
		if (host_access(a, umem->bus[at >> umem->log_page_size] + in_page, chunk) != 0)
			return fault(a, "umem", umem->obj.id, at - umem->page_offset,
				"the host refused it");
	}
	count_bytes(a, len);
	return 0;
}

int
emu_umem_read(struct emu_dev *dev, const struct emu_umem *umem, uint64_t off, void *dst,
		uint32_t len)
{
	struct access a = { .dev = dev, .buf = dst };

	return umem_access(&a, umem, off, len);
}

int
emu_umem_write(struct emu_dev *dev, const struct emu_umem *umem, uint64_t off, const void *src,
		uint32_t len)
{
	struct access a = { .dev = dev, .write = true, .buf = (uint8_t *)(uintptr_t)src };

	return umem_access(&a, umem, off, len);
}
