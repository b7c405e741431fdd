// SPDX-License-Identifier: Apache-2.0
#include "dataplane/hub/peer_timers.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

const SessionTimers kTimers{.rekey_after = 120s,
                            .reject_after = 180s,
                            .keepalive = 10s,
                            .rekey_on_receive = 165s,
                            .no_reply = 15s};
const Instant kStart = Instant(3600s);

CurrentSession Session(SessionRole role) {
  return {.role = role, .created = kStart, .timers = kTimers};
}

TEST(PeerTimers, AskForNothingWhileNothingHappens) {
  PeerTimers timers;
  const CurrentSession session = Session(SessionRole::kInitiator);
  for (Duration at = 0s; at < 180s; at += 1s) {
    const TimerVerdict verdict = timers.Tick({}, &session, Duration::zero(), kStart + at);
    EXPECT_FALSE(verdict.send_keepalive);
    EXPECT_FALSE(verdict.handshake);
  }
}

TEST(PeerTimers, ARekeyIsDueWhenTheMessagesAreUsedUpWhoeverInitiated) {
  for (const SessionRole role : {SessionRole::kInitiator, SessionRole::kResponder}) {
    PeerTimers timers;
    CurrentSession session = Session(role);
    session.messages_used_up = true;
    EXPECT_EQ(timers.Tick({}, &session, Duration::zero(), kStart).handshake,
              HandshakeReason::kRekey);
  }
}

TEST(PeerTimers, AKeepaliveIsDueTenSecondsAfterTheFirstUnansweredData) {
  PeerTimers timers;
  const CurrentSession session = Session(SessionRole::kResponder);
  PeerTraffic traffic;
  // Data keeps coming; the clock runs from the first.
  for (Duration at = 1s; at < 11s; at += 1s) {
    traffic.last_rx = traffic.last_data_rx = kStart + at;
    EXPECT_FALSE(timers.Tick(traffic, &session, Duration::zero(), kStart + at).send_keepalive);
  }
  traffic.last_rx = traffic.last_data_rx = kStart + 11s;
  EXPECT_TRUE(timers.Tick(traffic, &session, Duration::zero(), kStart + 11s).send_keepalive);
  traffic.last_tx = kStart + 11s;  // it was sent
  EXPECT_FALSE(timers.Tick(traffic, &session, Duration::zero(), kStart + 12s).send_keepalive);
}

TEST(PeerTimers, AKeepaliveThatArrivesAsksForNone) {
  PeerTimers timers;
  const CurrentSession session = Session(SessionRole::kResponder);
  const PeerTraffic traffic{.last_rx = kStart + 1s};
  for (Duration at = 1s; at < 60s; at += 1s) {
    EXPECT_FALSE(timers.Tick(traffic, &session, Duration::zero(), kStart + at).send_keepalive);
  }
}

TEST(PeerTimers, DataWithoutAnyReplyAsksForAHandshakeAfterFifteenSeconds) {
  PeerTimers timers;
  const CurrentSession session = Session(SessionRole::kInitiator);
  PeerTraffic traffic;
  for (Duration at = 1s; at < 16s; at += 1s) {
    traffic.last_tx = traffic.last_data_tx = kStart + at;
    EXPECT_FALSE(timers.Tick(traffic, &session, Duration::zero(), kStart + at).handshake);
  }
  EXPECT_EQ(timers.Tick(traffic, &session, Duration::zero(), kStart + 16s).handshake,
            HandshakeReason::kNoReply);
}

}  // namespace
}  // namespace omni
