/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong in the graph file, and where. */
#include "loader.h"

#include <stdarg.h>

struct graph_place loader_place(const struct loader *l, const struct yaml_node *node)
{
	return (struct graph_place){l->file, node ? node->line : 0, node ? node->column : 0};
}

void loader_error(struct loader *l, const struct yaml_node *node, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	dag_diag_add(l->diag, l->file, node ? node->line : 0, node ? node->column : 0, "%s", text);
	free(text);
}

void loader_note(struct loader *l, const struct yaml_node *node, const char *format, ...)
{
	va_list args;
	char *text;

	if (!l->options->notes)
		return;
	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	dag_diag_add(l->options->notes, l->file, node->line, node->column, "%s", text);
	free(text);
}

bool loader_expect(struct loader *l, const struct yaml_node *node, enum yaml_kind kind, const char *what)
{
	static const char *const names[] = {"text", "a list", "a map"};

	if (node->kind == kind)
		return true;
	if (kind == YAML_SCALAR)
		loader_error(l, node,
			"%s must be text, not %s: a text that begins with '{' or '[' stands in quotes", what,
			yaml_kind_name(node));
	else if (kind == YAML_LIST && node->kind == YAML_SCALAR && *node->text)
		loader_error(l, node, "%s must be a list, not text: [%.60s%s]", what, node->text,
			strlen(node->text) > 60 ? "…" : "");
	else
		loader_error(l, node, "%s must be %s, not %s", what, names[kind], yaml_kind_name(node));
	return false;
}
