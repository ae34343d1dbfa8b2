/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trace of commands: for each a line of text, then both mailboxes in hex as Linux's mlx5_core dumps
 * them, so that command streams of two drivers can be compared with diff.
 *
 * A command is traced after it is done and before its caller goes on: commands that depend on each
 * other stand in their order. Lines that start with '#' are marks of the program's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *_Atomic trace;

/* Whole commands, of which each is written at once: those of several processes do not mix. */
static char buffer[1 << 20];

int
emu_trace_open(const char *path)
{
	FILE *f = fopen(path, "ae");

	if (f == NULL)
		return -errno;
	pthread_mutex_lock(&lock);
	if (trace != NULL)
		fclose(trace);
	setvbuf(f, buffer, _IOFBF, sizeof(buffer));
	trace = f;
	pthread_mutex_unlock(&lock);
	return 0;
}

/* What a mailbox has set and no layout names: words by their offset, without the bits that have a
 * name. */
static void
print_rest(FILE *f, const struct prm_layout *layout, const void *p, size_t len)
{
	uint8_t *rest = malloc(len);
	size_t off;
	uint32_t w;

	if (rest == NULL)
		return;
	memcpy(rest, p, len);
	if (layout != NULL)
		prm_clear_known(layout, rest, len);
	for (off = 0; off + sizeof(w) <= len; off += sizeof(w)) {
		memcpy(&w, rest + off, sizeof(w));
		if (w != 0)
			fprintf(f, " ?0x%zx=0x%08x", off, be32toh(w));
	}
	free(rest);
}

static void
print_mailbox(FILE *f, const char *name, const struct prm_layout *layout, const void *p, size_t len)
{
	fprintf(f, " %s:", name);
	/* Fields are read as whole words: a mailbox of any other length loses its tail here. */
	if (layout != NULL)
		prm_print(f, layout, p, len - len % sizeof(uint32_t));
}

static void
print_opcode(FILE *f, uint16_t opcode)
{
	const char *name = prm_opcode_name(opcode);

	if (name != NULL)
		fprintf(f, " %s", name);
	else
		fprintf(f, " 0x%x", opcode);
}

void
emu_trace_cmd(struct emu_dev *dev, const struct emu_cmd *c, uint8_t status, uint64_t ns)
{
	FILE *f;

	if (trace == NULL)
		return;
	pthread_mutex_lock(&lock);
	f = trace;
	fprintf(f, "%s", dev->cfg.name);
	print_opcode(f, PRM_GET(general_obj_in_cmd_hdr, c->in, opcode));
	fprintf(f, " uid %u status %s(0x%x) syndrome 0x%x ns %" PRIu64, c->uid,
		prm_status_name(status), status, status != 0 ? c->syndrome : 0, ns);
	print_mailbox(f, "in", prm_cmd_layout_in(c->in, c->inlen), c->in, c->inlen);
	print_rest(f, prm_cmd_layout_in(c->in, c->inlen), c->in, c->inlen);
	print_mailbox(f, "out", prm_cmd_layout_out(c->in, c->inlen), c->out, c->outlen);
	fprintf(f, "\ninput %zu bytes\n", c->inlen);
	prm_hexdump(f, c->in, c->inlen);
	fprintf(f, "output %zu bytes\n", c->outlen);
	prm_hexdump(f, c->out, c->outlen);
	/* A program that crashes leaves its last command behind. */
	fflush(f);
	pthread_mutex_unlock(&lock);
}

void
emu_trace_mark(const char *phase)
{
	if (trace == NULL)
		return;
	pthread_mutex_lock(&lock);
	fprintf(trace, "# phase %.*s\n", (int)strcspn(phase, "\n"), phase);
	fflush(trace);
	pthread_mutex_unlock(&lock);
}

/* The file is shared with the other process, what is buffered was written: nothing is lost. */
void
emu_trace_fork(enum emu_fork when)
{
	if (when == EMU_FORK_PREPARE) {
		pthread_mutex_lock(&lock);
		return;
	}
	if (when == EMU_FORK_CHILD && trace != NULL) {
		fclose(trace);
		trace = NULL;
	}
	pthread_mutex_unlock(&lock);
}
