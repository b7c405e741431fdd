// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/fixture.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sodium.h>

#include <algorithm>
#include <numeric>

#include "common/clock.h"
#include "common/status.h"

namespace omni::bpf_testing {
namespace {

constexpr std::array<uint8_t, 16> kUs6 = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};

void Put16(Bytes& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

uint16_t HeaderSum(std::span<const uint8_t> header) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < header.size(); i += 2) sum += header[i] << 8U | header[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void Append(Bytes& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// A header and the options behind it, whose checksum is right.
Bytes Ipv4Header(std::array<uint8_t, 4> from, std::array<uint8_t, 4> to, uint8_t traffic_class,
                 uint8_t protocol, size_t payload, uint16_t fragment, const Bytes& options) {
  const size_t header = 20 + options.size();
  Bytes out = {static_cast<uint8_t>(0x40 | header / 4), traffic_class};
  Put16(out, header + payload);
  Put16(out, 0x1234);
  Put16(out, fragment);
  Append(out, std::array<uint8_t, 4>{64, protocol, 0, 0});
  Append(out, from);
  Append(out, to);
  Append(out, options);
  const uint16_t sum = HeaderSum(out);
  out[10] = static_cast<uint8_t>(sum >> 8);
  out[11] = static_cast<uint8_t>(sum);
  return out;
}

Bytes Ipv6Header(std::array<uint8_t, 16> from, std::array<uint8_t, 16> to, uint8_t traffic_class,
                 uint8_t next, size_t payload) {
  Bytes out = {static_cast<uint8_t>(0x60 | traffic_class >> 4),
               static_cast<uint8_t>(traffic_class << 4), 0, 0};
  Put16(out, payload);
  out.push_back(next);
  out.push_back(64);
  Append(out, from);
  Append(out, to);
  return out;
}

void FillPattern(std::span<uint8_t> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 13);
}

}  // namespace

Bytes MakeFrame(const Frame& frame, std::span<const uint8_t> payload) {
  Bytes udp;
  Put16(udp, frame.from_port);
  Put16(udp, frame.to_port);
  Put16(udp, 8 + payload.size());
  Put16(udp, 0);
  Append(udp, payload);
  Bytes out(12);
  if (frame.vlan != 0) {
    Put16(out, 0x8100);
    Put16(out, frame.vlan);
  }
  Put16(out, frame.family == 4 ? 0x0800 : 0x86dd);
  if (frame.family == 4) {
    Append(out, Ipv4Header({192, 0, 2, frame.source_end}, {192, 0, 2, 9}, frame.traffic_class,
                           frame.first_header, udp.size(), frame.fragment, frame.options));
  } else {
    std::array<uint8_t, 16> from = kUs6;
    from[15] = frame.source_end;
    Append(out, Ipv6Header(from, kUs6, frame.traffic_class, frame.first_header,
                           udp.size() + frame.options.size()));
    Append(out, frame.options);
  }
  Append(out, udp);
  return out;
}

Bytes InnerV4(size_t bytes, uint8_t from, uint8_t to, uint8_t traffic_class, uint8_t protocol) {
  Bytes out =
      Ipv4Header({10, 77, 0, from}, {10, 77, 0, to}, traffic_class, protocol, bytes - 20, 0, {});
  out.resize(bytes);
  FillPattern(std::span(out).subspan(20));
  return out;
}

Bytes InnerV6(size_t bytes, uint8_t from, uint8_t to, uint8_t traffic_class) {
  std::array<uint8_t, 16> source = {0xfd, 0x77};
  std::array<uint8_t, 16> target = source;
  source[15] = from;
  target[15] = to;
  Bytes out = Ipv6Header(source, target, traffic_class, 58, bytes - 40);
  out.resize(bytes);
  FillPattern(std::span(out).subspan(40));
  return out;
}

Bytes Seal(const std::array<uint8_t, 32>& key, uint64_t id, uint64_t counter,
           std::span<const uint8_t> inner) {
  Bytes out(OMNI_DATA_OVERHEAD + inner.size());
  const Le64 words[2] = {Le64(id), Le64(counter)};
  std::memcpy(out.data(), words, sizeof(words));
  std::array<uint8_t, 12> nonce{};
  std::memcpy(&nonce[4], &words[1], 8);
  crypto_aead_chacha20poly1305_ietf_encrypt_detached(
      out.data() + OMNI_DATA_OVERHEAD, out.data() + OMNI_DATA_AAD_BYTES, nullptr, inner.data(),
      inner.size(), out.data(), OMNI_DATA_AAD_BYTES, nullptr, nonce.data(), key.data());
  return out;
}

std::optional<Bytes> Open(const std::array<uint8_t, 32>& key, std::span<const uint8_t> datagram) {
  if (datagram.size() < OMNI_DATA_OVERHEAD) return std::nullopt;
  std::array<uint8_t, 12> nonce{};
  std::memcpy(&nonce[4], datagram.data() + 8, 8);
  Bytes out(datagram.size() - OMNI_DATA_OVERHEAD);
  if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
          out.data(), nullptr, datagram.data() + OMNI_DATA_OVERHEAD, out.size(),
          datagram.data() + OMNI_DATA_AAD_BYTES, datagram.data(), OMNI_DATA_AAD_BYTES, nonce.data(),
          key.data()) != 0) {
    return std::nullopt;
  }
  return out;
}

void BpfTest::SetUp() {
  ASSERT_GE(sodium_init(), 0);
  auto object = KernelObject::Load({.listen_port = kPort,
                                    .tun_index = if_nametoindex("lo"),
                                    .threshold = threshold(),
                                    .guard = std::chrono::milliseconds(10),
                                    .pace = pace_,
                                    .xdp = KernelXdp::kYes});
  if (absl::IsUnimplemented(object.status())) GTEST_SKIP() << Message(object.status());
  ASSERT_TRUE(object.ok()) << Message(object.status());
  object_ = *std::move(object);
  std::iota(rx_key_.begin(), rx_key_.end(), uint8_t{1});
  std::iota(tx_key_.begin(), tx_key_.end(), uint8_t{101});
  const auto in = [](Duration d) {
    return static_cast<uint64_t>((Now() + d).time_since_epoch().count());
  };

  omni_kernel_peer& peer = object_->peers()[kPeer];
  peer = {.interface = if_nametoindex("lo"),
          .family = 4,
          .port = htons(kPeerPort),
          .tx_slot = kTxSlot,
          .remote = {192, 0, 2, 1},
          .local = {192, 0, 2, 9},
          .fits = OMNI_KERNEL_TEXT};
  peer.active = 1;
  omni_kernel_rx& rx = object_->rx()[kRxSlot];
  rx = {.peer = kPeer, .id = kRxId, .reject_at = in(std::chrono::hours(1)), .confirmed = 1};
  std::ranges::copy(rx_key_, rx.key);
  rx.active = 1;
  omni_kernel_tx& tx = object_->tx()[kTxSlot];
  tx = {.peer = kPeer, .id = kTxId, .reject_at = in(std::chrono::hours(1))};
  std::ranges::copy(tx_key_, tx.key);
  tx.active = 1;
  ResetWindow();
  ASSERT_TRUE(object_->AddSlot(kRxId, kRxSlot).ok());
  ASSERT_TRUE(object_->AllowXdp(if_nametoindex("lo")).ok());  // where a run's packet comes in
  // What comes from the peer, and what goes to it (packets to seal come from 8.0/16 and
  // 0:0:86dd::/48: a packet that is run by hand begins with what the kernel takes for an Ethernet
  // header, whose type is bytes 12 and 13).
  const std::array<uint8_t, 4> v4 = {10, 77, 0, 2};
  std::array<uint8_t, 16> v6 = {0xfd, 0x77};
  v6[15] = 2;
  ASSERT_TRUE(object_->SetRoute(v4, 32, kPeer).ok());
  ASSERT_TRUE(object_->SetRoute(v6, 128, kPeer).ok());
}

BpfTest::Result BpfTest::Run(KernelProgram program, std::span<const uint8_t> frame) {
  Result out{.packet = Bytes(4096)};
  const auto verdict = object_->Run(program, frame, out.packet);
  EXPECT_TRUE(verdict) << "the kernel did not run the program on " << frame.size() << " bytes";
  if (!verdict) return out;
  out.action = verdict->action;
  out.packet.resize(verdict->bytes);
  return out;
}

BpfTest::Result BpfTest::Receive(std::span<const uint8_t> frame) {
  const auto result = TryReceive(frame);
  EXPECT_TRUE(result) << "the kernel did not run the program on " << frame.size() << " bytes";
  return result.value_or(Result());
}

std::optional<BpfTest::Result> BpfTest::TryReceive(std::span<const uint8_t> frame) {
  Result out{.packet = Bytes(frame.size() + 64)};
  const auto program = hook() == Hook::kTc ? KernelProgram::kOpenWire : KernelProgram::kOpenFrame;
  const auto verdict = object_->Run(program, frame, out.packet);
  if (!verdict) return std::nullopt;
  out.packet.resize(verdict->bytes);
  out.action = verdict->action;
  if (hook() == Hook::kTc) return out;
  std::array<uint32_t, 2> mark{};  // struct omni_mark of bpf/deliver.h
  if (verdict->mark_bytes == sizeof(mark))
    std::memcpy(mark.data(), out.packet.data(), sizeof(mark));
  out.packet.erase(out.packet.begin(),
                   out.packet.begin() + static_cast<std::ptrdiff_t>(verdict->mark_bytes));
  if (verdict->action == XDP_DROP) {
    out.action = kDrop;
  } else {
    EXPECT_EQ(verdict->action, XDP_PASS);
    out.action = mark[0] == 0 ? kPass : kRedirect;
    if (out.action == kRedirect) {
      EXPECT_EQ(mark[1], kPeer);
    }
  }
  return out;
}

}  // namespace omni::bpf_testing
