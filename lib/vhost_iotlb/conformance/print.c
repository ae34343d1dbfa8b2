/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "scenarios.h"

/* Widest line of what is printed, where words allow. */
#define COLUMNS 100

/* Words as literals, in lines: each line of a cell begins with @p indent spaces, the first one,
 * where @p at columns are printed already, does not. */
static void
print_words(FILE *out, const char *words, int at, int indent)
{
	const int quotes = strlen("````");
	bool open = false;

	if (*words == '\0') {
		fprintf(out, "nothing\n");
		return;
	}
	while (*words != '\0') {
		int len = strcspn(words, " ");

		if (open && at + 1 + len + quotes > COLUMNS) {
			fprintf(out, "``\n%*s", indent, "");
			open = false;
			at = indent;
		}
		fprintf(out, "%s%.*s", open ? " " : "``", len, words);
		at += len + (open ? 1 : 2);
		open = true;
		words += len + strspn(words + len, " ");
	}
	fprintf(out, "``\n");
}

static void
print_title(FILE *out, const char *title)
{
	fprintf(out, "\n%s\n", title);
	for (size_t i = strlen(title); i > 0; i--)
		fputc('~', out);
	fprintf(out, "\n\n");
}

static void
print_notation(FILE *out)
{
	print_title(out, "How scenarios are told");
	fputs("A scenario is told in words. What the front-end does:\n"
		"\n"
		"``open``, ``release``\n"
		"   It comes and goes.\n"
		"``ack``, ``ack:persist``, ``ack:asid+desc``, ``ack:none``\n"
		"   It acknowledges all that is offered; ``IOTLB_PERSIST`` alone; ``IOTLB_ASID``\n"
		"   and ``DESC_ASID``; nothing.\n"
		"``map:AB``, ``unmap:A``, ``table:AB``\n"
		"   Map operations, by the letters of memory; the last sets the whole table.\n"
		"``begin``, ``end``\n"
		"   A batch.\n"
		"``bind1:0``\n"
		"   Group 0 is bound to address space 1.\n"
		"``reset``\n"
		"   A virtio reset, with or without a front-end.\n"
		"``fail:N``, ``fail:N+M``\n"
		"   The N-th operation of the parent from here on is refused, and the M-th\n"
		"   after it.\n"
		"\n"
		"A digit behind the verb names the address space (``map1:A``), which is 0\n"
		"otherwise; ``=EIO`` behind a word says that it fails, and how. What the parent\n"
		"sees are its operations: a digit behind the name is the address space, letters\n"
		"are the maps that it is given, ``0-1`` are pages, and an operation that it\n"
		"refuses ends in ``!``.\n"
		"\n"
		"Letters are memory: ``A`` to ``D`` pages of different files, ``E`` two pages of\n"
		"one, ``e`` its first and ``f`` its second; ``a`` is another file's page at the\n"
		"address of ``A``. After every word the device of the parent under test, if it\n"
		"can be asked, has to reach what is mapped, page by page, and nothing else.\n",
		out);
}

static void
print_kinds(FILE *out)
{
	print_title(out, "Kinds of parents");
	for (unsigned int kind = 0; kind < VHOST_IOTLB_CONF_KINDS; kind++)
		fprintf(out, "``%s``\n   %s\n", vhost_iotlb_conf_kinds[kind].name,
			vhost_iotlb_conf_kinds[kind].what);
}

/* The scenarios of a rule from number @p i on. Returns the number behind the last one. */
static size_t
print_rule(FILE *out, size_t i)
{
	const char *rule = vhost_iotlb_conf_scenarios[i].rule;
	char title[32];

	snprintf(title, sizeof(title), "Scenarios of %s", rule);
	print_title(out, title);
	fprintf(out, ".. list-table::\n   :header-rows: 1\n   :widths: 26 12 28 30 14\n\n"
		"   * - what it shows\n     - parent\n     - the front-end\n"
		"     - the parent sees\n     - from\n");
	for (; i < vhost_iotlb_conf_nscenarios; i++) {
		const struct vhost_iotlb_conf_scenario *s = &vhost_iotlb_conf_scenarios[i];

		if (strcmp(s->rule, rule) != 0)
			break;
		fprintf(out, "   * - %s\n     - %s%s\n     - ", s->what,
			vhost_iotlb_conf_kinds[s->kind].name, s->nas > 1 ? ", two spaces" : "");
		print_words(out, s->front_end, 7, 7);
		fprintf(out, "     - ");
		print_words(out, s->ops, 7, 7);
		fprintf(out, "     - %s\n", s->sources);
	}
	return i;
}

static void
print_meeting(FILE *out, const struct vhost_iotlb_conf_meeting *m)
{
	const char *p = strchr(m->front_end, 'P');

	fprintf(out, "\nThe front-end %s (from %s)::\n\n   ", m->what, m->sources);
	if (p == NULL)
		fprintf(out, "%s\n", m->front_end);
	else
		fprintf(out, "%.*sack:persist%s\n", (int)(p - m->front_end), m->front_end, p + 1);
	fprintf(out, "\n.. list-table::\n   :header-rows: 1\n   :widths: 20 80\n\n"
		"   * - parent\n     - sees\n");
	for (unsigned int kind = 0; kind < VHOST_IOTLB_CONF_KINDS; kind++) {
		if (m->ops[kind] == NULL)
			continue;
		fprintf(out, "   * - %s%s\n     - ", vhost_iotlb_conf_kinds[kind].name,
			p == NULL || vhost_iotlb_conf_persists(kind) ? "" :
				", does not offer it");
		print_words(out, m->ops[kind], 7, 7);
	}
}

void
vhost_iotlb_conf_print(FILE *out)
{
	fprintf(out, "..  SPDX-License-Identifier: BSD-3-Clause\n"
		"    Written by vhost_iotlb_conformance --print; a test holds it to that.\n");
	print_notation(out);
	print_kinds(out);
	for (size_t i = 0; i < vhost_iotlb_conf_nscenarios;)
		i = print_rule(out, i);
	print_title(out, "Every front-end with every kind of parent");
	fprintf(out, "C1 to C5 together.\n");
	for (size_t i = 0; i < vhost_iotlb_conf_nmeetings; i++)
		print_meeting(out, &vhost_iotlb_conf_meetings[i]);
	print_title(out, "Where scenarios come from");
	for (size_t i = 0; i < vhost_iotlb_conf_nsources; i++)
		fprintf(out, "%s\n   %s\n", vhost_iotlb_conf_sources[i].key,
			vhost_iotlb_conf_sources[i].what);
}
