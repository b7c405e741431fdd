// SPDX-License-Identifier: Apache-2.0
// TestNode: a whole worker on in-memory ports, with its reports written down. ConnectedPair is two
// of them with a session between, as a controller would have made it. For tests and fuzz targets.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/io/memory_port.h"
#include "dataplane/worker/worker.h"

namespace omni::testing {

class RecordedReports final : public WorkerReports {
 public:
  void HandshakeWanted(PeerIndex peer, Instant) override { handshakes.push_back(peer); }
  void Confirmed(SessionHandle session) override { confirmed.push_back(session); }
  void Roamed(uint32_t, PeerIndex, SessionHandle, const UdpPath& path) override {
    roamed.push_back(path.remote);
  }
  void EchoReplied(PeerIndex, uint64_t token, Duration, Instant) override {
    echoes.push_back(token);
  }
  std::optional<DropReason> PacketIn(std::span<const uint8_t> datagram, const Endpoint&) override {
    packets_in.emplace_back(datagram.begin(), datagram.end());
    return std::nullopt;
  }
  void Failed(const std::string& cause) override { failures.push_back(cause); }

  std::vector<PeerIndex> handshakes;
  std::vector<SessionHandle> confirmed;
  std::vector<Endpoint> roamed;
  std::vector<uint64_t> echoes;
  std::vector<std::vector<uint8_t>> packets_in;
  std::vector<std::string> failures;
};

struct TestNode {
  TestNode(MemoryWire& wire, const Endpoint& own, AeadBackend backend = AeadBackend::kLibsodium) {
    auto udp_port = std::make_unique<MemoryUdpPort>(wire, own);
    auto tun_port = std::make_unique<MemoryTunPort>();
    udp = udp_port.get();
    tun = tun_port.get();
    worker = std::make_unique<Worker>(Worker::Parts{.aead = *MakeAead(backend),
                                                    .udp = std::move(udp_port),
                                                    .tun = std::move(tun_port),
                                                    .reports = &reports});
    worker->SetSiblings({worker.get()});
  }

  uint64_t drops(DropReason reason) const { return worker->drops().value(reason); }

  RecordedReports reports;
  MemoryUdpPort* udp = nullptr;
  MemoryTunPort* tun = nullptr;
  std::unique_ptr<Worker> worker;
};

inline constexpr PeerIndex kOther = 0;
inline constexpr ChannelId kChannelToA = 0xaaaaaaaaaaaa0004;
inline constexpr ChannelId kChannelToB = 0xbbbbbbbbbbbb0004;

// a is 10.77.0.1 and fd77::1, b is 10.77.0.2 and fd77::2; each knows the other as kOther.
class ConnectedPair {
 public:
  explicit ConnectedPair(AeadBackend backend = AeadBackend::kLibsodium)
      : a(wire, endpoint_a, backend), b(wire, endpoint_b, backend) {
    Connect(a, endpoint_b, {"10.77.0.2/32", "fd77::2/128"}, kChannelToA, kChannelToB);
    Connect(b, endpoint_a, {"10.77.0.1/32", "fd77::1/128"}, kChannelToB, kChannelToA);
  }

  // Lets both work until nothing moves.
  void Settle() {
    for (int i = 0; i < 4; ++i) {
      a.worker->RunOnce(now);
      b.worker->RunOnce(now);
    }
  }

  static Key32 KeyOf(ChannelId id) {
    Key32 key;
    for (size_t i = 0; i < 32; ++i) key.mutable_data()[i] = static_cast<uint8_t>(id >> (i % 8) * 8);
    return key;
  }

  const Endpoint endpoint_a = *Endpoint::Parse("192.0.2.1:1000");
  const Endpoint endpoint_b = *Endpoint::Parse("192.0.2.2:2000");
  MemoryWire wire;
  Instant now = Instant(std::chrono::hours(1));
  TestNode a;
  TestNode b;

 private:
  void Connect(TestNode& node, const Endpoint& other, std::vector<const char*> allowed,
               ChannelId receive, ChannelId send) {
    std::vector<RouteTable::Entry> routes;
    for (const char* prefix : allowed) routes.push_back({*IpPrefix::Parse(prefix), kOther});
    auto in = std::make_shared<ReceiveChannel>();
    in->key = KeyOf(receive);
    in->id = receive;
    in->reject_at = now + std::chrono::seconds(180);
    in->peer = kOther;
    in->session = 1;
    auto out = std::make_shared<SendChannel>();
    out->key = KeyOf(send);
    out->id = send;
    auto session = std::make_shared<SendSession>();
    session->session = 1;
    session->reject_at = in->reject_at;
    session->channels.push_back(std::move(out));
    node.worker->AddPeer(kOther, std::make_shared<PeerActivity>());
    node.worker->SetRoutes(std::make_shared<RouteTable>(routes));
    node.worker->SetPath(kOther, {.remote = other});
    node.worker->SetPathMtu(kOther, {.remote = other}, {.whole = 65535});
    node.worker->AddChannel(std::move(in));
    node.worker->SetSession(kOther, std::move(session));
  }
};

}  // namespace omni::testing
