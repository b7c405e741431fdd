// SPDX-License-Identifier: Apache-2.0
// WatchPeersCall: one WatchPeers of the management API: looks at all peers again and again, and
// streams those that are others than before. A reader who is slow sees fewer states, and costs no
// memory. Owned by itself until gRPC is done with it; works on the event loop, gRPC's callbacks
// only post there.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/api/peer_counters.h"
#include "controller/core/controller.h"
#include "omni/control/v1/control.pb.h"

namespace omni {

class WatchPeersCall : public grpc::ServerWriteReactor<control::v1::PeerChange>,
                       public std::enable_shared_from_this<WatchPeersCall> {
 public:
  // `watching` counts the calls that live; of the loop.
  static WatchPeersCall* Start(boost::asio::io_context& loop, Controller& controller,
                               std::shared_ptr<size_t> watching,
                               const control::v1::WatchPeersRequest& request);
  ~WatchPeersCall() override {
    if (is_counted_) --*watching_;
  }

 private:
  // What of a peer makes a change.
  struct Seen {
    std::string name;
    uint64_t spec_number = 0;
    PeerState state = PeerState::kIdle;
    std::optional<PathClass> path;
    Endpoint endpoint;
    uint64_t record = 0;  // whose addresses explain why it is relayed
    std::string last_error;
    std::optional<Cipher> cipher;
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  struct Change {
    NodeId id;
    control::v1::PeerChange::Kind kind = control::v1::PeerChange::KIND_UNSPECIFIED;
    std::string name;  // of one that was removed
  };

  WatchPeersCall(boost::asio::io_context& loop, Controller& controller,
                 std::shared_ptr<size_t> watching, const control::v1::WatchPeersRequest& request)
      : loop_(loop),
        controller_(controller),
        watching_(std::move(watching)),
        wanted_(request.peer()),
        timer_(loop) {}

  // gRPC's threads
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The loop
  void Begin();
  void Look();
  void LookLater();
  Seen See(const Peer& peer) const;
  void Compare(const Peer& peer);
  void FindRemoved();
  void WriteNext();
  void End(const grpc::Status& status);

  boost::asio::io_context& loop_;
  Controller& controller_;
  const std::shared_ptr<size_t> watching_;
  const std::string wanted_;  // name or node id; empty: all
  boost::asio::steady_timer timer_;
  std::shared_ptr<WatchPeersCall> self_;  // until OnDone

  bool is_counted_ = false;
  bool is_first_ = true;                         // look
  std::map<NodeId, Seen> seen_;                  // LIMIT: peers
  std::deque<Change> waiting_;                   // LIMIT: peers, those of one look
  dataplane::v1::GetCountersResponse counters_;  // as of the look
  CountersById by_id_;
  control::v1::PeerChange result_;
  bool ended_ = false;
};

}  // namespace omni
