// SPDX-License-Identifier: Apache-2.0
// A datagram that reached a socket is opened like one that was taken off the wire.
#include "dataplane/kernel/frame.h"

#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

class BpfFrame : public BpfTest {};

TEST_F(BpfFrame, IsWhatAnInterfaceWouldHaveSeen) {
  uint64_t counter = 0;
  std::vector<uint8_t> frame;
  for (const char* text : {"192.0.2.1:40001", "[2001:db8::1]:40001"}) {
    const Endpoint from = *Endpoint::Parse(text);
    IpAddress to = from.address;
    to.bytes[from.address.is_v4() ? 3 : 15] = 9;
    for (const size_t bytes : {60, 700, 1400}) {
      const Bytes inner = InnerV4(bytes, 2, 1, 0xb8 | 2);
      omni::MakeFrame({.from = from, .to = to, .to_port = kPort, .traffic_class = 3},
                      Sealed(counter++, inner), frame);
      const Result result = Run(KernelProgram::kOpenAgain, frame);
      ASSERT_EQ(result.action, kRedirect) << text << " " << bytes;
      const Bytes wanted = InnerV4(bytes, 2, 1, 0xb8 | 3);
      EXPECT_TRUE(std::ranges::equal(std::span(result.packet).subspan(kEthernetHeader), wanted));
    }
  }
  EXPECT_EQ(count(OMNI_COUNT_kernel_rx_slow), counter);
}

}  // namespace
}  // namespace omni::bpf_testing
