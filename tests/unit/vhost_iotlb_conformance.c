/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_conformance: run the conformance suite of lib/vhost_iotlb, or print it.
 *
 * Its parents: "none", the library alone, and "software". A driver runs the suite on its own parent
 * from a program of its own: an adapter and a call of vhost_iotlb_conf_run().
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "soft_parent.h"

#define EXIT_USAGE 2

static void *
soft_create(unsigned int nas)
{
	return vhost_iotlb_soft_create(nas);
}

static void
soft_destroy(void *parent)
{
	vhost_iotlb_soft_destroy(parent);
}

static int
soft_read(void *parent, unsigned int group, uint64_t addr, uint64_t *value)
{
	struct vhost_iotlb_soft *soft = parent;

	vhost_iotlb_soft_start(soft);
	return vhost_iotlb_soft_read(soft, group, addr, value, sizeof(*value));
}

static const struct vhost_iotlb_conf_adapter software = {
	.name = "software", .ops = &vhost_iotlb_soft_ops, .create = soft_create,
	.destroy = soft_destroy, .read = soft_read,
};

static const struct {
	const char *name;
	const struct vhost_iotlb_conf_adapter *adapter;
} parents[] = { { "none", NULL }, { "software", &software } };

#define PARENTS (sizeof(parents) / sizeof(parents[0]))

struct args {
	const char *parent;                        /* NULL: all */
	const char *check;                         /* a file, or NULL */
	bool quiet, print;
};

static void
usage(void)
{
	printf("Usage: vhost_iotlb_conformance [--parent none|software] [--quiet]\n"
		"       vhost_iotlb_conformance --print | --check FILE\n"
		"Run the conformance suite of lib/vhost_iotlb, or print it.\n"
		"  --parent NAME   run it on this parent alone: none (the library by itself),\n"
		"                  software\n"
		"  --quiet         no lines for scenarios that pass\n"
		"  --print         print the scenarios as a part of the guide\n"
		"  --check FILE    is FILE what --print prints?\n"
		"  --help          this text\n"
		"  --version       the version\n");
}

static int
usage_error(const char *what, const char *arg)
{
	fprintf(stderr, "vhost_iotlb_conformance: %s%s; see --help\n", what, arg);
	return -EINVAL;
}

static bool
is_parent(const char *name)
{
	for (size_t i = 0; i < PARENTS; i++)
		if (strcmp(parents[i].name, name) == 0)
			return true;
	return false;
}

/* Returns 0, 1 when the program has said all it was asked for, or -EINVAL. */
static int
parse_args(struct args *args, int argc, char **argv)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "print", no_argument, NULL, 'P' },
		{ "check", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			if (!is_parent(optarg))
				return usage_error("--parent: none or software, not ", optarg);
			args->parent = optarg;
			break;
		case 'q':
			args->quiet = true;
			break;
		case 'P':
			args->print = true;
			break;
		case 'c':
			args->check = optarg;
			break;
		case 'h':
			usage();
			return 1;
		case 'V':
			printf("vhost_iotlb_conformance %s\n", MLX5_PERSIST_VERSION);
			return 1;
		case ':':
			return usage_error(argv[optind - 1], " needs a value");
		default:
			return usage_error("unknown option ", argv[optind - 1]);
		}
	}
	return optind < argc ? usage_error("unexpected argument ", argv[optind]) : 0;
}

/* Is the file the page? Returns an exit status. */
static int
check_page(const char *path)
{
	FILE *file = fopen(path, "r"), *page;
	char *text = NULL;
	size_t len = 0, at = 0;
	bool same = true;
	int c;

	if (file == NULL) {
		fprintf(stderr, "vhost_iotlb_conformance: %s: %s\n", path, strerror(errno));
		return EXIT_FAILURE;
	}
	page = open_memstream(&text, &len);
	if (page == NULL) {
		fclose(file);
		return EXIT_FAILURE;
	}
	vhost_iotlb_conf_print(page);
	fclose(page);
	while (same && (c = fgetc(file)) != EOF)
		same = at < len && (unsigned char)text[at++] == c;
	same = same && at == len;
	fclose(file);
	free(text);
	if (!same)
		fprintf(stderr, "vhost_iotlb_conformance: %s is out of date: write it again with"
			" --print\n", path);
	return same ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run(const struct args *args)
{
	struct vhost_iotlb_conf_result r;
	unsigned int failed = 0;

	for (size_t i = 0; i < PARENTS; i++) {
		if (args->parent != NULL && strcmp(args->parent, parents[i].name) != 0)
			continue;
		printf("parent: %s\n", parents[i].name);
		r = vhost_iotlb_conf_run(parents[i].adapter, stdout, args->quiet);
		printf("%u passed, %u failed, %u left out\n", r.passed, r.failed, r.left_out);
		failed += r.failed;
	}
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	struct args args = { 0 };
	int ret;

	ret = parse_args(&args, argc, argv);
	if (ret != 0)
		return ret < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	if (args.print) {
		vhost_iotlb_conf_print(stdout);
		return EXIT_SUCCESS;
	}
	return args.check != NULL ? check_page(args.check) : run(&args);
}
