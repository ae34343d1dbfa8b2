/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb-bench: what the operations of a table of lib/vhost_iotlb cost, beside those of a sorted
 * array.
 *
 * A figure is that of the fastest of many short rounds, in nanoseconds an operation: what the
 * operation takes when nobody is in the way. Addresses are random, all over the table, and others
 * in every round: what fits into the caches is there, as with any steady use, and the rest is not.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "array.h"

#define EXIT_USAGE 2
#define NS_PER_S 1e9
#define NS_PER_MS 1e6
#define MAX_SIZES 16u
#define MAX_MAPS 100000000u
/* Rounds for a figure: at least so many, and as many more as fit into the time. */
#define MIN_ROUNDS 5
#define DEFAULT_MS 200u
/* Operations in a round, and how many maps an array may move about in it. */
#define LOOKUPS 5000u
#define CHANGES 500u
#define ARRAY_MOVES 2000000u
/* Map number i begins at address i << MAP_SHIFT and covers 1 to 16 pages, so that some maps touch
 * the next one and some do not. */
#define MAP_SHIFT 16
#define PAGE_BYTES 4096u
#define PAGES_MAX 16u
#define FILES 3u
/* One map in so many is another one in the tables that are compared. */
#define DIFFERENT 100u
#define SEED 0x9e3779b97f4a7c15ull

/* What is compared: one of each, with the same maps. other and array_other differ in some. */
struct bench {
	size_t n;
	struct vhost_iotlb *table, *other;
	struct array array, array_other, array_before;
	uint64_t picks[CHANGES];                   /* numbers of maps, in random order */
	uint64_t random;
	uint64_t sum;                              /* of all results, so that they are needed */
};

/* Either of them. Their functions say how many things there were, for the sum. */
struct contestant {
	const struct vhost_iotlb_map *(*lookup)(const struct bench *b, uint64_t addr);
	int (*add)(struct bench *b, const struct vhost_iotlb_map *map);
	int (*del)(struct bench *b, const struct vhost_iotlb_map *map);
	uint64_t (*diff)(struct bench *b);
	/* Replace one map, find out what is different, and undo it. */
	uint64_t (*replace)(struct bench *b, const struct vhost_iotlb_map *map);
	unsigned int (*changes)(const struct bench *b);      /* in a round */
};

/* A number under @p below, which has 32 bits. Without a division, which would take as long as what
 * is measured. */
static uint64_t
rnd(struct bench *b, uint64_t below)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return (b->random >> 32) * below >> 32;
}

static struct vhost_iotlb_map
map_number(uint64_t i)
{
	uint64_t pages = 1 + i * 7 % PAGES_MAX;

	return (struct vhost_iotlb_map){
		.start = i << MAP_SHIFT,
		.last = (i << MAP_SHIFT) + pages * PAGE_BYTES - 1,
		.addr = (i + 1) << MAP_SHIFT,
		.perm = VHOST_ACCESS_RW,
		.backing = { .dev = 1, .ino = 1 + i % FILES, .offset = i << MAP_SHIFT, .fd = 3 },
	};
}

/* The same addresses, other memory. */
static struct vhost_iotlb_map
other_map_number(uint64_t i)
{
	struct vhost_iotlb_map map = map_number(i);

	map.backing.ino += FILES;
	return map;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/*
 * The table.
 */

static const struct vhost_iotlb_map *
table_lookup(const struct bench *b, uint64_t addr)
{
	return vhost_iotlb_lookup(b->table, addr);
}

static int
table_add(struct bench *b, const struct vhost_iotlb_map *map)
{
	return vhost_iotlb_add(b->table, map);
}

static int
table_del(struct bench *b, const struct vhost_iotlb_map *map)
{
	return vhost_iotlb_del(b->table, map->start, map->last);
}

static uint64_t
table_diff(struct bench *b)
{
	return vhost_iotlb_diff(b->table, b->other, NULL, NULL);
}

static uint64_t
table_replace(struct bench *b, const struct vhost_iotlb_map *map)
{
	uint64_t steps;

	(void)vhost_iotlb_txn_begin(b->table);
	(void)vhost_iotlb_del(b->table, map->start, map->last);
	(void)vhost_iotlb_add(b->table, map);
	steps = vhost_iotlb_txn_diff(b->table, NULL, NULL);
	vhost_iotlb_txn_abort(b->table);
	return steps;
}

static unsigned int
table_changes(const struct bench *b)
{
	return b->n < CHANGES ? b->n : CHANGES;
}

static const struct contestant table = {
	table_lookup, table_add, table_del, table_diff, table_replace, table_changes,
};

/*
 * The array. It can't undo: it is copied first.
 */

static const struct vhost_iotlb_map *
sorted_lookup(const struct bench *b, uint64_t addr)
{
	return array_lookup(&b->array, addr);
}

static int
sorted_add(struct bench *b, const struct vhost_iotlb_map *map)
{
	return array_add(&b->array, map);
}

static int
sorted_del(struct bench *b, const struct vhost_iotlb_map *map)
{
	array_del(&b->array, map->start);
	return 0;
}

static uint64_t
sorted_diff(struct bench *b)
{
	return array_diff(&b->array, &b->array_other);
}

static uint64_t
sorted_replace(struct bench *b, const struct vhost_iotlb_map *map)
{
	uint64_t steps;

	if (array_copy(&b->array_before, &b->array) < 0)
		return 0;
	array_del(&b->array, map->start);
	(void)array_add(&b->array, map);
	steps = array_diff(&b->array_before, &b->array);
	(void)array_copy(&b->array, &b->array_before);
	return steps;
}

static unsigned int
sorted_changes(const struct bench *b)
{
	size_t n = ARRAY_MOVES / b->n;

	if (n > table_changes(b))
		n = table_changes(b);
	return n > 0 ? n : 1;
}

static const struct contestant sorted = {
	sorted_lookup, sorted_add, sorted_del, sorted_diff, sorted_replace, sorted_changes,
};

/*
 * Operations: one round of each. Returns nanoseconds an operation.
 */

static double
round_lookup(struct bench *b, const struct contestant *c)
{
	double begin = now();

	for (unsigned int i = 0; i < LOOKUPS; i++)
		b->sum += c->lookup(b, rnd(b, b->n) << MAP_SHIFT) != NULL;
	return (now() - begin) / LOOKUPS;
}

/* Where a map is in memory, less what is the same of all. Zero, which the compiler can't know. */
static uint64_t
nothing_of(const struct vhost_iotlb_map *map)
{
	return (uintptr_t)map % _Alignof(struct vhost_iotlb_map);
}

/* One lookup can't begin before the one before it has ended, as it can in round_lookup(), where the
 * processor works at several. */
static double
round_lookup_chain(struct bench *b, const struct contestant *c)
{
	double begin = now();
	uint64_t nothing = 0;

	for (unsigned int i = 0; i < LOOKUPS; i++)
		nothing = nothing_of(c->lookup(b, (rnd(b, b->n) << MAP_SHIFT) + nothing));
	b->sum += nothing;
	return (now() - begin) / LOOKUPS;
}

static double
round_lookup_read(struct bench *b, const struct contestant *c)
{
	double begin = now();

	for (unsigned int i = 0; i < LOOKUPS; i++)
		b->sum += c->lookup(b, rnd(b, b->n) << MAP_SHIFT)->addr;
	return (now() - begin) / LOOKUPS;
}

/* @p n different maps from all over the table, in random order. */
static void
pick(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		b->picks[i] = i * (b->n / n) + rnd(b, b->n / n);
	for (unsigned int i = n; i > 1; i--) {
		unsigned int j = rnd(b, i);
		uint64_t last = b->picks[i - 1];

		b->picks[i - 1] = b->picks[j];
		b->picks[j] = last;
	}
}

/* Maps are taken out and put in again. Either is timed. */
static double
round_changes(struct bench *b, const struct contestant *c, bool adds)
{
	unsigned int n = c->changes(b);
	double begin, between, end;

	pick(b, n);
	begin = now();
	for (unsigned int i = 0; i < n; i++) {
		struct vhost_iotlb_map map = map_number(b->picks[i]);

		b->sum += c->del(b, &map);
	}
	between = now();
	for (unsigned int i = 0; i < n; i++) {
		struct vhost_iotlb_map map = map_number(b->picks[i]);

		b->sum += c->add(b, &map);
	}
	end = now();
	return (adds ? end - between : between - begin) / n;
}

static double
round_add(struct bench *b, const struct contestant *c)
{
	return round_changes(b, c, true);
}

static double
round_delete(struct bench *b, const struct contestant *c)
{
	return round_changes(b, c, false);
}

static double
round_replace(struct bench *b, const struct contestant *c)
{
	unsigned int n = c->changes(b);
	double begin;

	pick(b, n);
	begin = now();
	for (unsigned int i = 0; i < n; i++) {
		struct vhost_iotlb_map map = other_map_number(b->picks[i]);

		b->sum += c->replace(b, &map);
	}
	return (now() - begin) / n;
}

static double
round_difference(struct bench *b, const struct contestant *c)
{
	double begin = now();

	b->sum += c->diff(b);
	return now() - begin;
}

static const struct operation {
	const char *name, *what;
	double (*round)(struct bench *b, const struct contestant *c);
} operations[] = {
	{ "lookup", "find the map that holds an address, one after the other", round_lookup },
	{ "lookup_chain", "the same, each after the end of the one before", round_lookup_chain },
	{ "lookup_read", "find it and read from it", round_lookup_read },
	{ "add", "add a map", round_add },
	{ "delete", "delete a map", round_delete },
	{ "replace", "replace a map, find what is different, undo it", round_replace },
	{ "difference", "compare with a table in which 1 map in 100 is another", round_difference },
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/*
 * Running.
 */

struct result {
	size_t maps;
	double table, array;
};

struct args {
	size_t sizes[MAX_SIZES];
	unsigned int nsizes;
	unsigned int ms;
	const char *json;
};

static void
bench_destroy(struct bench *b)
{
	vhost_iotlb_destroy(b->table);
	vhost_iotlb_destroy(b->other);
	array_destroy(&b->array);
	array_destroy(&b->array_other);
	array_destroy(&b->array_before);
}

/* Fill the table in random order, which is what leaves its nodes as full as they usually are, and
 * the arrays in order. */
static int
bench_fill(struct bench *b)
{
	uint64_t *order = calloc(b->n, sizeof(*order));
	int ret = order == NULL ? -ENOMEM : 0;

	for (size_t i = 0; ret == 0 && i < b->n; i++) {
		size_t j = rnd(b, i + 1);

		order[i] = order[j];
		order[j] = i;
		b->array.map[i] = map_number(i);
		b->array_other.map[i] = i % DIFFERENT == 0 ? other_map_number(i) : map_number(i);
	}
	for (size_t i = 0; ret == 0 && i < b->n; i++) {
		ret = vhost_iotlb_add(b->table, &b->array.map[order[i]]);
		if (ret == 0)
			ret = vhost_iotlb_add(b->other, &b->array_other.map[order[i]]);
	}
	b->array.n = b->n;
	b->array_other.n = b->n;
	free(order);
	return ret;
}

static int
bench_create(struct bench *b, size_t n)
{
	*b = (struct bench){ .n = n, .random = SEED };
	b->table = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	b->other = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (b->table == NULL || b->other == NULL || array_create(&b->array, n) < 0 ||
			array_create(&b->array_other, n) < 0 ||
			array_create(&b->array_before, n) < 0 || bench_fill(b) < 0) {
		bench_destroy(b);
		return -ENOMEM;
	}
	return 0;
}

static double
fastest(struct bench *b, const struct contestant *c, const struct operation *op, unsigned int ms)
{
	double best = op->round(b, c), end = now() + ms * NS_PER_MS;

	for (int rounds = 1; rounds < MIN_ROUNDS || now() < end; rounds++) {
		double ns = op->round(b, c);

		if (ns < best)
			best = ns;
	}
	return best;
}

static void
print_json(FILE *f, const struct args *args, const struct result *results)
{
	fprintf(f, "{\"bench\":\"iotlb\",\"unit\":\"ns\",\"results\":[");
	for (size_t i = 0; i < args->nsizes * OPERATIONS; i++)
		fprintf(f, "%s\n{\"maps\":%zu,\"operation\":\"%s\",\"table\":%.1f,\"array\":%.1f,"
			"\"ratio\":%.3f}", i == 0 ? "" : ",", results[i].maps,
			operations[i % OPERATIONS].name, results[i].table, results[i].array,
			results[i].array / results[i].table);
	fprintf(f, "\n]}\n");
}

static int
json_error(const struct args *args)
{
	fprintf(stderr, "iotlb-bench: --json %s: %s\n", args->json, strerror(errno));
	return EXIT_FAILURE;
}

/* Run all operations on all sizes. Sizes are the outer loop: filling a table takes its time. */
static int
run(const struct args *args, FILE *out, struct result *results)
{
	struct bench b;

	fprintf(out, "nanoseconds an operation, fastest of %d rounds or more; ratio: array/table\n"
		"%10s  %-12s %12s %14s %9s\n", MIN_ROUNDS, "maps", "operation", "table", "array",
		"ratio");
	for (unsigned int i = 0; i < args->nsizes; i++) {
		if (bench_create(&b, args->sizes[i]) < 0) {
			fprintf(stderr, "iotlb-bench: no memory for %zu maps\n", args->sizes[i]);
			return -1;
		}
		for (size_t op = 0; op < OPERATIONS; op++) {
			struct result *r = &results[i * OPERATIONS + op];

			r->maps = b.n;
			r->table = fastest(&b, &table, &operations[op], args->ms);
			r->array = fastest(&b, &sorted, &operations[op], args->ms);
			fprintf(out, "%10zu  %-12s %12.1f %14.1f %9.2f\n", r->maps,
				operations[op].name, r->table, r->array, r->array / r->table);
			fflush(out);
		}
		bench_destroy(&b);
	}
	return 0;
}

static void
usage(void)
{
	printf("Usage: iotlb-bench [--maps N[,N]...] [--ms N] [--json FILE]\n"
		"What the operations of a table of lib/vhost_iotlb cost, beside a sorted array.\n"
		"  --maps N[,N]...  sizes of the table (10,100,1000,10000,100000,1000000)\n"
		"  --ms N           time for each figure, milliseconds (%u)\n"
		"  --json FILE      write the figures there as JSON, too; - is standard output,\n"
		"                   and the table goes to standard error then\n"
		"  --help           this text\n"
		"  --version        the version\n"
		"Operations:\n", DEFAULT_MS);
	for (size_t op = 0; op < OPERATIONS; op++)
		printf("  %-12s     %s\n", operations[op].name, operations[op].what);
}

static int
usage_error(const char *what, const char *arg)
{
	fprintf(stderr, "iotlb-bench: %s%s; see --help\n", what, arg);
	return -EINVAL;
}

/* A number from 1 to @p max at @p text. Returns what follows it, or NULL. */
static const char *
parse_number(const char *text, size_t max, size_t *n)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || value == 0 || value > max)
		return NULL;
	*n = value;
	return end;
}

static int
parse_sizes(struct args *args, const char *text)
{
	const char *at = text;

	for (args->nsizes = 0; args->nsizes < MAX_SIZES; at++) {
		at = parse_number(at, MAX_MAPS, &args->sizes[args->nsizes]);
		if (at == NULL)
			break;
		args->nsizes++;
		if (*at == '\0')
			return 0;
		if (*at != ',')
			break;
	}
	return usage_error("--maps: up to 16 numbers from 1 to 100000000, not ", text);
}

/* Returns 0, 1 when the program has said all it was asked for, or -EINVAL. */
static int
parse_args(struct args *args, int argc, char **argv)
{
	static const struct option options[] = {
		{ "maps", required_argument, NULL, 'm' },
		{ "ms", required_argument, NULL, 't' },
		{ "json", required_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *end;
	size_t ms;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			if (parse_sizes(args, optarg) < 0)
				return -EINVAL;
			break;
		case 't':
			end = parse_number(optarg, 60000, &ms);
			if (end == NULL || *end != '\0')
				return usage_error("--ms: 1 to 60000, not ", optarg);
			args->ms = ms;
			break;
		case 'j':
			args->json = optarg;
			break;
		case 'h':
			usage();
			return 1;
		case 'V':
			printf("iotlb-bench %s\n", MLX5_PERSIST_VERSION);
			return 1;
		case ':':
			return usage_error(argv[optind - 1], " needs a value");
		default:
			return usage_error("unknown option ", argv[optind - 1]);
		}
	}
	return optind < argc ? usage_error("unexpected argument ", argv[optind]) : 0;
}

int
main(int argc, char **argv)
{
	struct args args = { .sizes = { 10, 100, 1000, 10000, 100000, 1000000 }, .nsizes = 6,
		.ms = DEFAULT_MS };
	struct result results[MAX_SIZES * OPERATIONS];
	FILE *json = NULL;
	int ret;

	ret = parse_args(&args, argc, argv);
	if (ret != 0)
		return ret < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	if (args.json != NULL) {
		json = strcmp(args.json, "-") == 0 ? stdout : fopen(args.json, "w");
		if (json == NULL)
			return json_error(&args);
	}
	ret = run(&args, json == stdout ? stderr : stdout, results);
	if (json != NULL) {
		if (ret == 0)
			print_json(json, &args, results);
		if (fclose(json) != 0)
			return json_error(&args);
	}
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
