// SPDX-License-Identifier: Apache-2.0
#include "signal/record/revocation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "common/encoding.h"
#include "common/status.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using ::testing::HasSubstr;
using Verdict = RevocationList::Verdict;

const ClusterKeys& Keys(int which) {
  static const ClusterKeys keys[2] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf")};
  return keys[which];
}

NodeId Node(uint8_t first, uint8_t second = 0) {
  NodeId id;
  id.bytes[0] = first;
  id.bytes[1] = second;
  return id;
}

Revocation Some() {
  return {.cluster = Keys(0).key.id(),
          .node = Node(7),
          .time = 1'700'000'000,
          .name = "robot-7",
          .reason = "stolen, says München"};
}

std::string WhyNot(const pb::SignedRevocation& message) {
  return std::string(Message(Verify(message, {&Keys(0).key, 1}).status()));
}

// Signed as it should be, whatever it says.
std::string WhyNot(const std::function<void(pb::Revocation&)>& change) {
  pb::Revocation content;
  content.ParseFromString(Sign(Some(), Keys(0)).revocation());
  change(content);
  pb::SignedRevocation message;
  message.set_revocation(content.SerializeAsString());
  message.set_signature(
      AsString(Keys(0).Sign("omninervous revocation v1", AsBytes(message.revocation()))));
  return WhyNot(message);
}

TEST(Revocation, SaysWhatWasSigned) {
  const auto read = Verify(Sign(Some(), Keys(0)), {&Keys(0).key, 1});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->node, Node(7));
  EXPECT_EQ(read->time, 1'700'000'000);
  EXPECT_EQ(read->name, "robot-7");
  EXPECT_EQ(read->reason, "stolen, says München");
}

TEST(Revocation, OnlyWhoHasTheSecretCanMakeOne) {
  pb::SignedRevocation damaged = Sign(Some(), Keys(0));
  damaged.mutable_signature()->back() ^= 1;
  EXPECT_THAT(WhyNot(damaged), HasSubstr("was not made with the cluster secret"));
  // Of another cluster, and of another cluster that says it was this one.
  Revocation foreign = Some();
  foreign.cluster = Keys(1).key.id();
  EXPECT_THAT(WhyNot(Sign(foreign, Keys(1))), HasSubstr("is another cluster's"));
  pb::SignedRevocation claimed = Sign(Some(), Keys(0));
  claimed.set_signature(
      AsString(Keys(1).Sign("omninervous revocation v1", AsBytes(claimed.revocation()))));
  EXPECT_THAT(WhyNot(claimed), HasSubstr("was not made with the cluster secret"));
  // What the key signed for another purpose.
  pb::SignedRevocation other_use = Sign(Some(), Keys(0));
  other_use.set_signature(
      AsString(Keys(0).Sign("omninervous membership proof v1", AsBytes(other_use.revocation()))));
  EXPECT_THAT(WhyNot(other_use), HasSubstr("was not made with the cluster secret"));
  EXPECT_FALSE(WhyNot(pb::SignedRevocation()).empty());
}

TEST(Revocation, IsRefusedWhenItIsNotWellFormed) {
  EXPECT_EQ(WhyNot([](pb::Revocation&) {}), "");
  EXPECT_THAT(WhyNot([](auto& m) { m.set_node_id("short"); }), HasSubstr("node_id"));
  EXPECT_THAT(WhyNot([](auto& m) { m.set_time(-1); }), HasSubstr("time"));
  EXPECT_THAT(WhyNot([](auto& m) { m.set_name("Robot 7"); }), HasSubstr("name"));
  EXPECT_THAT(WhyNot([](auto& m) { m.set_reason(std::string(201, 'x')); }), HasSubstr("reason"));
  EXPECT_THAT(WhyNot([](auto& m) { m.set_reason("\x1b[2J"); }), HasSubstr("control character"));
  EXPECT_THAT(WhyNot([](auto& m) {
                m.set_reason(
                    "\xc2\x9b"
                    "2J");
              }),
              HasSubstr("control character"));
  EXPECT_THAT(WhyNot([](auto& m) { m.set_cluster_id(std::string(600, 'x')); }), HasSubstr("size"));
}

TEST(RevocationList, TheFirstStatementAboutANodeCounts) {
  RevocationList list({Keys(0).key});
  EXPECT_EQ(list.Take(Sign(Some(), Keys(0))).verdict, Verdict::kNew);
  Revocation later = Some();
  later.reason = "found again";
  const auto again = list.Take(Sign(later, Keys(0)));
  EXPECT_EQ(again.verdict, Verdict::kKnown);
  EXPECT_EQ(again.entry->revocation.reason, Some().reason);
  EXPECT_EQ(list.size(), 1U);
  EXPECT_EQ(list.refused(), 0U);
  EXPECT_NE(list.Find(Node(7)), nullptr);
  EXPECT_EQ(list.Find(Node(8)), nullptr);
}

TEST(RevocationList, WhatIsKnownToTheLastByteIsKnownAndNothingElse) {
  RevocationList list({Keys(0).key});
  const pb::SignedRevocation good = Sign(Some(), Keys(0));
  ASSERT_EQ(list.Take(good).verdict, Verdict::kNew);
  EXPECT_EQ(list.Take(good).verdict, Verdict::kKnown);
  pb::SignedRevocation damaged = good;
  damaged.mutable_signature()->back() ^= 1;
  EXPECT_EQ(list.Take(damaged).verdict, Verdict::kRefused);
  damaged = good;
  damaged.mutable_revocation()->push_back('\0');
  EXPECT_EQ(list.Take(damaged).verdict, Verdict::kRefused);
}

TEST(RevocationList, ADigestTellsWhichNodesAreRevokedUnderASecret) {
  RevocationList a({Keys(0).key, Keys(1).key});
  RevocationList b({Keys(0).key, Keys(1).key});
  EXPECT_EQ(a.DigestOf(Keys(0).key.id()), b.DigestOf(Keys(0).key.id()));
  Revocation one = Some();
  one.node = Node(1);
  a.Take(Sign(Some(), Keys(0)));
  a.Take(Sign(one, Keys(0)));
  EXPECT_NE(a.DigestOf(Keys(0).key.id()), b.DigestOf(Keys(0).key.id()));
  EXPECT_EQ(a.DigestOf(Keys(1).key.id()), b.DigestOf(Keys(1).key.id()));
  // In another order, and by another statement.
  one.reason = "another";
  b.Take(Sign(one, Keys(0)));
  b.Take(Sign(Some(), Keys(0)));
  EXPECT_EQ(a.DigestOf(Keys(0).key.id()), b.DigestOf(Keys(0).key.id()));
}

TEST(RevocationList, IsBoundedAndCountsWhatItRefuses) {
  RevocationList list({Keys(0).key});
  for (size_t i = 0; i < kMaxRevocations; ++i) {
    Revocation one = Some();
    one.node = Node(static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8U));
    ASSERT_EQ(list.Take(Sign(one, Keys(0))).verdict, Verdict::kNew);
  }
  Revocation one_more = Some();
  one_more.node = Node(0xff, 0xff);
  const auto full = list.Take(Sign(one_more, Keys(0)));
  EXPECT_EQ(full.verdict, Verdict::kFull);
  EXPECT_THAT(full.detail, HasSubstr("another secret"));
  EXPECT_EQ(list.Take(pb::SignedRevocation()).verdict, Verdict::kRefused);
  EXPECT_EQ(list.refused(), 2U);
  EXPECT_EQ(list.size(), kMaxRevocations);
}

}  // namespace
}  // namespace omni
