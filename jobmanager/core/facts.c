/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of the journal are lines of text:
 *
 *   started VERTEX ATTEMPT node=N count=C      a gang of more than one, by its first member
 *   started VERTEX ATTEMPT node=N
 *   copied VERTEX ATTEMPT node=N               a second attempt beside one that is slow
 *   alone VERTEX ATTEMPT node=N                a member of a gang, which reads the others' attempts anew
 *   committed VERTEX ATTEMPT node=N hash=H bytes=B inputs=D us=T
 *   failed VERTEX ATTEMPT node=N error=E signal=S TEXT
 *   failed-copy VERTEX ATTEMPT                 of two that ran; the other goes on
 *   unread VERTEX ATTEMPT from=V A error=E     an input could not be read
 *   misread VERTEX ATTEMPT from=V A error=E    and is intact, as so often on that node: one of its failures
 *   invalidated VERTEX ATTEMPT WHY
 *   skip VERTEX ATTEMPT PORT PRODUCER RECORD REASON               two attempts died on it; from 0
 *   quarantined VERTEX ATTEMPT PORT PRODUCER RECORD HEX REASON    it was passed over
 *   reset VERTEX ATTEMPT                       all attempts up to this one of its gang are over
 *   adopted VERTEX ATTEMPT node=N
 *   died VERTEX ATTEMPT node=N                 its daemon ended while the vertex ran there
 *   node-up NODE                               nodes are numbered as they come up first, from 0: that is N
 *   node-down NODE, node-ended NODE            it is gone; its daemon has ended
 *   synced OUTPUT VERTEX BYTES                 the output's records up to this vertex's are on disk
 *   refetched OUTPUT                           from its first vertex again
 *   grouped EDGE CONSUMER PRODUCER…            who reads what; their numbers in their stages
 *   added STAGE INDEX ARGUMENT EDGE:PRODUCER…  a vertex of an open stage
 *   width STAGE N                              and what is joined to it pointwise
 *   publishing, published
 *   ended ERROR TEXT
 *
 * The two facts that every vertex has are written without the cost of a format.
 */
#include "facts.h"
#include "effects.h"
#include "vertices.h"

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
