// SPDX-License-Identifier: Apache-2.0
// What the tests of the relay at XDP share: the loaded program with one channel that is open, and
// frames with checksums, made with nothing of the program's arithmetic.
#pragma once

#include <arpa/inet.h>
#include <linux/bpf.h>

#include "common/clock.h"
#include "common/status.h"
#include "dataplane/xdp/steer_object.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
inline constexpr ChannelId kChannel = 0x99aabbccddee0004;
inline constexpr uint32_t kLoopback = 1;  // test runs come in on it
inline constexpr size_t kEthernet = 14;
inline constexpr uint16_t kToPort = 4444;
inline constexpr uint64_t kMuch = 1'000'000'000'000;

// What MakeFrame() sends from and to, and where it is to go.
struct Addresses {
  IpAddress from, us, to, local;
};
inline Addresses AddressesOf(int family) {
  const auto parse = [](const char* text) { return *IpAddress::Parse(text); };
  return family == 4 ? Addresses{parse("192.0.2.1"), parse("192.0.2.9"), parse("198.51.100.7"),
                                 parse("203.0.113.9")}
                     : Addresses{parse("2001:db8::1"), parse("2001:db8::9"),
                                 parse("2001:db8:7::ffff:7"), parse("2001:db8:9::9")};
}

inline omni_steer_relay Entry(int family) {
  const Addresses all = AddressesOf(family);
  omni_steer_relay out{
      .expires = static_cast<uint64_t>((Now() + std::chrono::hours(1)).time_since_epoch().count()),
      .pair_bytes_per_s = kMuch,
      .total_bytes_per_s = kMuch,
      .pair = 1,
      .interface = kLoopback,
      .mtu = 1500,
      .from_family = static_cast<uint8_t>(family),
      .to_family = static_cast<uint8_t>(family),
      .from_port = htons(kPeerPort),
      .to_port = htons(kToPort),
      .to_mac = {2, 0, 0, 0, 0, 7},
      .local_mac = {2, 0, 0, 0, 0, 9}};
  std::ranges::copy(all.from.bytes, out.from);
  std::ranges::copy(all.to.bytes, out.to);
  std::ranges::copy(all.local.bytes, out.local);
  return out;
}

inline Bytes Data(uint64_t counter, size_t bytes = 100) {
  Bytes out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(i * 31 + 7 * counter + 1);
  const Le64 words[2] = {Le64(kChannel), Le64(counter)};
  std::memcpy(out.data(), words, std::min(sizeof(words), bytes));
  return out;
}

// The sum of big-endian words, as RFC 1071 has it, with nothing of the program's arithmetic.
inline uint32_t Sum(std::span<const uint8_t> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += bytes[i] << 8U | (i + 1 < bytes.size() ? bytes[i + 1] : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return sum;
}

inline size_t UdpAt(int family) { return kEthernet + (family == 4 ? 20 : 40); }

inline uint32_t PseudoSum(const Bytes& frame, int family) {
  const std::span udp = std::span(frame).subspan(UdpAt(family));
  const size_t addresses = kEthernet + (family == 4 ? 12 : 8);
  return Sum(std::span(frame).subspan(addresses, family == 4 ? 8 : 32),
             17 + static_cast<uint32_t>(udp[4] << 8U | udp[5]));
}

enum class Checksum { kRight, kUnfinished, kNone };

inline void PutChecksum(Bytes& frame, int family, Checksum kind) {
  const size_t at = UdpAt(family) + 6;
  frame[at] = frame[at + 1] = 0;
  if (kind == Checksum::kNone) return;
  uint32_t sum = PseudoSum(frame, family);
  if (kind == Checksum::kRight) {
    sum = ~Sum(std::span(frame).subspan(UdpAt(family)), sum) & 0xffff;
    if (sum == 0) sum = 0xffff;
  }
  frame[at] = static_cast<uint8_t>(sum >> 8U);
  frame[at + 1] = static_cast<uint8_t>(sum);
}

inline Bytes FrameOf(Frame frame, std::span<const uint8_t> payload,
                     Checksum kind = Checksum::kRight) {
  Bytes out = MakeFrame(frame, payload);
  if (frame.options.empty() && frame.vlan == 0) PutChecksum(out, frame.family, kind);
  return out;
}

// The same datagram in an IP packet that is 20 bytes longer than it.
inline Bytes WithBytesBehindUdp(Bytes frame, int family) {
  frame.resize(frame.size() + 20);
  const size_t at = kEthernet + (family == 4 ? 2 : 4);
  const auto put16 = [&frame](size_t where, size_t value) {
    frame[where] = static_cast<uint8_t>(value >> 8U);
    frame[where + 1] = static_cast<uint8_t>(value);
  };
  put16(at, static_cast<size_t>(frame[at] << 8U | frame[at + 1]) + 20);
  if (family == 4) {
    put16(kEthernet + 10, 0);
    put16(kEthernet + 10, ~Sum(std::span(frame).subspan(kEthernet, 20)) & 0xffff);
  }
  return frame;
}

// What is to leave, made from nothing.
inline Bytes Relayed(int family, uint8_t traffic_class, const Bytes& payload, Checksum kind) {
  const Addresses all = AddressesOf(family);
  const size_t udp = 8 + payload.size();
  const auto put16 = [](Bytes& to, size_t value) {
    to.push_back(static_cast<uint8_t>(value >> 8U));
    to.push_back(static_cast<uint8_t>(value));
  };
  const auto put = [](Bytes& to, std::span<const uint8_t> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
  };
  Bytes out = {2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9};
  put16(out, family == 4 ? 0x0800 : 0x86dd);
  if (family == 4) {
    Bytes ip = {0x45, traffic_class};
    put16(ip, 20 + udp);
    put(ip, Bytes{0, 0, 0x40, 0, 64, 17, 0, 0});
    put(ip, all.local.raw());
    put(ip, all.to.raw());
    const uint32_t sum = ~Sum(ip) & 0xffff;
    ip[10] = static_cast<uint8_t>(sum >> 8U);
    ip[11] = static_cast<uint8_t>(sum);
    put(out, ip);
  } else {
    put(out, Bytes{static_cast<uint8_t>(0x60 | traffic_class >> 4U),
                   static_cast<uint8_t>(traffic_class << 4U), 0, 0});
    put16(out, udp);
    put(out, Bytes{17, 64});
    put(out, all.local.raw());
    put(out, all.to.raw());
  }
  for (const size_t value : {size_t{kPort}, size_t{kToPort}, udp, size_t{0}}) put16(out, value);
  put(out, payload);
  PutChecksum(out, family, kind);
  return out;
}

class RelayTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    auto object = SteerObject::Load(kPort);
    if (absl::IsUnimplemented(object.status())) GTEST_SKIP() << Message(object.status());
    ASSERT_TRUE(object.ok()) << Message(object.status());
    steer_ = *std::move(object);
    ASSERT_TRUE(steer_->AddAddress(AddressesOf(family()).us).ok());
    steer_->AddChannel(kChannel, ChannelUse::kRelayed);
    ASSERT_TRUE(steer_->AddRelayWindow(kChannel));
    entry_ = Entry(family());
    Put();
  }
  static int family() { return GetParam(); }
  void Put() { ASSERT_TRUE(steer_->PutRelay(kChannel, entry_)); }

  struct Result {
    uint32_t action = XDP_ABORTED;
    Bytes frame;
  };
  Result Run(const Bytes& frame, XdpMode mode = XdpMode::kNative) {
    Result out{.frame = Bytes(16'384)};
    const auto verdict = steer_->Run(frame, out.frame, mode);
    EXPECT_TRUE(verdict) << "the kernel did not run the program on " << frame.size() << " bytes";
    if (!verdict) return out;
    out.action = verdict->action;
    out.frame.resize(verdict->bytes);
    return out;
  }
  Bytes Plain(uint64_t counter, size_t bytes = 100) {
    return FrameOf({.family = family()}, Data(counter, bytes));
  }
  bool Sends(uint64_t counter, size_t bytes = 100) {
    return Run(Plain(counter, bytes)).action == XDP_TX;
  }
  uint64_t drops(enum omni_drop_reason reason) const { return steer_->Drops()[reason]; }
  uint64_t count(enum omni_steer_counter what) const { return steer_->Counters()[what]; }

  void ExpectDropped(const Bytes& frame, enum omni_drop_reason reason, const std::string& what) {
    const uint64_t before = drops(reason);
    EXPECT_EQ(Run(frame).action, static_cast<uint32_t>(XDP_DROP)) << what;
    EXPECT_EQ(drops(reason), before + 1) << what;
  }
  void ExpectUntouched(const Bytes& frame, const std::string& what) {
    const Result out = Run(frame);
    EXPECT_EQ(out.action, static_cast<uint32_t>(XDP_PASS)) << what;
    EXPECT_EQ(out.frame, frame) << what;
  }

  std::unique_ptr<SteerObject> steer_;
  omni_steer_relay entry_{};
};

inline std::string FamilyName(const testing::TestParamInfo<int>& family) {
  return family.param == 4 ? "V4" : "V6";
}

}  // namespace omni::bpf_testing
