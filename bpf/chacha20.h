/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ChaCha20 (RFC 8439, section 2.3) and the memory that the AEAD works in. One such memory per CPU
 * and use: programs do not interrupt each other there. The state stands in sixteen locals; an array
 * is slower, because every access of it goes through the stack.
 */
#ifndef OMNI_BPF_CHACHA20_H
#define OMNI_BPF_CHACHA20_H

#include "bpf/helpers.h"

struct omni_crypt {
  uint32_t key[8];
  uint32_t nonce[2];   /* the counter of the packet; the first word of the RFC's nonce is zero */
  uint32_t mac_key[8]; /* of Poly1305: the first half of block 0 */
  uint32_t tag[4];
  /* In this order and without a gap, because Poly1305 goes over them at one go. */
  uint32_t aad[4];
  uint8_t text[OMNI_KERNEL_TEXT];
  uint8_t slack[64]; /* padding and lengths behind the longest text */
  uint8_t head[96];  /* of what is sent: too much for the stack */
};

/* The text of 1 to OMNI_KERNEL_TEXT bytes to or from the packet; 0 when done. One less than the
 * length is what is checked: from that the verifier of Linux 6.1 sees that no length is zero. */
OMNI_INLINE int omni_read_text(struct __sk_buff* skb, uint32_t at, struct omni_crypt* c,
                               uint32_t bytes) {
  uint32_t less = bytes - 1;
  OMNI_OPAQUE(less);
  return less >= OMNI_KERNEL_TEXT || bpf_skb_load_bytes(skb, at, c->text, less + 1);
}
OMNI_INLINE int omni_write_text(struct __sk_buff* skb, uint32_t at, struct omni_crypt* c,
                                uint32_t bytes) {
  uint32_t less = bytes - 1;
  OMNI_OPAQUE(less);
  return less >= OMNI_KERNEL_TEXT ||
         bpf_skb_store_bytes(skb, at, c->text, less + 1, BPF_F_RECOMPUTE_CSUM);
}

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

/* The one-time key of Poly1305. */
OMNI_GLOBAL int omni_mac_key(struct omni_crypt* c) {
  if (!c) return -1;
  OMNI_CHACHA20_BLOCK(c, 0);
  c->mac_key[0] = x0;
  c->mac_key[1] = x1;
  c->mac_key[2] = x2;
  c->mac_key[3] = x3;
  c->mac_key[4] = x4;
  c->mac_key[5] = x5;
  c->mac_key[6] = x6;
  c->mac_key[7] = x7;
  return 0;
}

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
