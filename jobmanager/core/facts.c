/* SPDX-License-Identifier: Apache-2.0 */
/* The two facts that every vertex has, written without the cost of a format; and names as facts have them. */
#include "state.h"

#define TEXT_MAX 200 /* bytes of such a fact */

static char *put_text(char *to, const char *text)
{
	size_t n = strlen(text);

	memcpy(to, text, n);
	return to + n;
}

static char *put_number(char *to, uint64_t n)
{
	char digits[20];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + n % 10);
	while (n /= 10);
	while (count)
		*to++ = digits[--count];
	return to;
}

static char *put_hex(char *to, uint64_t n)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[n >> shift & 15];
	return to;
}

/* "WORD VERTEX ATTEMPT node=N"; *ret_text is where the fact begins. */
static char *begin(
	struct jm *jm, const char *word, uint32_t vertex, uint32_t attempt, uint32_t node, char **ret_text)
{
	char *to = *ret_text = arena_alloc(&jm->texts, TEXT_MAX);

	to = put_text(to, word);
	*to++ = ' ';
	to = put_number(to, vertex);
	*to++ = ' ';
	to = put_number(to, attempt);
	return put_number(put_text(to, " node="), node);
}

void fact_started(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node, uint32_t count)
{
	char *text, *to;

	if (jm->replaying)
		return;
	to = begin(jm, "started", vertex, attempt, node, &text);
	if (count > 1)
		put_number(put_text(to, " count="), count);
	jm_emit(jm, JM_JOURNAL)->text = text;
}

void fact_committed(struct jm *jm, uint32_t vertex, const struct jm_outcome *o)
{
	const struct jm_vertex *v = &jm->vertices[vertex];
	char *text, *to;

	if (jm->replaying)
		return;
	to = put_text(begin(jm, "committed", vertex, v->attempt, v->node, &text), " hash=");
	to = put_hex(put_hex(to, o->hash_high), o->hash_low);
	to = put_number(put_text(to, " bytes="), o->bytes);
	to = put_hex(put_text(to, " inputs="), o->inputs);
	to = put_number(put_text(to, " us="), (uint64_t)o->run_ns / 1000);
	if (o->closed_early)
		put_text(to, " closed");
	jm_emit(jm, JM_JOURNAL)->text = text;
}

/*
 * A fact is one line, and a name may be anything: a backslash or a control character is \xHH. Blanks stay:
 * the name is all that follows the word.
 */
void fact_node(struct jm *jm, const char *word, const char *name)
{
	struct buffer b = {0};

	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '\\')
			buffer_format(&b, "\\x%02x", (unsigned char)*c);
		else
			buffer_append(&b, c, 1);
	jm_fact(jm, "%s %.*s", word, (int)b.len, (char *)b.data);
	buffer_fini(&b);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int fact_byte(const char *text)
{
	int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

	return low < 0 ? -1 : high << 4 | low;
}

bool fact_number(const char **text, uint32_t *ret_number)
{
	const char *c = *text;
	uint64_t n = 0;

	while (*c == ' ')
		c++;
	if (*c < '0' || *c > '9')
		return false;
	for (; *c >= '0' && *c <= '9' && n <= UINT32_MAX; c++)
		n = n * 10 + (uint64_t)(*c - '0');
	if (n > UINT32_MAX)
		return false;
	*ret_number = (uint32_t)n;
	*text = c;
	return true;
}

char *fact_unescape(const char *text)
{
	char *name = base_strdup(text), *to = name;

	while (*text)
		if (!strncmp(text, "\\x", 2) && fact_byte(text + 2) >= 0) {
			*to++ = (char)fact_byte(text + 2);
			text += 4;
		} else
			*to++ = *text++;
	*to = 0;
	return name;
}
