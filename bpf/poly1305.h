/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Poly1305 (RFC 8439, section 2.5) over the additional data and the text of an omni_crypt, and the
 * two halves of the AEAD made of it. Four limbs of 32 bits and a small fifth: the clamped r leaves
 * room enough in 64 bits that the sums of a block carry once, at its end.
 */
#ifndef OMNI_BPF_POLY1305_H
#define OMNI_BPF_POLY1305_H

#include "bpf/chacha20.h"

#define OMNI_MAC_BLOCKS (OMNI_KERNEL_TEXT / 16 + 2)

/* Pads the text to whole blocks and puts the lengths behind it, as section 2.8 has it. Gives the
 * number of blocks from the additional data on. */
OMNI_GLOBAL int omni_pad(struct omni_crypt* c, uint32_t bytes) {
  if (!c || bytes > OMNI_KERNEL_TEXT) return -1;
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

/* c->tag of the first `blocks` blocks from c->aad on. */
OMNI_GLOBAL int omni_mac(struct omni_crypt* c, uint32_t blocks) {
  if (!c) return -1;
  const uint64_t r0 = c->mac_key[0] & 0x0fffffff, r1 = c->mac_key[1] & 0x0ffffffc;
  const uint64_t r2 = c->mac_key[2] & 0x0ffffffc, r3 = c->mac_key[3] & 0x0ffffffc;
  /* 2^130 is 5 modulo the prime: a product beyond it comes back as 5/4 of its limb. */
  const uint64_t s1 = r1 + (r1 >> 2), s2 = r2 + (r2 >> 2), s3 = r3 + (r3 >> 2);
  uint64_t h0 = 0, h1 = 0, h2 = 0, h3 = 0, h4 = 0;
  const uint32_t* at = c->aad;
  for (uint32_t i = 0; i < OMNI_MAC_BLOCKS; ++i) {
    if (i >= blocks) break;
    h0 += at[4 * i];
    h1 += at[4 * i + 1];
    h2 += at[4 * i + 2];
    h3 += at[4 * i + 3];
    h4 += 1;
    const uint64_t p0 = h0 * r0 + h1 * s3 + h2 * s2 + h3 * s1 + h4 * (5 * (r0 >> 2));
    const uint64_t p1 = h0 * r1 + h1 * r0 + h2 * s3 + h3 * s2 + h4 * s1;
    const uint64_t p2 = h0 * r2 + h1 * r1 + h2 * r0 + h3 * s3 + h4 * s2;
    const uint64_t p3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + h4 * s3;
    const uint64_t top = h4 * (r0 & 3) + (p3 >> 32);
    const uint64_t c0 = (p0 & 0xffffffff) + (top >> 2) * 5;
    const uint64_t c1 = (p1 & 0xffffffff) + (p0 >> 32) + (c0 >> 32);
    const uint64_t c2 = (p2 & 0xffffffff) + (p1 >> 32) + (c1 >> 32);
    const uint64_t c3 = (p3 & 0xffffffff) + (p2 >> 32) + (c2 >> 32);
    h0 = c0 & 0xffffffff;
    h1 = c1 & 0xffffffff;
    h2 = c2 & 0xffffffff;
    h3 = c3 & 0xffffffff;
    h4 = (top & 3) + (c3 >> 32);
  }
  /* h minus the prime is h + 5 without bit 130; it holds when that bit is set. h4 may hold more
   * than two bits: what is above them is folded in with it. */
  h0 += (h4 >> 2) * 5;
  h4 &= 3;
  h1 += h0 >> 32, h0 &= 0xffffffff;
  h2 += h1 >> 32, h1 &= 0xffffffff;
  h3 += h2 >> 32, h2 &= 0xffffffff;
  h4 += h3 >> 32, h3 &= 0xffffffff;
  const uint64_t g = (h0 + 5) >> 32;
  const uint64_t over = (h4 + ((h3 + ((h2 + ((h1 + g) >> 32)) >> 32)) >> 32)) >> 2;
  h0 += over * 5;
  h1 += h0 >> 32;
  h2 += h1 >> 32;
  h3 += h2 >> 32;
  /* Plus the second half of the key, modulo 2^128. */
  h0 = (h0 & 0xffffffff) + c->mac_key[4];
  h1 = (h1 & 0xffffffff) + c->mac_key[5] + (h0 >> 32);
  h2 = (h2 & 0xffffffff) + c->mac_key[6] + (h1 >> 32);
  h3 = (h3 & 0xffffffff) + c->mac_key[7] + (h2 >> 32);
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
  omni_mac_key(c);
  const int blocks = omni_pad(c, bytes);
  if (blocks < 0) return 0;
  omni_mac(c, (uint32_t)blocks);
  return ((c->tag[0] ^ tag[0]) | (c->tag[1] ^ tag[1]) | (c->tag[2] ^ tag[2]) |
          (c->tag[3] ^ tag[3])) == 0;
}

/* Seals `bytes` of text in place; the tag is in c->tag. */
OMNI_INLINE void omni_seal_text(struct omni_crypt* c, uint32_t bytes) {
  omni_mac_key(c);
  omni_crypt_text(c, bytes);
  const int blocks = omni_pad(c, bytes);
  if (blocks > 0) omni_mac(c, (uint32_t)blocks);
}

#endif /* OMNI_BPF_POLY1305_H */
