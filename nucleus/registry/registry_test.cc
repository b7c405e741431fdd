// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/registry.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace omni {
namespace {

using Verdict = Registry::Verdict;

const ClusterKeys& Keys(int which) {
  static const ClusterKeys keys[2] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf")};
  return keys[which];
}

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    static int number = 0;
    directory_ = std::filesystem::temp_directory_path() /
                 ("omni-registry-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    std::filesystem::create_directories(directory_);
    Open();
  }
  ~RegistryTest() override {
    registry_.reset();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  std::string File() const { return directory_ + "/registry.db"; }
  void Open() {
    registry_.reset();
    store_.reset();
    auto store = Store::Open(File());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    auto registry = Registry::Load(*store_, keys_, limits_, pools_);
    ASSERT_TRUE(registry.ok()) << registry.status();
    registry_ = *std::move(registry);
  }
  const Identity& NodeAt(size_t i) {
    while (identities_.size() <= i) {
      const std::string path = directory_ + "/" + std::to_string(identities_.size());
      identities_.push_back(*Identity::Create(path));
    }
    return identities_[i];
  }
  NodeRecord Record(size_t i, uint64_t sequence, const std::string& address) {
    NodeRecord record{.cluster = cluster_,
                      .key = NodeAt(i).public_key(),
                      .sequence = sequence,
                      .name = "n" + std::to_string(i),
                      .addresses = {},
                      .routes = {},
                      .candidates = {},
                      .capabilities = {}};
    if (!address.empty()) record.addresses.push_back(*IpAddress::Parse(address));
    return record;
  }
  Registry::Outcome Put(size_t i, uint64_t sequence, const std::string& address) {
    const NodeRecord record = Record(i, sequence, address);
    return registry_->Put(record, Sign(record, NodeAt(i)), wall_);
  }
  signal::v1::Delta Next(uint64_t after) {
    return registry_->Next(after, NodeId(), size_t{1} << 20U);
  }
  signal::v1::SignedRevocation Revocation(size_t i, int by = 0) {
    return Sign({.cluster = Keys(by).key.id(),
                 .node = NodeAt(i).node_id(),
                 .time = 1,
                 .name = "",
                 .reason = "stolen"},
                Keys(by));
  }
  static bool Nobody(const NodeId&) { return false; }

  std::string directory_;
  ClusterId cluster_ = Keys(0).key.id();  // of records
  std::vector<ClusterKey> keys_ = {Keys(0).key};
  Registry::Limits limits_{.nodes = 4, .retention = std::chrono::seconds(1000)};
  std::vector<IpPrefix> pools_ = {*IpPrefix::Parse("10.77.0.0/24")};
  int64_t wall_ = 1'000'000;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Registry> registry_;
  std::vector<Identity> identities_;
};

TEST_F(RegistryTest, AReaderGetsEachChangeOnceAndOnlyChanges) {
  EXPECT_EQ(Put(0, 1, "10.0.0.1").verdict, Verdict::kTaken);
  EXPECT_EQ(Put(1, 1, "10.0.0.2").verdict, Verdict::kTaken);
  const auto first = Next(0);
  EXPECT_EQ(first.records_size(), 2);
  EXPECT_TRUE(first.caught_up());
  EXPECT_EQ(Next(first.revision()).records_size(), 0);
  EXPECT_EQ(Put(1, 1, "10.0.0.2").verdict, Verdict::kUnchanged);
  EXPECT_EQ(Next(first.revision()).records_size(), 0);
  EXPECT_EQ(Put(1, 2, "10.0.0.3").verdict, Verdict::kTaken);
  EXPECT_EQ(Put(1, 3, "10.0.0.4").verdict, Verdict::kTaken);
  const auto second = Next(first.revision());
  ASSERT_EQ(second.records_size(), 1);
  EXPECT_EQ(Verify(second.records(0), cluster_)->sequence, 3U);
  // Nobody is told of itself.
  EXPECT_EQ(registry_->Next(first.revision(), NodeAt(1).node_id(), 1000).records_size(), 0);
}

TEST_F(RegistryTest, ALongListComesInParts) {
  for (size_t i = 0; i < 4; ++i) Put(i, 1, "");
  uint64_t at = 0;
  int records = 0;
  int parts = 0;
  for (bool caught_up = false; !caught_up; ++parts) {
    const auto delta = registry_->Next(at, NodeId(), 1);
    records += delta.records_size();
    at = delta.revision();
    caught_up = delta.caught_up();
  }
  EXPECT_EQ(records, 4);
  EXPECT_EQ(parts, 4);
}

TEST_F(RegistryTest, ALowerNumberIsStaleAndShowsWhatIsHeld) {
  Put(0, 7, "10.0.0.1");
  const auto outcome = Put(0, 6, "10.0.0.9");
  EXPECT_EQ(outcome.verdict, Verdict::kStale);
  EXPECT_EQ(Verify(*outcome.newest, cluster_)->sequence, 7U);
  EXPECT_EQ(Put(0, 7, "10.0.0.9").verdict, Verdict::kStale);  // same number, another content
}

TEST_F(RegistryTest, TheFirstHolderOfAnAddressKeepsItUntilItLetsGo) {
  Put(0, 1, "10.0.0.1");
  const auto outcome = Put(1, 1, "10.0.0.1");
  EXPECT_EQ(outcome.verdict, Verdict::kAddressTaken);
  EXPECT_NE(outcome.detail.find(NodeAt(0).node_id().ToString()), std::string::npos);
  EXPECT_EQ(registry_->size(), 1U);
  Put(0, 2, "10.0.0.2");
  EXPECT_EQ(Put(1, 1, "10.0.0.1").verdict, Verdict::kTaken);
}

TEST_F(RegistryTest, ThereIsRoomForSoManyNodesOnly) {
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(Put(i, 1, "").verdict, Verdict::kTaken);
  EXPECT_EQ(Put(4, 1, "").verdict, Verdict::kFull);
  EXPECT_EQ(Put(3, 2, "").verdict, Verdict::kTaken);
}

TEST_F(RegistryTest, ARestartLosesNobodyAndReadersGoOn) {
  Put(0, 1, "10.0.0.1");
  Put(1, 5, "10.0.0.2");
  const auto before = Next(0);
  Open();
  EXPECT_EQ(registry_->registry(), before.registry());
  EXPECT_TRUE(registry_->CanResume(before.registry(), before.revision()));
  EXPECT_EQ(Next(before.revision()).records_size(), 0);
  EXPECT_EQ(Next(0).records_size(), 2);
  EXPECT_EQ(Put(1, 4, "10.0.0.2").verdict, Verdict::kStale);
  EXPECT_EQ(Put(2, 1, "10.0.0.1").verdict, Verdict::kAddressTaken);
  // What readers saw before a power failure that the disk did not is never numbered again.
  EXPECT_GT(registry_->revision(), before.revision());
}

TEST_F(RegistryTest, ClustersDoNotSeeEachOther) {
  Put(0, 1, "10.0.0.1");
  auto registry = Registry::Load(*store_, {Keys(1).key}, limits_);
  ASSERT_TRUE(registry.ok());
  EXPECT_EQ((*registry)->size(), 0U);
  EXPECT_NE((*registry)->registry(), registry_->registry());
}

TEST_F(RegistryTest, TheSilentAreForgottenReadersAreToldAndTheirAddressIsFree) {
  Put(0, 1, "10.0.0.1");
  Put(1, 1, "10.0.0.2");
  const uint64_t before = registry_->revision();
  wall_ += 1001;
  const NodeId connected = NodeAt(1).node_id();
  EXPECT_EQ(registry_->ForgetSilent(wall_, [&](const NodeId& id) { return id == connected; }), 1U);
  const auto delta = Next(before);
  ASSERT_EQ(delta.forgotten_size(), 1);
  EXPECT_EQ(delta.forgotten(0), NodeAt(0).node_id().ToBytes());
  EXPECT_EQ(registry_->size(), 1U);
  EXPECT_EQ(Put(2, 1, "10.0.0.1").verdict, Verdict::kTaken);
  // And that it was forgotten is forgotten, too; who was away longer gets everything.
  Open();
  EXPECT_EQ(Next(before).forgotten_size(), 1);
  registry_->NoteSeen(NodeAt(2).node_id(), wall_ + 5000);
  wall_ += 1001;
  registry_->ForgetSilent(wall_, [&](const NodeId& id) { return id != NodeAt(0).node_id(); });
  EXPECT_EQ(Next(before).forgotten_size(), 0);
  EXPECT_FALSE(registry_->CanResume(registry_->registry(), before));
}

TEST_F(RegistryTest, AForgottenNodeMayComeBackWithAnyNumber) {
  Put(0, 9, "10.0.0.1");
  wall_ += 1001;
  registry_->ForgetSilent(wall_, Nobody);
  EXPECT_EQ(Put(0, 1, "10.0.0.1").verdict, Verdict::kTaken);
  EXPECT_EQ(registry_->size(), 1U);
}

TEST_F(RegistryTest, AClockThatIsSetBackForgetsNobody) {
  Put(0, 1, "");
  wall_ -= 1'000'000;
  EXPECT_EQ(registry_->ForgetSilent(wall_, Nobody), 0U);
}

TEST_F(RegistryTest, ALeaseOutlivesARestartAndNobodyElseCanClaimIt) {
  Put(0, 1, "");
  Put(1, 1, "10.77.0.9");
  const std::vector<IpAddress> wanted = {*IpAddress::Parse("10.77.0.9"),
                                         *IpAddress::Parse("10.77.0.10")};
  const auto given = registry_->Allocate(NodeAt(0).node_id(), wanted);
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].ToString(), "10.77.0.10/24");  // the other one is in a record
  EXPECT_EQ(Put(1, 2, "10.77.0.10").verdict, Verdict::kAddressTaken);
  EXPECT_EQ(Put(0, 2, "10.77.0.10").verdict, Verdict::kTaken);
  Open();
  EXPECT_EQ(registry_->leases(), 1U);
  EXPECT_EQ(Put(1, 2, "10.77.0.10").verdict, Verdict::kAddressTaken);
  EXPECT_EQ(registry_->Allocate(NodeAt(0).node_id(), {}), given);
  registry_->Release(NodeAt(0).node_id());
  EXPECT_EQ(Put(1, 2, "10.77.0.10").verdict, Verdict::kAddressTaken);  // the record still says so
  EXPECT_EQ(Put(0, 3, "").verdict, Verdict::kTaken);
  Open();
  EXPECT_EQ(registry_->leases(), 0U);
  EXPECT_EQ(Put(1, 2, "10.77.0.10").verdict, Verdict::kTaken);
}

TEST_F(RegistryTest, OnlyNodesOfTheRegistryGetAddressesAndTheForgottenLoseThem) {
  EXPECT_TRUE(registry_->Allocate(NodeAt(0).node_id(), {}).empty());
  Put(0, 1, "");
  EXPECT_EQ(registry_->Allocate(NodeAt(0).node_id(), {}).size(), 1U);
  wall_ += 1001;
  registry_->ForgetSilent(wall_, Nobody);
  EXPECT_EQ(registry_->leases(), 0U);
  EXPECT_TRUE(registry_->Allocate(NodeAt(0).node_id(), {}).empty());
  Open();
  EXPECT_EQ(registry_->leases(), 0U);
}

TEST_F(RegistryTest, APoolThatIsTakenAwayEndsItsLeases) {
  Put(0, 1, "");
  ASSERT_EQ(registry_->Allocate(NodeAt(0).node_id(), {}).size(), 1U);
  pools_ = {*IpPrefix::Parse("10.78.0.0/24")};
  Open();
  EXPECT_EQ(registry_->leases(), 0U);
  const auto given = registry_->Allocate(NodeAt(0).node_id(), {});
  ASSERT_EQ(given.size(), 1U);
  EXPECT_TRUE(pools_[0].Contains(given[0].address));
}

TEST_F(RegistryTest, ARevokedNodeLosesEverythingForGoodAndReadersAreTold) {
  Put(0, 1, "10.77.0.9");
  Put(1, 1, "");
  ASSERT_EQ(registry_->Allocate(NodeAt(0).node_id(), {}).size(), 1U);
  const uint64_t before = registry_->revision();
  EXPECT_EQ(registry_->Revoke(Revocation(0, 1)).verdict, RevocationList::Verdict::kRefused);
  EXPECT_EQ(registry_->revision(), before);
  EXPECT_EQ(registry_->Revoke(Revocation(0)).verdict, RevocationList::Verdict::kNew);
  EXPECT_EQ(registry_->Revoke(Revocation(0)).verdict, RevocationList::Verdict::kKnown);
  for (int life = 0; life < 2; ++life) {
    ASSERT_TRUE(registry_->CanResume(registry_->registry(), before));
    const auto delta = Next(before);
    ASSERT_EQ(delta.revocations_size(), 1);
    EXPECT_EQ(delta.revocations(0).SerializeAsString(), Revocation(0).SerializeAsString());
    EXPECT_EQ(delta.records_size() + delta.forgotten_size(), 0);
    EXPECT_EQ(Next(0).revocations_size(), 1);
    EXPECT_EQ(Put(0, 2, "").verdict, Verdict::kRevoked);
    EXPECT_EQ(registry_->size(), 1U);
    EXPECT_EQ(registry_->leases(), 0U);
    // It does not go as the silent do, and takes no place of a node.
    wall_ += 1'000'000;
    registry_->ForgetSilent(wall_, [&](const NodeId& id) { return id == NodeAt(1).node_id(); });
    EXPECT_EQ(registry_->revoked().size(), 1U);
    Open();
  }
  for (size_t i = 2; i < 5; ++i) EXPECT_EQ(Put(i, 1, "").verdict, Verdict::kTaken);
  EXPECT_EQ(Put(1, 2, "10.77.0.9").verdict, Verdict::kTaken);
}

TEST_F(RegistryTest, ANodeThatWasNeverThereOrIsForgottenCanBeRevoked) {
  Put(0, 1, "");
  wall_ += 1001;
  registry_->ForgetSilent(wall_, Nobody);
  registry_->Revoke(Revocation(0));
  registry_->Revoke(Revocation(1));
  Open();
  EXPECT_EQ(registry_->size(), 0U);
  EXPECT_EQ(Next(0).revocations_size(), 2);
  EXPECT_EQ(Put(1, 1, "").verdict, Verdict::kRevoked);
}

TEST_F(RegistryTest, AFileOfTheFirstSchemaIsTakenOver) {
  Put(0, 1, "10.0.0.1");
  registry_.reset();
  store_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(File().c_str(), &database), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_exec(database, "DROP TABLE leases; DROP TABLE revocations; PRAGMA user_version = 1",
                   nullptr, nullptr, nullptr),
      SQLITE_OK);
  sqlite3_close(database);
  Open();
  EXPECT_EQ(registry_->size(), 1U);
  EXPECT_EQ(registry_->Allocate(NodeAt(0).node_id(), {}).size(), 1U);
}

TEST_F(RegistryTest, ASecondProcessIsKeptOut) {
  const auto second = Store::Open(File());
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().ToString().find("another omni-nucleus"), std::string::npos);
}

TEST(Store, WhatIsNoDatabaseIsAnError) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("omni-registry-" + std::to_string(getpid()) + ".txt");
  std::ofstream(file) << std::string(5000, 'x');
  EXPECT_FALSE(Store::Open(file).ok());
  std::filesystem::remove(file);
  EXPECT_FALSE(Store::Open("/does/not/exist/registry.db").ok());
}

}  // namespace
}  // namespace omni
