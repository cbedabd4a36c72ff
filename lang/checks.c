/* SPDX-License-Identifier: Apache-2.0 */
/* What only a plugin knows of its parameters: all stages are asked about at once, a plugin at a time. */
#include "loader.h"

/* A text begins with the parameter's name where it is about one. */
static const struct yaml_node *place_of(const struct yaml_node *params, const char *text)
{
	for (const struct yaml_node *n = params->kind == YAML_MAP ? params->child : NULL; n; n = n->next) {
		size_t len = strlen(n->key->text);

		if (!strncmp(text, n->key->text, len) && (text[len] == ' ' || text[len] == ':'))
			return n;
	}
	return params;
}

/* Those of the plugin that the first of them has; the rest stay, and their number is returned. */
static size_t ask_one(struct loader *l, struct loader_check *of, size_t count)
{
	struct plugin_check *checks = base_alloc(count * sizeof(*checks));
	struct loader_check *asked = base_alloc(count * sizeof(*asked));
	const char *path = of[0].stage->plugin;
	size_t n = 0, left = 0;
	char *error = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct graph_stage *s = of[i].stage;

		if (strcmp(s->plugin, path)) {
			of[left++] = of[i];
			continue;
		}
		asked[n] = of[i];
		checks[n++] = (struct plugin_check){s->entry, s->params, s->param_count, NULL};
	}
	if (l->options->check(l->options->describe_ctx, path, checks, n, &error) < 0)
		loader_error(l, asked[0].params, "%s", error);
	free(error);
	for (size_t i = 0; i < n; i++) {
		if (checks[i].error)
			loader_error(l, place_of(asked[i].params, checks[i].error), "%s", checks[i].error);
		free(checks[i].error);
	}
	free(checks);
	free(asked);
	return left;
}

void loader_ask_plugins(struct loader *l)
{
	while (l->check_count && l->options->check)
		l->check_count = ask_one(l, l->checks, l->check_count);
}
