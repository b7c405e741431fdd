/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ChaCha20 (RFC 8439, section 2.3). The state stands in sixteen locals; an array is slower, because
 * every access of it goes through the stack. A block waits for its own results and for the two
 * ports that shift: written in assembly with a quarter fewer instructions it took as long.
 */
#ifndef OMNI_BPF_CHACHA20_H
#define OMNI_BPF_CHACHA20_H

#include "bpf/work.h"

#define OMNI_ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#define OMNI_QUARTER(a, b, c, d) \
  a += b;                        \
  d ^= a;                        \
  d = OMNI_ROTATE(d, 16);        \
  c += d;                        \
  b ^= c;                        \
  b = OMNI_ROTATE(b, 12);        \
  a += b;                        \
  d ^= a;                        \
  d = OMNI_ROTATE(d, 8);         \
  c += d;                        \
  b ^= c;                        \
  b = OMNI_ROTATE(b, 7)

/* The sixteen words of block `number`, as locals x0 to x15 of whoever says this. */
#define OMNI_CHACHA20_BLOCK(c, number)                                               \
  uint32_t x0 = 0x61707865, x1 = 0x3320646e, x2 = 0x79622d32, x3 = 0x6b206574;       \
  uint32_t x4 = (c)->key[0], x5 = (c)->key[1], x6 = (c)->key[2], x7 = (c)->key[3];   \
  uint32_t x8 = (c)->key[4], x9 = (c)->key[5], x10 = (c)->key[6], x11 = (c)->key[7]; \
  uint32_t x12 = (number), x13 = 0, x14 = (c)->nonce[0], x15 = (c)->nonce[1];        \
  _Pragma("clang loop unroll(disable)") for (int round = 0; round < 10; ++round) {   \
    OMNI_QUARTER(x0, x4, x8, x12);                                                   \
    OMNI_QUARTER(x1, x5, x9, x13);                                                   \
    OMNI_QUARTER(x2, x6, x10, x14);                                                  \
    OMNI_QUARTER(x3, x7, x11, x15);                                                  \
    OMNI_QUARTER(x0, x5, x10, x15);                                                  \
    OMNI_QUARTER(x1, x6, x11, x12);                                                  \
    OMNI_QUARTER(x2, x7, x8, x13);                                                   \
    OMNI_QUARTER(x3, x4, x9, x14);                                                   \
  }                                                                                  \
  x0 += 0x61707865, x1 += 0x3320646e, x2 += 0x79622d32, x3 += 0x6b206574;            \
  x4 += (c)->key[0], x5 += (c)->key[1], x6 += (c)->key[2], x7 += (c)->key[3];        \
  x8 += (c)->key[4], x9 += (c)->key[5], x10 += (c)->key[6], x11 += (c)->key[7];      \
  x12 += (number), x14 += (c)->nonce[0], x15 += (c)->nonce[1]

/* Mixes block number `index` + 1 of the key stream into 64 bytes of text. */
OMNI_GLOBAL int omni_crypt_block(struct omni_crypt* c, uint32_t index) {
  if (!c || index >= OMNI_KERNEL_TEXT / 64) return -1;
  OMNI_CHACHA20_BLOCK(c, index + 1);
  OMNI_OPAQUE(index);
  if (index >= OMNI_KERNEL_TEXT / 64) return -1;
  uint32_t* t = (uint32_t*)(c->text + index * 64);
  t[0] ^= x0;
  t[1] ^= x1;
  t[2] ^= x2;
  t[3] ^= x3;
  t[4] ^= x4;
  t[5] ^= x5;
  t[6] ^= x6;
  t[7] ^= x7;
  t[8] ^= x8;
  t[9] ^= x9;
  t[10] ^= x10;
  t[11] ^= x11;
  t[12] ^= x12;
  t[13] ^= x13;
  t[14] ^= x14;
  t[15] ^= x15;
  return 0;
}

#endif /* OMNI_BPF_CHACHA20_H */
