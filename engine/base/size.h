/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H
/* Numbers and sizes as people write them. */
#include "base.h"

/* A whole decimal number from text; DAG_EINVAL on anything else, DAG_ELIMIT beyond 2^63−1. */
int size_parse_number(const char *text, uint64_t *ret_number);
/* "512", "64KiB", "32MiB", "1GiB", "2TiB", also with k, M, G alone meaning the same powers of 1024. */
int size_parse_bytes(const char *text, uint64_t *ret_bytes);
/* "250ms", "1.5s" is not accepted; whole numbers with ms, s, m or h; a bare number means seconds. */
int size_parse_duration(const char *text, dag_instant *ret_duration);
/* "999 B", "1.5 MiB"; buf holds SIZE_TEXT_LEN bytes. Returns buf. */
#define SIZE_TEXT_LEN 24
char *size_format(uint64_t bytes, char buf[SIZE_TEXT_LEN]);

#endif
