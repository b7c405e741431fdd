# SPDX-License-Identifier: Apache-2.0
"""Public keys of X25519 (RFC 7748 section 5), so that wireguard-go can be configured without its
tools. Not in constant time: for keys that live as long as a measurement."""
P = 2**255 - 19
A24 = 121665


def public_key(private):
    """32 bytes from 32 random bytes."""
    scalar = int.from_bytes(private, "little")
    scalar = (scalar & ~7 & ((1 << 255) - 1)) | (1 << 254)
    u = 9
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in range(254, -1, -1):
        swap = (scalar >> bit) & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b = x2 + z2, x2 - z2
        aa, bb = a * a, b * b
        e = aa - bb
        da, cb = (x3 - z3) * a, (x3 + z3) * b
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + A24 * e) % P
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")
