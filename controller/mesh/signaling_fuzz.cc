// SPDX-License-Identifier: Apache-2.0
// What another node may say: datagrams as strangers send them, with and without a knock, and
// messages of a member on a connection that stands.
#include <cstdint>
#include <memory>
#include <string>

#include "controller/mesh/testing.h"

namespace omni {
namespace {

void Feed(std::span<const uint8_t> input) {
  static quic::TestNetwork network;
  static MeshNode node(network, 1);
  static MeshNode other(network, 2);
  const Instant now = network.now();
  if (input.size() < 2) return;
  const std::span<const uint8_t> rest = input.subspan(1);
  switch (input[0] % 4) {
    case 0: {  // as it is
      std::vector<uint8_t> datagram(rest.begin(), rest.end());
      datagram[0] |= 0x40;
      if (node.signaling->Wants(datagram)) node.signaling->OnDatagram(datagram, other.at, now);
      return;
    }
    case 1: {  // of a member that begins
      std::vector<uint8_t> datagram(rest.begin(), rest.end());
      datagram[0] |= 0xc0;
      datagram.resize(std::max<size_t>(datagram.size(), 1200));
      const Knock knock = KnockOn(datagram, KnockKeyOf(MeshCluster(0).present().psk, node.id()));
      datagram.insert(datagram.end(), knock.begin(), knock.end());
      node.signaling->OnDatagram(datagram, other.at, now);
      return;
    }
    default: {
      static std::unique_ptr<RawMember> member;
      if (!member || member->closed) {
        member = std::make_unique<RawMember>(network, other, "203.0.113.9:51900");
        member->Connect(node);
        network.RunUntil([&] { return member->connected || member->closed; });
        if (!member->connected) return member.reset();
        // Some begin before they have proved anything.
        if (input[0] % 4 == 2) member->Hello(other.own, other.id());
      }
      node.sessions[other.id()] = other.at;
      // A list that grows without end would make each input slower than the one before.
      if (node.revocations.size() > 8) node.revocations = RevocationList(MeshCluster(0).keys());
      member->Say(AsString(rest));
      network.RunFor(200ms);
    }
  }
}

}  // namespace
}  // namespace omni

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::Feed({data, size});
  return 0;
}
