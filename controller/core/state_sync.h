// SPDX-License-Identifier: Apache-2.0
// StateSync: keeps the dataplane's desired state equal to the PeerTable: one full state after each
// connection, then deltas, one at a time, each with a generation of its own. Owned by the
// Controller, on the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "controller/core/peer_table.h"
#include "controller/dataplane_client/dataplane_client.h"

namespace omni {

// Whether a push tells the dataplane where the peer is: it would undo roaming otherwise.
enum class PushEndpoint : uint8_t { kNo, kYes };

class StateSync {
 public:
  struct Hooks {
    std::function<dataplane::v1::Node()> node;
    // All that was marked before the last Flush() is applied.
    std::function<void()> applied;
    // The dataplane is in another state than we think: read it and PushFull().
    std::function<void()> lost;
  };

  StateSync(DataplaneClient& dataplane, const PeerTable& peers, Hooks hooks)
      : dataplane_(dataplane), peers_(peers), hooks_(std::move(hooks)) {}

  // After a connection. `theirs` is the dataplane's generation; `endpoint` answers where to tell
  // that a peer is, if at all.
  using EndpointFor = std::function<std::optional<Endpoint>(const Peer&)>;
  void PushFull(uint64_t theirs, const EndpointFor& endpoint);
  // The connection ended: changes are collected until the next PushFull().
  void Stop();

  // While hidden, the dataplane is told of no peer. For the next PushFull().
  void HidePeers() { hidden_ = true; }
  void ShowPeers() { hidden_ = false; }

  void MarkNode() { node_changed_ = true; }
  void MarkPeer(const NodeId& id, PushEndpoint endpoint);
  void MarkRemoved(const NodeId& id);
  // Pushes what was marked, now or when the push under way is done.
  void Flush();

  uint64_t generation() const { return applied_; }
  bool ready() const { return ready_; }
  // Nothing is marked or under way.
  bool is_done() const {
    return ready_ && !in_flight_ && !node_changed_ && changed_.empty() && removed_.empty();
  }
  // A push was refused: only a full one can help.
  bool stuck() const { return !ready_ && !in_flight_ && !error_.empty(); }
  const std::string& error() const { return error_; }  // of the last push, empty when it went well

 private:
  void FillPeer(const Peer& peer, const std::optional<Endpoint>& endpoint,
                dataplane::v1::Peer& out) const;
  void Push(dataplane::v1::ApplyStateRequest request);
  void OnPushed(const absl::StatusOr<dataplane::v1::ApplyStateResponse>& response);

  DataplaneClient& dataplane_;
  const PeerTable& peers_;
  Hooks hooks_;

  uint64_t applied_ = 0;
  uint64_t pushed_ = 0;      // the highest generation ever used
  uint64_t connection_ = 0;  // answers of an older one mean nothing
  bool ready_ = false;       // a full state was applied in this connection
  bool in_flight_ = false;
  std::string error_;

  bool hidden_ = false;
  bool node_changed_ = false;
  std::map<NodeId, PushEndpoint> changed_;
  std::set<NodeId> removed_;
};

}  // namespace omni
