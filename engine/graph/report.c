/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong, and where in the graph file. */
#include "finish.h"

#include <stdarg.h>

void graph_report(struct dag_diag *diag, struct graph_place place, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	dag_diag_add(diag, place.file, place.line, place.column, "%s", text);
	free(text);
}
