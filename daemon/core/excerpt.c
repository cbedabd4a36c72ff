/* SPDX-License-Identifier: Apache-2.0 */
#include "excerpt.h"

void excerpt_init(struct excerpt *e, size_t head_max, size_t tail_max)
{
	*e = (struct excerpt){.head_max = head_max, .tail_max = tail_max};
}

void excerpt_fini(struct excerpt *e)
{
	buffer_fini(&e->head);
	buffer_fini(&e->tail);
}

void excerpt_clear(struct excerpt *e)
{
	e->head.len = e->tail.len = 0;
	e->total = 0;
}

void excerpt_add(struct excerpt *e, const void *data, size_t len)
{
	const char *at = data;
	size_t n = DAG_MIN(len, e->head_max - e->head.len);

	e->total += len;
	buffer_append(&e->head, at, n);
	at += n;
	len -= n;
	if (len > e->tail_max) {
		at += len - e->tail_max;
		len = e->tail_max;
	}
	if (e->tail.len + len > e->tail_max) {
		n = e->tail.len + len - e->tail_max;
		memmove(e->tail.data, e->tail.data + n, e->tail.len - n);
		e->tail.len -= n;
	}
	buffer_append(&e->tail, at, len);
}

char *excerpt_text(const struct excerpt *e)
{
	unsigned long long between = e->total - e->head.len - e->tail.len;

	if (!e->total)
		return NULL;
	if (!between)
		return base_format("%.*s%.*s", (int)e->head.len, e->head.len ? (char *)e->head.data : "",
			(int)e->tail.len, e->tail.len ? (char *)e->tail.data : "");
	return base_format("%.*s\n… %llu bytes are left out …\n%.*s", (int)e->head.len,
		e->head.len ? (char *)e->head.data : "", between, (int)e->tail.len, (char *)e->tail.data);
}

char *excerpt_last_lines(const struct excerpt *e, size_t lines)
{
	const char *text = (const char *)e->tail.data;
	size_t at = e->tail.len;

	if (!e->total)
		return NULL;
	/* The line feed at the end is the last line's own. */
	for (size_t met = 0; at > 0; at--)
		if (text[at - 1] == '\n' && at < e->tail.len && ++met == lines)
			break;
	if (e->total == e->tail.len - at)
		return base_strndup(text, e->tail.len);
	return base_format("… %llu bytes before …\n%.*s", (unsigned long long)(e->total - (e->tail.len - at)),
		(int)(e->tail.len - at), text + at);
}
