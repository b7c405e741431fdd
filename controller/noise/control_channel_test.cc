// SPDX-License-Identifier: Apache-2.0
// Which control channels two engines agree on: each end receives on what it offered itself.
#include <gtest/gtest.h>

#include <utility>

#include "bpf/abi.h"
#include "controller/noise/session_keys.h"
#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

class ControlChannelTest : public ::testing::Test {
 protected:
  ControlChannelTest() {
    EXPECT_TRUE(a_.Know(b_).ok());
    EXPECT_TRUE(b_.Know(a_).ok());
  }
  // The initiator's session, then the responder's.
  std::pair<EstablishedSession, EstablishedSession> Handshake() {
    now_ += 1s;
    auto first = a_.engine.Initiate(b_.id, now_);
    auto second = b_.engine.OnDatagram(first.datagrams.at(0).bytes, a_.endpoint, now_);
    auto third = a_.engine.OnDatagram(second.datagrams.at(0).bytes, b_.endpoint, now_);
    return {std::move(third.sessions.at(0)), std::move(second.sessions.at(0))};
  }
  static void ExpectSame(const std::optional<SessionChannel>& send,
                         const std::optional<SessionChannel>& receive) {
    ASSERT_TRUE(send && receive);
    EXPECT_EQ(send->id, receive->id);
    EXPECT_EQ(send->key, receive->key);
  }

  TestNode a_{1};
  TestNode b_{2};
  Instant now_ = kStart;
};

TEST_F(ControlChannelTest, ThereIsNoneThatNobodyOffered) {
  const auto [initiator, responder] = Handshake();
  EXPECT_FALSE(initiator.control_receive || initiator.control_send);
  EXPECT_FALSE(responder.control_receive || responder.control_send);
}

TEST_F(ControlChannelTest, EachEndReceivesOnItsOwn) {
  a_.engine.SetControlChannels(1);
  b_.engine.SetControlChannels(1);
  const auto [initiator, responder] = Handshake();
  ExpectSame(initiator.control_send, responder.control_receive);
  ExpectSame(responder.control_send, initiator.control_receive);
  EXPECT_FALSE(initiator.control_send->key == initiator.control_receive->key);
  EXPECT_FALSE(initiator.control_send->key == initiator.send[0].key);
  // The kind stands in the id, the session's tag behind it.
  const uint64_t id = initiator.control_send->id;
  EXPECT_EQ(id >> 8 & 0xff, OMNI_CHANNEL_L3_CONTROL << OMNI_CHANNEL_KIND_SHIFT);
  EXPECT_EQ(id >> 16, initiator.send[0].id >> 16);
}

TEST_F(ControlChannelTest, OneEndMayDoWithout) {
  b_.engine.SetControlChannels(1);
  const auto [initiator, responder] = Handshake();
  ExpectSame(initiator.control_send, responder.control_receive);
  EXPECT_FALSE(initiator.control_receive);
  EXPECT_FALSE(responder.control_send);
}

}  // namespace
}  // namespace omni::noise
