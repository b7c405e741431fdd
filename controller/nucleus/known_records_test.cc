// SPDX-License-Identifier: Apache-2.0
#include "controller/nucleus/known_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "signal/quic/testing.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Instant kNow = Instant(1000s);
constexpr int64_t kWall = 1'700'000'000;
constexpr Duration kDay = std::chrono::hours(24);

pb::SignedRecord RecordOf(const Identity& identity, uint64_t sequence, const ClusterId& cluster) {
  return Sign({.cluster = cluster,
               .key = identity.public_key(),
               .sequence = sequence,
               .name = "n",
               .addresses = {},
               .routes = {},
               .candidates = {},
               .capabilities = {}},
              identity);
}

class KnownRecordsTest : public ::testing::Test {
 protected:
  pb::SignedRecord Of(const quic::TestIdentity& who, uint64_t sequence) const {
    return RecordOf(who.get(), sequence, cluster_);
  }
  static const NodeId& IdOf(const quic::TestIdentity& who) { return who.get().node_id(); }
  void FullList(std::vector<pb::SignedRecord> list) {
    pb::Delta delta;
    delta.set_registry(1);
    delta.set_revision(++revision_);
    delta.set_from_beginning(true);
    for (auto& record : list) *delta.add_records() = std::move(record);
    delta.set_caught_up(true);
    records_.Apply(delta);
  }
  pb::SavedRecords Saved(Instant now, int64_t wall_s) const {
    pb::SavedRecords saved;
    EXPECT_TRUE(saved.ParseFromString(records_.Save(now, wall_s)));
    return saved;
  }

  const ClusterId cluster_{};
  quic::TestIdentity self_;
  quic::TestIdentity a_;
  quic::TestIdentity b_;
  uint64_t revision_ = 0;
  std::vector<uint64_t> changed_;
  std::vector<NodeId> unlisted_;
  KnownRecords::Hooks hooks_{
      .changed = [this](const NodeRecord& record) { changed_.push_back(record.sequence); },
      .unlisted = [this](const NodeId& id) { unlisted_.push_back(id); }};
  KnownRecords records_{{cluster_}, self_.get().node_id(), hooks_};
};

TEST_F(KnownRecordsTest, WhatNodesShowIsTakenByTheSameRules) {
  EXPECT_TRUE(records_.Learn(Of(a_, 5), kNow));
  EXPECT_FALSE(records_.Learn(Of(a_, 5), kNow)) << "no news";
  EXPECT_FALSE(records_.Learn(Of(a_, 4), kNow)) << "older";
  EXPECT_TRUE(records_.Learn(Of(a_, 6), kNow));
  EXPECT_FALSE(records_.Learn(Of(self_, 9), kNow)) << "ours is ours to make";
  auto forged = Of(b_, 1);
  forged.mutable_record()->back() ^= 1;
  EXPECT_FALSE(records_.Learn(forged, kNow));
  ClusterId other{};
  other.bytes[0] = 1;
  EXPECT_FALSE(records_.Learn(RecordOf(b_.get(), 1, other), kNow));
  EXPECT_EQ(records_.refused(), 2U);
  EXPECT_THAT(changed_, ElementsAre(5U, 6U));
  EXPECT_EQ(records_.size(), 1U);
}

TEST_F(KnownRecordsTest, ANucleusDoesNotTakeAwayWhatItNeverListed) {
  records_.Learn(Of(a_, 1), kNow);
  FullList({Of(b_, 1)});
  EXPECT_THAT(unlisted_, IsEmpty());
  FullList({});
  EXPECT_THAT(unlisted_, ElementsAre(IdOf(b_)));
  ASSERT_NE(records_.Find(IdOf(a_)), nullptr);
  EXPECT_FALSE(records_.Find(IdOf(a_))->by_nucleus);
  // Once it has, it may.
  FullList({Of(a_, 1)});
  EXPECT_TRUE(records_.Find(IdOf(a_))->by_nucleus);
  FullList({});
  EXPECT_EQ(records_.Find(IdOf(a_)), nullptr);
}

TEST_F(KnownRecordsTest, ANucleusThatIsBackWithOlderRecordsChangesNothing) {
  FullList({Of(a_, 1)});
  records_.Learn(Of(a_, 7), kNow);
  FullList({Of(a_, 1)});
  EXPECT_EQ(records_.Find(IdOf(a_))->sequence, 7U);
  EXPECT_THAT(unlisted_, IsEmpty());
}

TEST_F(KnownRecordsTest, WhatIsSavedIsVerifiedWhenItIsRestoredAndKeepsWhereItIsFrom) {
  FullList({Of(a_, 1)});
  records_.Learn(Of(b_, 2), kNow);
  pb::SavedRecords saved = Saved(kNow, kWall);
  KnownRecords other({cluster_}, self_.get().node_id(), hooks_);
  other.Restore(saved, kNow, kWall);
  EXPECT_EQ(other.size(), 2U);
  EXPECT_TRUE(other.Find(IdOf(a_))->by_nucleus);
  EXPECT_FALSE(other.Find(IdOf(b_))->by_nucleus);
  saved.mutable_from_nodes(0)->mutable_record()->back() ^= 1;
  KnownRecords third({cluster_}, self_.get().node_id(), hooks_);
  third.Restore(saved, kNow, kWall);
  EXPECT_EQ(third.size(), 1U);
}

TEST_F(KnownRecordsTest, AFileOfAnEarlierVersionIsRead) {
  pb::Delta delta;
  *delta.add_records() = Of(a_, 1);
  pb::SavedRecords saved;
  ASSERT_TRUE(saved.ParseFromString(delta.SerializeAsString()));
  records_.Restore(saved, kNow, kWall);
  EXPECT_EQ(records_.size(), 1U);
}

TEST_F(KnownRecordsTest, OtherNodesCannotFillTheMemory) {
  KnownRecords small({cluster_}, self_.get().node_id(), hooks_, 10);
  for (int i = 0; i < 20; ++i) {
    const quic::TestIdentity one;
    small.Learn(Of(one, 1), kNow);
  }
  EXPECT_EQ(small.size(), 10U);
  EXPECT_FALSE(small.Learn(Of(a_, 1), kNow));
  pb::Delta delta;
  *delta.add_records() = Of(a_, 1);
  small.Apply(delta);
  EXPECT_NE(small.Find(IdOf(a_)), nullptr) << "a Nucleus still can tell";
}

class AgesTest : public KnownRecordsTest {
 protected:
  // Of another process, which has counted by a clock of its own.
  static constexpr Instant kLater = Instant(50s);
  KnownRecords other_{{cluster_}, self_.get().node_id(), hooks_};
};

TEST_F(AgesTest, WhoWasNotSeenForAMonthIsForgottenUnlessANucleusListsIt) {
  FullList({Of(b_, 1)});
  records_.Learn(Of(a_, 1), kNow);
  EXPECT_EQ(records_.ForgetUnseen(kNow + KnownRecords::kForgetAfter), 1U);
  EXPECT_THAT(unlisted_, IsEmpty());
  EXPECT_EQ(records_.ForgetUnseen(kNow + KnownRecords::kForgetAfter + 1s), 0U);
  EXPECT_THAT(unlisted_, ElementsAre(IdOf(a_)));
  EXPECT_EQ(records_.Find(IdOf(a_)), nullptr);
  EXPECT_NE(records_.Find(IdOf(b_)), nullptr);
}

TEST_F(AgesTest, WhoIsSeenStaysAndARecordThatIsNoNewsIsNotASight) {
  records_.Learn(Of(a_, 1), kNow);
  records_.Learn(Of(b_, 1), kNow);
  const Instant later = kNow + KnownRecords::kForgetAfter;
  records_.Saw(IdOf(a_), later);
  records_.Learn(Of(b_, 1), later);  // by somebody who has it still
  EXPECT_EQ(records_.ForgetUnseen(later + 1s), 1U);
  EXPECT_NE(records_.Find(IdOf(a_)), nullptr);
}

TEST_F(AgesTest, TheAgeGoesOnOverRestarts) {
  records_.Learn(Of(a_, 1), kNow);
  const pb::SavedRecords saved = Saved(kNow + 20 * kDay, kWall);
  other_.Restore(saved, kLater, kWall + 5 * 24 * 3600);  // off for five days
  EXPECT_EQ(other_.ForgetUnseen(kLater + 5 * kDay), 1U);
  EXPECT_EQ(other_.ForgetUnseen(kLater + 5 * kDay + 1s), 0U);
}

TEST_F(AgesTest, AClockThatJumpsForgetsNobodyAtOnce) {
  records_.Learn(Of(a_, 1), kNow);
  const pb::SavedRecords saved = Saved(kNow, kWall);
  for (const int64_t wall : {kWall + int64_t{3'000'000'000}, int64_t{0}, int64_t{-5}, INT64_MAX}) {
    KnownRecords fresh({cluster_}, self_.get().node_id(), hooks_);
    fresh.Restore(saved, kLater, wall);
    EXPECT_EQ(fresh.ForgetUnseen(kLater + 22 * kDay), 1U) << wall;
    EXPECT_EQ(fresh.ForgetUnseen(kLater + 31 * kDay), 0U) << wall;
  }
}

TEST_F(AgesTest, AFileOfAnEarlierVersionOrOfNobodysMakingIsTaken) {
  records_.Learn(Of(a_, 1), kNow);
  pb::SavedRecords saved = Saved(kNow, kWall);
  saved.clear_unseen_s();
  saved.clear_saved_at();
  other_.Restore(saved, kLater, kWall);
  EXPECT_EQ(other_.ForgetUnseen(kLater + 29 * kDay), 1U);
  saved.add_unseen_s(UINT64_MAX);
  saved.set_saved_at(INT64_MIN);
  KnownRecords third({cluster_}, self_.get().node_id(), hooks_);
  third.Restore(saved, kLater, kWall);
  EXPECT_EQ(third.ForgetUnseen(kLater + 1s), 0U);
}

}  // namespace
}  // namespace omni
