// SPDX-License-Identifier: Apache-2.0
// Commands for scripts and for operating a node: watch, wait, ping --until-direct, up, down.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/test_omnictl.h"

namespace omni {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST_F(Omnictl, PeersWatchPrintsALinePerChange) {
  StartController();
  const Result result = Run({"peers", "watch", "--count", "4"});
  EXPECT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  for (const char* expected :
       {".*robot-2: up, direct v4 192.0.2.2:51900", ".*robot-9: added, idle",
        ".*robot-9: up, relay via 192.0.2.1:51900 .no direct answer from 192.0.2.9:51900.",
        ".*robot-9: removed"}) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_THAT(line, MatchesRegex("[0-9][0-9]:[0-9][0-9]:[0-9][0-9] .*"));
    EXPECT_THAT(line, MatchesRegex(expected));
  }
}

TEST_F(Omnictl, PeersWatchPrintsOneJsonObjectALine) {
  StartController();
  const Result result = Run({"peers", "watch", "--count", "4", "--output", "json"});
  EXPECT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  std::string line;
  std::vector<control::v1::PeerChange> changes;
  while (std::getline(lines, line)) {
    control::v1::PeerChange change;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line, &change).ok()) << line;
    changes.push_back(change);
  }
  ASSERT_EQ(changes.size(), 4U);
  EXPECT_EQ(changes[0].kind(), control::v1::PeerChange::KIND_PRESENT);
  EXPECT_EQ(changes[3].kind(), control::v1::PeerChange::KIND_REMOVED);
  EXPECT_EQ(changes[3].peer().name(), "robot-9");
}

TEST_F(Omnictl, PeersWatchSaysWhyItEnded) {
  StartController();
  const Result result = Run({"peers", "watch", "robot-2"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("too many"));
}

TEST_F(Omnictl, PingUntilDirectEndsWithTheFirstDirectAnswer) {
  StartController();
  const Result result = Run({"ping", "robot-5", "--until-direct"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("robot-5: sequence 1: 0.14 ms, relay via 192.0.2.1:51900\n"
                                    "robot-5: sequence 2: 0.14 ms, relay via 192.0.2.1:51900\n"
                                    "robot-5: sequence 3: 0.14 ms, direct v4 192.0.2.5:51900\n"
                                    "3 sent, 3 received, 0% lost"));
}

TEST_F(Omnictl, PingUntilDirectFailsWithTheReasonWhenTheWayStaysARelay) {
  StartController();
  Result result = Run({"ping", "robot-6", "--until-direct", "--count", "2"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("2 sent, 2 received"));
  EXPECT_THAT(result.err, HasSubstr("ping robot-6: no direct way within 2 echoes: up, relay via "
                                    "192.0.2.1:51900 (no direct answer from 192.0.2.6:51900)"));
  result = Run({"ping", "robot-6", "--until-direct", "--output", "json"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("\"sent\": 10"));
  EXPECT_THAT(result.out, HasSubstr("\"direct\": false"));
  EXPECT_EQ(Run({"ping", "robot-6"}).code, 0) << "a relay is as good when nobody asks";
}

TEST_F(Omnictl, WaitOnlineWaitsForDataplaneAndNucleus) {
  StartController();
  EXPECT_EQ(Run({"wait", "online", "--timeout", "1"}).out, "online\n");
  control_.nucleus.set_configured(true);
  control_.nucleus.set_state(control::v1::NUCLEUS_STATE_WAITING);
  control_.nucleus.set_last_error("no answer");
  Result result = Run({"wait", "online", "--timeout", "0.3"});
  EXPECT_EQ(result.code, 7);
  EXPECT_EQ(
      result.err,
      "omnictl: wait: online: not within 0.3 s: not registered with the Nucleus: no answer\n");
  control_.nucleus.set_state(control::v1::NUCLEUS_STATE_REGISTERED);
  result = Run({"wait", "online", "--timeout", "1", "--output", "json"});
  control::v1::GetStatusResponse status;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(result.out, &status).ok());
}

TEST_F(Omnictl, WaitWithoutAControllerSaysSoWhenTheTimeIsOver) {
  const Result result = Run({"wait", "online", "--timeout", "0.3"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("not within 0.3 s: connect to controller"));
}

TEST_F(Omnictl, WaitPeerWaitsForAnAnswerAndForADirectOne) {
  StartController();
  EXPECT_EQ(Run({"wait", "peer", "robot-2", "--timeout", "1"}).out, "robot-2: 0.14 ms\n");
  EXPECT_EQ(Run({"wait", "peer", "robot-5", "--direct", "--timeout", "5"}).out,
            "robot-5: 0.14 ms, direct v4 192.0.2.5:51900\n");
  const auto fails = [this](std::vector<std::string> more, const char* why) {
    std::vector<std::string> arguments = {"wait", "peer", "--timeout", "0.3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = Run(arguments);
    EXPECT_EQ(result.code, 7);
    EXPECT_THAT(result.err, HasSubstr(why));
  };
  fails({"robot-6", "--direct"}, "it is reached, but by relay via 192.0.2.1:51900");
  fails({"robot-3"}, "no answer within the timeout");
  fails({"robot-7"}, "peer: not known");
  fails({"robot-4"}, "not connected");
}

TEST_F(Omnictl, DownAndUpAreSaidAndShown) {
  StartController();
  EXPECT_EQ(Run({"down"}).out, "down\n");
  EXPECT_THAT(Run({"status"}).out, HasSubstr("down; omnictl up"));
  const Result result = Run({"wait", "online", "--timeout", "0.3"});
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("the node is down: omnictl up"));
  EXPECT_EQ(Run({"up"}).out, "up\n");
  EXPECT_EQ(control_.node_state, control::v1::NODE_STATE_UP);
}

TEST_F(Omnictl, ARelayIsNamedAndSaysWhatGoesThrough) {
  StartController();
  EXPECT_THAT(Run({"peers", "show", "robot-8"}).out,
              HasSubstr("relay via robot-7 (192.0.2.1:51900)"));
  EXPECT_THAT(Run({"peers", "show", "robot-6"}).out, HasSubstr("relay via 192.0.2.1:51900"));
  EXPECT_THAT(Run({"status"}).out, Not(HasSubstr("Relay")));
  control_.relays = true;
  EXPECT_THAT(Run({"status"}).out, HasSubstr("for peers, 2 pairs now, 1.2 MiB in 345 packets"));
}

}  // namespace
}  // namespace omni
