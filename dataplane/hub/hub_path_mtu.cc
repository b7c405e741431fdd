// SPDX-License-Identifier: Apache-2.0
// The hub's part in path MTU discovery: asks the underlay, sends the probes that each peer's search
// wants, and tells the workers what it found.
#include <algorithm>

#include "dataplane/hub/hub.h"

namespace omni {
namespace {

// LIMIT: of IPv4 with UDP and our header. With IPv6 20 bytes less pass; the path MTU says so.
constexpr uint32_t kLeastOverhead = 20 + 8 + OMNI_DATA_OVERHEAD;
constexpr uint32_t kEthernetMtu = 1500;
// LIMIT: what a TUN may have (docs/PROTOCOL.md).
constexpr uint32_t kMinTunMtu = 1280;
constexpr uint32_t kMaxTunMtu = 65475;

}  // namespace

uint32_t Hub::TunMtu(const NodeSpec& node) const {
  if (node.mtu != 0) return node.mtu;
  const uint32_t largest = underlay_.LargestMtu();
  return std::clamp((largest == 0 ? kEthernetMtu : largest) - kLeastOverhead, kMinTunMtu,
                    kMaxTunMtu);
}

// Nothing larger than what comes out of the TUN is worth a probe.
uint32_t Hub::LargestFor(const Peer& peer, uint32_t interface_mtu) const {
  const uint32_t wanted = TunMtu(node_) + OuterOverhead(peer.path.remote);
  return std::min({interface_mtu == 0 ? kEthernetMtu : interface_mtu, wanted, Train::kMaxBytes});
}

void Hub::RestartPathMtu(Peer& peer) {
  peer.probes.Clear();
  peer.mtu_is_stale = true;
  peer.mtu.Restart(LargestFor(peer, underlay_.LargestMtu()));
  peer.published = {.whole = 0};  // the workers have forgotten what they knew
  PublishPathMtu(peer);
}

void Hub::TickPathMtu(Peer& peer, const PeerTraffic& traffic, Instant now) {
  if (!peer.current || !peer.path.remote.is_set()) return;
  if (peer.mtu_is_stale && traffic.last_data_tx != Instant{} && lookups_left_ > 0) {
    --lookups_left_;
    peer.mtu_is_stale = false;
    const uint32_t towards = underlay_.MtuTowards(peer.path.remote);
    peer.mtu.SetLargest(LargestFor(peer, towards), now);
  }
  SendProbes(peer, peer.mtu.Tick({.last_data_tx = traffic.last_data_tx,
                                  .last_large_tx = traffic.last_large_tx,
                                  .last_rx = traffic.last_rx},
                                 now));
  PublishPathMtu(peer);
}

void Hub::SendProbes(Peer& peer, const std::vector<uint32_t>& sizes) {
  const uint32_t overhead = OuterOverhead(peer.path.remote);
  for (const uint32_t size : sizes) {
    const uint64_t token = peer.probes.Ask(size);
    workers_[peer.index % workers_.size()]->mailbox().Post(
        [index = peer.index, token, bytes = size - overhead](Worker& w) {
          w.SendProbe(index, token, bytes);
        });
  }
}

void Hub::PublishPathMtu(Peer& peer) {
  const uint32_t overhead = OuterOverhead(peer.path.remote);
  const PathMtu mtu = {.whole = peer.mtu.carries() - overhead,
                       .limit = peer.mtu.limit() - overhead};
  if (mtu == peer.published) return;
  peer.published = mtu;
  if (kernel_ != nullptr) kernel_->SetFits(peer.index, mtu.whole);
  PostAll(
      [index = peer.index, path = peer.path, mtu](Worker& w) { w.SetPathMtu(index, path, mtu); });
}

}  // namespace omni
