// SPDX-License-Identifier: Apache-2.0
// What the controller says and hears, as validated values: the gRPC service turns messages into
// these and these into messages; inside the dataplane nothing else is known of the contract.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "common/cipher.h"
#include "common/clock.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "common/paths.h"
#include "common/relay/relay.h"
#include "common/secret.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/control_filter.h"
#include "dataplane/hub/path_mtu.h"

namespace omni {

using SessionId = std::array<uint8_t, 16>;

struct NodeSpec {
  std::vector<InterfaceAddress> addresses;
  uint32_t mtu = 0;
  ControlKeys control_keys;
  PathWishes paths;
  std::optional<RelayLimits> relay;  // unset: nothing is relayed
  bool down = false;                 // the interface is
};

struct PeerSpec {
  NodeId id;
  std::vector<IpPrefix> allowed;
  std::optional<Endpoint> endpoint;
  Duration persistent_keepalive{};  // zero: off
};

struct StateChange {
  uint64_t generation = 0;
  std::optional<uint64_t> base_generation;  // set: a delta
  std::optional<NodeSpec> node;
  std::vector<PeerSpec> upsert;  // of a full state: all peers
  std::vector<NodeId> remove;
};

enum class SessionRole : uint8_t { kInitiator, kResponder };

struct SessionTimers {
  Duration rekey_after{};
  Duration reject_after{};
  Duration keepalive{};
  Duration rekey_on_receive{};
  Duration no_reply{};
};

struct ChannelSpec {
  ChannelId id = 0;
  Key32 key;
};

struct SessionSpec {
  SessionId id{};
  NodeId peer;
  SessionRole role = SessionRole::kInitiator;
  Cipher cipher = Cipher::kChaCha20Poly1305;
  std::vector<ChannelSpec> receive;
  std::vector<ChannelSpec> send;
  std::optional<ChannelSpec> control_receive;
  std::optional<ChannelSpec> control_send;
  Endpoint endpoint;
  SessionTimers timers;
};

// Channels of `to` that what `from` sends on them is relayed to it.
struct RelaySpec {
  NodeId from;
  NodeId to;
  std::vector<ChannelId> channels;
  Duration lifetime{};
};

// What goes through this node from one peer to another.
struct RelayView {
  size_t pairs = 0;
  size_t channels = 0;
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

enum class SessionSlot : uint8_t { kCurrent, kNext, kPrevious };

struct SessionView {
  SessionId id{};
  SessionRole role = SessionRole::kInitiator;
  SessionSlot slot = SessionSlot::kCurrent;
  Cipher cipher = Cipher::kChaCha20Poly1305;
  Duration age{};
  std::vector<ChannelId> receive;
  std::vector<ChannelId> send;
  uint64_t tx_packets = 0;
  uint64_t rx_packets = 0;
};

struct PeerView {
  NodeId id;
  std::optional<Endpoint> endpoint;
  std::vector<SessionView> sessions;  // current first
};

struct StateView {
  uint64_t generation = 0;
  std::vector<PeerView> peers;
};

struct PathMtuView {
  uint32_t carries = 0;  // with the outer headers
  uint32_t inner = 0;
  PathMtuSearch::State state = PathMtuSearch::State::kBase;
};

struct PeerTotals {
  NodeId id;
  uint64_t tx_packets = 0;
  uint64_t tx_bytes = 0;
  uint64_t rx_packets = 0;
  uint64_t rx_bytes = 0;
  Duration last_rx_age{};
  PathMtuView path_mtu;
};

// A packet of the host that is thought of, and what would become of it.
struct PacketQuestion {
  IpAddress destination;
  uint32_t bytes = 0;
  uint8_t protocol = 0;
};
struct Explanation {
  struct Step {
    std::string name;
    std::string text;
  };
  std::optional<NodeId> peer;
  std::optional<SessionId> session;
  std::string path;  // "kernel", "afxdp", "socket"; empty: it goes nowhere
  std::vector<Step> steps;
};

// What the controller is told.
enum class HandshakeReason : uint8_t { kNoSession, kRekey, kNoReply };
struct HandshakeWantedEvent {
  NodeId peer;
  HandshakeReason reason = HandshakeReason::kNoSession;
};
struct SessionConfirmedEvent {
  SessionId session{};
  NodeId peer;
};
enum class SessionEnd : uint8_t { kExpired, kReplaced };
struct SessionEndedEvent {
  SessionId session{};
  NodeId peer;
  SessionEnd reason = SessionEnd::kExpired;
};
struct EndpointChangedEvent {
  NodeId peer;
  Endpoint endpoint;
};
struct EchoReplyEvent {
  NodeId peer;
  uint64_t token = 0;  // 0: the echo that confirmed a session
  Duration rtt{};
};
struct PacketInEvent {
  Endpoint from;
  std::vector<uint8_t> datagram;
};
using ControllerEvent = std::variant<HandshakeWantedEvent, SessionConfirmedEvent, SessionEndedEvent,
                                     EndpointChangedEvent, EchoReplyEvent, PacketInEvent>;

}  // namespace omni
