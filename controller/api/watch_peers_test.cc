// SPDX-License-Identifier: Apache-2.0
// WatchPeers and the state of the node, over a real gRPC server.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controller/api/test_service.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;

// A call that streams; its changes as they come.
class Watcher {
 public:
  Watcher(api::Control::Stub& stub, const std::string& peer) {
    api::WatchPeersRequest request;
    request.set_peer(peer);
    reader_ = stub.WatchPeers(&context_, request);
    thread_ = std::thread([this] {
      api::PeerChange change;
      while (reader_->Read(&change)) {
        const std::lock_guard lock(mutex_);
        changes_.push_back(change);
      }
      status_.set_value(reader_->Finish());
    });
  }
  ~Watcher() {
    context_.TryCancel();
    thread_.join();
  }
  std::vector<api::PeerChange> changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  std::future<grpc::Status> End() { return status_.get_future(); }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<api::PeerChange>> reader_;
  std::mutex mutex_;
  std::vector<api::PeerChange> changes_;  // under the mutex
  std::promise<grpc::Status> status_;
  std::thread thread_;
};

class WatchPeersTest : public ServedControllerTest {
 protected:
  void TearDown() override {
    watchers_.clear();
    ServedControllerTest::TearDown();
  }
  Watcher& Watch(const std::string& peer) {
    watchers_.push_back(std::make_unique<Watcher>(*stub_, peer));
    return *watchers_.back();
  }
  bool WaitForChanges(Watcher& watcher, size_t count) {
    return loop_.RunUntil([&] { return watcher.changes().size() >= count; });
  }
  grpc::Status SetState(api::NodeState state) {
    api::SetNodeStateRequest request;
    request.set_state(state);
    api::SetNodeStateResponse response;
    return Call(&api::Control::Stub::SetNodeState, request, response);
  }

  std::vector<std::unique_ptr<Watcher>> watchers_;
};

TEST_F(WatchPeersTest, TellsWhatIsThereAndThenEachChange) {
  Watcher& all = Watch("");
  ASSERT_TRUE(WaitForChanges(all, 1));
  EXPECT_EQ(all.changes()[0].kind(), api::PeerChange::KIND_PRESENT);
  EXPECT_EQ(all.changes()[0].peer().name(), "b");
  EXPECT_EQ(all.changes()[0].peer().state(), api::PEER_STATE_IDLE);
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  ASSERT_TRUE(WaitForChanges(all, 2));
  EXPECT_EQ(all.changes()[1].kind(), api::PeerChange::KIND_ADDED);
  EXPECT_EQ(all.changes()[1].peer().name(), "c");
  dp::PeerCounters& counters = *a_.dataplane.counters.add_peers();
  counters.set_peer_id(b_.identity.node_id().ToBytes());
  counters.set_rx_bytes(7);
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil([&] {
    const auto seen = all.changes();
    return seen.back().peer().state() == api::PEER_STATE_UP;
  }));
  const api::PeerChange up = all.changes().back();
  EXPECT_EQ(up.kind(), api::PeerChange::KIND_CHANGED);
  EXPECT_EQ(up.peer().name(), "b");
  EXPECT_EQ(up.peer().path_kind(), "direct v4");
  EXPECT_EQ(up.peer().rx_bytes(), 7U) << "counters as of the message";
  ASSERT_TRUE(a_.controller->RemovePeer("c").ok());
  ASSERT_TRUE(
      loop_.RunUntil([&] { return all.changes().back().kind() == api::PeerChange::KIND_REMOVED; }));
  EXPECT_EQ(all.changes().back().peer().name(), "c");
  EXPECT_EQ(all.changes().back().peer().node_id(), c_.identity.node_id().ToString());
}

TEST_F(WatchPeersTest, OfOnePeerOnlyThatAndOnceItIsKnown) {
  Watcher& one = Watch("c");
  Watcher& all = Watch("");
  ASSERT_TRUE(WaitForChanges(all, 1));
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  ASSERT_TRUE(WaitForChanges(all, 2));
  ASSERT_TRUE(WaitForChanges(one, 1));
  EXPECT_EQ(one.changes()[0].kind(), api::PeerChange::KIND_ADDED);
  EXPECT_EQ(one.changes()[0].peer().name(), "c");
}

TEST_F(WatchPeersTest, NothingIsToldWhileNothingChanges) {
  Watcher& all = Watch("");
  ASSERT_TRUE(WaitForChanges(all, 1));
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(350);
  ASSERT_TRUE(loop_.RunUntil([&] { return std::chrono::steady_clock::now() > end; }));
  EXPECT_EQ(all.changes().size(), 1U);
}

TEST_F(WatchPeersTest, OnlySoManyCallsWatchAndTheirEndMakesRoom) {
  for (int i = 0; i < 64; ++i) Watch("b");
  ASSERT_TRUE(loop_.RunUntil([&] {
    return std::ranges::all_of(watchers_, [](auto& w) { return !w->changes().empty(); });
  }));
  {
    auto end = Watch("b").End();
    ASSERT_TRUE(Wait(end));
    EXPECT_EQ(end.get().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  watchers_.front()->Cancel();
  auto end = watchers_.front()->End();
  ASSERT_TRUE(Wait(end));
  // The controller hears of it a moment later.
  EXPECT_TRUE(loop_.RunUntil([&] {
    Watcher& another = Watch("b");
    auto refused = another.End();
    const auto is_refused = [&] {
      return refused.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    };
    EXPECT_TRUE(loop_.RunUntil([&] { return !another.changes().empty() || is_refused(); }));
    return !another.changes().empty();
  }));
}

TEST_F(WatchPeersTest, TheNodesStateIsSetWhenTheCallReturns) {
  EXPECT_EQ(SetState(api::NODE_STATE_UNSPECIFIED).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  ASSERT_TRUE(SetState(api::NODE_STATE_DOWN).ok());
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
  EXPECT_TRUE(a_.Connected());
  ASSERT_TRUE(SetState(api::NODE_STATE_UP).ok());
  EXPECT_EQ(a_.dataplane.state.peers_size(), 1);
}

}  // namespace
}  // namespace omni
