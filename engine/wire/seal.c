/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAES-256-GCM is AES-256-GCM with a key of its own for each message, which AES-CMAC makes of the key and the
 * first half of the nonce; the second half is GCM's nonce, whose last byte here is the frame's place.
 */
#include "seal.h"

#include <gcrypt.h>

#define BLOCK_LEN 16u
#define GCM_NONCE_LEN 12u

struct seal {
	gcry_cipher_hd_t block; /* AES-256 of single blocks */
	gcry_cipher_hd_t gcm;
	unsigned char key[SEAL_KEY_LEN]; /* that `block` has, and */
	unsigned char subkey[BLOCK_LEN]; /* CMAC's of it */
	bool keyed;
	unsigned char count; /* of the message's frames */
	unsigned char nonce[GCM_NONCE_LEN];
};

static void start_library(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	DAG_ASSERT(gcry_check_version(NULL));
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

void seal_new(struct seal **ret_seal)
{
	struct seal *s = base_alloc(sizeof(*s));

	start_library();
	DAG_ASSERT(!gcry_cipher_open(&s->block, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0));
	DAG_ASSERT(!gcry_cipher_open(&s->gcm, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, 0));
	*ret_seal = s;
}

void seal_destroy(struct seal **seal)
{
	struct seal *s = *seal;

	if (!s)
		return;
	gcry_cipher_close(s->block);
	gcry_cipher_close(s->gcm);
	explicit_bzero(s, sizeof(*s));
	free(s);
	*seal = NULL;
}

static void encrypt_block(struct seal *s, unsigned char *block)
{
	DAG_ASSERT(!gcry_cipher_encrypt(s->block, block, BLOCK_LEN, NULL, 0));
}

/* CMAC's subkey for whole blocks (RFC 4493, 2.3): the cipher of zeros, doubled. */
static void take_key(struct seal *s, const unsigned char *key)
{
	unsigned char zeros[BLOCK_LEN] = {0};

	if (s->keyed && !memcmp(s->key, key, SEAL_KEY_LEN))
		return;
	s->keyed = true;
	memcpy(s->key, key, SEAL_KEY_LEN);
	DAG_ASSERT(!gcry_cipher_setkey(s->block, key, SEAL_KEY_LEN));
	encrypt_block(s, zeros);
	for (unsigned i = 0; i < BLOCK_LEN; i++)
		s->subkey[i] = (unsigned char)(zeros[i] << 1 | (i + 1 < BLOCK_LEN ? zeros[i + 1] >> 7 : 0));
	if (zeros[0] & 0x80)
		s->subkey[BLOCK_LEN - 1] ^= 0x87;
}

void seal_begin(struct seal *s, const unsigned char key[SEAL_KEY_LEN],
	const unsigned char nonce[SEAL_NONCE_LEN], unsigned char count)
{
	unsigned char derived[2][BLOCK_LEN];

	take_key(s, key);
	for (unsigned half = 0; half < 2; half++) {
		unsigned char *block = derived[half];

		memcpy(block, (unsigned char[4]){0, (unsigned char)(half + 1), 'X', 0}, 4);
		memcpy(block + 4, nonce, BLOCK_LEN - 4);
		for (unsigned i = 0; i < BLOCK_LEN; i++)
			block[i] ^= s->subkey[i];
		encrypt_block(s, block);
	}
	DAG_ASSERT(!gcry_cipher_setkey(s->gcm, derived, sizeof(derived)));
	s->count = count;
	memcpy(s->nonce, nonce + SEAL_NONCE_LEN - GCM_NONCE_LEN, GCM_NONCE_LEN);
	explicit_bzero(derived, sizeof(derived));
}

static void begin_frame(struct seal *s, unsigned char frame)
{
	unsigned char nonce[GCM_NONCE_LEN];

	memcpy(nonce, s->nonce, sizeof(nonce));
	nonce[GCM_NONCE_LEN - 1] ^= frame;
	DAG_ASSERT(!gcry_cipher_setiv(s->gcm, nonce, sizeof(nonce)));
	if (s->count)
		DAG_ASSERT(!gcry_cipher_authenticate(s->gcm, &s->count, sizeof(s->count)));
}

void seal_close(struct seal *s, unsigned char frame, const void *in, size_t len, void *out)
{
	begin_frame(s, frame);
	DAG_ASSERT(!gcry_cipher_encrypt(s->gcm, out, len, in, len));
	DAG_ASSERT(!gcry_cipher_gettag(s->gcm, (unsigned char *)out + len, SEAL_TAG_LEN));
}

bool seal_open(struct seal *s, unsigned char frame, const void *in, size_t len, void *out)
{
	if (len < SEAL_TAG_LEN)
		return false;
	len -= SEAL_TAG_LEN;
	begin_frame(s, frame);
	DAG_ASSERT(!gcry_cipher_decrypt(s->gcm, out, len, in, len));
	return !gcry_cipher_checktag(s->gcm, (const unsigned char *)in + len, SEAL_TAG_LEN);
}
