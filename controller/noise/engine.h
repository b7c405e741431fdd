// SPDX-License-Identifier: Apache-2.0
// HandshakeEngine: all handshakes of this node as one pure state machine: datagrams and time in,
// datagrams, sessions and failures out. No socket, clock, thread or log; randomness through an
// interface, so that a simulator can replay a run. Owned by the controller's event loop.
//
//   HandshakeEngine engine(std::move(options));
//   Output out = engine.Initiate(id, now);
// Then in this order: install out.sessions (a responder must be able to receive before it answers),
// send out.datagrams, report out.failures, arm a timer for NextDeadline() that calls OnTimer(now).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/cipher.h"
#include "common/clock.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "common/secret.h"

namespace omni::noise {

// Where the engine takes randomness and wall-clock time from.
class Environment {
 public:
  virtual ~Environment() = default;
  virtual void Random(std::span<uint8_t> out) = 0;
  // Nanoseconds since 1970, for the timestamp against replayed initiations. May jump; the engine
  // never sends the same or an older one twice.
  virtual uint64_t WallNanos() = 0;
};

// libsodium's generator and CLOCK_REALTIME.
std::unique_ptr<Environment> SystemEnvironment();

enum class Role : uint8_t { kInitiator, kResponder };

struct SessionChannel {
  uint64_t id = 0;  // the 8 bytes on the wire as a little-endian number
  Key32 key;
};

struct EstablishedSession {
  std::array<uint8_t, 16> session_id{};
  NodeId peer;
  Role role = Role::kInitiator;
  Cipher cipher = Cipher::kChaCha20Poly1305;  // of the bulk channels
  std::vector<SessionChannel> receive;
  std::vector<SessionChannel> send;
  // For small packets, where the receiving side offers one.
  std::optional<SessionChannel> control_receive;
  std::optional<SessionChannel> control_send;
  // Source of the authentic handshake message. An initiator may rely on it; for a responder it is
  // where the answer goes, and no reason to move the peer: its message proves nothing about now.
  Endpoint endpoint;
  std::optional<Duration> rtt;  // initiator, when the first try was answered
};

struct Datagram {
  Endpoint to;
  std::vector<uint8_t> bytes;
  std::optional<NodeId> peer;  // whom it is for; unset: a cookie reply
  // Of an initiation: the tag of the channels that it offers, which its answer may be used on as
  // soon as it is made; else 0.
  uint64_t tag = 0;
};

enum class FailureReason : uint8_t {
  kMalformed,       // wrong size, type, or an authentic payload that is not well-formed
  kMac1,            // mac1 is wrong: a stranger
  kUnknownPeer,     // authentic, but a static key that is not configured
  kDecrypt,         // does not decrypt: forged, or made for another key
  kAuthentication,  // the peer's cluster secret or pair PSK differs from ours
  kReplay,          // timestamp not newer than the newest seen
  kDuplicate,       // the newest accepted initiation once more, as when it came by several ways
  kTooFast,         // initiations of one peer faster than allowed
  kUnexpected,      // an answer nobody asked for
  kTimeout,         // gave up after retrying for 90 s
  kRevoked,         // claims a static key that is refused whatever it says
};
// "authentication fails: the peer's cluster secret or pair PSK differs from ours"
std::string Describe(FailureReason reason);

struct Failure {
  FailureReason reason = FailureReason::kMalformed;
  std::optional<NodeId> peer;  // when the message proves who sent it, or for a timeout
  Endpoint from;
};

// Initiations to a peer are among the datagrams. NATs on its side may keep them out until the peer
// sends something itself: who can tell it so should.
struct Call {
  NodeId peer;
  int tries = 1;  // of this handshake, so far
};

struct Output {
  std::vector<EstablishedSession> sessions;
  std::vector<Call> calls;
  std::vector<Datagram> datagrams;
  std::vector<Failure> failures;
};

// Names a cluster secret to those who have it: the first bytes of the cluster id.
using SecretTag = std::array<uint8_t, 8>;
struct ClusterSecret {
  Key32 psk;
  SecretTag tag{};
};

struct PeerOptions {
  std::array<uint8_t, 32> static_public{};
  std::optional<Key32> pair_psk;
  Endpoint endpoint;  // unset: the peer must initiate
};

class HandshakeEngine {
 public:
  struct Options {
    Key32 static_private;
    Key32 cluster_psk;
    // Of our dataplane; taken into 1-16. The larger count of both sides is the number of channels.
    int workers = 1;
    Environment* environment = nullptr;  // not owned
  };

  explicit HandshakeEngine(Options options);
  ~HandshakeEngine();

  // ALREADY_EXISTS: the id or the static key belongs to a peer. INVALID_ARGUMENT: the static key is
  // our own, or no sound one.
  absl::Status AddPeer(const NodeId& id, PeerOptions options);
  // The cluster secrets that this node holds, the present one first; instead of `cluster_psk`.
  // Initiations of others may use any of them. Sessions stay; tries under way begin anew. LIMIT:
  // two, a former or a next one beside the present.
  void SetSecrets(std::vector<ClusterSecret> secrets);
  // What the peer is known to hold besides what it says in handshakes; one that is not ours is
  // never used. Without either, tries go by turns through all that we hold.
  void SetPeerSecret(const NodeId& id, const SecretTag& tag);
  // Of the peer's present secret, as its last handshake said.
  std::optional<SecretTag> SecretOf(const NodeId& id) const;
  // Forgets the peer and what is under way with it.
  void RemovePeer(const NodeId& id);
  // Whoever has this static key gets no answer, and a failure of its own kind. No peer's.
  void Refuse(const std::array<uint8_t, 32>& static_public);
  void RefuseNobody();
  void SetEndpoint(const NodeId& id, const Endpoint& endpoint);
  // Where the peer may be, besides its endpoint: each try of a handshake goes everywhere at once,
  // and the authentic answer tells where the peer is. LIMIT: sixteen are used.
  void SetCandidates(const NodeId& id, std::vector<Endpoint> candidates);
  // Where something stands that passes messages on to the peer, which then come from there as well;
  // unset: nothing does. Used at once where no other address is known, and else when those have
  // not answered within a quarter of a second.
  void SetRelay(const NodeId& id, const Endpoint& relay);
  // Whether there is any address to send to.
  bool CanCall(const NodeId& id) const;
  // The dataplane may have restarted with another number of workers.
  void SetWorkers(int workers);
  // Whether our dataplane receives on control channels: 0 or 1.
  void SetControlChannels(int channels);
  // What later handshakes offer besides ChaCha20-Poly1305, which is always offered, and taken
  // unless both sides offer AES-256-GCM.
  void SetCiphers(std::span<const Cipher> ciphers);

  // Starts a handshake unless one is under way. Without an address nothing happens until
  // SetEndpoint() or SetCandidates(), after which NextDeadline() is due at once.
  Output Initiate(const NodeId& id, Instant now);
  // The peer is calling us, and its messages may wait before our NAT: sends initiations everywhere,
  // at most once a second. Who says so may lie: nothing is repeated, and no failure reported.
  Output Punch(const NodeId& id, Instant now);
  // A session with the peer is in use on both sides, whoever began it: what is under way besides
  // ends.
  void OnConfirmed(const NodeId& id);
  // A control datagram of type 5, 6 or 7 from the network; hostile until proven otherwise.
  Output OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  Output OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;

  bool IsConnecting(const NodeId& id) const;

  // 48-bit session tags that live sessions use are never handed out again until released. The
  // engine reserves those of the sessions it establishes; ReserveTag() is for sessions that are
  // older than the engine (an adopted dataplane's). Release a tag when its session has ended.
  void ReserveTag(uint64_t tag);
  void ReleaseTag(uint64_t tag);
  size_t reserved_tags() const;
  // The tag inside a channel id.
  static uint64_t TagOf(uint64_t channel_id) { return channel_id >> 16; }
  // All channels that a session with this tag may have.
  static std::vector<uint64_t> ChannelsOf(uint64_t tag);

  // Key under which messages to us carry mac1, for the dataplane.
  std::array<uint8_t, 32> mac1_key() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace omni::noise
