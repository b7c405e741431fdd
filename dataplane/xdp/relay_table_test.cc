// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/relay_table.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace omni {
namespace {

using Opening = RelayWatch::Opening;

constexpr ChannelId kOfB = 0x1122334455660004;
constexpr ChannelId kOfA = 0x99aabbccddee0004;
constexpr PeerIndex kA = 3;
constexpr PeerIndex kB = 5;
constexpr uint32_t kEth0 = 2;

Endpoint At(const char* text) { return *Endpoint::Parse(text); }

class FakeMaps final : public RelayMaps {
 public:
  bool AddRelayWindow(ChannelId id) override {
    return windows.size() < room && windows.insert(id).second;
  }
  void RemoveRelayWindow(ChannelId id) override {
    EXPECT_FALSE(relays.contains(id)) << "a channel without a window";
    EXPECT_EQ(windows.erase(id), 1U);
  }
  bool PutRelay(ChannelId id, const omni_steer_relay& relay) override {
    EXPECT_TRUE(windows.contains(id)) << "a channel without a window";
    ++puts;
    if (!relays.contains(id) && relays.size() >= room) return false;
    relays.insert_or_assign(id, relay);
    return true;
  }
  void RemoveRelay(ChannelId id) override { EXPECT_EQ(relays.erase(id), 1U); }

  size_t room = 100;
  size_t puts = 0;
  std::set<ChannelId> windows;
  std::map<ChannelId, omni_steer_relay> relays;
};

class RelayTableTest : public testing::Test {
 protected:
  RelayTableTest() { table_.SetLimits(RelayLimits{1000, 5000}); }

  Opening FromAToB(int64_t expires = 100) const {
    return {.id = kOfB,
            .from = kA,
            .to = kB,
            .from_path = {.remote = a_},
            .to_path = {.remote = b_},
            .pair = 1,
            .expires = Instant(Duration(expires))};
  }
  static RelayTable::Hops HopTo(const Endpoint& remote, uint32_t interface = kEth0) {
    return {{HopKey{remote, IpAddress()},
             {.interface = interface,
              .mtu = 1500,
              .addresses = {.to = {2, 0, 0, 0, 0, 2},
                            .from = {2, 0, 0, 0, 0, 9},
                            .remote = remote,
                            .local = *IpAddress::Parse("192.0.2.9"),
                            .local_port = 51900}}}};
  }
  const omni_steer_relay& entry(ChannelId id = kOfB) { return maps_.relays.at(id); }

  const Endpoint a_ = At("192.0.2.1:1001");
  const Endpoint b_ = At("192.0.2.2:1002");
  const RelayTable::Exits exits_ = {{kEth0, RelayExit::kTransmit}};
  FakeMaps maps_;
  RelayTable table_{maps_};
};

TEST_F(RelayTableTest, AnEntryIsWhatWasOpenedAndTheWayOut) {
  table_.Open(FromAToB());
  EXPECT_EQ(entry().interface, 0U) << "before a way out is found";
  EXPECT_EQ(table_.TakeFresh(), (std::set<HopKey>{{b_, IpAddress()}}));
  EXPECT_TRUE(table_.TakeFresh().empty());
  table_.SetHops(HopTo(b_), exits_);
  const omni_steer_relay& relay = entry();
  EXPECT_EQ(relay.interface, kEth0);
  EXPECT_EQ(relay.redirects, 0);
  EXPECT_EQ(relay.mtu, 1500U);
  EXPECT_EQ(relay.expires, 100U);
  EXPECT_EQ(relay.pair, 1U);
  EXPECT_EQ(relay.pair_bytes_per_s, 1000U);
  EXPECT_EQ(relay.total_bytes_per_s, 5000U);
  EXPECT_EQ(relay.from_family, 4);
  EXPECT_EQ(relay.to_family, 4);
  EXPECT_EQ(relay.from_port, htons(1001));
  EXPECT_EQ(relay.to_port, htons(1002));
  EXPECT_EQ(relay.from[3], 1);
  EXPECT_EQ(relay.to[3], 2);
  EXPECT_EQ(relay.local[3], 9);
  EXPECT_EQ(relay.to_mac[5], 2);
  EXPECT_EQ(relay.local_mac[5], 9);
  EXPECT_EQ(table_.size().channels, 1U);
  EXPECT_EQ(table_.size().sent_on, 1U);
}

TEST_F(RelayTableTest, IsWrittenWhenSomethingChangesAndNotElse) {
  table_.Open(FromAToB());
  table_.SetHops(HopTo(b_), exits_);
  const size_t before = maps_.puts;
  table_.SetHops(HopTo(b_), exits_);
  table_.SetLimits(RelayLimits{1000, 5000});
  table_.Move(kB, {.remote = b_});
  table_.Move(99, {.remote = b_});
  table_.Open(FromAToB());
  EXPECT_EQ(maps_.puts, before);
  table_.Open(FromAToB(200));
  EXPECT_EQ(entry().expires, 200U);
  table_.SetLimits(RelayLimits{2000, 5000});
  EXPECT_EQ(entry().pair_bytes_per_s, 2000U);
  EXPECT_EQ(maps_.puts, before + 2);
  EXPECT_EQ(maps_.windows, std::set<ChannelId>{kOfB}) << "the same all the time";
}

TEST_F(RelayTableTest, FollowsBothPeers) {
  table_.Open(FromAToB());
  table_.SetHops(HopTo(b_), exits_);
  table_.Move(kA, {.remote = At("192.0.2.77:7")});
  EXPECT_EQ(entry().from[3], 77);
  EXPECT_EQ(entry().from_port, htons(7));
  EXPECT_EQ(entry().interface, kEth0) << "the way out is as it was";
  table_.TakeFresh();
  const Endpoint moved = At("192.0.2.88:8");
  table_.Move(kB, {.remote = moved});
  EXPECT_EQ(entry().interface, 0U) << "user space sends until the new way is known";
  EXPECT_EQ(table_.TakeFresh(), (std::set<HopKey>{{moved, IpAddress()}}));
  EXPECT_EQ(table_.Wanted(), (std::set<HopKey>{{moved, IpAddress()}}));
  table_.SetHops(HopTo(moved), exits_);
  EXPECT_EQ(entry().to[3], 88);
  EXPECT_EQ(entry().interface, kEth0);
}

TEST_F(RelayTableTest, SendsOnlyByInterfacesThatCan) {
  table_.Open(FromAToB());
  table_.SetHops(HopTo(b_), {});
  EXPECT_EQ(entry().interface, 0U);
  EXPECT_EQ(table_.size().sent_on, 0U);
  table_.SetHops(HopTo(b_), {{kEth0, RelayExit::kRedirect}});
  EXPECT_EQ(entry().interface, kEth0);
  EXPECT_EQ(entry().redirects, 1);
  table_.SetHops(HopTo(b_, 4), exits_);
  EXPECT_EQ(entry().interface, 0U) << "another interface";
  RelayTable::Hops tagged = HopTo(b_);
  tagged.begin()->second.addresses.vlan = 10;
  table_.SetHops(tagged, exits_);
  EXPECT_EQ(entry().interface, 0U) << "a VLAN";
  table_.SetHops({}, exits_);
  EXPECT_EQ(entry().interface, 0U) << "no neighbour";
  table_.SetHops(HopTo(b_), exits_);
  table_.Move(kA, {.remote = At("[2001:db8::1]:1001")});
  EXPECT_EQ(entry().interface, 0U) << "from one family to the other";
  EXPECT_EQ(table_.size().sent_on, 0U);
}

TEST_F(RelayTableTest, WhoCannotBeKnownByAddressIsUserSpaces) {
  Opening opening = FromAToB();
  opening.from_path = {};
  table_.Open(opening);
  EXPECT_TRUE(maps_.relays.empty());
  table_.Move(kA, {.remote = a_});
  EXPECT_EQ(maps_.relays.size(), 1U);
  table_.Move(kA, {.remote = At("[fe80::1%2]:1")});
  EXPECT_TRUE(maps_.relays.empty()) << "link-local";
  EXPECT_EQ(maps_.windows.size(), 1U) << "and the window stays";
  opening.to_path = {};
  table_.Open(opening);
  EXPECT_TRUE(table_.Wanted().empty());
}

TEST_F(RelayTableTest, ForgetsWhatIsClosed) {
  table_.Open(FromAToB());
  Opening back = FromAToB();
  back.id = kOfA;
  std::swap(back.from, back.to);
  std::swap(back.from_path, back.to_path);
  back.pair = 2;
  table_.Open(back);
  EXPECT_EQ(table_.Wanted().size(), 2U);
  table_.Close(kOfB);
  table_.Close(kOfB);
  EXPECT_EQ(maps_.windows, std::set<ChannelId>{kOfA});
  table_.Move(kA, {.remote = At("192.0.2.77:7")});
  EXPECT_EQ(maps_.relays.size(), 1U);
  table_.Close(kOfA);
  EXPECT_TRUE(maps_.relays.empty());
  EXPECT_TRUE(maps_.windows.empty());
  EXPECT_TRUE(table_.Wanted().empty());
  EXPECT_EQ(table_.size().channels, 0U);
}

TEST_F(RelayTableTest, WithoutRoomTheChannelIsUserSpaces) {
  maps_.room = 1;
  table_.Open(FromAToB());
  Opening other = FromAToB();
  other.id = kOfA;
  table_.Open(other);
  EXPECT_EQ(maps_.windows, std::set<ChannelId>{kOfB});
  EXPECT_EQ(maps_.relays.size(), 1U);
  table_.Close(kOfA);
  table_.Close(kOfB);
  table_.Open(other);
  EXPECT_EQ(maps_.relays.size(), 1U);
}

}  // namespace
}  // namespace omni
