/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PUT_H
#define VERTEX_PUT_H
/* Records and bytes that a vertex writes, beside what its API has. */
#include "task.h"

/* As dag_write, of a line that had no line feed behind it, the last of all. */
int put_unended(struct dag_vertex *v, uint32_t port, const void *data, size_t len);
/* True where what is written to the port is stored once, as it comes. */
bool put_is_plain(struct dag_vertex *v, uint32_t port);
/* Room in the current block of such a port of bytes, until the next flush; dag_commit says how much was used.
 */
int put_bytes_room(struct dag_vertex *v, uint32_t port, size_t least, void **ret_data, size_t *ret_len);
void put_fini(struct dag_vertex *v);

#endif
