// SPDX-License-Identifier: Apache-2.0
// What the kernel offers and Debian 12's headers do not name, or not so that C++ can include it.
// The one place for such definitions.
#pragma once

#include <linux/if_tun.h>
#include <netinet/udp.h>

#include <cstdint>

#ifndef TUN_F_USO4  // Linux 6.2
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace omni {

// struct virtio_net_hdr of linux/virtio_net.h (which has a member named "class"), in host order, as
// a TUN uses it.
struct VirtioHeader {
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoUdpL4 = 5;  // Linux 6.2
  static constexpr uint8_t kGsoEcn = 0x80;

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_length = 0;  // a hint that must not be trusted
  uint16_t gso_size = 0;
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

}  // namespace omni
