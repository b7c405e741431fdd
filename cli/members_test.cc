// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_omnictl.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

TEST_F(Omnictl, ARevocationHasToBeMeant) {
  StartController();
  const Result asked = Run({"cluster", "revoke", "robot-7"});
  EXPECT_EQ(asked.code, 2);
  EXPECT_THAT(asked.err, HasSubstr("--yes"));
  const Result done = Run({"cluster", "revoke", "robot-7", "--reason", "stolen", "--yes"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("revoked robot-7 (101112131415161718191a1b1c1d1e1f)"));
  EXPECT_EQ(Run({"cluster", "revoke", "nobody", "--yes"}).code, 4);
}

TEST_F(Omnictl, RevocationsAreATableWithTheRefusedBelow) {
  StartController();
  auto& revocation = *control_.revocations.add_revocations();
  revocation.set_node_id("101112131415161718191a1b1c1d1e1f");
  revocation.set_reason("stolen");
  revocation.set_time(1'769'879'100);
  control_.revocations.set_refused(3);
  const Result result = Run({"cluster", "revocations"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "NODE  NODE ID                           REVOKED                  REASON\n"
            "-     101112131415161718191a1b1c1d1e1f  2026-01-31 17:05:00 UTC  stolen\n"
            "refused: 3 statements that no member signed, or too many\n");
  EXPECT_THAT(Run({"cluster", "revocations", "--output", "json"}).out,
              HasSubstr("\"reason\": \"stolen\""));
}

TEST_F(Omnictl, ANodeThatIsRevokedIsToldSo) {
  StartController();
  control_.nucleus.set_configured(true);
  control_.nucleus.set_last_error("this node is revoked: stolen");
  control_.nucleus.mutable_revoked()->set_time(1'769'879'100);
  const Result result = Run({"nucleus", "status"});
  EXPECT_THAT(result.out, HasSubstr("this node is revoked: no member of the cluster any more"));
  EXPECT_THAT(result.out, HasSubstr("2026-01-31 17:05:00 UTC"));
}

TEST_F(Omnictl, ClusterStatusSaysWhatAChangeOfTheSecretWaitsFor) {
  StartController();
  control_.cluster.set_cluster_id("aa");
  auto& node = *control_.cluster.add_nodes();
  node.set_name("robot-7");
  node.set_node_id("10");
  node.set_cluster_id("aa");
  node.set_holds_present(true);
  EXPECT_EQ(Run({"cluster", "status"}).out,
            "Present secret:  aa\n"
            "\n"
            "NODE     NODE ID  USES     HOLDS\n"
            "robot-7  10       present  present\n");
  control_.cluster.set_accepted_cluster_id("bb");
  control_.cluster.set_not_accepted(1);
  const Result waits = Run({"cluster", "status"});
  EXPECT_THAT(waits.out, HasSubstr("Accepted secret:  bb\n"));
  EXPECT_THAT(waits.out, HasSubstr("All use the present secret"));
  EXPECT_THAT(waits.out, HasSubstr("1 of 1 are not known to hold the accepted one"));
  control_.cluster.mutable_nodes(0)->set_holds_accepted(true);
  control_.cluster.set_not_accepted(0);
  control_.cluster.set_not_present(1);
  control_.cluster.mutable_nodes(0)->set_cluster_id("bb");
  const Result ready = Run({"cluster", "status"});
  EXPECT_THAT(ready.out, HasSubstr("robot-7  10       accepted  both"));
  EXPECT_THAT(ready.out, HasSubstr("1 of 1 are not known to use the present secret"));
  EXPECT_THAT(ready.out, HasSubstr("All hold the accepted one"));
  EXPECT_THAT(Run({"cluster", "status", "--output", "json"}).out,
              HasSubstr("\"accepted_cluster_id\": \"bb\""));
}

}  // namespace
}  // namespace omni
