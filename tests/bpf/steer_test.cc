// SPDX-License-Identifier: Apache-2.0
// What the steering program drops at XDP and under which reason, and what it leaves alone.
#include <linux/bpf.h>

#include <random>
#include <thread>

#include "common/clock.h"
#include "common/status.h"
#include "dataplane/xdp/steer_object.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

constexpr ChannelId kBulk = 0x1122334455660004;
constexpr ChannelId kControl = 0x1122334455664004;
constexpr ChannelId kStranger = 0x99aabbccddee0004;

// In the driver, and behind it.
class Steer : public testing::TestWithParam<XdpMode> {
 protected:
  void SetUp() override {
    auto object = SteerObject::Load(kPort);
    if (absl::IsUnimplemented(object.status())) GTEST_SKIP() << Message(object.status());
    ASSERT_TRUE(object.ok()) << Message(object.status());
    steer_ = *std::move(object);
    for (const char* address : {"192.0.2.9", "2001:db8::9"}) {
      ASSERT_TRUE(steer_->AddAddress(*IpAddress::Parse(address)).ok());
    }
    steer_->AddChannel(kBulk, ChannelUse::kOurs);
    steer_->AddChannel(kControl, ChannelUse::kOurs);
  }

  uint32_t Run(const Bytes& frame) {
    Bytes out(4096);
    const auto verdict = steer_->Run(frame, out, GetParam());
    EXPECT_TRUE(verdict) << "the kernel did not run the program on " << frame.size() << " bytes";
    if (!verdict) return XDP_ABORTED;
    out.resize(verdict->bytes);
    EXPECT_EQ(out, frame) << "the program changed the frame";
    return verdict->action;
  }
  uint64_t drops() const {
    uint64_t sum = 0;
    for (const uint64_t value : steer_->Drops()) sum += value;
    return sum;
  }
  uint64_t drops(enum omni_drop_reason reason) const { return steer_->Drops()[reason]; }
  uint64_t count(enum omni_steer_counter what) const { return steer_->Counters()[what]; }

  void ExpectUntouched(const Bytes& frame, const std::string& what) {
    const uint64_t before = drops();
    EXPECT_EQ(Run(frame), static_cast<uint32_t>(XDP_PASS)) << what;
    EXPECT_EQ(drops(), before) << what;
  }
  void ExpectDropped(const Bytes& frame, enum omni_drop_reason reason, const std::string& what) {
    const uint64_t before = drops(reason);
    EXPECT_EQ(Run(frame), static_cast<uint32_t>(XDP_DROP)) << what;
    EXPECT_EQ(drops(reason), before + 1) << what;
  }
  // The rate of the frame's prefix is spent: no more pass than it earns meanwhile, one every 5 ms,
  // and one that was nearly earned.
  void ExpectSpent(const Bytes& frame, const std::string& what) {
    const uint64_t before = drops(OMNI_DROP_rx_control_rate);
    const Instant begin = Now();
    int64_t passed = 0;
    while (passed < 400 && Run(frame) == XDP_PASS) ++passed;
    EXPECT_LE(passed, (Now() - begin).count() / int64_t{OMNI_STEER_PREFIX_INTERVAL_NS} + 1) << what;
    EXPECT_EQ(drops(OMNI_DROP_rx_control_rate), before + 1) << what;
  }

  std::unique_ptr<SteerObject> steer_;
};

Bytes Data(ChannelId id, size_t bytes = 100) {
  Bytes out(bytes, 0x5a);
  const Le64 wire(id);
  std::memcpy(out.data(), &wire, std::min(sizeof(wire), bytes));
  return out;
}

Bytes Message(uint8_t type, size_t bytes) {
  Bytes out(bytes, 0x5a);
  if (bytes > 0) out[0] = type;
  return out;
}

// Puts tags between the addresses and the type, the outermost first.
Bytes Tagged(Bytes frame, const std::vector<uint16_t>& types) {
  for (auto type = types.rbegin(); type != types.rend(); ++type) {
    const Bytes tag = {static_cast<uint8_t>(*type >> 8), static_cast<uint8_t>(*type), 0, 10};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  }
  return frame;
}

Bytes Extensions(size_t count, uint8_t type) {
  Bytes out(count * 8, 0);
  for (size_t i = 0; i < count; ++i) out[i * 8] = i + 1 < count ? type : 17;
  return out;
}

TEST_P(Steer, DropsOurDatagramsByReason) {
  const struct {
    const char* what;
    Bytes payload;
    enum omni_drop_reason reason;
  } cases[] = {
      {"data of an unknown channel", Data(kStranger), OMNI_DROP_rx_unknown_channel},
      {"data of another index of a known session", Data(kBulk ^ 0x100),
       OMNI_DROP_rx_unknown_channel},
      {"data shorter than its header", Data(kBulk, 31), OMNI_DROP_rx_truncated},
      {"data of one byte", Data(kBulk, 1), OMNI_DROP_rx_truncated},
      {"a short initiation", Message(5, 231), OMNI_DROP_rx_truncated},
      {"a long initiation", Message(5, 233), OMNI_DROP_rx_oversized},
      {"an initiation of one byte", Message(5, 1), OMNI_DROP_rx_truncated},
      {"a short response", Message(6, 187), OMNI_DROP_rx_truncated},
      {"a long cookie reply", Message(7, 65), OMNI_DROP_rx_oversized},
      {"a short beacon", Message(8, 179), OMNI_DROP_rx_truncated},
      {"a long beacon", Message(8, 181), OMNI_DROP_rx_oversized},
  };
  for (const auto& c : cases) {
    for (const int family : {4, 6}) {
      ExpectDropped(MakeFrame({.family = family}, c.payload), c.reason, c.what);
      ExpectDropped(MakeFrame({.family = family, .vlan = 10}, c.payload), c.reason, c.what);
    }
  }
}

TEST_P(Steer, LetsPassWhatMayBeGood) {
  for (const int family : {4, 6}) {
    for (const ChannelId id : {kBulk, kControl}) {
      ExpectUntouched(MakeFrame({.family = family}, Data(id, 32)), "a keepalive");
      ExpectUntouched(MakeFrame({.family = family}, Data(id, 1400)), "data");
    }
    ExpectUntouched(MakeFrame({.family = family}, Message(5, 232)), "an initiation");
    ExpectUntouched(MakeFrame({.family = family}, Message(6, 188)), "a response");
    ExpectUntouched(MakeFrame({.family = family}, Message(7, 64)), "a cookie reply");
    ExpectUntouched(MakeFrame({.family = family}, Message(8, 180)), "a beacon");
    for (const uint8_t type : {0, 1, 3, 9, 15, 64, 127, 192, 255}) {
      ExpectUntouched(MakeFrame({.family = family}, Message(type, 64)), "another message");
    }
    ExpectUntouched(MakeFrame({.family = family}, {}), "an empty datagram");
  }
  EXPECT_EQ(count(OMNI_STEER_xdp_passed), 8U);
  EXPECT_EQ(count(OMNI_STEER_xdp_handshakes), 8U);
}

// Each of these is of an unknown channel, and would be dropped if it were ours.
TEST_P(Steer, LeavesAloneWhatIsNotItsOwn) {
  const Bytes data = Data(kStranger);
  ExpectUntouched(MakeFrame({.to_port = kPort + 1}, data), "another port");
  ExpectUntouched(MakeFrame({.first_header = 6}, data), "TCP");
  ExpectUntouched(MakeFrame({.fragment = 0x2000}, data), "first fragment");
  ExpectUntouched(MakeFrame({.fragment = 0x0010}, data), "later fragment");
  ExpectUntouched(MakeFrame({.family = 6, .options = Extensions(1, 44), .first_header = 44}, data),
                  "IPv6 fragment");
  ExpectUntouched(MakeFrame({.family = 6, .options = Extensions(5, 60), .first_header = 60}, data),
                  "many extension headers");
  ExpectUntouched(Tagged(MakeFrame({}, data), {0x8100, 0x8100, 0x8100}), "three tags");
  ExpectUntouched(Bytes(14, 0xff), "no packet at all");
  Bytes arp = MakeFrame({}, data);
  arp[13] = 0x06;
  ExpectUntouched(arp, "ARP");
  steer_->RemoveAddress(*IpAddress::Parse("192.0.2.9"));
  ExpectUntouched(MakeFrame({}, data), "an address that is not ours");
}

TEST_P(Steer, SeesThroughOptionsExtensionsAndTags) {
  const Bytes data = Data(kStranger);
  const auto expect = [&](const Bytes& frame, const std::string& what) {
    ExpectDropped(frame, OMNI_DROP_rx_unknown_channel, what);
  };
  for (size_t words = 1; words <= 10; ++words) {
    expect(MakeFrame({.options = Bytes(words * 4, 1)}, data), "options");
  }
  for (const uint8_t type : {0, 43, 60}) {
    for (size_t count = 1; count <= 4; ++count) {
      const Frame frame{.family = 6, .options = Extensions(count, type), .first_header = type};
      expect(MakeFrame(frame, data), "extension headers");
    }
  }
  expect(Tagged(MakeFrame({}, data), {0x8100}), "a tag");
  expect(Tagged(MakeFrame({.family = 6}, data), {0x88a8, 0x8100}), "a provider's tag");
  Bytes padded = MakeFrame({}, Data(kStranger, 32));
  padded.resize(padded.size() + 20);
  const uint64_t before = drops();
  Bytes out(4096);
  EXPECT_EQ(steer_->Run(padded, out)->action, static_cast<uint32_t>(XDP_DROP));
  EXPECT_EQ(drops(), before + 1) << "padding behind the datagram";
}

// Cut at every byte: what is not whole is the kernel's to refuse.
TEST_P(Steer, LeavesEveryTruncationToTheKernel) {
  for (const int family : {4, 6}) {
    const Bytes whole = Tagged(MakeFrame({.family = family}, Data(kStranger)), {0x88a8, 0x8100});
    for (size_t bytes = 14; bytes < whole.size(); ++bytes) {
      Bytes out(4096);
      const auto verdict = steer_->Run(std::span(whole).first(bytes), out);
      EXPECT_TRUE(!verdict || verdict->action == XDP_PASS) << bytes << " bytes";
    }
    EXPECT_EQ(drops(), 0U);
  }
}

// A header that claims other lengths than the frame has.
TEST_P(Steer, LeavesWrongLengthsToTheKernel) {
  for (const auto& [at, value] : {std::pair<size_t, int>{14, 0x44},
                                  {14, 0x4f},
                                  {14, 0x65},
                                  {16, 0xff},
                                  {16 + 1, 20},
                                  {38, 0xff},
                                  {39, 7}}) {
    Bytes frame = MakeFrame({}, Data(kBulk));
    frame[at] = static_cast<uint8_t>(value);
    const uint64_t before = drops();
    Bytes out(4096);
    const auto verdict = steer_->Run(frame, out, GetParam());
    EXPECT_TRUE(!verdict || verdict->action == XDP_PASS) << at;
    EXPECT_EQ(drops(), before) << at;
  }
}

TEST_P(Steer, LimitsHandshakesOfAPrefix) {
  Frame flood{.source_end = 1};
  const Bytes message = Message(5, 232);
  uint64_t passed = 0;
  for (int i = 0; i < 1000; ++i) {
    flood.source_end = static_cast<uint8_t>(i);  // one prefix all the same
    passed += Run(MakeFrame(flood, message)) == XDP_PASS ? 1 : 0;
  }
  // The bucket goes on filling meanwhile: 200 a second.
  EXPECT_GE(passed, 800U);
  EXPECT_LT(passed, 1000U);
  EXPECT_EQ(drops(OMNI_DROP_rx_control_rate), 1000 - passed);
  ExpectUntouched(MakeFrame({.family = 6}, message), "another prefix");
  ExpectUntouched(MakeFrame(flood, Data(kBulk)), "data from the same prefix");
}

TEST_P(Steer, LimitsHandshakesOfAllPrefixesTogether) {
  Bytes frame = MakeFrame({}, Message(5, 232));
  uint64_t passed = 0;
  const Instant begun = Now();
  for (uint32_t i = 0; i < 20'000; ++i) {
    frame[26] = static_cast<uint8_t>(10 + (i >> 14));
    frame[27] = static_cast<uint8_t>(i >> 8);
    frame[28] = static_cast<uint8_t>(i);
    passed += Run(frame) == XDP_PASS ? 1 : 0;
  }
  // Each CPU has a bucket, and this thread may have been on any of them. An emulated machine is too
  // slow to reach the rate.
  const std::chrono::duration<double> elapsed = Now() - begun;
  const double most = std::thread::hardware_concurrency() * (4001 + 20'000 * elapsed.count());
  EXPECT_GE(passed, 4000U);
  EXPECT_LE(static_cast<double>(passed), most);
  EXPECT_EQ(drops(OMNI_DROP_rx_control_rate), 20'000 - passed);
}

// Strangers next door use up the rate of the prefix, but not that of an address that is expected.
TEST_P(Steer, AnExpectedAddressHasARateOfItsOwn) {
  for (const int family : {4, 6}) {
    Bytes stranger = MakeFrame({.family = family}, Message(5, 232));
    const Bytes peer = stranger;
    stranger[family == 4 ? 29 : 37] = 77;  // the last byte of the source
    for (int i = 0; i < 2000; ++i) Run(stranger);
    ExpectSpent(peer, "beyond the rate of the prefix");
    const auto address =
        IpAddress::FromBytes(std::span(peer).subspan(family == 4 ? 26 : 22, family == 4 ? 4 : 16));
    steer_->Expect(*address);
    for (int i = 0; i < 200; ++i) {
      ExpectUntouched(peer, "of an expected address");
      Run(stranger);
    }
    steer_->Expect(*address);  // again, and its bucket is as it was
    int passed = 0;
    for (int i = 0; i < 400; ++i) passed += Run(peer) == XDP_PASS ? 1 : 0;
    EXPECT_LT(passed, 200) << "it has a limit as well";
    ExpectSpent(stranger, "whose prefix has nothing left");
  }
}

// While the table of channels is not whole, what it does not have may be good.
TEST_P(Steer, IsCarefulWhileItsTableOfChannelsIsFull) {
  const Bytes unknown = MakeFrame({}, Data(kStranger));
  const auto id = [](uint64_t number) { return (number << 16) ^ kBulk; };
  for (uint64_t i = 1; i < OMNI_STEER_CHANNELS - 1; ++i)
    steer_->AddChannel(id(i), ChannelUse::kOurs);
  ExpectDropped(unknown, OMNI_DROP_rx_unknown_channel, "a table that is just full");
  steer_->AddChannel(id(1U << 20), ChannelUse::kOurs);
  steer_->AddChannel(id(1U << 21), ChannelUse::kOurs);
  steer_->AddChannel(id(1U << 22), ChannelUse::kOurs);
  ExpectUntouched(unknown, "an unknown channel");
  EXPECT_EQ(count(OMNI_STEER_xdp_unsure), 1U);
  ExpectDropped(MakeFrame({}, Data(kStranger, 31)), OMNI_DROP_rx_truncated, "a short one");
  steer_->RemoveChannel(id(1U << 20));  // one that waits
  steer_->RemoveChannel(id(1));         // makes room for one that waits
  ExpectUntouched(unknown, "an unknown channel while one still waits");
  steer_->RemoveChannel(id(2));
  ExpectDropped(unknown, OMNI_DROP_rx_unknown_channel, "a table that is whole again");
  for (const uint64_t number : {1U << 21, 1U << 22}) {
    ExpectUntouched(MakeFrame({}, Data(id(number))), "a channel that has waited");
  }
}

TEST_P(Steer, ForgetsChannels) {
  const Bytes frame = MakeFrame({}, Data(kBulk));
  ExpectUntouched(frame, "a channel");
  steer_->RemoveChannel(kBulk);
  ExpectDropped(frame, OMNI_DROP_rx_unknown_channel, "a channel that was");
}

// A queue without a socket, one beyond those that have some, a frame that fits no socket.
TEST_P(Steer, GivesToTheKernelWhereThereIsNoSocket) {
  const uint32_t loopback = 1;  // test runs come in on it
  for (const omni_steer_interface& queues :
       {omni_steer_interface{.queues = 1, .longest = 2000, .workers = 1},
        omni_steer_interface{.queues = 0, .longest = 2000, .workers = 1},
        omni_steer_interface{.queues = 1, .longest = 64, .workers = 1},
        omni_steer_interface{.queues = 1, .longest = 2000},
        omni_steer_interface{.first = 1U << 31, .queues = 64, .longest = 2000, .workers = 2}}) {
    ASSERT_TRUE(steer_->SetInterface(loopback, queues).ok());
    ExpectUntouched(MakeFrame({}, Data(kBulk)), "no socket");
  }
  steer_->RemoveInterface(loopback);
  EXPECT_EQ(count(OMNI_STEER_xdp_passed), 5U);
  EXPECT_EQ(count(OMNI_STEER_xdp_redirected), 0U);
}

TEST_P(Steer, TakesJumboFrames) {
  Bytes out(16'384);
  for (const ChannelId id : {kBulk, kStranger}) {
    const auto verdict = steer_->Run(MakeFrame({}, Data(id, 8900)), out, GetParam());
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->action, static_cast<uint32_t>(id == kBulk ? XDP_PASS : XDP_DROP));
  }
}

TEST_P(Steer, SurvivesRandomBytes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const Bytes good[] = {
      MakeFrame({}, Data(kBulk)), MakeFrame({.family = 6}, Data(kBulk)),
      MakeFrame({.vlan = 3}, Message(5, 232)),
      MakeFrame({.family = 6, .options = Extensions(3, 60), .first_header = 60}, Data(kBulk))};
  Bytes out(4096);
  uint64_t ran = 0;
  for (int i = 0; i < 30'000; ++i) {
    Bytes frame = good[random() % std::size(good)];
    if (i % 5 == 0) frame.resize(14 + random() % 2000);
    for (uint64_t changes = 1 + random() % 6; changes > 0; --changes) {
      const size_t limit = (random() & 1) != 0 ? std::min<size_t>(frame.size(), 100) : frame.size();
      frame[random() % limit] = static_cast<uint8_t>(random());
    }
    const auto verdict = steer_->Run(frame, out, GetParam());
    if (!verdict) continue;
    ++ran;
    ASSERT_TRUE(verdict->action == XDP_PASS || verdict->action == XDP_DROP);
    ASSERT_TRUE(std::ranges::equal(std::span(out).first(verdict->bytes), frame));
  }
  EXPECT_GT(ran, 20'000U);
  ExpectUntouched(good[0], "a good frame afterwards");
}

TEST_P(Steer, IsSmall) {
  // LIMIT: as for every program of ours, so that loading stays quick.
  const uint32_t instructions = steer_->verified_instructions(GetParam());
  EXPECT_LT(instructions, 120'000U);
  RecordProperty("instructions", static_cast<int>(instructions));
}

INSTANTIATE_TEST_SUITE_P(Modes, Steer, testing::Values(XdpMode::kNative, XdpMode::kGeneric),
                         [](const auto& mode) {
                           return mode.param == XdpMode::kNative ? "Native" : "Generic";
                         });

}  // namespace
}  // namespace omni::bpf_testing
