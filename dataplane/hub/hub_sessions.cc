// SPDX-License-Identifier: Apache-2.0
// The life of sessions in the hub: installation, confirmation, replacement, expiry, echoes and
// timers.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/encoding.h"
#include "common/status.h"
#include "dataplane/hub/hub.h"

namespace omni {
namespace {

// LIMIT: some 50 microseconds each, with the lock held.
constexpr int kLookupsPerTick = 100;
constexpr Duration kHandshakeEventInterval = std::chrono::seconds(1);
// LIMIT: a tunnel is in use when there was traffic within the interval of tries (path_chooser.cc)
// and some.
constexpr Duration kInUse = std::chrono::seconds(60);

}  // namespace

absl::Status Hub::CheckSession(const SessionSpec& spec, const Peer& peer) const {
  if (!workers_.front()->supports(spec.cipher)) {
    return absl::InvalidArgumentError(
        fmt::format("cipher: {} is not supported here", CipherName(spec.cipher)));
  }
  // An id names one key.
  const auto in_use = [](std::string_view field, ChannelId id) {
    return absl::InvalidArgumentError(fmt::format("{}: channel id {:016x} is in use", field, id));
  };
  for (const ChannelSpec& channel : spec.receive) {
    if (receive_ids_.contains(channel.id)) return in_use("receive", channel.id);
  }
  // It was opened by who could not know it: nobody who keeps to the rules.
  for (const ChannelSpec& channel : spec.receive) {
    if (relayed_.contains(channel.id)) return in_use("receive", channel.id);
  }
  if (spec.control_receive && receive_ids_.contains(spec.control_receive->id)) {
    return in_use("control_receive", spec.control_receive->id);
  }
  if (peer.activity.size() > spec.send.size()) {
    return absl::InvalidArgumentError(fmt::format("send: {} channels, fewer than the {} workers",
                                                  spec.send.size(), peer.activity.size()));
  }
  return absl::OkStatus();
}

Hub::SessionPtr Hub::MakeSession(SessionSpec spec, const Peer& peer, Instant now) {
  auto session = std::make_unique<Session>();
  session->handle = next_handle_++;
  session->id = spec.id;
  session->role = spec.role;
  session->cipher = spec.cipher;
  session->created = now;
  session->timers = spec.timers;
  for (ChannelSpec& from : spec.receive) AddReceive(*session, peer, std::move(from));
  if (spec.control_receive) AddReceive(*session, peer, *std::move(spec.control_receive));
  if (spec.control_send) AddControlSend(*session, peer, *std::move(spec.control_send));
  for (ChannelSpec& from : spec.send) {
    auto channel = std::make_shared<SendChannel>();
    channel->key = std::move(from.key);
    channel->id = from.id;
    channel->cipher = spec.cipher;
    session->send.push_back(std::move(channel));
  }
  return session;
}

// A control channel is the kernel's if it takes it, any other a worker's: each has one owner for as
// long as it lives.
void Hub::AddReceive(Session& session, const Peer& peer, ChannelSpec spec) {
  auto channel = std::make_shared<ReceiveChannel>();
  channel->key = std::move(spec.key);
  channel->id = spec.id;
  channel->reject_at = session.created + session.timers.reject_after;
  channel->peer = peer.index;
  channel->confirmed = session.role == SessionRole::kInitiator;
  channel->session = session.handle;
  receive_ids_.insert(channel->id);
  if (watch_ != nullptr) watch_->ChannelAdded(channel->id, ChannelUse::kOurs);
  const bool is_control = ChannelKind(channel->id) == OMNI_CHANNEL_L3_CONTROL;
  channel->cipher = is_control ? Cipher::kChaCha20Poly1305 : session.cipher;
  if (kernel_ != nullptr && is_control) {
    if (const auto slot = kernel_->AddReceive(*channel)) {
      kernel_channels_.emplace(channel->id, std::pair(peer.index, session.handle));
      session.kernel_receive.emplace_back(channel->id, *slot);
      return;
    }
  }
  const size_t owner = ChannelNumber(channel->id) % workers_.size();
  workers_[owner]->mailbox().Post([channel](Worker& w) { w.AddChannel(channel); });
  session.receive.push_back(std::move(channel));
}

// Used by the kernel or by nobody.
void Hub::AddControlSend(Session& session, const Peer& peer, ChannelSpec spec) {
  if (kernel_ == nullptr) return;
  SendChannel channel;
  channel.key = std::move(spec.key);
  channel.id = spec.id;
  const Instant reject_at = session.created + session.timers.reject_after;
  const auto slot = kernel_->AddSend(peer.index, channel, reject_at);
  if (slot) session.kernel_send.emplace_back(channel.id, *slot);
}

absl::Status Hub::InstallSession(SessionSpec spec, Instant now) {
  const std::lock_guard lock(mutex_);
  Peer* peer = FindPeer(spec.peer);
  if (peer == nullptr) {
    return absl::NotFoundError(fmt::format("peer_id: no peer {}", spec.peer.ToString()));
  }
  for (const SessionPtr* session : {&peer->current, &peer->next, &peer->previous}) {
    if (*session && (*session)->id == spec.id) return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckSession(spec, *peer));
  const SessionRole role = spec.role;
  // A responder's session is not confirmed yet: an initiation replayed from elsewhere must not move
  // a peer whose address is known. The packet that confirms the session does.
  const bool moves = role == SessionRole::kInitiator || !peer->path.remote.is_set();
  if (moves && spec.endpoint != peer->path.remote) {
    SetPath(*peer, {.remote = spec.endpoint}, std::nullopt);
  }
  SessionPtr session = MakeSession(std::move(spec), *peer, now);
  if (role == SessionRole::kResponder) {
    if (peer->next) End(*peer, std::move(peer->next), SessionEnd::kReplaced);
    unconfirmed_.emplace(session->handle, peer->index);
    peer->next = std::move(session);
    return absl::OkStatus();
  }
  Promote(*peer, std::move(session));
  PostEcho(*peer, 0, 0);  // the responder learns that its keys are right
  return absl::OkStatus();
}

absl::Status Hub::RemoveSession(const SessionId& id) {
  const std::lock_guard lock(mutex_);
  for (auto& [peer_id, peer] : peers_) {
    for (SessionPtr* session : {&peer->current, &peer->next, &peer->previous}) {
      if (!*session || (*session)->id != id) continue;
      End(*peer, std::move(*session), SessionEnd::kReplaced);
      PublishSendSession(*peer);
      return absl::OkStatus();
    }
  }
  return absl::NotFoundError(fmt::format("session_id: no session {}", HexEncode(id)));
}

// `session` becomes current, what was current becomes previous, what was previous ends.
void Hub::Promote(Peer& peer, SessionPtr session) {
  if (peer.previous) End(peer, std::move(peer.previous), SessionEnd::kReplaced);
  peer.previous = std::move(peer.current);
  peer.current = std::move(session);
  peer.waiting_since = {};
  PublishSendSession(peer);
}

void Hub::Confirmed(SessionHandle handle) {
  const std::lock_guard lock(mutex_);
  ConfirmedLocked(handle);
}

void Hub::ConfirmedLocked(SessionHandle handle) {
  const auto found = unconfirmed_.find(handle);
  if (found == unconfirmed_.end()) return;  // ended meanwhile
  Peer& peer = *by_index_[found->second];
  unconfirmed_.erase(found);
  const SessionId confirmed = peer.next->id;
  // Both sides initiated at once: both hold the same two sessions and must prefer the same one, or
  // neither would see itself as the initiator who renews it. The greater id wins. The initiations
  // crossed only if we answered the peer's before the peer's answer to ours came: a session that
  // the peer initiated later is a new one, perhaps of a peer that has restarted and knows no other.
  const Session* current = peer.current.get();
  const bool simultaneous = current != nullptr && current->role == SessionRole::kInitiator &&
                            peer.next->created <= current->created &&
                            current->created - peer.next->created < kHandshakeRetry;
  if (simultaneous && current->id > confirmed) {
    if (peer.previous) End(peer, std::move(peer.previous), SessionEnd::kReplaced);
    peer.previous = std::move(peer.next);
  } else {
    Promote(peer, std::move(peer.next));
  }
  Emit(SessionConfirmedEvent{.session = confirmed, .peer = peer.spec.id});
}

void Hub::End(Peer& peer, SessionPtr session, SessionEnd reason) {
  for (const auto& channel : session->receive) {
    const size_t owner = ChannelNumber(channel->id) % workers_.size();
    workers_[owner]->mailbox().Post([id = channel->id](Worker& w) { w.RemoveChannel(id); });
    receive_ids_.erase(channel->id);
    if (watch_ != nullptr) watch_->ChannelRemoved(channel->id);
  }
  for (const auto& [id, slot] : session->kernel_receive) {
    const KernelTraffic received = kernel_->RemoveReceive(slot);
    KernelTraffic& total = peer.kernel_received;
    total.packets += received.packets;
    total.bytes += received.bytes;
    total.last = std::max(total.last, received.last);
    total.last_data = std::max(total.last_data, received.last_data);
    kernel_channels_.erase(id);
    receive_ids_.erase(id);
    if (watch_ != nullptr) watch_->ChannelRemoved(id);
  }
  if (!session->kernel_send.empty()) {
    // The peer's packets go through user space until a session is published again.
    if (peer.current == nullptr) kernel_->SetSendChannel(peer.index, std::nullopt);
    for (const auto& [id, slot] : session->kernel_send) kernel_->RemoveSend(slot);
  }
  unconfirmed_.erase(session->handle);
  // The keys are erased when the last worker has let go of its channel.
  Emit(SessionEndedEvent{.session = session->id, .peer = peer.spec.id, .reason = reason});
}

// Gives every worker its share of the current session's channels.
void Hub::PublishSendSession(Peer& peer) {
  if (kernel_ != nullptr) {
    std::optional<KernelSlot> slot;
    if (peer.current && !peer.current->kernel_send.empty()) {
      slot = peer.current->kernel_send[0].second;
    }
    kernel_->SetSendChannel(peer.index, slot);
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    std::shared_ptr<SendSession> share;
    if (peer.current) {
      share = std::make_shared<SendSession>();
      share->session = peer.current->handle;
      share->reject_at = peer.current->created + peer.current->timers.reject_after;
      for (size_t j = i; j < peer.current->send.size(); j += workers_.size()) {
        share->channels.push_back(peer.current->send[j]);
      }
    }
    workers_[i]->mailbox().Post(
        [index = peer.index, share](Worker& w) { w.SetSession(index, share); });
  }
}

// -----------------------------------------------------------------------------------------------------------
// echoes

// The peer with a session that may send.
absl::StatusOr<Hub::Peer*> Hub::FindUsable(const NodeId& id, Instant now) {
  Peer* peer = FindPeer(id);
  if (peer == nullptr)
    return absl::NotFoundError(fmt::format("peer_id: no peer {}", id.ToString()));
  if (!peer->current || now >= peer->current->created + peer->current->timers.reject_after) {
    return absl::FailedPreconditionError("the peer has no session that may send");
  }
  return peer;
}

absl::Status Hub::SendEcho(const NodeId& id, uint64_t token, uint32_t padding, Instant now) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Peer* const peer, FindUsable(id, now));
  PostEcho(*peer, token, padding);
  return absl::OkStatus();
}

absl::Status Hub::TryPath(const NodeId& id, uint64_t controller_token, const Endpoint& to,
                          Instant now) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Peer* const peer, FindUsable(id, now));
  // Tries are no reason to keep a tunnel alive that nobody uses.
  const PeerTraffic traffic = TrafficOf(*peer);
  if (now - std::max(traffic.last_data_tx, traffic.last_data_rx) > kInUse) {
    return absl::FailedPreconditionError("there is no traffic with the peer");
  }
  const uint64_t token = peer->echoes.Ask(controller_token);
  workers_[peer->index % workers_.size()]->mailbox().Post(
      [index = peer->index, token, to](Worker& w) { w.SendTry(index, token, to); });
  return absl::OkStatus();
}

absl::Status Hub::MovePeer(const NodeId& id, const Endpoint& to, Instant now) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Peer* const peer, FindUsable(id, now));
  SetPath(*peer, {.remote = to}, std::nullopt);
  PostEcho(*peer, 0, 0);
  return absl::OkStatus();
}

void Hub::PostEcho(Peer& peer, uint64_t controller_token, uint32_t padding) {
  const uint64_t token = peer.echoes.Ask(controller_token);
  workers_[peer.index % workers_.size()]->mailbox().Post(
      [index = peer.index, token, padding](Worker& w) { w.SendEcho(index, token, padding); });
}

// -----------------------------------------------------------------------------------------------------------
// timers

void Hub::Tick(Instant now) {
  const bool reset = link_.TakeReset();
  const uint32_t before = underlay_.LargestMtu();
  const bool changed = underlay_.TakeChange();
  if (reset || underlay_.LargestMtu() != before) RestoreLink();
  if (kernel_ != nullptr) kernel_->Maintain();
  const std::lock_guard lock(mutex_);
  if (kernel_ != nullptr) HandleKernelEvents();
  TickRelays(now);
  lookups_left_ = kLookupsPerTick;
  for (auto& [id, peer] : peers_) {
    peer->mtu_is_stale |= changed;
    TickPeer(*peer, now);
  }
}

void Hub::TickPeer(Peer& peer, Instant now) {
  bool current_ended = false;
  for (SessionPtr* session : {&peer.current, &peer.next, &peer.previous}) {
    if (!*session || now < (*session)->created + (*session)->timers.reject_after) continue;
    current_ended |= session == &peer.current;
    End(peer, std::move(*session), SessionEnd::kExpired);
  }
  if (current_ended) PublishSendSession(peer);
  std::optional<CurrentSession> session;
  if (peer.current) {
    const auto used_up = [](const auto& channel) {
      return channel->counter.value() >= RekeyAfterMessages(channel->cipher);
    };
    const auto used_up_in_kernel = [this](const auto& channel) {
      return kernel_->Messages(channel.second) >= OMNI_REKEY_AFTER_MESSAGES;
    };
    session = CurrentSession{
        .role = peer.current->role,
        .created = peer.current->created,
        .timers = peer.current->timers,
        .messages_used_up = std::ranges::any_of(peer.current->send, used_up) ||
                            std::ranges::any_of(peer.current->kernel_send, used_up_in_kernel)};
  }
  const PeerTraffic traffic = TrafficOf(peer);
  const TimerVerdict verdict =
      peer.timers.Tick(traffic, session ? &*session : nullptr, peer.spec.persistent_keepalive, now);
  if (verdict.send_keepalive) {
    workers_[peer.index % workers_.size()]->mailbox().Post(
        [index = peer.index](Worker& w) { w.SendKeepalive(index); });
  }
  if (verdict.handshake) AskForHandshake(peer, *verdict.handshake, now);
  TellEndpoint(peer);
  TickPathMtu(peer, traffic, now);
}

void Hub::AskForHandshake(Peer& peer, HandshakeReason reason, Instant now) {
  if (now - peer.last_handshake_event < kHandshakeEventInterval) return;
  // Only an event that was heard counts: a controller that comes back is told at once.
  if (Emit(HandshakeWantedEvent{.peer = peer.spec.id, .reason = reason})) {
    peer.last_handshake_event = now;
  }
}

KernelTraffic Hub::KernelReceived(const Peer& peer) const {
  KernelTraffic out = peer.kernel_received;
  for (const SessionPtr* session : {&peer.current, &peer.next, &peer.previous}) {
    if (!*session) continue;
    for (const auto& [id, slot] : (*session)->kernel_receive) {
      const KernelTraffic received = kernel_->Received(slot);
      out.packets += received.packets;
      out.bytes += received.bytes;
      out.last = std::max(out.last, received.last);
      out.last_data = std::max(out.last_data, received.last_data);
    }
  }
  return out;
}

PeerTraffic Hub::TrafficOf(const Peer& peer) const {
  PeerTraffic out;
  const auto later = [](Instant& at, const Counter64& value) {
    at = std::max(at, Instant(Duration(static_cast<int64_t>(value.value()))));
  };
  for (const auto& activity : peer.activity) {
    later(out.last_tx, activity->last_tx);
    later(out.last_data_tx, activity->last_data_tx);
    later(out.last_large_tx, activity->last_large_tx);
    later(out.last_rx, activity->last_rx);
    later(out.last_data_rx, activity->last_data_rx);
  }
  if (kernel_ != nullptr) {
    const KernelTraffic received = KernelReceived(peer);
    const KernelTraffic sent = kernel_->Sent(peer.index);
    out.last_tx = std::max(out.last_tx, sent.last);
    out.last_data_tx = std::max(out.last_data_tx, sent.last_data);
    out.last_rx = std::max(out.last_rx, received.last);
    out.last_data_rx = std::max(out.last_data_rx, received.last_data);
  }
  return out;
}

SessionView Hub::ViewOf(const Session& session, SessionSlot slot, Instant now) const {
  SessionView out{.id = session.id,
                  .role = session.role,
                  .slot = slot,
                  .cipher = session.cipher,
                  .age = now - session.created};
  for (const auto& channel : session.receive) {
    out.receive.push_back(channel->id);
    out.rx_packets += channel->packets.value();
  }
  for (const auto& channel : session.send) {
    out.send.push_back(channel->id);
    out.tx_packets += channel->counter.value();
  }
  for (const auto& [id, place] : session.kernel_receive) {
    out.receive.push_back(id);
    out.rx_packets += kernel_->Received(place).packets;
  }
  for (const auto& [id, place] : session.kernel_send) {
    out.send.push_back(id);
    out.tx_packets += kernel_->Messages(place);
  }
  return out;
}

}  // namespace omni
