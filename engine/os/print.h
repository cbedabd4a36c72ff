/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_PRINT_H
#define OS_PRINT_H
/*
 * What a program prints for people has words of strangers in it: names of files and nodes, what a program
 * wrote to its stderr. None of these may move a cursor, change a title or turn the direction of text.
 */
#include "base/base.h"

/* Puts a question mark where a character is a control character (but for line feed and tab), changes the
 * direction of text, or is no UTF-8. In place; the text does not grow. */
void print_clean(char *text);
/* From here on stdout and stderr of this program are cleaned, whoever prints. What must not be, goes to the
 * descriptors. */
void print_clean_standard(void);

#endif
