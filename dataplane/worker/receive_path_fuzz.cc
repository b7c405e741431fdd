// SPDX-License-Identifier: Apache-2.0
// The whole receive path: the input is a list of datagrams. Some are taken as they are, some are
// sealed with a key of the session first, so that what lies behind the authentication is reached
// too.
#include <cstdint>
#include <cstring>
#include <span>

#include "common/byte_order.h"
#include "dataplane/worker/test_node.h"

namespace {

using omni::testing::ConnectedPair;
using omni::testing::kChannelToB;

std::vector<uint8_t> SealAsPeer(std::span<const uint8_t> text, uint64_t counter) {
  static const auto aead = *omni::MakeAead(omni::AeadBackend::kLibsodium);
  static const omni::Key32 key = ConnectedPair::KeyOf(kChannelToB);
  std::vector<uint8_t> out(OMNI_DATA_OVERHEAD + text.size());
  const omni::Le64 id(kChannelToB);
  const omni::Le64 wire_counter(counter);
  std::memcpy(out.data(), &id, sizeof(id));
  std::memcpy(out.data() + 8, &wire_counter, sizeof(wire_counter));
  std::copy(text.begin(), text.end(), out.begin() + OMNI_DATA_OVERHEAD);
  omni::AeadJob job{
      .key = &key, .header = out.data(), .text_bytes = static_cast<uint32_t>(text.size())};
  aead->Seal({&job, 1});
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static ConnectedPair pair;
  static uint64_t counter = 0;
  // And b relays from a to somebody else, on one channel: 04 00 52 52 52 52 52 52.
  static const bool relays = [] {
    const omni::PeerIndex third = omni::testing::kOther + 1;
    auto channel = std::make_shared<omni::RelayedChannel>();
    channel->pair = std::make_shared<omni::RelayQuota>(1'000'000'000);
    pair.b.worker->AddPeer(third, std::make_shared<omni::PeerActivity>());
    pair.b.worker->SetPath(third, {.remote = *omni::Endpoint::Parse("192.0.2.3:3")});
    pair.b.worker->OpenRelay(0x5252525252520004,
                             {.from = omni::testing::kOther,
                              .to = third,
                              .expires = pair.now + std::chrono::hours(1),
                              .total = std::make_shared<omni::RelayQuota>(1'000'000'000),
                              .channel = channel});
    return true;
  }();
  (void)relays;
  std::span<const uint8_t> input(data, size);
  // Each datagram: how it is made, its traffic class, its length (two bytes), its bytes.
  while (input.size() >= 4) {
    const uint8_t how = input[0];
    const uint8_t traffic_class = input[1];
    const size_t length = std::min<size_t>(input.size() - 4, input[2] << 8 | input[3]);
    const auto bytes = input.subspan(4, length);
    input = input.subspan(4 + length);
    const bool sealed = (how & 1) != 0;
    pair.wire.Put({.bytes = sealed ? SealAsPeer(bytes, counter++)
                                   : std::vector<uint8_t>(bytes.begin(), bytes.end()),
                   .from = pair.endpoint_a,
                   .to = pair.endpoint_b,
                   .traffic_class = traffic_class});
  }
  pair.b.worker->RunOnce(pair.now);
  pair.b.tun->to_host.clear();
  pair.b.reports = {};
  pair.wire.queues.clear();
  return 0;
}
