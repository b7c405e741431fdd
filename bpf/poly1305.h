/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Poly1305 (RFC 8439, section 2.5) over the additional data and the text of an omni_crypt, and the
 * two halves of the AEAD made of it.
 */
#ifndef OMNI_BPF_POLY1305_H
#define OMNI_BPF_POLY1305_H

#include "bpf/chacha20.h"

#define OMNI_MAC_BLOCKS (OMNI_KERNEL_TEXT / 16 + 2)

/* Pads the text to whole blocks and puts the lengths behind it, as section 2.8 has it. Gives the
 * number of blocks from the additional data on. */
OMNI_INLINE int omni_pad(struct omni_crypt* c, uint32_t bytes) {
  OMNI_OPAQUE(bytes);
  if (bytes > OMNI_KERNEL_TEXT) return -1;
  uint64_t* end = (uint64_t*)(c->text + bytes);
  end[0] = 0;
  end[1] = 0;
  uint32_t padded = (bytes + 15) & ~15U;
  OMNI_OPAQUE(padded);
  if (padded > OMNI_KERNEL_TEXT) return -1;
  uint64_t* lengths = (uint64_t*)(c->text + padded);
  lengths[0] = OMNI_DATA_AAD_BYTES;
  lengths[1] = bytes;
  return (int)(padded / 16 + 2);
}

/* c->tag of the additional data and `bytes` of text, under the one-time key of c->key and c->nonce.
 *
 * h is h0 + h1 2^32 + h2 2^64 + h3 2^96 with h3 of 34 bits, so that four limbs hold 130 bits. The
 * clamped r has limbs below 2^28, s (a product beyond 2^130 comes back as 5/4 of its limb, exact
 * because r1 to r3 are multiples of four) below 1.25 * 2^28. With the message added h0 stays below
 * 3.02 * 2^32, h1 and h2 below 2 * 2^32, h3 below 6 * 2^32: the largest sum, p0, stays below
 * (3.02 + 2 * 2 * 1.25 + 6 * 1.25) * 2^60 = 15.6 * 2^60. Nothing overflows, and h0 need not carry
 * at the end of a block.
 */
OMNI_GLOBAL int omni_mac(struct omni_crypt* c, uint32_t bytes) {
  if (!c) return -1;
  const int blocks = omni_pad(c, bytes);
  if (blocks < 0) return -1;
  OMNI_CHACHA20_BLOCK(c, 0);
  const uint64_t r0 = x0 & 0x0fffffff, r1 = x1 & 0x0ffffffc;
  const uint64_t r2 = x2 & 0x0ffffffc, r3 = x3 & 0x0ffffffc;
  const uint64_t s1 = r1 + (r1 >> 2), s2 = r2 + (r2 >> 2), s3 = r3 + (r3 >> 2);
  uint64_t h0 = 0, h1 = 0, h2 = 0, h3 = 0;
  const uint32_t* at = c->aad;
  for (uint32_t i = 0; i < OMNI_MAC_BLOCKS; ++i) {
    if (i >= (uint32_t)blocks) break;
    h0 += at[4 * i];
    h1 += at[4 * i + 1];
    h2 += at[4 * i + 2];
    h3 += at[4 * i + 3] + (1ULL << 32);
    const uint64_t p0 = h0 * r0 + h1 * s3 + h2 * s2 + h3 * s1;
    const uint64_t p1 = h0 * r1 + h1 * r0 + h2 * s3 + h3 * s2 + (p0 >> 32);
    const uint64_t p2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s3 + (p1 >> 32);
    const uint64_t p3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + (p2 >> 32);
    h0 = (p0 & 0xffffffff) + (p3 >> 34) * 5;
    h1 = p1 & 0xffffffff;
    h2 = p2 & 0xffffffff;
    h3 = p3 & 0x3ffffffff;
  }
  h1 += h0 >> 32, h0 &= 0xffffffff;
  h2 += h1 >> 32, h1 &= 0xffffffff;
  h3 += h2 >> 32, h2 &= 0xffffffff;
  /* h minus the prime is h + 5 without its bits from 130 on, if it has one there. */
  const uint64_t g = (h0 + 5) >> 32;
  const uint64_t over = (h3 + ((h2 + ((h1 + g) >> 32)) >> 32)) >> 34;
  h0 += over * 5;
  h1 += h0 >> 32;
  h2 += h1 >> 32;
  h3 += h2 >> 32;
  /* Plus the second half of the key, modulo 2^128. */
  h0 = (h0 & 0xffffffff) + x4;
  h1 = (h1 & 0xffffffff) + x5 + (h0 >> 32);
  h2 = (h2 & 0xffffffff) + x6 + (h1 >> 32);
  h3 = (h3 & 0xffffffff) + x7 + (h2 >> 32);
  c->tag[0] = (uint32_t)h0;
  c->tag[1] = (uint32_t)h1;
  c->tag[2] = (uint32_t)h2;
  c->tag[3] = (uint32_t)h3;
  return 0;
}

/* Encrypts or decrypts `bytes` of text; what follows them up to a whole block is garbage after it.
 */
OMNI_INLINE void omni_crypt_text(struct omni_crypt* c, uint32_t bytes) {
  for (uint32_t i = 0; i < OMNI_KERNEL_TEXT / 64; ++i) {
    if (i * 64 >= bytes) break;
    omni_crypt_block(c, i);
  }
}

/* Whether `tag` is that of c's additional data and `bytes` of ciphertext. In constant time. */
OMNI_INLINE int omni_tag_is_right(struct omni_crypt* c, uint32_t bytes, const uint32_t tag[4]) {
  if (omni_mac(c, bytes)) return 0;
  return ((c->tag[0] ^ tag[0]) | (c->tag[1] ^ tag[1]) | (c->tag[2] ^ tag[2]) |
          (c->tag[3] ^ tag[3])) == 0;
}

/* Seals `bytes` of text in place; the tag is in c->tag. */
OMNI_INLINE int omni_seal_text(struct omni_crypt* c, uint32_t bytes) {
  omni_crypt_text(c, bytes);
  return omni_mac(c, bytes);
}

#endif /* OMNI_BPF_POLY1305_H */
