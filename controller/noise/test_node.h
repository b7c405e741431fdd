// SPDX-License-Identifier: Apache-2.0
// TestNode: an engine with keys, an address and a repeatable environment, for tests that carry
// datagrams by hand.
#pragma once

#include <array>
#include <optional>
#include <utility>

#include "controller/noise/engine.h"
#include "controller/noise/fake_environment.h"
#include "controller/noise/ik_psk2.h"

namespace omni::noise {

inline const Instant kStart = Instant(1000s);
inline const Key32 kCluster(std::array<uint8_t, 32>{42});

// An engine with what stands around it.
struct TestNode {
  explicit TestNode(uint8_t number, int workers = 1, const Key32& cluster = kCluster)
      : environment(number), engine([&] {
          HandshakeEngine::Options options;
          options.static_private = Key32(private_key.bytes());
          options.cluster_psk = cluster.Clone();
          options.workers = workers;
          options.environment = &environment;
          return options;
        }()) {
    id.bytes[0] = number;
    endpoint.address = *IpAddress::Parse("192.0.2.1");
    endpoint.address.bytes[3] = number;
    endpoint.port = 51900;
  }
  // A peer that we can reach at its endpoint.
  absl::Status Know(const TestNode& other, std::optional<Key32> pair_psk = std::nullopt) {
    return engine.AddPeer(other.id, {.static_public = other.public_key,
                                     .pair_psk = std::move(pair_psk),
                                     .endpoint = other.endpoint});
  }

  FakeEnvironment environment;
  Key32 private_key = [this] {
    Key32 key;
    environment.Random({key.mutable_data(), key.size()});
    return key;
  }();
  PublicKey public_key = PublicOf(private_key);
  NodeId id;
  Endpoint endpoint;
  HandshakeEngine engine;
};

}  // namespace omni::noise
