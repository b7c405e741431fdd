// SPDX-License-Identifier: Apache-2.0
// What the receiving program takes, what it drops and under which reason, and what it leaves alone.
#include <arpa/inet.h>
#include <net/if.h>

#include <random>

#include "common/clock.h"
#include "dataplane/core/ecn.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

class BpfOpen : public BpfHookTest {
 protected:
  void ExpectUntouched(const Bytes& frame, const std::string& what) {
    const Result result = Receive(frame);
    EXPECT_EQ(result.action, kPass) << what;
    EXPECT_EQ(result.packet, frame) << what;
  }
  void ExpectDropped(const Bytes& frame, enum omni_drop_reason reason) {
    const uint64_t before = drops(reason);
    EXPECT_EQ(Receive(frame).action, kDrop);
    EXPECT_EQ(drops(reason), before + 1) << "reason " << reason;
  }
};

Bytes ExtensionHeader(uint8_t next, size_t bytes) {
  Bytes out(bytes);
  out[0] = next;
  out[1] = static_cast<uint8_t>(bytes / 8 - 1);
  return out;
}

Bytes Join(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Outside and inside in either family: four ways to change a packet's shape.
TEST_P(BpfOpen, DeliversAnyFamilyInsideAny) {
  uint64_t counter = 0;
  for (const int outside : {4, 6}) {
    for (const size_t bytes : {60, 61, 100, 600, 1280}) {
      for (const Bytes& inner : {InnerV4(bytes), InnerV6(bytes)}) {
        const Result result = Receive(MakeFrame({.family = outside}, Sealed(counter++, inner)));
        ASSERT_EQ(result.action, kRedirect) << outside << " around " << int{inner[0]};
        EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(14), inner));
      }
    }
  }
  EXPECT_EQ(count(OMNI_COUNT_kernel_rx), counter);
}

TEST_P(BpfOpen, TakesOptionsAndExtensionHeaders) {
  const Bytes inner = InnerV4(84);
  uint64_t counter = 0;
  for (size_t words = 1; words <= 10; ++words) {
    const Frame frame{.options = Bytes(words * 4, 1)};
    EXPECT_EQ(Receive(MakeFrame(frame, Sealed(counter++, inner))).action, kRedirect);
  }
  const Bytes chain =
      Join(ExtensionHeader(60, 8), Join(ExtensionHeader(43, 24), ExtensionHeader(17, 16)));
  const Frame frame{.family = 6, .options = chain, .first_header = 0};
  const Result result = Receive(MakeFrame(frame, Sealed(counter++, inner)));
  EXPECT_EQ(result.action, kRedirect);
  EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(14), inner));
}

TEST_P(BpfOpen, LeavesAloneWhatIsNotItsOwn) {
  const Bytes data = Sealed(1, InnerV4(84));
  ExpectUntouched(MakeFrame({.to_port = kPort + 1}, data), "another port");
  ExpectUntouched(MakeFrame({.first_header = 6}, data), "TCP");
  ExpectUntouched(MakeFrame({.fragment = 0x2000}, data), "first fragment");
  ExpectUntouched(MakeFrame({.fragment = 0x0010}, data), "later fragment");
  const Bytes tag = {0x88, 0xa8, 0, 20};
  Bytes tagged = MakeFrame({.vlan = 10}, data);
  ExpectUntouched(tagged, "tagged frame");
  for (const char* what : {"two tags", "three tags"}) {
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    ExpectUntouched(tagged, what);
  }
  ExpectUntouched(
      MakeFrame({.family = 6, .options = ExtensionHeader(17, 8), .first_header = 44}, data),
      "IPv6 fragment");
  Bytes endless;
  for (int i = 0; i < 6; ++i) endless = Join(endless, ExtensionHeader(60, 8));
  endless = Join(endless, ExtensionHeader(17, 8));
  ExpectUntouched(MakeFrame({.family = 6, .options = endless, .first_header = 60}, data),
                  "many extension headers");
  for (const uint8_t type : {0, 1, 5, 6, 7, 64, 255}) {
    Bytes other = data;
    other[0] = type;
    ExpectUntouched(MakeFrame({}, other), "another message");
  }
  for (const uint8_t index : {0x00, 0x01, 0x80, 0xc0, 0x41}) {
    Bytes other = data;
    other[1] = index;
    ExpectUntouched(MakeFrame({}, other), "another channel");
  }
  Bytes unknown = data;
  unknown[5] ^= 1;
  ExpectUntouched(MakeFrame({}, unknown), "an unknown channel");
  Bytes damaged = MakeFrame({}, data);
  damaged[14 + 8] ^= 1;
  ExpectUntouched(damaged, "a wrong checksum of the outer header");
  object_->rx()[kRxSlot].active = 0;
  ExpectUntouched(MakeFrame({}, data), "a channel being written");
}

// Cut at every byte: never delivered, never a fault, and the whole of it is taken afterwards.
TEST_P(BpfOpen, SurvivesEveryTruncation) {
  const Bytes data = Sealed(9, InnerV4(84));
  const Frame shapes[] = {{.family = 4},
                          {.family = 6},
                          {.family = 4, .options = Bytes(40, 1)},
                          {.family = 6,
                           .options = Join(ExtensionHeader(60, 8), ExtensionHeader(17, 24)),
                           .first_header = 0}};
  for (const Frame& shape : shapes) {
    const Bytes frame = MakeFrame(shape, data);
    const uint64_t packets = object_->rx()[kRxSlot].packets;
    for (size_t bytes = 14; bytes < frame.size(); ++bytes) {
      // The kernel refuses to run on what is shorter than its own headers.
      const auto result = TryReceive(std::span(frame).first(bytes));
      EXPECT_TRUE(!result || result->action == kPass) << bytes << " bytes";
    }
    EXPECT_EQ(object_->rx()[kRxSlot].packets, packets);
    EXPECT_EQ(Receive(frame).action, kRedirect);
    ResetWindow();
  }
}

// Headers that lie about lengths: of IPv4, of its options, of extension headers, of UDP.
TEST_P(BpfOpen, SurvivesEveryLengthThatIsAsserted) {
  const Bytes data = Sealed(9, InnerV4(84));
  const Frame with_options{.options = Bytes(12, 1)};
  const Frame with_extensions{.family = 6,
                              .options = Join(ExtensionHeader(60, 8), ExtensionHeader(17, 8)),
                              .first_header = 0};
  const struct {
    Frame shape;
    std::vector<size_t> places;
  } cases[] = {{{}, {14, 16, 17, 38, 39}},
               {with_options, {14, 16, 17, 50, 51}},
               {with_extensions, {18, 19, 55, 63, 74, 75}}};
  for (const auto& c : cases) {
    const Bytes frame = MakeFrame(c.shape, data);
    for (const size_t place : c.places) {
      for (int value = 0; value < 256; ++value) {
        Bytes changed = frame;
        changed[place] = static_cast<uint8_t>(value);
        if (changed == frame) continue;
        const Result result = Receive(changed);
        EXPECT_NE(result.action, kRedirect) << "byte " << place << " is " << value;
      }
    }
    EXPECT_EQ(Receive(frame).action, kRedirect);
    ResetWindow();
  }
}

// The datagram itself is short, in headers that say so.
TEST_P(BpfOpen, SurvivesEveryShortDatagram) {
  const Bytes data = Sealed(9, InnerV4(84));
  for (size_t bytes = 0; bytes < data.size(); ++bytes) {
    const Result result = Receive(MakeFrame({}, std::span(data).first(bytes)));
    EXPECT_EQ(result.action, bytes < OMNI_DATA_OVERHEAD ? kPass : kDrop) << bytes << " bytes";
  }
  EXPECT_EQ(object_->rx()[kRxSlot].packets, 0U);
}

TEST_P(BpfOpen, DropsByReason) {
  uint64_t counter = 0;
  const auto frame = [&](const Bytes& inner) { return MakeFrame({}, Sealed(counter++, inner)); };
  ExpectDropped(frame(InnerV4(84, 3)), OMNI_DROP_rx_inner_source);
  ExpectDropped(frame(InnerV6(84, 3)), OMNI_DROP_rx_inner_source);
  ExpectDropped(frame(Bytes(84, 0x15)), OMNI_DROP_rx_inner_malformed);
  ExpectDropped(frame(Bytes(24, 0x01)), OMNI_DROP_rx_inner_malformed);
  Bytes longer = InnerV4(84);
  longer.push_back(0);
  ExpectDropped(frame(longer), OMNI_DROP_rx_inner_malformed);
  Bytes longer6 = InnerV6(84);
  longer6.push_back(0);
  ExpectDropped(frame(longer6), OMNI_DROP_rx_inner_malformed);
  Bytes header = InnerV4(84);
  header[0] = 0x44;
  ExpectDropped(frame(header), OMNI_DROP_rx_inner_malformed);
  header[0] = 0x4f;
  header.resize(40);
  ExpectDropped(frame(header), OMNI_DROP_rx_inner_malformed);
}

TEST_P(BpfOpen, DropsWhatIsTooLate) {
  object_->rx()[kRxSlot].reject_at = static_cast<uint64_t>(Now().time_since_epoch().count());
  ExpectDropped(MakeFrame({}, Sealed(0, InnerV4(84))), OMNI_DROP_rx_session_expired);
}

TEST_P(BpfOpen, DropsWhatIsTooLong) {
  ExpectDropped(MakeFrame({}, Sealed(0, InnerV4(OMNI_KERNEL_TEXT + 1))), OMNI_DROP_rx_oversized);
  EXPECT_EQ(Receive(MakeFrame({}, Sealed(0, InnerV4(OMNI_KERNEL_TEXT)))).action, kRedirect);
}

// All of RFC 6040's table, both families; the inner header's checksum stays right.
TEST_P(BpfOpen, MergesCongestionMarks) {
  uint64_t counter = 0;
  for (uint8_t inside = 0; inside < 4; ++inside) {
    for (uint8_t outside = 0; outside < 4; ++outside) {
      const auto inner_class = static_cast<uint8_t>(0xb8 | inside);
      const auto expected = DecapsulateEcn(inner_class, outside);
      for (const Bytes& inner : {InnerV4(84, 2, 1, inner_class), InnerV6(84, 2, 1, inner_class)}) {
        const Bytes frame = MakeFrame({.traffic_class = outside}, Sealed(counter++, inner));
        if (!expected) {
          ExpectDropped(frame, OMNI_DROP_rx_ecn);
          continue;
        }
        const Result result = Receive(frame);
        ASSERT_EQ(result.action, kRedirect);
        const Bytes wanted =
            inner[0] >> 4 == 4 ? InnerV4(84, 2, 1, *expected) : InnerV6(84, 2, 1, *expected);
        EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(14), wanted));
      }
    }
  }
}

TEST_P(BpfOpen, TellsOfConfirmationAndOfAMove) {
  object_->rx()[kRxSlot].confirmed = 0;
  const Bytes inner = InnerV4(84);
  EXPECT_EQ(Receive(MakeFrame({}, Sealed(10, inner))).action, kRedirect);
  auto events = object_->TakeEvents();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].type, static_cast<uint32_t>(OMNI_KERNEL_CONFIRMED));
  EXPECT_EQ(events[0].channel_id, kRxId);
  // An old packet from elsewhere moves nobody.
  EXPECT_EQ(Receive(MakeFrame({.source_end = 77}, Sealed(9, inner))).action, kRedirect);
  EXPECT_TRUE(object_->TakeEvents().empty());
  Bytes forged = Sealed(50, inner);
  forged[17] ^= 1;
  Receive(MakeFrame({.source_end = 77}, forged));
  EXPECT_TRUE(object_->TakeEvents().empty());
  EXPECT_EQ(Receive(MakeFrame({.source_end = 77}, Sealed(11, inner))).action, kRedirect);
  events = object_->TakeEvents();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].type, static_cast<uint32_t>(OMNI_KERNEL_ROAMED));
  EXPECT_EQ(events[0].remote[3], 77);
  EXPECT_EQ(events[0].local[3], 9);
  EXPECT_EQ(ntohs(events[0].port), kPeerPort);
}

// What reached the socket is opened on the same window, by whichever program sees it first.
TEST_P(BpfOpen, OpensOnceWhateverTheWay) {
  const Bytes frame = MakeFrame({}, Sealed(4, InnerV4(84)));
  EXPECT_EQ(Run(KernelProgram::kOpenAgain, frame).action, kRedirect);
  EXPECT_EQ(count(OMNI_COUNT_kernel_rx_slow), 1U);
  ExpectDropped(frame, OMNI_DROP_rx_replayed);
}

// The tag says more than UDP's checksum, which a sender on this machine leaves unfinished.
TEST_P(BpfOpen, DoesNotAskForUdpsChecksum) {
  const Bytes inner = InnerV4(84);
  uint64_t counter = 0;
  for (const int family : {4, 6}) {
    Bytes frame = MakeFrame({.family = family}, Sealed(counter++, inner));
    frame[family == 4 ? 40 : 60] = 0xbe;
    const Result result = Receive(frame);
    ASSERT_EQ(result.action, kRedirect);
    EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(14), inner));
  }
}

// Bytes behind the datagram are none of it: short frames are padded.
TEST_P(BpfOpen, CutsOffWhatStandsBehindTheDatagram) {
  const Bytes inner = InnerV4(28);
  Bytes frame = MakeFrame({}, Sealed(0, inner));
  frame.resize(frame.size() + 31, 0xee);
  const Result result = Receive(frame);
  ASSERT_EQ(result.action, kRedirect);
  EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(14), inner));
}

// Changed bytes of good packets, good packets of other lengths, and nothing but noise.
TEST_P(BpfOpen, SurvivesRandomBytes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const Bytes good = MakeFrame({}, Sealed(1, InnerV4(200)));
  const Bytes good6 = MakeFrame({.family = 6}, Sealed(2, InnerV6(200)));
  uint64_t ran = 0;
  for (int i = 0; i < 30'000; ++i) {
    Bytes frame = (i & 1) != 0 ? good : good6;
    if (i % 5 == 0) frame.resize(14 + random() % 2000);
    if (i % 7 == 0) {
      const size_t from = (random() & 1) != 0 ? 0 : std::min<size_t>(frame.size(), 14);
      for (size_t at = from; at < frame.size(); ++at) frame[at] = static_cast<uint8_t>(random());
    }
    // Half of the changes hit the headers.
    for (uint64_t changes = 1 + random() % 6; changes > 0; --changes) {
      const size_t limit = (random() & 1) != 0 ? std::min<size_t>(frame.size(), 100) : frame.size();
      frame[random() % limit] = static_cast<uint8_t>(random());
    }
    ran += TryReceive(frame) ? 1 : 0;
    std::array<uint8_t, 4096> out;
    if (i % 3 == 0) (void)object_->Run(KernelProgram::kOpenAgain, frame, out);
  }
  EXPECT_GT(ran, 20'000U);
  EXPECT_LE(object_->rx()[kRxSlot].packets, 2U) << "only what was not changed where it matters";
  ResetWindow();
  EXPECT_EQ(Receive(good).action, kRedirect);
}

OMNI_AT_BOTH_HOOKS(BpfOpen);

// What is XDP's alone: it takes nothing where TC would not take it on, and nothing in several
// pieces.
class BpfOpenFrame : public BpfTest {
 protected:
  Hook hook() const override { return Hook::kXdp; }
};

TEST_F(BpfOpenFrame, LeavesOtherInterfacesAlone) {
  const Bytes frame = MakeFrame({}, Sealed(0, InnerV4(84)));
  object_->ForbidXdp(if_nametoindex("lo"));
  const auto result = TryReceive(frame);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->action, kPass);
  EXPECT_EQ(result->packet, frame);
  ASSERT_TRUE(object_->AllowXdp(if_nametoindex("lo")).ok());
  EXPECT_EQ(Receive(frame).action, kRedirect);
  EXPECT_EQ(count(OMNI_COUNT_kernel_rx_xdp), 1U);
}

TEST_F(BpfOpenFrame, LeavesJumboFramesToTc) {
  for (const size_t bytes : {4000, 8900}) {
    const Bytes frame = MakeFrame({}, Sealed(0, InnerV4(bytes)));
    const auto result = TryReceive(frame);
    ASSERT_TRUE(result) << bytes;
    EXPECT_EQ(result->action, kPass);
    EXPECT_EQ(result->packet, frame);
  }
}

}  // namespace
}  // namespace omni::bpf_testing
