/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard vertices: plugin `std`. Each works on any format; what a stage's edges say decides where
 * records go.
 */
#include "std.h"

static int copy_port(struct dag_vertex *v, uint32_t port)
{
	struct dag_record r[BATCH];
	int n;

	while ((n = dag_read_batch(v, port, r, BATCH)) > 0) {
		n = dag_write_batch(v, 0, r, (size_t)n);
		if (n < 0)
			return n;
	}
	return n;
}

/* All inputs, one after the other; one without producers may stand between others. */
static int cat(struct dag_vertex *v)
{
	int r = 0;

	for (uint32_t port = 0; port < DAG_PORTS_MAX && r == 0; port++)
		if (dag_producers(v, port))
			r = copy_port(v, port);
	return r;
}

/* The same as cat: its name says that the edges behind it partition. */
static int partition(struct dag_vertex *v)
{
	return cat(v);
}

/* Runs of records to one part after the other; the last one takes the rest. */
static int split(struct dag_vertex *v)
{
	uint64_t run = std_number(v, "n", 1000000), left = run;
	uint32_t part = 0, parts = dag_parts(v, 0);
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		if (!left && part + 1 < parts) {
			part++;
			left = run;
		}
		left -= left > 0;
		n = r.key ? dag_write_part_kv(v, 0, part, r.key, r.key_len, r.data, r.len)
			  : dag_write_part(v, 0, part, r.data, r.len);
		if (n < 0)
			return n;
	}
	return n;
}

/* Every record to both outputs. */
static int tee(struct dag_vertex *v)
{
	struct dag_record r;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0) {
		int a = std_pass(v, 0, &r), b = std_pass(v, 1, &r);

		/* One output that nobody reads any more does not end the other. */
		if (a == DAG_ECLOSED && b == DAG_ECLOSED)
			return DAG_ECLOSED;
		if (a < 0 && a != DAG_ECLOSED)
			return a;
		if (b < 0 && b != DAG_ECLOSED)
			return b;
	}
	return n;
}

static int split_check(struct dag_vertex *v)
{
	return std_number(v, "n", 1) ? 0 : dag_fail(v, "n: 0: a run has at least one record");
}

static int some_check(struct dag_vertex *v)
{
	return std_number(v, "n", 1) ? 0 : dag_fail(v, "n: 0: nothing would come out; n is at least 1");
}

static int top_check(struct dag_vertex *v)
{
	int r = key_check(v);

	return r < 0 ? r : some_check(v);
}

static int sort_check(struct dag_vertex *v)
{
	if (!std_number(v, "memory", 1))
		return dag_fail(v, "memory: 0: no record could be sorted in it; without it there are 256MiB");
	return key_check(v);
}

#define FIELD_PARAMS                                                                                         \
	DAG_PARAM_NUMBER(                                                                                    \
		"key=0: the field of the key, from 1; 0: a key-value record's key, else the whole record"),  \
		DAG_PARAM("delimiter=: between fields, one byte or 'tab'; nothing: runs of blanks, as "      \
			  "in awk"),                                                                         \
		DAG_PARAM_NUMBER(                                                                            \
			"from=0: the first byte of the field or record that counts, from 1; 0: its first"),  \
		DAG_PARAM_NUMBER("to=0: the last byte that counts; 0: its last")
#define INVALID_PARAM                                                                                        \
	DAG_PARAM("invalid=error|skip|zero: what becomes of a record that has no number where one is "       \
		  "wanted")
#define KEY_PARAMS                                                                                           \
	FIELD_PARAMS,                                                                                        \
		DAG_PARAM("type=text|number|general: what keys are; number: as sort -n takes it, general: "  \
			  "as sort -g does"),                                                                \
		INVALID_PARAM
#define ORDER_PARAM DAG_PARAM("order=asc|desc: which comes first")

DAG_PLUGIN(std,
	DAG_ENTRY_FLAGS(cat, DAG_PASSES_BYTES | DAG_MORE_INPUTS, DAG_IN(ANY), DAG_OUT(ANY),
		"all inputs, one after the other"),
	DAG_ENTRY_FLAGS(partition, DAG_PASSES_BYTES | DAG_MORE_INPUTS, DAG_IN(ANY), DAG_OUT(ANY),
		"the records as they are, for edges that partition them"),
	DAG_ENTRY_FLAGS(tee, DAG_PASSES_BYTES, DAG_IN(ANY), DAG_OUT(ANY), DAG_OUT(ANY),
		"every record to both outputs"),
	DAG_ENTRY_CHECKED(split, split_check, DAG_IN(ANY), DAG_OUT(ANY),
		DAG_PARAM_NUMBER("n=1000000: records of a run"),
		"runs of records to one part (`by: part`) after the other"),
	DAG_ENTRY_CHECKED(check, key_check, DAG_IN(ANY), DAG_OUT(KV), KEY_PARAMS, ORDER_PARAM,
		"how many records and bytes, the sum of their hashes, and how many are out of order"),
	DAG_ENTRY_CHECKED(sort, sort_check, DAG_IN(ANY), DAG_OUT(ANY), KEY_PARAMS, ORDER_PARAM,
		DAG_PARAM_SIZE("memory=256MiB: for records; what is more goes to the scratch folder"),
		"all records in the order of their keys; equal ones as they came"),
	DAG_ENTRY_CHECKED(merge, key_check, DAG_IN(ANY), DAG_OUT(ANY), KEY_PARAMS, ORDER_PARAM,
		"inputs that are each sorted, merged into one that is"),
	DAG_ENTRY_CHECKED(range, key_check, DAG_IN(ANY), DAG_IN(ANY), DAG_OUT(ANY), KEY_PARAMS, ORDER_PARAM,
		"records of port 0 to the part (`by: part`) in whose range they fall; port 1 is a sorted "
		"sample"),
	DAG_ENTRY_CHECKED(
		distinct, key_check, DAG_IN(ANY), DAG_OUT(ANY), KEY_PARAMS, "the first record of each key"),
	DAG_ENTRY_CHECKED(
		count, key_check, DAG_IN(ANY), DAG_OUT(KV), KEY_PARAMS, "(key, how many records have it)"),
	DAG_ENTRY_CHECKED(sum, key_check, DAG_IN(ANY), DAG_OUT(KV), FIELD_PARAMS, INVALID_PARAM,
		DAG_PARAM("type=number|general: what is added; number: as sort -n takes it, general: as sort "
			  "-g does"),
		DAG_PARAM_NUMBER("value=0: the field that is added; 0: a key-value record's value"),
		"(key, the sum of a number in its records)"),
	DAG_ENTRY_CHECKED(top, top_check, DAG_IN(ANY), DAG_OUT(ANY), KEY_PARAMS,
		DAG_PARAM("order=desc|asc: which comes first"), DAG_PARAM_NUMBER("n=10: so many"),
		"the n records with the largest keys, the largest first; with order: asc the smallest"),
	DAG_ENTRY_CHECKED(join, key_check, DAG_IN(ANY), DAG_IN(ANY), DAG_OUT(KV), KEY_PARAMS, ORDER_PARAM,
		DAG_PARAM_NUMBER("right=: the field of the right side's key, or 0, as for `key`; nothing: as "
				 "on the left"),
		DAG_PARAM("kind=inner|left|semi|anti: which records of the left side are written"),
		DAG_PARAM(
			"method=hash|merge: the right side is held in memory, or both are sorted by the key"),
		"(key, left TAB right) of records of ports 0 and 1 with the same key"),
	DAG_ENTRY(head, DAG_IN(ANY), DAG_OUT(ANY), DAG_PARAM_NUMBER("n=10: so many"), "the first n records"),
	DAG_ENTRY_CHECKED(sample, some_check, DAG_IN(ANY), DAG_OUT(ANY), DAG_PARAM_NUMBER("n=1000: so many"),
		DAG_PARAM_SIZE("bytes=0: of each record so many, from its beginning; 0: all"),
		DAG_PARAM("by=record|place: draws among all records, or reads a large file only at some "
			  "places, which are drawn"),
		"n records drawn at random, the same ones each time"),
	DAG_ENTRY_CHECKED(cut, cut_check, DAG_IN(LINES), DAG_OUT(LINES),
		DAG_PARAM("fields=1: their numbers, such as 3,1"),
		DAG_PARAM("delimiter=: between fields, one byte or 'tab'; nothing: runs of blanks, written "
			  "as one blank"),
		"some fields of each line, in the order given"),
	DAG_ENTRY_CHECKED(grep, grep_check, DAG_IN(LINES), DAG_OUT(LINES),
		DAG_PARAM("pattern=: a Perl-compatible regular expression"),
		DAG_PARAM("invert=false|true: the lines that do not match"), "lines that match"));
