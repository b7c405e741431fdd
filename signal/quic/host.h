// SPDX-License-Identifier: Apache-2.0
// Host: one end of QUIC connections, as a machine that is fed: datagrams and time in, datagrams and
// events out. It has no socket, clock or thread, so that a Nucleus drives it from its socket, a
// node through its dataplane, and a test from memory. A connection is two identities that proved
// themselves to each other, and one stream of messages each way. Owned by an event loop.
//
//   Host host(std::move(options), listener);   feed OnDatagram(); call OnTimer() at NextDeadline()
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/identity/identity.h"
#include "common/ip.h"
#include "common/knock.h"
#include "common/node_id.h"
#include "common/quic_cid.h"

namespace omni::quic {

// Never used twice by a host.
enum class ConnectionId : uint64_t {};
using PublicKey = std::array<uint8_t, 32>;  // Ed25519

// Between whom a datagram goes. A machine with several addresses has to answer from the one that
// was asked; who has but one way out leaves `local` as it is.
struct Route {
  Endpoint remote;
  IpAddress local;
  friend bool operator==(const Route&, const Route&) = default;
};

enum class CloseCause : uint8_t {
  kPeer,       // it said so, with a code
  kIdle,       // nothing was heard for the idle timeout
  kHandshake,  // no answer, or none that proves the identity wanted
  kReset,      // it has forgotten the connection: it restarted
  kProtocol,   // it broke the rules
};
struct Closed {
  CloseCause cause = CloseCause::kProtocol;
  uint64_t code = 0;  // kPeer: what it gave to Close()
  std::string text;   // for people
};

// What happens on connections. Called from inside Host's methods, after the host is in order again:
// a listener may call the host.
class Listener {
 public:
  virtual ~Listener() = default;
  // The handshake is done. `peer` has proved to hold the identity key.
  virtual void OnConnected(ConnectionId id, const PublicKey& peer) = 0;
  virtual void OnMessage(ConnectionId id, std::string_view message) = 0;
  // Fewer than half of max_queued_bytes wait, after a Send() that was refused.
  virtual void OnWritable(ConnectionId id) = 0;
  // The peer is seen at another address, which was validated.
  virtual void OnMoved(ConnectionId id, const Endpoint& remote) = 0;
  // The connection exists no longer. Not called after our own Close().
  virtual void OnClosed(ConnectionId id, const Closed& closed) = 0;
};

struct HostOptions {
  const Identity* identity = nullptr;  // not owned
  std::string protocol;                // ALPN, with its version
  QuicCidKey cid_key{};                // connection ids are made with it
  // Sends a datagram, now. Called from inside Host's methods.
  std::function<void(const Route& to, std::span<const uint8_t> datagram)> send;

  // LIMIT: of a received message; a connection holds as much of an unfinished one.
  size_t max_message_bytes = size_t{64} << 10U;
  // LIMIT: unacknowledged and unsent bytes of one connection. A Send() that finds as many fails.
  size_t max_queued_bytes = size_t{256} << 10U;
  Duration handshake_timeout = 10s;
  // LIMIT: twice the interval of keepalives and a margin for lost ones.
  Duration idle_timeout = 30s;
  // LIMIT: under 30 s, the shortest time for which NATs keep a UDP mapping in practice; 0: none.
  Duration keepalive = 12s;

  // Zero: takes no connections, and says nothing to strangers.
  size_t max_accepted = 0;
  // Between nodes, which know each other's id before they begin: the first datagrams of a client
  // end with a knock, under any of these keys. Without a right one nothing begins and nothing is
  // answered: strangers get no word of versions, no Retry and no reset. A datagram that was knocked
  // with once does not begin anything again. Unset: hosts do not knock.
  std::optional<std::vector<KnockKey>> knocks;
  // From so many handshakes under way, a new client has to show by a Retry that it receives where
  // it sends from.
  size_t retry_from = 64;
  // Under which former connections are told (stateless reset) that they ended with a former
  // process.
  std::array<uint8_t, 32> reset_key{};
};

struct HostCounters {
  uint64_t retries = 0;
  uint64_t resets = 0;
  uint64_t refused = 0;     // clients beyond max_accepted
  uint64_t replayed = 0;    // knocks that were heard before
  uint64_t unknown = 0;     // datagrams that belong to no connection and begin none
  uint64_t handshakes = 0;  // completed
  uint64_t failures = 0;    // handshakes that failed
};

class Host {
 public:
  Host(HostOptions options, Listener& listener);
  ~Host();  // says goodbye to nobody: CloseAll() does
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Begins a connection; OnConnected() or OnClosed() follows. With `expected`, no other identity is
  // talked to. `knock`: the key of the one at `to`, where hosts knock.
  absl::StatusOr<ConnectionId> Connect(const Endpoint& to, const std::optional<NodeId>& expected,
                                       Instant now, const std::optional<KnockKey>& knock = {});
  // A datagram whose first byte IsQuic(). Hostile until proven otherwise.
  void OnDatagram(std::span<const uint8_t> datagram, const Route& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;

  // Queues a message and sends what may be sent. RESOURCE_EXHAUSTED: too much waits already;
  // OnWritable() follows. FAILED_PRECONDITION: not connected.
  absl::Status Send(ConnectionId id, std::string_view message, Instant now);
  // Tells the peer, best effort, and forgets the connection. One that does not exist is no error.
  void Close(ConnectionId id, uint64_t code, std::string_view reason, Instant now);
  void CloseAll(uint64_t code, std::string_view reason, Instant now);

  // RFC 5705 keying material of the connection, the same on both ends and on no other connection.
  absl::StatusOr<std::array<uint8_t, 32>> Export(ConnectionId id, std::string_view label) const;
  // Where the peer is. Unset: no such connection.
  Endpoint remote(ConnectionId id) const;
  // The same with the address of ours that it talks to.
  Route route(ConnectionId id) const;
  std::optional<Duration> rtt(ConnectionId id) const;
  // By which both ends (and qlog) name the connection for as long as it lives, wherever it
  // migrates: the Original Destination Connection ID, in hex. Empty: no such connection.
  std::string original_cid(ConnectionId id) const;

  // The key of the knock by which it began. Unset: no such connection, or no knock.
  std::optional<KnockKey> knock(ConnectionId id) const;

  // Whether the datagram is for a connection of this host.
  bool Owns(std::span<const uint8_t> datagram) const;
  // Bytes that the peer has not acknowledged yet.
  size_t unacknowledged(ConnectionId id) const;

  size_t connections() const;
  const HostCounters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace omni::quic
