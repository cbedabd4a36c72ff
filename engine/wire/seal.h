/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_SEAL_H
#define WIRE_SEAL_H
/*
 * Messages that nobody else can read or change, four times as fast as CURVE seals them: XAES-256-GCM
 * (c2sp.org/XAES-256-GCM), whose nonces are long enough to be drawn at random, by libgcrypt. The key is for
 * two ends that told each other over CURVE. A message has a nonce of its own; each of its frames is sealed
 * for its place in it, and for their number. One thread at a time.
 */
#include "base/base.h"

#define SEAL_KEY_LEN 32u
#define SEAL_NONCE_LEN 24u
#define SEAL_TAG_LEN 16u /* that a sealed frame is longer */

struct seal;

void seal_new(struct seal **ret_seal);
void seal_destroy(struct seal **seal);

/* The message that the next frames are of; it has `count` of them. */
void seal_begin(struct seal *seal, const unsigned char key[SEAL_KEY_LEN],
	const unsigned char nonce[SEAL_NONCE_LEN], unsigned char count);
/* `out`: room for len + SEAL_TAG_LEN bytes, which may begin where `in` does. `frame`: its place, below 256.
 */
void seal_close(struct seal *seal, unsigned char frame, const void *in, size_t len, void *out);
/* `len` with the tag. False where the frame is not what was sealed with this key, nonce and place: what is in
 * `out`, which may be `in`, is nothing then. */
bool seal_open(struct seal *seal, unsigned char frame, const void *in, size_t len, void *out);

#endif
