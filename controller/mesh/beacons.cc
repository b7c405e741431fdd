// SPDX-License-Identifier: Apache-2.0
#include "controller/mesh/beacons.h"

#include <algorithm>
#include <utility>

#include "controller/nat/private_address.h"

namespace omni {
namespace {

// LIMIT: Imin and Imax of RFC 6206: a newcomer hears of its neighbours within a second; a quiet
// network of 200 nodes has some three beacons a second, 300 bytes.
constexpr Duration kShortest = 1s;
constexpr Duration kLongest = 60s;
// LIMIT: while nobody is there: a link may have been cut in two without a change of our interfaces.
constexpr Duration kLongestAlone = 5s;
// LIMIT: however much happens.
constexpr Duration kPause = 500ms;
// LIMIT: three of the longest intervals: then a node is not on the link any more.
constexpr Duration kGoneAfter = 3 * kLongest;

// All nodes of a link (RFC 4291 section 2.7.1, RFC 1112 section 4).
IpAddress AllNodes(IpFamily family) {
  return *IpAddress::Parse(family == IpFamily::kV4 ? "224.0.0.1" : "ff02::1");
}

}  // namespace

void Beacons::SetLinks(std::vector<NetworkLink> links, uint16_t port, Instant now) {
  if (links == links_ && port == port_) return;
  links_ = std::move(links);
  port_ = port;
  if (port_ == 0 || links_.empty()) {
    due_.reset();
    return;
  }
  Hurry(now);
}

void Beacons::SetSequence(uint64_t sequence, Instant now) {
  if (std::exchange(sequence_, sequence) != sequence) Hurry(now);
}

// A beacon soon, not in step with others, and some more at short intervals.
void Beacons::Hurry(Instant now) {
  if (port_ == 0 || links_.empty()) return;
  interval_ = kShortest;
  Instant soon = now + Duration(1ms) * static_cast<int>(options_.random(kPause / 1ms));
  if (said_) soon = std::max(soon, *said_ + kPause);
  if (!due_ || soon < *due_) due_ = soon;
}

void Beacons::OnTimer(Instant now) {
  if (forget_at_ && *forget_at_ <= now) Forget(now);
  if (!due_ || *due_ > now) return;
  Say(now);
  interval_ = std::min(interval_ * 2, IsAlone(now) ? kLongestAlone : kLongest);
  // In the second half of the interval (RFC 6206 section 4.2).
  const auto half = static_cast<uint32_t>(interval_ / 2ms);
  due_ = now + Duration(1ms) * static_cast<int>(half + options_.random(half));
}

std::optional<Instant> Beacons::NextDeadline() const {
  if (due_ && forget_at_) return std::min(*due_, *forget_at_);
  return due_ ? due_ : forget_at_;
}

// While the cluster changes its secret, under both: who holds one of them hears us. The present one
// comes last, so that whoever hears both ends with it.
void Beacons::Say(Instant now) {
  said_ = now;
  for (const NetworkLink& link : links_) {
    for (auto secret = options_.secrets.rbegin(); secret != options_.secrets.rend(); ++secret) {
      SayOn(link, *secret);
    }
  }
}

void Beacons::SayOn(const NetworkLink& link, const Options::Secret& secret) {
  const std::optional<IpAddress> from = link.v6   ? link.v6
                                        : link.v4 ? std::optional(link.v4->address)
                                                  : std::nullopt;
  if (!from) return;
  stamp_ = std::max(stamp_ + 1, options_.wall_nanos());
  const Beacon beacon{.id = options_.identity->node_id(),
                      .from = {.address = *from, .port = port_},
                      .sequence = sequence_,
                      .stamp = stamp_};
  Endpoint to{.address = AllNodes(from->family), .port = port_};
  if (!from->is_v4()) to.scope_id = link.index;
  ++counters_.sent;
  options_.send(to, *from, SealBeacon(beacon, *options_.identity, secret.key));
}

void Beacons::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) {
  std::optional<Beacon> beacon;
  ClusterId cluster;
  for (const Options::Secret& secret : options_.secrets) {
    cluster = secret.cluster;
    beacon = OpenBeacon(datagram, secret.key);
    if (beacon) break;
  }
  if (!beacon) {
    ++counters_.malformed;
    return;
  }
  if (beacon->id == options_.identity->node_id()) return;
  if (beacon->from.address != from.address || beacon->from.port != from.port || !IsOnLink(from)) {
    ++counters_.foreign;
    return;
  }
  if (!heard_.contains(beacon->id)) MakeRoom();
  Heard& known = heard_[beacon->id];
  if (beacon->stamp <= known.stamp) {
    ++counters_.replayed;
    return;
  }
  ++counters_.heard;
  const bool is_new = PlacesOf(beacon->id, now).empty();
  known.stamp = beacon->stamp;
  const Neighbour neighbour{
      .id = beacon->id, .at = from, .cluster = cluster, .sequence = beacon->sequence, .heard = now};
  Neighbour& place = known.places[from.address.family];
  const bool moved = is_new || place.at != from;
  place = neighbour;
  if (!forget_at_) forget_at_ = now + kGoneAfter;
  if (is_new) Hurry(now);  // it should hear of us
  if (moved) options_.relocated(beacon->id);
  options_.heard(neighbour);
}

// Who has been silent is not here; when it last spoke is remembered, so that nobody can say it
// again.
void Beacons::Forget(Instant now) {
  forget_at_.reset();
  std::vector<NodeId> gone;
  for (auto& [id, known] : heard_) {
    const auto was = known.places.size();
    std::erase_if(known.places,
                  [&](const auto& place) { return place.second.heard + kGoneAfter <= now; });
    if (known.places.size() < was) gone.push_back(id);
    for (const auto& [family, place] : known.places) {
      const Instant end = place.heard + kGoneAfter;
      if (!forget_at_ || end < *forget_at_) forget_at_ = end;
    }
  }
  for (const NodeId& id : gone) options_.relocated(id);
}

// For one more: whoever was not heard for the longest time goes.
void Beacons::MakeRoom() {
  if (heard_.size() < options_.max_heard) return;
  const auto oldest = std::ranges::min_element(heard_, {}, [](const auto& entry) {
    Instant last{};
    for (const auto& [family, place] : entry.second.places) last = std::max(last, place.heard);
    return last;
  });
  const NodeId id = oldest->first;
  const bool was_here = !oldest->second.places.empty();
  heard_.erase(oldest);
  if (was_here) options_.relocated(id);
}

bool Beacons::IsOnLink(const Endpoint& at) const {
  return std::ranges::any_of(links_, [&](const NetworkLink& link) {
    if (!at.address.is_v4()) return IsLinkLocal(at.address) && at.scope_id == link.index;
    return link.v4 && link.v4->address.family == at.address.family &&
           MaskTo(at.address, link.v4->length) == MaskTo(link.v4->address, link.v4->length);
  });
}

bool Beacons::IsAlone(Instant now) const {
  return std::ranges::none_of(heard_,
                              [&](const auto& e) { return !PlacesOf(e.first, now).empty(); });
}

std::vector<Endpoint> Beacons::PlacesOf(const NodeId& id, Instant now) const {
  std::vector<Endpoint> places;
  const auto known = heard_.find(id);
  if (known == heard_.end()) return places;
  for (const auto& [family, place] : known->second.places) {
    if (place.heard + kGoneAfter > now && IsOnLink(place.at)) places.push_back(place.at);
  }
  return places;
}

std::optional<ClusterId> Beacons::ClusterOf(const NodeId& id, Instant now) const {
  const auto known = heard_.find(id);
  if (known == heard_.end()) return std::nullopt;
  const Neighbour* latest = nullptr;
  for (const auto& [family, place] : known->second.places) {
    if (place.heard + kGoneAfter <= now || !IsOnLink(place.at)) continue;
    if (latest == nullptr || place.heard > latest->heard) latest = &place;
  }
  return latest == nullptr ? std::nullopt : std::optional(latest->cluster);
}

std::vector<Beacons::Neighbour> Beacons::neighbours(Instant now) const {
  std::vector<Neighbour> out;
  for (const auto& [id, known] : heard_) {
    for (const auto& [family, place] : known.places) {
      if (place.heard + kGoneAfter > now && IsOnLink(place.at)) out.push_back(place);
    }
  }
  return out;
}

BeaconsView Beacons::view() const {
  BeaconsView view = counters_;
  view.next = due_;
  return view;
}

}  // namespace omni
