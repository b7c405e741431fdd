// SPDX-License-Identifier: Apache-2.0
// PeerTable: all peers of this node, findable by name and node id, no two with the same name, key
// or prefix. Peer is what the controller knows of one. Owned by the Controller, on the event loop.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/cipher.h"
#include "common/clock.h"
#include "common/node_id.h"
#include "controller/config/config.h"
#include "controller/nat/loss_window.h"

namespace omni {

using SessionId = std::array<uint8_t, 16>;

// A session that the dataplane holds.
struct LiveSession {
  SessionId id{};
  uint64_t tag = 0;  // of its receiving channels
  Cipher cipher = Cipher::kChaCha20Poly1305;
  bool confirmed = false;  // both sides are known to hold it
};

enum class PeerOrigin : uint8_t { kConfig, kApi, kNucleus };
enum class PeerState : uint8_t { kIdle, kConnecting, kUp, kUnreachable, kRevoked };
enum class Trouble : uint8_t {
  kNone,
  kRefused,     // a handshake failed authentication: an older session may carry on
  kUnanswered,  // nothing comes back
};

struct Peer {
  PeerSpec spec;
  PeerOrigin origin = PeerOrigin::kConfig;

  // Changes with everything that voids what was agreed before; no two peers ever have the same.
  uint64_t epoch = 0;
  uint64_t spec_number = 0;  // another with each spec; no two peers ever have the same
  Endpoint endpoint;         // where packets go now
  bool revoked = false;  // no member of the cluster any more: neither engine nor dataplane has it
  std::vector<LiveSession> sessions;
  std::optional<Cipher> cipher;  // of the session that sends, while one is confirmed
  Trouble trouble = Trouble::kNone;
  std::string last_error;
  std::optional<Instant> last_error_logged;
  std::optional<Instant> refused_at;
  std::optional<Instant> last_handshake;
  std::optional<Duration> rtt;
  LossWindow loss;  // of echoes to `endpoint`
  uint64_t handshakes = 0;
  uint64_t handshake_failures = 0;
  uint64_t rtt_token = 0;                      // of the echo that measures it
  std::vector<std::function<void()>> waiting;  // called once when a session is confirmed

  const NodeId& id() const { return spec.key.node_id(); }
  void MoveTo(const Endpoint& to) {
    if (endpoint != to) loss.Clear();
    endpoint = to;
  }
  bool has_confirmed_session() const;
};

class PeerTable {
 public:
  using Map = std::map<std::string, std::unique_ptr<Peer>>;

  Peer* Find(const NodeId& id) const;
  // By name or node id.
  Peer* Find(std::string_view text) const;

  // The peer to which exactly this prefix belongs, or nullptr.
  Peer* HolderOf(const IpPrefix& prefix) const;

  // ALREADY_EXISTS, naming the field, when another peer than `except` holds the name, key or a
  // prefix of `spec`.
  absl::Status CheckFree(const PeerSpec& spec, const Peer* except = nullptr) const;

  // Needs CheckFree().
  Peer& Add(PeerSpec spec, PeerOrigin origin);
  void Remove(const NodeId& id);
  // Gives peers new specs, all at once, so that two peers can swap names or prefixes. The outcome
  // must be free of conflicts; the node ids stay.
  void Replace(std::vector<std::pair<Peer*, PeerSpec>> changes);

  size_t size() const { return peers_.size(); }
  // In the order of names.
  Map::const_iterator begin() const { return peers_.begin(); }
  Map::const_iterator end() const { return peers_.end(); }

 private:
  void Index(std::unique_ptr<Peer> peer);
  std::unique_ptr<Peer> Unindex(const Peer& peer);

  uint64_t specs_ = 0;  // numbers given out so far
  Map peers_;
  std::map<NodeId, Peer*> by_id_;
  std::map<IpPrefix, Peer*> by_prefix_;
  std::map<std::array<uint8_t, 32>, Peer*> by_static_key_;
};

}  // namespace omni
