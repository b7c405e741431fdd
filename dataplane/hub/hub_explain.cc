// SPDX-License-Identifier: Apache-2.0
// What would become of a packet: the tables are asked in the order in which the kernel and the
// workers ask them.
#include <fmt/format.h>

#include <utility>

#include "common/encoding.h"
#include "dataplane/hub/hub.h"

namespace omni {
namespace {

const char* NameOf(SessionRole role) {
  return role == SessionRole::kInitiator ? "initiator" : "responder";
}

}  // namespace

std::optional<PeerIndex> Hub::IndexOf(const NodeId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(id);
  if (found == peers_.end()) return std::nullopt;
  return found->second->index;
}

std::optional<NodeId> Hub::IdOf(PeerIndex index) const {
  const std::lock_guard lock(mutex_);
  if (index >= by_index_.size() || by_index_[index] == nullptr) return std::nullopt;
  return by_index_[index]->spec.id;
}

Explanation Hub::Explain(const PacketQuestion& packet, Instant now) const {
  const std::lock_guard lock(mutex_);
  Explanation out;
  const auto say = [&out](const char* step, std::string text) {
    out.steps.push_back({step, std::move(text)});
  };
  const Peer* peer = nullptr;
  int length = -1;
  for (const auto& [id, candidate] : peers_) {
    for (const IpPrefix& prefix : candidate->spec.allowed) {
      if (prefix.length <= length || !prefix.Contains(packet.destination)) continue;
      peer = candidate.get();
      length = prefix.length;
    }
  }
  if (peer == nullptr) {
    say("route",
        fmt::format("no peer holds {}: dropped as tx_no_route", packet.destination.ToString()));
    return out;
  }
  out.peer = peer->spec.id;
  const auto bits = static_cast<uint8_t>(length);
  say("route", IpPrefix{MaskTo(packet.destination, bits), bits}.ToString());
  ExplainSession(*peer, now, out);
  if (out.session) ExplainPath(*peer, packet, out);
  return out;
}

// Leaves the session unset where the packet would not be sent.
void Hub::ExplainSession(const Peer& peer, Instant now, Explanation& out) const {
  const Session* session = peer.current.get();
  if (session == nullptr || now >= session->created + session->timers.reject_after) {
    const bool is_next = peer.next != nullptr;
    out.steps.push_back(
        {"session", is_next ? "one that the peer has yet to confirm: the packet waits for that"
                            : "none: the packet waits while the controller shakes hands"});
    return;
  }
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - session->created);
  out.steps.push_back(
      {"session", fmt::format("{}, {}, {} s old, {}", HexEncode(session->id), NameOf(session->role),
                              age.count(), CipherName(session->cipher))});
  if (!peer.path.remote.is_set()) {
    out.steps.push_back({"peer", "its address is not known: dropped as tx_no_endpoint"});
    return;
  }
  out.session = session->id;
  out.steps.push_back(
      {"peer", peer.path.local
                   ? fmt::format("at {}, spoken to from {}", peer.path.remote.ToString(),
                                 peer.path.local->ToString())
                   : fmt::format("at {}", peer.path.remote.ToString())});
}

void Hub::ExplainPath(const Peer& peer, const PacketQuestion& packet, Explanation& out) const {
  const auto say = [&out](const char* step, std::string text) {
    out.steps.push_back({step, std::move(text)});
  };
  KernelControl::Sealing sealing{.why = "there is no in-kernel path"};
  if (kernel_ != nullptr) sealing = kernel_->WouldSeal(peer.index, packet.bytes, packet.protocol);
  say("kernel", fmt::format("{}: {}", sealing.yes ? "yes" : "no", sealing.why));
  if (sealing.yes && !peer.current->kernel_send.empty()) {
    say("channel", fmt::format("control channel {:016x}", peer.current->kernel_send[0].first));
    out.path = "kernel";
    return;
  }
  const PathMtu& mtu = peer.published;
  if (packet.bytes <= mtu.whole) {
    say("size", fmt::format("goes whole: the path carries {}", mtu.whole));
  } else if (packet.bytes <= mtu.limit) {
    say("size",
        fmt::format("goes in pieces, or TCP in smaller segments: the path carries {}", mtu.whole));
  } else {
    say("size", fmt::format("above {}: its sender is told, unless it may be cut", mtu.limit));
  }
  say("channel", fmt::format("one of {} bulk channels, by flow", peer.current->send.size()));
  PathControl::Way way{.name = "socket", .why = "there is no other"};
  if (paths_ != nullptr) way = paths_->WayTo(peer.path);
  say("path", fmt::format("{}: {}", way.name, way.why));
  out.path = way.name;
}

}  // namespace omni
