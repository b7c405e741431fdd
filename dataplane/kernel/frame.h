// SPDX-License-Identifier: Apache-2.0
// A datagram as it was on the wire, made again from what the socket told of it: the program that
// opens it sees headers as it does on an interface. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/ip.h"

namespace omni {

inline constexpr size_t kEthernetHeader = 14;

struct FrameAddresses {
  Endpoint from;
  IpAddress to;
  uint16_t to_port = 0;
  uint8_t traffic_class = 0;
};

// Replaces what stands in `frame`; its memory is used again.
void MakeFrame(const FrameAddresses& addresses, std::span<const uint8_t> datagram,
               std::vector<uint8_t>& frame);

}  // namespace omni
