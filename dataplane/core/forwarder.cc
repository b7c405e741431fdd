// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/forwarder.h"

#include <utility>

namespace omni {

Forwarder::Forwarder(WorkerTables& tables, UdpPort& port) : tables_(tables), port_(port) {
  trains_.reserve(kMaxTrains);
}

void Forwarder::Open(ChannelId id, RelayRoute route) {
  const auto known = routes_.find(id);
  if (known != routes_.end()) {
    known->second.expires = route.expires;
  } else {
    routes_.emplace(id, std::move(route));
  }
}

bool Forwarder::Take(std::span<uint8_t> datagram, const ReceivedDatagram& origin, Instant now) {
  if (routes_.empty()) return false;
  const auto found = routes_.find(RelayedChannelId(datagram));
  if (found == routes_.end()) return false;
  const RelayRoute& route = found->second;
  const PeerSlot* from = tables_.FindPeer(route.from);
  const PeerSlot* to = tables_.FindPeer(route.to);
  if (from == nullptr || to == nullptr || now >= route.expires) {
    Drop(DropReason::rx_unknown_channel);
    return true;
  }
  // Where an authentic packet came from last: who is elsewhere is somebody else, or has to show
  // first that it is not, by a packet of its own session.
  if (origin.path.remote != from->path.remote) {
    Drop(DropReason::rx_relay_source);
    return true;
  }
  switch (JudgeRelayed(datagram, *route.channel, *route.total, now)) {
    case RelayVerdict::kForward:
      break;
    case RelayVerdict::kReplayed:
      Drop(DropReason::rx_relay_replayed);
      return true;
    case RelayVerdict::kOverQuota:
      Drop(DropReason::rx_relay_quota);
      return true;
    case RelayVerdict::kMalformed:
    case RelayVerdict::kUnknown:
      Drop(DropReason::rx_truncated);
      return true;
  }
  if (!to->path.remote.is_set()) {
    Drop(DropReason::tx_no_endpoint);
    return true;
  }
  if (tables_.trace != nullptr) tables_.trace->Judge("relayed");
  counters_.packets.Add(1);
  counters_.bytes.Add(datagram.size());
  Queue(datagram, to->path, origin.traffic_class);
  return true;
}

// Datagrams that stand one behind the other in memory, as the kernel merges them, leave as one
// train again.
void Forwarder::Queue(std::span<uint8_t> datagram, const UdpPath& path, uint8_t traffic_class) {
  const auto bytes = static_cast<uint32_t>(datagram.size());
  if (!trains_.empty()) {
    Train& last = trains_.back();
    const bool continues = last.data + last.bytes == datagram.data() && last.path == path &&
                           last.traffic_class == traffic_class;
    const bool fits = bytes <= last.segment_bytes &&
                      last.bytes == last.segments * last.segment_bytes &&
                      last.segments < Train::kMaxSegments && last.bytes + bytes <= Train::kMaxBytes;
    if (continues && fits) {
      last.bytes += bytes;
      ++last.segments;
      return;
    }
  }
  if (trains_.size() == kMaxTrains) Flush();
  trains_.push_back({.path = path,
                     .traffic_class = traffic_class,
                     .data = datagram.data(),
                     .bytes = bytes,
                     .segment_bytes = bytes,
                     .segments = 1});
}

void Forwarder::Flush() {
  if (trains_.empty()) return;
  port_.Send(trains_, tables_.drops);
  trains_.clear();
}

}  // namespace omni
