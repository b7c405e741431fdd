// SPDX-License-Identifier: Apache-2.0
// What XdpPath does for channels of others: RelayWatch, and by which interfaces XDP may send.
//
// Frames that come in where XDP is native are judged there, and nowhere else; so nothing has to be
// switched when an interface gets or loses its program: what XDP does not see comes to the workers,
// who have the same channels. The two have windows of their own. A datagram that was recorded can
// go through each of them once, when the way of its channel changes or from an interface without
// native XDP; the receiver's window refuses it.
#include <fmt/format.h>

#include <algorithm>

#include "dataplane/xdp/xdp_path.h"

namespace omni {

void XdpPath::SetRelayLimits(const std::optional<RelayLimits>& limits) {
  if (relays_ != nullptr) relays_->SetLimits(limits);
}

void XdpPath::RelayOpened(const Opening& opening) {
  if (relays_ != nullptr) relays_->Open(opening);
}

void XdpPath::RelayClosed(ChannelId id) {
  if (relays_ != nullptr) relays_->Close(id);
}

void XdpPath::PeerMoved(PeerIndex peer, const UdpPath& path) {
  if (relays_ != nullptr) relays_->Move(peer, path);
}

RelayTraffic XdpPath::Relayed() const {
  if (steer_ == nullptr) return {};
  const std::vector<uint64_t> counters = steer_->Counters();
  return {.packets = counters[OMNI_STEER_xdp_relayed],
          .bytes = counters[OMNI_STEER_xdp_relayed_bytes]};
}

bool XdpPath::Sends(const Watched& watched) {
  if (!watched.link.is_open() || watched.mode != XdpMode::kNative || !watched.host.up) return false;
  const auto sends = features_ ? features_->SendsFrames(watched.host.index) : std::nullopt;
  // Before Linux 6.3 nobody tells; drivers of NICs send what XDP sends, those that have XDP at all.
  return sends.value_or(watched.host.driver != "veth");
}

bool XdpPath::SendsAnywhere() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(watched_, [](const auto& entry) { return entry.second.sends; });
}

void XdpPath::FollowRelays() {
  RelayTable::Exits exits;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [index, watched] : watched_) {
      if (!watched.sends) continue;
      exits.emplace(index,
                    watched.host.driver == "veth" ? RelayExit::kRedirect : RelayExit::kTransmit);
    }
  }
  relays_->SetHops(found_, exits);
}

// With mutex_ held. No value: nothing is relayed.
std::optional<XdpPath::State> XdpPath::DescribeRelays() const {
  const RelayTable::Size size = relays_->size();
  if (size.channels == 0) return std::nullopt;
  State out{.name = "xdp_relay", .active = size.sent_on > 0};
  if (size.sent_on > 0) {
    out.reason = fmt::format("sends on {} of {} channels", size.sent_on, size.channels);
    return out;
  }
  out.reason = "no interface has native XDP";
  for (const auto& [index, watched] : watched_) {
    if (!watched.link.is_open() || watched.mode != XdpMode::kNative) continue;
    if (watched.sends) return State{"xdp_relay", false, "the ways to the peers are not resolved"};
    out.reason =
        watched.host.driver == "veth"
            ? fmt::format(
                  "{}: the other end of the veth takes no frames of XDP; it "
                  "does with GRO: ethtool -K DEVICE gro on",
                  watched.host.name)
            : fmt::format("{}: its driver does not send what XDP sends", watched.host.name);
  }
  return out;
}

}  // namespace omni
