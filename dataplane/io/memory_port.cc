// SPDX-License-Identifier: Apache-2.0
#include "dataplane/io/memory_port.h"

#include <algorithm>

namespace omni {

void MemoryUdpPort::Send(std::span<const Train> trains, DropCounters& drops) {
  (void)drops;  // memory is never full
  for (const Train& train : trains) {
    for (uint32_t at = 0; at < train.bytes; at += train.segment_bytes) {
      const uint8_t* begin = train.data + at;
      const uint32_t size = std::min(train.segment_bytes, train.bytes - at);
      wire_.Put({.bytes = {begin, begin + size},
                 .from = own_,
                 .to = train.path.remote,
                 .traffic_class = train.traffic_class});
    }
  }
}

size_t MemoryUdpPort::Receive(std::span<ReceivedDatagram> out, DropCounters& drops) {
  (void)drops;
  std::deque<WireDatagram>& queue = wire_.queues[own_];
  current_.clear();
  while (!queue.empty() && current_.size() < out.size()) {
    current_.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  for (size_t i = 0; i < current_.size(); ++i) {
    WireDatagram& datagram = current_[i];
    out[i] = {.bytes = datagram.bytes,
              .segment_bytes = static_cast<uint32_t>(datagram.bytes.size()),
              .traffic_class = datagram.traffic_class,
              .path = {.remote = datagram.from, .local = own_.address}};
  }
  return current_.size();
}

std::optional<HostPacket> MemoryTunPort::Read() {
  if (from_host.empty()) return std::nullopt;
  current_ = std::move(from_host.front());
  from_host.pop_front();
  return HostPacket{.bytes = current_.bytes, .offload = current_.offload};
}

void MemoryTunPort::Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) {
  (void)drops;
  for (const std::span<uint8_t> packet : packets) {
    // The contract lets a port overwrite the headroom: do so, that a pipeline which relies on it is
    // found out.
    std::fill(packet.data() - kHeadroom, packet.data(), uint8_t{0xee});
    to_host.emplace_back(packet.begin(), packet.end());
  }
}

}  // namespace omni
