// SPDX-License-Identifier: Apache-2.0
// In-memory doubles of the two ports, with which everything above them is tested without root: a
// MemoryWire carries datagrams between MemoryUdpPorts, and a MemoryTunPort is a host that is a list
// of packets.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "dataplane/core/port.h"

namespace omni {

struct WireDatagram {
  std::vector<uint8_t> bytes;
  Endpoint from;
  Endpoint to;
  uint8_t traffic_class = 0;
};

// The network: datagrams by destination. Tests reach in to lose, repeat, reorder and forge.
class MemoryWire {
 public:
  std::map<Endpoint, std::deque<WireDatagram>> queues;
  size_t largest = SIZE_MAX;  // UDP payload; what is larger is lost without a word
  void Put(WireDatagram datagram) {
    if (datagram.bytes.size() <= largest) queues[datagram.to].push_back(std::move(datagram));
  }
};

class MemoryUdpPort final : public UdpPort {
 public:
  MemoryUdpPort(MemoryWire& wire, Endpoint own) : wire_(wire), own_(own) {}

  void Send(std::span<const Train> trains, DropCounters& drops) override;
  size_t Receive(std::span<ReceivedDatagram> out, DropCounters& drops) override;

  void MoveTo(const Endpoint& endpoint) { own_ = endpoint; }

 private:
  MemoryWire& wire_;
  Endpoint own_;
  std::vector<WireDatagram> current_;
};

class MemoryTunPort final : public TunPort {
 public:
  struct Packet {
    std::vector<uint8_t> bytes;
    Offload offload;
  };

  std::optional<HostPacket> Read() override;
  void Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) override;

  std::deque<Packet> from_host;
  std::vector<std::vector<uint8_t>> to_host;

 private:
  Packet current_;
};

}  // namespace omni
