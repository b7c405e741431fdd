// SPDX-License-Identifier: Apache-2.0
// NucleusClient: a node's connection to its Nucleus: tries all addresses, shows that it is a member
// once the Nucleus has shown that it is the cluster's, keeps its own record there and learns those
// of others; comes back with growing pauses for as long as it takes. Pure: datagrams and time in,
// datagrams and hooks out. Owned by the controller's Discovery, on the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "controller/nucleus/known_records.h"
#include "signal/quic/host.h"
#include "signal/record/record.h"

namespace omni {

enum class NucleusState : uint8_t { kWaiting, kResolving, kConnecting, kRegistering, kRegistered };

struct NucleusView {
  NucleusState state = NucleusState::kWaiting;
  std::string last_error;           // why it is, or last was, not registered
  Endpoint endpoint;                // of the Nucleus that is talked to
  std::optional<NodeId> node_id;    // its identity
  Endpoint observed;                // where it sees us
  std::optional<Instant> since;     // registered since
  std::optional<Instant> next_try;  // kWaiting
  std::optional<Duration> rtt;
  uint64_t revision = 0;
  uint64_t sequence = 0;  // of our record
  size_t nodes = 0;       // known from it
  uint64_t refused_records = 0;
  uint64_t connections = 0;  // registrations so far
};

class NucleusClient : public quic::Listener {
 public:
  struct Options {
    const Identity* identity = nullptr;    // not owned
    const ClusterKeys* cluster = nullptr;  // not owned
    std::optional<NodeId> nucleus;         // no other identity is talked to
    QuicCidKey cid_key{};
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    // Finds the addresses, and calls OnResolved() later.
    std::function<void()> resolve;
    std::function<uint64_t()> wall_nanos;      // a good first number for a record
    std::function<uint32_t(uint32_t)> random;  // below its argument
    KnownRecords::Hooks records;
  };
  explicit NucleusClient(Options options);

  // What others should know of this node; sent when it differs from what they know. Without the
  // candidate that the Nucleus sees, which the client adds.
  struct Self {
    std::string name;
    std::vector<IpAddress> addresses;
    std::vector<IpPrefix> routes;
    std::vector<Endpoint> hosts;
    friend bool operator==(const Self&, const Self&) = default;
  };
  void SetSelf(Self self, Instant now);
  // Nothing leaves while the dataplane is away.
  void SetOnline(Instant now);
  void SetOffline();
  void OnResolved(const absl::StatusOr<std::vector<Endpoint>>& addresses, Instant now);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;
  void Shutdown(Instant now);

  // What is known of others, over the life of a process.
  signal::v1::Delta SaveRecords() const { return records_.Save(); }
  void RestoreRecords(const signal::v1::Delta& saved) { records_.Apply(saved); }

  NucleusView view() const;

  // quic::Listener
  void OnConnected(quic::ConnectionId id, const quic::PublicKey& peer) override;
  void OnMessage(quic::ConnectionId id, std::string_view message) override;
  void OnWritable(quic::ConnectionId) override {}
  void OnMoved(quic::ConnectionId, const Endpoint&) override {}
  void OnClosed(quic::ConnectionId id, const quic::Closed& closed) override;

 private:
  void TryNext();
  void Fail(std::string why);
  void GiveUp(std::string why);
  void OnChallenge(const signal::v1::Challenge& challenge);
  void OnAccepted();
  void OnRefused(const signal::v1::Refused& refused);
  void OnObserved(const signal::v1::Observed& observed);
  void Register();
  void MakeRecord();
  std::vector<Candidate> Candidates() const;
  bool IsRecordOld() const;
  void UpdateRecord();
  template <typename Fill>
  void Send(Fill fill);

  Options options_;
  KnownRecords records_;
  std::unique_ptr<quic::Host> host_;
  Instant now_;  // of the event under way

  NucleusState state_ = NucleusState::kWaiting;
  bool online_ = false;
  std::optional<Instant> deadline_;  // of the state: next try, next address, update
  Duration pause_;
  std::string last_error_;
  std::vector<Endpoint> addresses_;  // still to be tried
  std::map<quic::ConnectionId, Endpoint> attempts_;
  std::optional<quic::ConnectionId> chosen_;
  Endpoint endpoint_;
  std::optional<NodeId> nucleus_id_;
  Endpoint observed_;
  std::optional<Instant> since_;
  uint64_t registrations_ = 0;

  Self self_;
  bool has_self_ = false;
  uint64_t sequence_ = 0;
  signal::v1::SignedRecord record_;  // as last signed
  Self recorded_;                    // what it says
  std::vector<Candidate> recorded_candidates_;
  bool update_under_way_ = false;
};

}  // namespace omni
