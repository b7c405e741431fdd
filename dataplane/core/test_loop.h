// SPDX-License-Identifier: Apache-2.0
// Loop: one node that sends to itself, both pipelines over a port of the caller's, with the same
// key and channel both ways. For what looks at the packet path alone: allocations, benchmarks.
#pragma once

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "dataplane/core/forwarder.h"
#include "dataplane/core/receiver.h"
#include "dataplane/core/sender.h"

namespace omni::testing {

class NoEvents final : public WorkerEvents {
 public:
  void OnHandshakeWanted(PeerIndex) override {}
  void OnConfirmed(SessionHandle) override {}
  void OnRoamed(PeerIndex, SessionHandle, const UdpPath&) override {}
  void OnEchoRequest(PeerIndex, std::span<const uint8_t>) override {}
  void OnEchoReply(PeerIndex, std::span<const uint8_t>, Instant) override {}
  void OnTry(PeerIndex, std::span<const uint8_t>, const UdpPath&) override {}
  void OnTooBig(std::span<const uint8_t>, uint32_t) override {}
  void OnControl(std::span<const uint8_t>, const UdpPath&, Instant) override {}
  void OnHandover(uint32_t, std::span<const uint8_t>, const ReceivedDatagram&) override {}
  void OnControlChannel(std::span<const uint8_t>, const ReceivedDatagram&) override {}
};

// Every cipher with every backend that has it here.
inline std::vector<std::pair<Cipher, AeadBackend>> AllAeads() {
  std::vector<std::pair<Cipher, AeadBackend>> out;
  for (const Cipher cipher : kAllCiphers) {
    for (const AeadBackend backend : AvailableAeadBackends(cipher))
      out.emplace_back(cipher, backend);
  }
  return out;
}

// `Port` is both a UdpPort and a TunPort. 10.77.0.0/24 is behind the node itself.
template <typename Port>
struct Loop {
  Loop(std::unique_ptr<Aead> chosen, Cipher cipher) : aead(std::move(chosen)) {
    receive_channel->id = kChannel;
    receive_channel->cipher = cipher;
    receive_channel->peer = 0;
    receive_channel->reject_at = now + std::chrono::hours(1);
    send_channel->id = kChannel;
    send_channel->cipher = cipher;
    auto session = std::make_shared<SendSession>();
    session->reject_at = receive_channel->reject_at;
    session->channels = {send_channel};
    tables.routes = std::make_shared<RouteTable>(
        std::vector<RouteTable::Entry>{{*IpPrefix::Parse("10.77.0.0/24"), 0}});
    tables.channels.emplace(kChannel, receive_channel);
    tables.peers.resize(1);
    tables.peers[0].activity = std::make_shared<PeerActivity>();
    tables.peers[0].path = {.remote = from};
    tables.peers[0].mtu = {.whole = Train::kMaxBytes - OMNI_DATA_OVERHEAD};
    tables.peers[0].session = session;
  }

  static constexpr ChannelId kChannel = 0xabcdefabcdef0004;
  Port port;
  NoEvents events;
  std::unique_ptr<Aead> aead;
  WorkerTables tables;
  const Endpoint from = *Endpoint::Parse("192.0.2.1:1");
  const Instant now = Instant(std::chrono::hours(1));
  std::shared_ptr<ReceiveChannel> receive_channel = std::make_shared<ReceiveChannel>();
  std::shared_ptr<SendChannel> send_channel = std::make_shared<SendChannel>();
  Sender sender{tables, *aead, port, events};
  Forwarder forwarder{tables, port};
  Receiver receiver{tables, *aead, port, forwarder, events};
};

}  // namespace omni::testing
