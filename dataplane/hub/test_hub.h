// SPDX-License-Identifier: Apache-2.0
// TestHub: two nodes, each a hub with one worker on in-memory ports, a clock in the test's hand and
// what they tell their controllers written down. For the hub's tests alone.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/status.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/hub/hub.h"
#include "dataplane/worker/test_node.h"

namespace omni::testing {

class FakeUnderlay final : public Underlay {
 public:
  uint32_t LargestMtu() const override { return mtu; }
  uint32_t MtuTowards(const Endpoint&) override { return mtu; }
  bool TakeChange() override { return std::exchange(mtu, next) != next; }
  uint32_t mtu = 1500;
  uint32_t next = 1500;
};

class FakeLink final : public LinkControl {
 public:
  absl::Status Apply(const LinkState& wanted) override {
    if (!error.ok()) return error;
    state = wanted;
    return absl::OkStatus();
  }
  bool TakeReset() override { return std::exchange(reset, false); }
  LinkState state;
  bool reset = false;
  absl::Status error;
};

inline NodeId Id(uint8_t n) {
  NodeId id;
  id.bytes[0] = n;
  return id;
}

inline PeerSpec Spec(uint8_t n, std::vector<const char*> allowed) {
  PeerSpec out{.id = Id(n)};
  for (const char* prefix : allowed) out.allowed.push_back(*IpPrefix::Parse(prefix));
  return out;
}

inline NodeSpec Node(const char* address) {
  return {.addresses = {*InterfaceAddress::Parse(address)}, .mtu = 1420};
}

// A hub with one worker.
struct HubNode {
  HubNode(MemoryWire& wire, const Endpoint& own,
          std::unique_ptr<Aead> aead = *MakeAead(AeadBackend::kOpenSsl))
      : hub(link, underlay) {
    auto udp_port = std::make_unique<MemoryUdpPort>(wire, own);
    auto tun_port = std::make_unique<MemoryTunPort>();
    tun = tun_port.get();
    worker = std::make_unique<Worker>(Worker::Parts{.aead = std::move(aead),
                                                    .udp = std::move(udp_port),
                                                    .tun = std::move(tun_port),
                                                    .reports = &hub});
    worker->SetSiblings({worker.get()});
    hub.SetWorkers({worker.get()});
    Listen();
  }
  void Listen() {
    hub.SetSink([this](ControllerEvent event) {
      events.push_back(std::move(event));
      return true;
    });
  }
  template <typename T>
  std::vector<T> Take() {
    std::vector<T> out;
    for (const ControllerEvent& event : events) {
      if (const T* match = std::get_if<T>(&event)) out.push_back(*match);
    }
    std::erase_if(events, [](const ControllerEvent& e) { return std::holds_alternative<T>(e); });
    return out;
  }

  FakeLink link;
  FakeUnderlay underlay;
  Hub hub;
  MemoryTunPort* tun = nullptr;
  std::unique_ptr<Worker> worker;
  std::vector<ControllerEvent> events;
};

class TestHub : public ::testing::Test {
 protected:
  TestHub() {
    StateChange change{.generation = 1, .node = Node("10.77.0.1/24")};
    change.upsert.push_back(Spec(2, {"10.77.0.2/32"}));
    change.upsert[0].endpoint = endpoint_b_;
    EXPECT_TRUE(a_.hub.ApplyState(change).ok());
    change.node = Node("10.77.0.2/24");
    change.upsert = {Spec(1, {"10.77.0.1/32"})};
    EXPECT_TRUE(b_.hub.ApplyState(change).ok());
    a_.events.clear();
    b_.events.clear();
  }

  SessionSpec Session(uint8_t n, SessionRole role, bool at_a) const {
    const auto channel = [&](uint64_t tag) {
      ChannelSpec out{.id = tag << 32 | uint64_t{n} << 16 | OMNI_MSG_DATA};
      out.key.mutable_data()[0] = static_cast<uint8_t>(tag);
      out.key.mutable_data()[1] = n;
      return out;
    };
    SessionSpec out{.id = {n}, .peer = Id(at_a ? 2 : 1), .role = role};
    out.receive.push_back(channel(at_a ? 0xaa : 0xbb));
    out.send.push_back(channel(at_a ? 0xbb : 0xaa));
    out.endpoint = at_a ? endpoint_b_ : endpoint_a_;
    out.timers = {.rekey_after = 120s,
                  .reject_after = 180s,
                  .keepalive = 10s,
                  .rekey_on_receive = 165s,
                  .no_reply = 15s};
    return out;
  }
  // As after a handshake that a started.
  void Connect(uint8_t n = 1, Cipher cipher = Cipher::kChaCha20Poly1305) {
    SessionSpec at_a = Session(n, SessionRole::kInitiator, true);
    SessionSpec at_b = Session(n, SessionRole::kResponder, false);
    at_a.cipher = at_b.cipher = cipher;
    ASSERT_TRUE(b_.hub.InstallSession(std::move(at_b), now_).ok());
    ASSERT_TRUE(a_.hub.InstallSession(std::move(at_a), now_).ok());
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 6; ++i) {
      a_.worker->RunOnce(now_);
      b_.worker->RunOnce(now_);
    }
  }
  void Advance(Duration by) {
    for (const Instant end = now_ + by; now_ < end;) {
      now_ += 100ms;
      a_.hub.Tick(now_);
      b_.hub.Tick(now_);
      Settle();
    }
  }
  void SendFromA() {
    a_.tun->from_host.push_back({MakePacket({}, {}), {}});
    Settle();
  }
  void SendFromB() {
    b_.tun->from_host.push_back(
        {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}});
    Settle();
  }
  std::optional<SessionSlot> SlotOf(HubNode& node, uint8_t n) {
    for (const PeerView& peer : node.hub.GetState(now_).peers) {
      for (const SessionView& session : peer.sessions) {
        if (session.id[0] == n) return session.slot;
      }
    }
    return std::nullopt;
  }

  const Endpoint endpoint_a_ = *Endpoint::Parse("192.0.2.1:1");
  const Endpoint endpoint_b_ = *Endpoint::Parse("192.0.2.2:2");
  Instant now_ = Instant(3600s);
  MemoryWire wire_;
  HubNode a_{wire_, endpoint_a_};
  HubNode b_{wire_, endpoint_b_};
};

}  // namespace omni::testing
