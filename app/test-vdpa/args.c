/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "bench.h"
#include "net.h"

#define DEFAULT_MEM (1ull << 30)
#define DEFAULT_QUEUE_SIZE 256
#define DEFAULT_ITERATIONS 10
#define DEFAULT_SECONDS 10
#define DEFAULT_PPS 100000
#define MAX_MEM (1ull << 44)		/* as much as a guest address of 44 bits reaches */
#define MAX_PAIRS 128			/* what DPDK's vhost library has room for */
#define MAX_ITERATIONS 10000000
#define MAX_GAP_MS 3600000
#define MAX_SECONDS 86400

enum opt {
	OPT_DEVICE = 256, OPT_SOCKET, OPT_BENCH, OPT_INTERACTIVE, OPT_MEM, OPT_REGIONS, OPT_BACKING,
	OPT_QUEUES, OPT_QUEUE_SIZE, OPT_PACKED, OPT_ITERATIONS, OPT_GAP, OPT_SECONDS, OPT_PPS,
	OPT_JSON, OPT_ENABLE_LATE, OPT_INTERRUPTS, OPT_UNTOUCHED, OPT_HELP, OPT_VERSION,
};

static const struct option options[] = {
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "bench", required_argument, NULL, OPT_BENCH },
	{ "interactive", no_argument, NULL, OPT_INTERACTIVE },
	{ "mem", required_argument, NULL, OPT_MEM },
	{ "regions", required_argument, NULL, OPT_REGIONS },
	{ "backing", required_argument, NULL, OPT_BACKING },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "queue-size", required_argument, NULL, OPT_QUEUE_SIZE },
	{ "packed", no_argument, NULL, OPT_PACKED },
	{ "iterations", required_argument, NULL, OPT_ITERATIONS },
	{ "gap", required_argument, NULL, OPT_GAP },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "pps", required_argument, NULL, OPT_PPS },
	{ "json", required_argument, NULL, OPT_JSON },
	{ "enable-late", no_argument, NULL, OPT_ENABLE_LATE },
	{ "interrupts", no_argument, NULL, OPT_INTERRUPTS },
	{ "untouched", no_argument, NULL, OPT_UNTOUCHED },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
"dpdk-test-vdpa: resets a vDPA device under a guest's traffic, and measures what that costs\n"
"\n"
"  dpdk-test-vdpa [EAL options] -- --bench NAME | --interactive [options]\n"
"\n"
"  --bench NAME        reset    virtio resets, the memory stays\n"
"                      remap    the memory comes back at other userspace addresses,\n"
"                               alternating with other regions over the same files\n"
"                      replace  other memory comes back at the same guest addresses\n"
"                      hotplug  memory is added under traffic, an eighth of --mem, and\n"
"                               in the next iteration removed\n"
"                      reconnect\n"
"                               the connection ends and comes back, the memory stays\n"
"                      start    first starts: a connection and its memory are new\n"
"                      migrate  the guest moves to the second device with its memory,\n"
"                               and back\n"
"                      throughput\n"
"                               no reset: plain packets, as fast as they go\n"
"  --interactive       a shell instead: \"help\" lists its commands\n"
"  --device NAME       vDPA device of this process; may be left out when there is one\n"
"  --socket PATH       instead: the vhost-user back-end that listens there\n"
"  --mem SIZE          guest memory, in units of 2 MiB (1G); K, M, G are powers of two\n"
"  --regions N         regions of the memory table, 1 to 8 (1)\n"
"  --backing KIND      memfd or hugetlbfs (memfd)\n"
"  --queues PAIRS      queue pairs (1)\n"
"  --queue-size N      descriptors of a ring, a power of two (256)\n"
"  --packed            packed rings instead of split ones\n"
"  --enable-late       enable all queue pairs but the first after DRIVER_OK\n"
"  --interrupts        the guest looks at a receive ring only when the device has called\n"
"  --untouched         start: nobody has touched the new memory before it is pinned\n"
"  --iterations N      how often to do it (10)\n"
"  --gap MS            time between the stop and the start again (0)\n"
"  --seconds N         length of throughput (10)\n"
"  --pps N             packets a second that the guest sends, over all queues (100000)\n"
"  --json FILE         write the result there too\n"
"  --help, --version\n"
"\n"
"Exit status: 0, or 1 if the driver did not come back or a packet was harmed, or 2 for bad usage.\n"
"EAL options, such as -l 0,1 --no-pci --vdev=...: see dpdk-testpmd --help.\n";

void
args_usage(FILE *out)
{
	fputs(usage, out);
}

static const char *
option_name(int value)
{
	const struct option *o;

	for (o = options; o->val != value; o++)
		;
	return o->name;
}

/* Parse a decimal number from @min to @max. */
static int
number(int opt, const char *s, uint64_t min, uint64_t max, uint64_t *out, char *err, size_t errlen)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0' || *s == '-' || v < min || v > max) {
		snprintf(err, errlen, "--%s %s: must be a number from %" PRIu64 " to %" PRIu64,
				option_name(opt), s, min, max);
		return -EINVAL;
	}
	*out = v;
	return 0;
}

static int
size(int opt, const char *s, uint64_t *out, char *err, size_t errlen)
{
	static const char units[] = "KMG";
	uint64_t v = 0, unit = 1;
	const char *u;
	char *end;

	errno = 0;
	v = strtoull(s, &end, 10);
	u = *end ? strchr(units, *end) : NULL;
	if (u != NULL) {
		unit = 1ull << (10 * (u - units + 1));
		end++;
	}
	if (errno != 0 || end == s || *end != '\0' || *s == '-' || v == 0 || v > MAX_MEM / unit ||
			v * unit % LAYOUT_PAGE != 0) {
		snprintf(err, errlen, "--%s %s: must be a size in units of 2M up to 16384G",
				option_name(opt), s);
		return -EINVAL;
	}
	*out = v * unit;
	return 0;
}

static int
backing(const char *s, enum mem_backing *out, char *err, size_t errlen)
{
	if (strcmp(s, "memfd") == 0) {
		*out = MEM_MEMFD;
	} else if (strcmp(s, "hugetlbfs") == 0) {
		*out = MEM_HUGETLBFS;
	} else {
		snprintf(err, errlen, "--backing %s: must be memfd or hugetlbfs", s);
		return -EINVAL;
	}
	return 0;
}

static int
bench(const char *s, const struct bench_kind **out, char *err, size_t errlen)
{
	char names[128];

	*out = bench_find(s);
	if (*out != NULL)
		return 0;
	bench_names(names, sizeof(names), ", ");
	snprintf(err, errlen, "--bench %s: must be one of %s", s, names);
	return -EINVAL;
}

static int
queue_size(struct args *a, const char *s, char *err, size_t errlen)
{
	uint64_t v;

	if (number(OPT_QUEUE_SIZE, s, NET_MIN_QUEUE_SIZE, NET_MAX_QUEUE_SIZE, &v, err, errlen) != 0)
		return -EINVAL;
	if ((v & (v - 1)) != 0) {
		snprintf(err, errlen, "--queue-size %s: must be a power of two", s);
		return -EINVAL;
	}
	a->queue_size = v;
	return 0;
}

static int
numeric(struct args *a, int opt, const char *s, char *err, size_t errlen)
{
	static const struct {
		int opt;
		uint64_t min, max;
	} ranges[] = {
		{ OPT_REGIONS, 1, LAYOUT_MAX_SLICES },
		{ OPT_QUEUES, 1, MAX_PAIRS },
		{ OPT_ITERATIONS, 1, MAX_ITERATIONS },
		{ OPT_GAP, 0, MAX_GAP_MS },
		{ OPT_SECONDS, 1, MAX_SECONDS },
		{ OPT_PPS, 1, ARGS_MAX_PPS },
	};
	unsigned int i = 0;
	uint64_t v;

	while (ranges[i].opt != opt)
		i++;
	if (number(opt, s, ranges[i].min, ranges[i].max, &v, err, errlen) != 0)
		return -EINVAL;
	switch (opt) {
	case OPT_REGIONS: a->regions = v; break;
	case OPT_QUEUES: a->pairs = v; break;
	case OPT_ITERATIONS: a->iterations = v; break;
	case OPT_GAP: a->gap_ms = v; break;
	case OPT_SECONDS: a->seconds = v; break;
	default: a->pps = v; break;
	}
	return 0;
}

static int
apply(struct args *a, int opt, const char *s, char *err, size_t errlen)
{
	switch (opt) {
	case OPT_DEVICE: a->device = s; return 0;
	case OPT_SOCKET: a->socket = s; return 0;
	case OPT_JSON: a->json = s; return 0;
	case OPT_PACKED: a->packed = true; return 0;
	case OPT_ENABLE_LATE: a->enable_late = true; return 0;
	case OPT_INTERACTIVE: a->interactive = true; return 0;
	case OPT_UNTOUCHED: a->untouched = true; return 0;
	case OPT_INTERRUPTS: a->interrupts = true; return 0;
	case OPT_HELP: a->help = true; return 0;
	case OPT_VERSION: a->version = true; return 0;
	case OPT_BENCH: return bench(s, &a->bench, err, errlen);
	case OPT_MEM: return size(opt, s, &a->mem_bytes, err, errlen);
	case OPT_BACKING: return backing(s, &a->backing, err, errlen);
	case OPT_QUEUE_SIZE: return queue_size(a, s, err, errlen);
	default: return numeric(a, opt, s, err, errlen);
	}
}

static int
check(const struct args *a, char *err, size_t errlen)
{
	char names[128];

	if (a->interactive && a->bench != NULL) {
		snprintf(err, errlen, "--interactive: excludes --bench, which is a command there");
		return -EINVAL;
	}
	if (a->interactive && a->json != NULL) {
		snprintf(err, errlen, "--json: goes with --bench, not with --interactive");
		return -EINVAL;
	}
	if (a->bench == NULL && !a->interactive) {
		bench_names(names, sizeof(names), ", ");
		snprintf(err, errlen, "--bench is missing: one of %s (or --interactive)", names);
		return -EINVAL;
	}
	if (a->bench != NULL && a->bench->two && a->socket != NULL) {
		snprintf(err, errlen, "--socket: --bench %s takes two devices of this process",
				a->bench->name);
		return -EINVAL;
	}
	if (a->untouched && (a->bench == NULL || !a->bench->starts)) {
		snprintf(err, errlen, "--untouched: goes with --bench start alone");
		return -EINVAL;
	}
	if (a->device != NULL && a->socket != NULL) {
		snprintf(err, errlen, "--socket: a back-end elsewhere excludes --device");
		return -EINVAL;
	}
	return 0;
}

int
args_parse(struct args *a, int argc, char **argv, char *err, size_t errlen)
{
	int opt;

	*a = (struct args){
		.mem_bytes = DEFAULT_MEM, .regions = 1, .backing = MEM_MEMFD, .pairs = 1,
		.queue_size = DEFAULT_QUEUE_SIZE, .iterations = DEFAULT_ITERATIONS,
		.seconds = DEFAULT_SECONDS, .pps = DEFAULT_PPS,
	};
	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (opt == ':' || opt == '?') {
			snprintf(err, errlen, "%s: %s", argv[optind - 1], opt == ':' ?
					"needs a value" : "unknown, ambiguous, or takes no value");
			return -EINVAL;
		}
		if (apply(a, opt, optarg, err, errlen) != 0)
			return -EINVAL;
		if (a->help || a->version)
			return 0;
	}
	if (optind < argc) {
		snprintf(err, errlen, "%s: every argument is an option here", argv[optind]);
		return -EINVAL;
	}
	return check(a, err, errlen);
}
