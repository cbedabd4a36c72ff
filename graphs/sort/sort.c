/* SPDX-License-Identifier: Apache-2.0 */
#include <dagrun/vertex.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int sample(struct dag_vertex *v) /* every hundredth line */
{
	struct dag_record r;
	for (long i = 0; dag_read(v, 0, &r) > 0; i++)
		if (i % 100 == 0)
			dag_write(v, 0, r.data, r.len);
	return 0;
}

static int load(struct dag_vertex *v, uint32_t port, char ***ret)
{
	struct dag_record r;
	int n = 0;
	for (*ret = NULL; dag_read(v, port, &r) > 0; (*ret)[n++] = strndup(r.data, r.len))
		*ret = realloc(*ret, ((size_t)n + 1) * sizeof(**ret));
	return n;
}

static int bounds(struct dag_vertex *v) /* the first lines of all parts but the first */
{
	char **lines;
	int parts = atoi(dag_param(v, "parts")), n = load(v, 0, &lines);
	qsort(lines, (size_t)n, sizeof(*lines), compare);
	for (long i = 1; i < parts && n; i++)
		dag_write(v, 0, lines[i * n / parts], strlen(lines[i * n / parts]));
	return 0;
}

static int partition(struct dag_vertex *v)
{
	struct dag_record r;
	char **bound, *line = NULL;
	for (int n = load(v, 1, &bound), part; dag_read(v, 0, &r) > 0; free(line)) {
		line = strndup(r.data, r.len);
		for (part = 0; part < n && strcmp(line, bound[part]) >= 0;)
			part++;
		dag_write_part(v, 0, (uint32_t)part, r.data, r.len);
	}
	return 0;
}

DAG_PLUGIN(sort, DAG_ENTRY(sample, DAG_IN(LINES), DAG_OUT(LINES), "some lines"),
	DAG_ENTRY(bounds, DAG_IN(LINES), DAG_OUT(LINES), "where parts begin"),
	DAG_ENTRY(partition, DAG_IN(LINES), DAG_IN(LINES), DAG_OUT(LINES), "lines to their parts"));
