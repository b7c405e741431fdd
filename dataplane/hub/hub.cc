// SPDX-License-Identifier: Apache-2.0
// Desired state, events and reports. Sessions and timers are in hub_sessions.cc.
#include "dataplane/hub/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

absl::flat_hash_set<NodeId> IdsOf(const std::vector<PeerSpec>& specs) {
  absl::flat_hash_set<NodeId> out;
  out.reserve(specs.size());
  for (const PeerSpec& spec : specs) out.insert(spec.id);
  return out;
}

}  // namespace

uint64_t Hub::SetSink(Sink sink) {
  const std::lock_guard lock(mutex_);
  sink_ = std::move(sink);
  return ++sink_number_;
}

void Hub::ClearSink(uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (number == sink_number_) sink_ = nullptr;
}

bool Hub::Emit(ControllerEvent event) { return sink_ && sink_(std::move(event)); }

// ----------------------------------------------------------------------------------------------------
// desired state

absl::Status Hub::CheckChange(const StateChange& change) const {
  if (change.generation < generation_) {
    return absl::FailedPreconditionError(
        fmt::format("generation: {} is older than the current {}", change.generation, generation_));
  }
  if (change.base_generation && *change.base_generation != generation_) {
    return absl::FailedPreconditionError(fmt::format("base_generation: {} is not the current {}",
                                                     *change.base_generation, generation_));
  }
  // Who will hold which prefix once the change is made.
  absl::flat_hash_map<IpPrefix, NodeId> owners;
  size_t peers = change.upsert.size();
  if (change.base_generation) {
    absl::flat_hash_set<NodeId> other = IdsOf(change.upsert);
    other.insert(change.remove.begin(), change.remove.end());
    for (const auto& [id, peer] : peers_) {
      if (other.contains(id)) continue;
      ++peers;
      for (const IpPrefix& prefix : peer->spec.allowed) owners.emplace(prefix, id);
    }
  }
  if (peers > HubLimits::kPeers) {
    return absl::ResourceExhaustedError(fmt::format("peers: more than {}", HubLimits::kPeers));
  }
  for (const PeerSpec& spec : change.upsert) {
    for (const IpPrefix& prefix : spec.allowed) {
      const auto [owner, fresh] = owners.emplace(prefix, spec.id);
      if (!fresh && owner->second != spec.id) {
        return absl::InvalidArgumentError(fmt::format("peers: {} and {} both hold {}",
                                                      owner->second.ToString(), spec.id.ToString(),
                                                      prefix.ToString()));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Hub::ApplyState(const StateChange& change) {
  const std::lock_guard change_lock(change_mutex_);
  if (change.node) {
    // The kernel may refuse an address: ask it first, while nothing has changed.
    std::unique_lock lock(mutex_);
    if (change.generation == generation_) return generation_;
    RETURN_IF_ERROR(CheckChange(change));
    const LinkState old = WantedLink(node_);
    const LinkState wanted = WantedLink(*change.node);
    lock.unlock();
    if (absl::Status status = link_.Apply(wanted); !status.ok()) {
      (void)link_.Apply(old);
      return status;
    }
  }
  std::unique_lock lock(mutex_);
  if (change.generation == generation_) return generation_;
  RETURN_IF_ERROR(CheckChange(change));
  if (change.node) {
    node_ = *change.node;
    PostAll([keys = node_.control_keys](Worker& w) { w.SetControlKeys(keys); });
    for (auto& [id, peer] : peers_) peer->mtu_is_stale = true;  // the MTU bounds the search
    SetRelayLimits(node_.relay);
    if (relay_watch_ != nullptr) relay_watch_->SetRelayLimits(node_.relay);
  }
  std::vector<NodeId> leaving = change.remove;
  if (!change.base_generation) {
    const absl::flat_hash_set<NodeId> wanted = IdsOf(change.upsert);
    for (const auto& [id, peer] : peers_) {
      if (!wanted.contains(id)) leaving.push_back(id);
    }
  }
  for (const NodeId& id : leaving) Remove(id);
  for (const PeerSpec& spec : change.upsert) Upsert(spec);
  RebuildRoutes();
  generation_ = change.generation;
  const LinkState wanted = WantedLink(node_);
  lock.unlock();
  ApplyLink(wanted);
  if (change.node && paths_ != nullptr) paths_->SetWishes(change.node->paths);
  return change.generation;
}

void Hub::Upsert(const PeerSpec& spec) {
  Peer* peer = FindPeer(spec.id);
  if (peer == nullptr) {
    auto fresh = std::make_unique<Peer>();
    peer = fresh.get();
    if (free_indices_.empty()) {
      peer->index = static_cast<PeerIndex>(by_index_.size());
      by_index_.push_back(peer);
    } else {
      peer->index = free_indices_.back();
      free_indices_.pop_back();
      by_index_[peer->index] = peer;
    }
    for (Worker* worker : workers_) {
      const auto& activity = peer->activity.emplace_back(std::make_shared<PeerActivity>());
      worker->mailbox().Post(
          [index = peer->index, activity](Worker& w) { w.AddPeer(index, activity); });
    }
    if (kernel_ != nullptr) kernel_->AddPeer(peer->index);
    peers_.emplace(spec.id, std::move(fresh));
  }
  const bool moved = spec.endpoint && spec.endpoint != peer->spec.endpoint;
  peer->spec = spec;
  if (moved) SetPath(*peer, {.remote = *spec.endpoint}, std::nullopt);
}

void Hub::Remove(const NodeId& id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  CloseRelaysOf(id);
  for (SessionPtr* session : {&peer.current, &peer.next, &peer.previous}) {
    if (*session) End(peer, std::move(*session), SessionEnd::kReplaced);
  }
  PostAll([index = peer.index](Worker& w) { w.RemovePeer(index); });
  if (kernel_ != nullptr) kernel_->RemovePeer(peer.index);
  by_index_[peer.index] = nullptr;
  free_indices_.push_back(peer.index);
  peers_.erase(found);
}

void Hub::RebuildRoutes() {
  std::vector<RouteTable::Entry> entries;
  for (const auto& [id, peer] : peers_) {
    for (const IpPrefix& prefix : peer->spec.allowed) entries.push_back({prefix, peer->index});
  }
  if (kernel_ != nullptr) kernel_->SetRoutes(entries);
  PostAll(
      [routes = std::make_shared<const RouteTable>(entries)](Worker& w) { w.SetRoutes(routes); });
}

LinkState Hub::WantedLink(const NodeSpec& node) const {
  LinkState wanted{.addresses = node.addresses, .mtu = TunMtu(node), .up = !node.down};
  if (node.down) return wanted;  // the kernel takes no route to it
  const auto on_link = [&](const IpPrefix& prefix) {
    return std::ranges::any_of(node.addresses, [&](const InterfaceAddress& own) {
      return own.length <= prefix.length &&
             IpPrefix{MaskTo(own.address, own.length), own.length}.Contains(prefix.address);
    });
  };
  for (const auto& [id, peer] : peers_) {
    for (const IpPrefix& prefix : peer->spec.allowed) {
      // A default route through the tunnel would carry the tunnel's own packets: that is for the
      // administrator.
      if (prefix.length > 0 && !on_link(prefix)) wanted.routes.push_back(prefix);
    }
  }
  std::ranges::sort(wanted.routes);
  return wanted;
}

void Hub::ApplyLink(const LinkState& wanted) {
  if (absl::Status status = link_.Apply(wanted); !status.ok()) {
    // The addresses were there before: somebody took the interface away.
    spdlog::error("{}", Message(status));
  }
}

void Hub::RestoreLink() {
  const std::lock_guard change_lock(change_mutex_);
  std::unique_lock lock(mutex_);
  if (generation_ == 0) return;  // nothing is wanted yet
  const LinkState wanted = WantedLink(node_);
  lock.unlock();
  ApplyLink(wanted);
}

StateView Hub::GetState(Instant now) const {
  const std::lock_guard lock(mutex_);
  StateView out{.generation = generation_};
  for (const auto& [id, peer] : peers_) {
    PeerView& view = out.peers.emplace_back(PeerView{.id = id});
    if (peer->path.remote.is_set()) view.endpoint = peer->path.remote;
    if (peer->current) view.sessions.push_back(ViewOf(*peer->current, SessionSlot::kCurrent, now));
    if (peer->next) view.sessions.push_back(ViewOf(*peer->next, SessionSlot::kNext, now));
    if (peer->previous) {
      view.sessions.push_back(ViewOf(*peer->previous, SessionSlot::kPrevious, now));
    }
  }
  return out;
}

std::vector<PeerTotals> Hub::GetPeerTotals(Instant now) const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerTotals> out;
  for (const auto& [id, peer] : peers_) {
    PeerTotals& totals = out.emplace_back(PeerTotals{.id = id});
    for (const auto& activity : peer->activity) {
      totals.tx_packets += activity->tx_packets.value();
      totals.tx_bytes += activity->tx_bytes.value();
      totals.rx_packets += activity->rx_packets.value();
      totals.rx_bytes += activity->rx_bytes.value();
    }
    if (kernel_ != nullptr) {
      const KernelTraffic received = KernelReceived(*peer);
      const KernelTraffic sent = kernel_->Sent(peer->index);
      totals.tx_packets += sent.packets;
      totals.tx_bytes += sent.bytes;
      totals.rx_packets += received.packets;
      totals.rx_bytes += received.bytes;
    }
    totals.path_mtu = {
        .carries = peer->mtu.carries(), .inner = peer->published.whole, .state = peer->mtu.state()};
    totals.last_rx_age = std::max(Duration::zero(), now - TrafficOf(*peer).last_rx);
  }
  return out;
}

std::vector<uint64_t> Hub::GetKernelCounters() const {
  return kernel_ == nullptr ? std::vector<uint64_t>() : kernel_->Counters();
}

std::vector<std::vector<uint64_t>> Hub::GetKernelCountersByCpu() const {
  return kernel_ == nullptr ? std::vector<std::vector<uint64_t>>() : kernel_->CountersByCpu();
}

void Hub::SetPath(Peer& peer, const UdpPath& path, std::optional<uint32_t> except_worker) {
  const bool new_way = !IsSameWay(peer.path, path);
  peer.path = path;
  if (kernel_ != nullptr) kernel_->SetPath(peer.index, path);
  if (watch_ != nullptr && path.remote.is_set()) watch_->Expect(path.remote.address);
  if (relay_watch_ != nullptr) relay_watch_->PeerMoved(peer.index, path);
  for (uint32_t i = 0; i < workers_.size(); ++i) {
    if (i == except_worker) continue;
    workers_[i]->mailbox().Post([index = peer.index, path](Worker& w) { w.SetPath(index, path); });
  }
  if (new_way) RestartPathMtu(peer);
}

// In the tick: a peer that moves with every packet must not fill the controller's queue.
void Hub::TellEndpoint(Peer& peer) {
  const Endpoint& endpoint = peer.path.remote;
  if (endpoint == peer.told_endpoint) return;
  if (Emit(EndpointChangedEvent{.peer = peer.spec.id, .endpoint = endpoint})) {
    peer.told_endpoint = endpoint;
  }
}

void Hub::SendControl(const UdpPath& path, std::vector<uint8_t> datagram) {
  if (watch_ != nullptr && datagram[0] < OMNI_MSG_BEACON) watch_->Expect(path.remote.address);
  // Worker 0 receives the answers; the port number is the same on all.
  workers_[0]->mailbox().Post(
      [path, bytes = std::move(datagram)](Worker& w) { w.SendControl(path, bytes); });
}

// ----------------------------------------------------------------------------------------------
// reports of workers

void Hub::HandshakeWanted(PeerIndex index, Instant now) {
  const std::lock_guard lock(mutex_);
  Peer* peer = FindPeer(index);
  if (peer == nullptr) return;
  // A session that the peer is about to confirm will do; one whose confirmation was lost will not.
  // Counted from when the need arose: somebody who replays old initiations must not hold back our
  // own for ever.
  if (peer->next) {
    if (peer->waiting_since == Instant{}) peer->waiting_since = now;
    if (now - peer->waiting_since < kHandshakeRetry) return;
  }
  AskForHandshake(*peer, HandshakeReason::kNoSession, now);
}

void Hub::Roamed(uint32_t worker, PeerIndex index, SessionHandle handle, const UdpPath& path) {
  const std::lock_guard lock(mutex_);
  Peer* peer = FindPeer(index);
  if (peer == nullptr) return;
  // The worker may have waited for the lock while its peer was removed and the index given to
  // another, who must not be sent to the former one's address.
  for (const SessionPtr* session : {&peer->current, &peer->next, &peer->previous}) {
    if (*session && (*session)->handle == handle) return SetPath(*peer, path, worker);
  }
}

void Hub::HandleKernelEvents() {
  for (const KernelEvent& event : kernel_->TakeEvents()) {
    const auto* roamed = std::get_if<KernelRoamed>(&event);
    const ChannelId id =
        roamed != nullptr ? roamed->channel : std::get<KernelConfirmed>(event).channel;
    const auto found = kernel_channels_.find(id);
    if (found == kernel_channels_.end()) continue;  // ended meanwhile
    const auto [index, handle] = found->second;
    if (roamed == nullptr) {
      ConfirmedLocked(handle);
    } else if (Peer* peer = FindPeer(index); peer != nullptr && peer->path != roamed->path) {
      SetPath(*peer, roamed->path, std::nullopt);
    }
  }
}

void Hub::EchoReplied(PeerIndex index, uint64_t token, Duration rtt, Instant now) {
  const std::lock_guard lock(mutex_);
  Peer* peer = FindPeer(index);
  if (peer == nullptr) return;
  if (const auto probe = peer->probes.Answer(token)) {
    SendProbes(*peer, peer->mtu.Answered(*probe, rtt, now));
    return PublishPathMtu(*peer);
  }
  const auto asked = peer->echoes.Answer(token);
  if (asked) Emit(EchoReplyEvent{.peer = peer->spec.id, .token = *asked, .rtt = rtt});
}

std::optional<DropReason> Hub::PacketIn(std::span<const uint8_t> datagram, const Endpoint& from) {
  const std::lock_guard lock(mutex_);
  if (!sink_) return DropReason::rx_control_no_controller;
  PacketInEvent event{.from = from, .datagram = {datagram.begin(), datagram.end()}};
  if (!sink_(std::move(event))) return DropReason::rx_control_queue;
  return std::nullopt;
}

void Hub::Failed(const std::string& cause) {
  const std::lock_guard lock(mutex_);
  failure_ = cause;
}

std::optional<std::string> Hub::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

Hub::Peer* Hub::FindPeer(const NodeId& id) {
  const auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : found->second.get();
}

Hub::Peer* Hub::FindPeer(PeerIndex index) {
  return index < by_index_.size() ? by_index_[index] : nullptr;
}

void Hub::PostAll(const std::function<void(Worker&)>& order) {
  for (Worker* worker : workers_) worker->mailbox().Post(order);
}

}  // namespace omni
