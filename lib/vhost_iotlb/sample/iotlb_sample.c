/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb-sample: a parent and its front-end, from beginning to end.
 *
 * The parent is the one in software (soft_parent.h), the front-end this program: it plays a VMM
 * with a guest of two files of memory. Every step says what it is, does it, and looks whether the
 * device reaches what it should and nothing else. The last line counts; exit status 1 if a step
 * failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft_parent.h"

#define MIB (UINT64_C(1) << 20)
/* The guest: its memory begins at address 0; more is plugged in at 1 GiB. */
#define GUEST_BYTES (4 * MIB)
#define PLUGGED_AT (1024 * MIB)
/* The VMM's own rings, for the address space that only descriptors are translated with. */
#define RINGS_AT UINT64_C(0x10000)
#define RINGS_BYTES UINT64_C(0x10000)
#define RINGS_ASID 1u
#define NAS 2u

struct story {
	struct vhost_iotlb_soft *card;
	struct vhost_iotlb_dev *dev;
	struct vhost_iotlb_fe *fe;
	int fd[3];                                 /* guest, plugged, rings */
	unsigned int steps, failed;
};

static void
step(struct story *s, const char *what, bool good)
{
	s->steps++;
	s->failed += !good;
	printf("%2u. %s%s\n", s->steps, what, good ? "" : "   FAILED");
}

/* A map of a whole file from guest address @p start on. */
static struct vhost_iotlb_map
map_of_file(int fd, uint64_t start, uint64_t bytes)
{
	struct stat st = { 0 };

	(void)fstat(fd, &st);
	return (struct vhost_iotlb_map){
		.start = start, .last = start + bytes - 1, .perm = VHOST_ACCESS_RW,
		.backing = { .dev = st.st_dev, .ino = st.st_ino, .fd = fd } };
}

/* Does what the device writes at @p addr of @p group arrive in the file, at @p offset? */
static bool
device_reaches(const struct story *s, unsigned int group, uint64_t addr, int fd, off_t offset)
{
	static char word[8] = "packet 0";
	char seen[sizeof(word)] = "";

	word[sizeof(word) - 1]++;
	return vhost_iotlb_soft_write(s->card, group, addr, word, sizeof(word)) == 0 &&
		pread(fd, seen, sizeof(seen), offset) == sizeof(seen) &&
		memcmp(seen, word, sizeof(word)) == 0;
}

/* The process itself uses the device, with its own addresses. */
static bool
host_uses_it(const struct story *s)
{
	uint64_t mine = 1, word = 2;

	return vhost_iotlb_soft_write(s->card, VHOST_IOTLB_SOFT_DATA, (uintptr_t)&mine, &word,
		sizeof(word)) == 0 && mine == word;
}

/* It can't. */
static bool
host_is_out_of_reach(const struct story *s)
{
	uint64_t mine = 1, word = 2;

	return vhost_iotlb_soft_write(s->card, VHOST_IOTLB_SOFT_DATA, (uintptr_t)&mine, &word,
		sizeof(word)) < 0 && mine == 1;
}

static void
a_host_driver(struct story *s)
{
	vhost_iotlb_soft_start(s->card);
	step(s, "nobody has mapped anything: the mapping is 1:1, for the host's own driver",
		vhost_iotlb_soft_is_initial(s->card, 0) && host_uses_it(s));
	step(s, "a front-end comes, and the virtio device is reset",
		vhost_iotlb_dev_reset(s->dev) == 0 && vhost_iotlb_fe_open(s->dev, &s->fe) == 0);
}

static void
a_guest_starts(struct story *s)
{
	struct vhost_iotlb_map guest = map_of_file(s->fd[0], 0, GUEST_BYTES);

	step(s, "it acknowledges what is offered, IOTLB_PERSIST too",
		vhost_iotlb_fe_set_features(s->fe, vhost_iotlb_dev_features(s->dev)) == 0 &&
		(vhost_iotlb_fe_features(s->fe) &
			VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST)) != 0);
	step(s, "it maps the guest's memory, which ends the initial mapping",
		vhost_iotlb_fe_map(s->fe, 0, &guest) == 0 &&
		!vhost_iotlb_soft_is_initial(s->card, 0));
	vhost_iotlb_soft_start(s->card);
	step(s, "the guest starts the device, which writes into the guest",
		device_reaches(s, VHOST_IOTLB_SOFT_DATA, 0x2000, s->fd[0], 0x2000));
	step(s, "and nowhere else", host_is_out_of_reach(s));
}

static void
it_reboots(struct story *s)
{
	bool stopped;

	stopped = vhost_iotlb_fe_reset(s->fe) == 0 && !vhost_iotlb_soft_runs(s->card);
	vhost_iotlb_soft_start(s->card);
	step(s, "the guest reboots: a virtio reset, after which the maps are still there",
		stopped && device_reaches(s, VHOST_IOTLB_SOFT_DATA, 0x3000, s->fd[0], 0x3000));
}

static void
memory_is_plugged(struct story *s)
{
	struct vhost_iotlb *table = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map lower = map_of_file(s->fd[0], 0, GUEST_BYTES / 2), upper, plugged;
	unsigned int changed = 0;
	bool good;

	/* The VMM sends the whole table, and the old memory is sliced in another way. */
	upper = map_of_file(s->fd[0], GUEST_BYTES / 2, GUEST_BYTES / 2);
	upper.backing.offset = GUEST_BYTES / 2;
	plugged = map_of_file(s->fd[1], PLUGGED_AT, GUEST_BYTES);
	good = table != NULL && vhost_iotlb_add(table, &lower) == 0 &&
		vhost_iotlb_add(table, &upper) == 0 && vhost_iotlb_add(table, &plugged) == 0 &&
		vhost_iotlb_fe_set_table(s->fe, 0, table, &changed) == 0;
	step(s, "memory is plugged in: a new table, which differs by one map",
		good && changed == 1 &&
		device_reaches(s, VHOST_IOTLB_SOFT_DATA, PLUGGED_AT, s->fd[1], 0));
	vhost_iotlb_destroy(table);
}

static void
rings_move_out(struct story *s)
{
	struct vhost_iotlb_map rings = map_of_file(s->fd[2], RINGS_AT, RINGS_BYTES);
	int group = vhost_iotlb_dev_vq_desc_group(s->dev, 0);

	step(s, "the VMM gives descriptors an address space of their own",
		group >= 0 && vhost_iotlb_fe_map(s->fe, RINGS_ASID, &rings) == 0 &&
		vhost_iotlb_fe_set_group_asid(s->fe, group, RINGS_ASID) == 0 &&
		device_reaches(s, VHOST_IOTLB_SOFT_DESC, RINGS_AT, s->fd[2], 0));
	step(s, "in which the guest can't be reached",
		vhost_iotlb_soft_write(s->card, VHOST_IOTLB_SOFT_DESC, PLUGGED_AT, "", 1) < 0);
	step(s, "while data goes where it went",
		device_reaches(s, VHOST_IOTLB_SOFT_DATA, RINGS_AT, s->fd[0], RINGS_AT));
}

static void
the_vmm_leaves(struct story *s)
{
	int ret = vhost_iotlb_fe_reset(s->fe);

	if (ret == 0)
		ret = vhost_iotlb_fe_release(s->fe);
	vhost_iotlb_soft_start(s->card);
	step(s, "the VMM leaves: its maps end, the mapping is 1:1 again",
		ret == 0 && vhost_iotlb_soft_is_initial(s->card, 0) &&
		vhost_iotlb_soft_is_initial(s->card, RINGS_ASID) && host_uses_it(s));
}

int
main(void)
{
	struct story s = { 0 };

	for (int i = 0; i < 3; i++) {
		s.fd[i] = memfd_create("sample", MFD_CLOEXEC);
		if (s.fd[i] < 0 || ftruncate(s.fd[i], GUEST_BYTES) < 0) {
			perror("iotlb-sample: memfd");
			return EXIT_FAILURE;
		}
	}
	s.card = vhost_iotlb_soft_create(NAS);
	if (s.card == NULL ||
			vhost_iotlb_dev_create(&vhost_iotlb_soft_ops, s.card, NAS, &s.dev) < 0) {
		fprintf(stderr, "iotlb-sample: out of memory\n");
		return EXIT_FAILURE;
	}
	a_host_driver(&s);
	a_guest_starts(&s);
	it_reboots(&s);
	memory_is_plugged(&s);
	rings_move_out(&s);
	the_vmm_leaves(&s);
	vhost_iotlb_dev_destroy(s.dev);
	vhost_iotlb_soft_destroy(s.card);
	printf("%u steps, %u failed\n", s.steps, s.failed);
	return s.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
