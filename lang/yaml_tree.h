/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LANG_YAML_TREE_H
#define LANG_YAML_TREE_H
/*
 * A YAML document as a tree with line and column on every node, made from libyaml's event API (its document
 * API takes sixty times the memory). Bounded on every side, since the file may be hostile: bytes, depth and
 * parts have limits, duplicate keys are refused. An alias shares what it names, and counts as if it stood
 * there; merge keys (`<<`) are done.
 */
#include "base/arena.h"
#include "base/diag.h"

#define YAML_BYTES_MAX ((size_t)64 << 20)
#define YAML_DEPTH_MAX 64
#define YAML_PARTS_MAX 32000000u /* texts, lists and maps, those of aliases as often as they are named */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
	struct yaml_node *key;   /* of an entry of a map */
	struct yaml_node *next;  /* the next item or entry of the same list or map */
	struct yaml_node *child; /* LIST, MAP: the first item or entry */
	uint32_t count;          /* LIST, MAP */
	int line, column;        /* from 1 */
	uint8_t kind;            /* enum yaml_kind */
	bool plain;              /* SCALAR: not quoted, so that `null` and `~` mean nothing */
	uint16_t indent; /* SCALAR behind a `|`: blanks before its first line, which is the next; else 0 */
	char text[];     /* SCALAR: without a NUL inside; else empty */
};

/* Parses one document. *ret_root is NULL for an empty one. DAG_EINVAL with the place in *diag. */
int yaml_parse(struct arena *arena, const char *file, const char *text, size_t len,
	struct yaml_node **ret_root, struct dag_diag *diag);
/* The value of `key` in a map, or NULL. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* "a map", "a list", "text": what was found, for messages. */
const char *yaml_kind_name(const struct yaml_node *node);

#endif
