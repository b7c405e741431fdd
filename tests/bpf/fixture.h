// SPDX-License-Identifier: Apache-2.0
// What the tests of the BPF programs share: the loaded programs with one peer and one channel each
// way, frames made by hand, and libsodium as the other side.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/byte_order.h"
#include "dataplane/kernel/kernel_object.h"

namespace omni::bpf_testing {

using Bytes = std::vector<uint8_t>;

inline constexpr int kPass = -1;
inline constexpr int kDrop = 2;
inline constexpr int kRedirect = 7;

inline constexpr uint16_t kPort = 51900;
inline constexpr uint16_t kPeerPort = 40001;
inline constexpr uint32_t kPeer = 7;
inline constexpr uint32_t kRxSlot = 3;
inline constexpr uint32_t kTxSlot = 5;
// Kind layer-3 control, number 0.
inline constexpr uint64_t kRxId = 0x1122334455664004;
inline constexpr uint64_t kTxId = 0x99aabbccddee4004;
inline constexpr uint32_t kThreshold = 512;

struct Frame {
  int family = 4;  // outside
  uint8_t traffic_class = 0;
  uint16_t to_port = kPort;
  uint16_t from_port = kPeerPort;
  Bytes options;  // IPv4 options, or extension headers of IPv6 in front of UDP
  uint8_t first_header = 17;
  uint16_t fragment = 0;   // IPv4: the field as it stands
  uint16_t vlan = 0;       // 0: untagged
  uint8_t source_end = 1;  // last byte of the source address
};
// An Ethernet frame with a UDP datagram that carries `payload`.
Bytes MakeFrame(const Frame& frame, std::span<const uint8_t> payload);

// Inner packets of `bytes` in all; from and to are last bytes of addresses: 10.77.0.x, fd77::x.
Bytes InnerV4(size_t bytes, uint8_t from = 2, uint8_t to = 1, uint8_t traffic_class = 0,
              uint8_t protocol = 1);
Bytes InnerV6(size_t bytes, uint8_t from = 2, uint8_t to = 1, uint8_t traffic_class = 0);

// Session data as libsodium makes it, and opens it: empty when the tag is wrong.
Bytes Seal(const std::array<uint8_t, 32>& key, uint64_t id, uint64_t counter,
           std::span<const uint8_t> inner);
std::optional<Bytes> Open(const std::array<uint8_t, 32>& key, std::span<const uint8_t> datagram);

// Where the receiving program sees a packet. What it does there is told in the words of TC: a frame
// that XDP has opened and marked counts as redirected, because TC redirects it by its mark.
enum class Hook : uint8_t { kTc, kXdp };

class BpfTest : public testing::Test {
 protected:
  void SetUp() override;
  virtual Hook hook() const { return Hook::kTc; }
  virtual uint32_t threshold() const { return kThreshold; }

  // As the peer would send it.
  Bytes Sealed(uint64_t counter, std::span<const uint8_t> inner) const {
    return Seal(rx_key_, kRxId, counter, inner);
  }
  struct Result {
    int action = 0;
    Bytes packet;
  };
  Result Run(KernelProgram program, std::span<const uint8_t> frame);
  Result Receive(std::span<const uint8_t> frame);
  // The same where the kernel may refuse to run: on what is shorter than its own headers.
  std::optional<Result> TryReceive(std::span<const uint8_t> frame);
  uint64_t drops(enum omni_drop_reason reason) const { return object_->Counters()[reason]; }
  uint64_t count(enum omni_kernel_counter what) const { return object_->Counters()[what]; }
  void ResetWindow() { ASSERT_TRUE(object_->ResetWindow(kRxSlot, kRxId).ok()); }

  // Of the loaded programs; a test class may set another one. Zero: no flow is too fast.
  Duration pace_{};
  std::unique_ptr<KernelObject> object_;
  std::array<uint8_t, 32> rx_key_{};
  std::array<uint8_t, 32> tx_key_{};
};

// The same test at both hooks.
class BpfHookTest : public BpfTest, public testing::WithParamInterface<Hook> {
 protected:
  Hook hook() const override { return GetParam(); }
};
inline std::string HookName(const testing::TestParamInfo<Hook>& hook) {
  return hook.param == Hook::kTc ? "Tc" : "Xdp";
}
#define OMNI_AT_BOTH_HOOKS(suite) \
  INSTANTIATE_TEST_SUITE_P(Hooks, suite, testing::Values(Hook::kTc, Hook::kXdp), HookName)

}  // namespace omni::bpf_testing
