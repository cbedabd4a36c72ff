/* SPDX-License-Identifier: Apache-2.0 */
/* A hand-written scanner: a flow is ends, joined by `>=` and `>>`, in chains that `||` separates. */
#include "flow.h"
#include "graph/graph.h"

#include <ctype.h>

struct scanner {
	const char *start, *at;
	struct arena *arena;
	char *error;
};

static void skip_blanks(struct scanner *s)
{
	while (isspace((unsigned char)*s->at))
		s->at++;
}

static int expected(struct scanner *s, const char *what)
{
	if (*s->at)
		s->error = base_format("expected %s at '%.20s'", what, s->at);
	else
		s->error = base_format("expected %s at the end of the line", what);
	return DAG_EINVAL;
}

static int scan_number(struct scanner *s, const char *what, uint64_t max, uint64_t *ret)
{
	size_t digits = strspn(s->at, "0123456789");
	uint64_t n = 0;

	if (!digits)
		return expected(s, what);
	for (size_t i = 0; i < digits && n <= max; i++)
		n = n * 10 + (uint64_t)(s->at[i] - '0');
	if (n > max) {
		s->error = base_format("%.*s: %s is at most %llu", (int)DAG_MIN(digits, 40u), s->at, what,
			(unsigned long long)max);
		return DAG_EINVAL;
	}
	s->at += digits;
	*ret = n;
	return 0;
}

static int scan_end(struct scanner *s, struct flow_end *ret)
{
	struct flow_end end = {.out_port = FLOW_PORT_NEXT, .in_port = FLOW_PORT_NEXT};
	const char *name;
	uint64_t n;
	int r;

	skip_blanks(s);
	name = s->at;
	end.column = (int)(s->at - s->start);
	if (!isalpha((unsigned char)*s->at) && *s->at != '_')
		return expected(s, "the name of a stage or input");
	while (isalnum((unsigned char)*s->at) || *s->at == '_' || *s->at == '-')
		s->at++;
	end.name = arena_strndup(s->arena, name, (size_t)(s->at - name));
	if (*s->at == '.') {
		s->at++;
		r = scan_number(s, "the number of a port", DAG_PORTS_MAX - 1, &n);
		if (r < 0)
			return r;
		end.in_port = end.out_port = (uint32_t)n;
	}
	if (*s->at == '^') {
		s->at++;
		r = scan_number(s, "the width behind '^'", GRAPH_WIDTH_MAX, &n);
		if (r < 0)
			return r;
		if (!n) {
			s->error = base_strdup("^0 would be a stage without vertices");
			return DAG_EINVAL;
		}
		end.clones = n;
	}
	*ret = end;
	return 0;
}

/* 1: a joint follows, *ret_complete says which; 0: none. */
static int scan_joint(struct scanner *s, bool *ret_complete)
{
	skip_blanks(s);
	if (s->at[0] != '>' || (s->at[1] != '=' && s->at[1] != '>'))
		return 0;
	*ret_complete = s->at[1] == '>';
	s->at += 2;
	return 1;
}

static int scan_chain(struct scanner *s, struct flow *flow)
{
	struct flow_end from, to;
	bool complete;
	int r = scan_end(s, &from);

	if (r < 0)
		return r;
	*DAG_APPEND(flow->ends, flow->end_count, flow->end_cap) = from;
	while (scan_joint(s, &complete)) {
		r = scan_end(s, &to);
		if (r < 0)
			return r;
		*DAG_APPEND(flow->ends, flow->end_count, flow->end_cap) = to;
		*DAG_APPEND(flow->joints, flow->joint_count, flow->joint_cap) =
			(struct flow_joint){from, to, complete};
		/* In the middle of a chain a number means the input port: `a >= b.1 >= c` goes on from b's
		 * port 0. */
		from = to;
		from.out_port = FLOW_PORT_NEXT;
	}
	return 0;
}

int flow_parse(
	const char *text, struct arena *arena, struct flow *ret_flow, char **ret_error, int *ret_column)
{
	struct scanner s = {text, text, arena, NULL};
	int r;

	for (;;) {
		r = scan_chain(&s, ret_flow);
		if (r < 0)
			break;
		skip_blanks(&s);
		if (s.at[0] == '|' && s.at[1] == '|') {
			s.at += 2;
			continue;
		}
		if (*s.at)
			r = expected(&s, "'>=', '>>' or '||'");
		break;
	}
	*ret_error = s.error;
	*ret_column = (int)(s.at - text);
	return r;
}

void flow_fini(struct flow *flow)
{
	free(flow->joints);
	free(flow->ends);
	*flow = (struct flow){0};
}
