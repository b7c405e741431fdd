// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/sender.h"

#include <cstring>
#include <utility>

#include "common/byte_order.h"
#include "common/status.h"
#include "dataplane/core/too_big.h"

namespace omni {
namespace {

// LIMIT: one request a second per peer and worker; the controller runs the retries.
constexpr Duration kHandshakeRequestInterval = std::chrono::seconds(1);
// LIMIT: a sweep looks at every peer: 100,000 of them are some milliseconds.
constexpr Duration kSweepInterval = std::chrono::seconds(1);

bool IsUsable(const SendSession* session, Instant now) {
  return session != nullptr && now < session->reject_at;
}

}  // namespace

Sender::Sender(WorkerTables& tables, Aead& aead, UdpPort& port, WorkerEvents& events)
    : tables_(tables),
      aead_(aead),
      port_(port),
      events_(events),
      arena_(kArenaBytes),
      scratch_(kMaxInnerPacket) {
  trains_.reserve(kMaxJobs);
  jobs_.reserve(kMaxJobs);
}

void Sender::Send(const HostPacket& packet, Instant now) {
  if (tables_.trace != nullptr) return SendTraced(packet, now);
  SendNow(packet, now);
}

void Sender::SendTraced(const HostPacket& packet, Instant now) {
  const auto inner = ParseInner(packet.bytes);
  const PeerIndex index = inner ? tables_.routes->Lookup(inner->destination) : kNoPeer;
  const PeerSlot* slot = tables_.FindPeer(index);
  std::optional<Way> way;
  if (slot != nullptr && slot->path.remote.is_set()) way = port_.WayTo(slot->path);
  tables_.trace->OpenHost(packet, index, way, now);
  SendNow(packet, now);
  tables_.trace->Close();
}

void Sender::SendNow(const HostPacket& packet, Instant now) {
  const auto inner = ParseInner(packet.bytes);
  if (!inner) return tables_.drops.Count(DropReason::tx_inner_malformed);
  const PeerIndex index = tables_.routes->Lookup(inner->destination);
  PeerSlot* slot = tables_.FindPeer(index);
  if (slot == nullptr) return tables_.drops.Count(DropReason::tx_no_route);
  if (!IsUsable(slot->session.get(), now)) return Wait(index, *slot, packet, now);
  if (!slot->path.remote.is_set()) return tables_.drops.Count(DropReason::tx_no_endpoint);
  Encapsulate(*slot, packet, *inner, now);
  SetTime(slot->activity->last_data_tx, now);
}

void Sender::Encapsulate(PeerSlot& slot, const HostPacket& packet, const InnerPacket& inner,
                         Instant now) {
  auto made = Segmenter::Make(packet.bytes, inner, packet.offload);
  if (const auto* reason = std::get_if<DropReason>(&made)) return tables_.drops.Count(*reason);
  const Segmenter& segmenter = std::get<Segmenter>(made);
  const auto& channels = slot.session->channels;
  SendChannel& channel = *channels[inner.flow_hash % channels.size()];
  if (segmenter.SegmentBytes(0) > slot.mtu.whole) {
    return EncapsulateLarge(slot, packet, inner, segmenter, now);
  }
  if (channel.counter.value() + segmenter.count() > OMNI_REJECT_AFTER_MESSAGES) {
    return tables_.drops.Count(DropReason::tx_counter_limit, segmenter.count());
  }
  size_t bytes = 0;
  for (size_t i = 0; i < segmenter.count(); ++i) {
    const auto text = static_cast<uint32_t>(segmenter.SegmentBytes(i));
    uint8_t* header = Reserve(slot.path, inner.traffic_class, text + OMNI_DATA_OVERHEAD);
    segmenter.Write(i, header + OMNI_DATA_OVERHEAD);
    if (inner.protocol == kProtocolTcp && segmenter.count() == 1) {
      ClampMss({header + OMNI_DATA_OVERHEAD, text}, inner, slot.mtu.limit);
    }
    Number(channel, header, text);
    bytes += text;
  }
  slot.activity->tx_packets.Add(segmenter.count());
  slot.activity->tx_bytes.Add(bytes);
  SetTime(slot.activity->last_tx, now);
  if (segmenter.SegmentBytes(0) > kSmallInner) SetTime(slot.activity->last_large_tx, now);
}

void Sender::SendMessage(PeerIndex peer, std::span<const uint8_t> message, Instant now) {
  PeerSlot* slot = tables_.FindPeer(peer);
  if (slot == nullptr) return;
  // SAFETY: HostPacket's bytes are mutable for ports only; the sender reads them.
  const HostPacket packet{.bytes = {const_cast<uint8_t*>(message.data()), message.size()}};
  if (!IsUsable(slot->session.get(), now)) {
    // The answer to the packet that confirms a session waits until the confirmation is through. It
    // asks for no handshake: one has just been.
    if (!message.empty()) Keep(*slot, packet, now);
    return;
  }
  if (!slot->path.remote.is_set()) return tables_.drops.Count(DropReason::tx_no_endpoint);
  Encapsulate(*slot, packet, InnerPacket{}, now);
}

void Sender::SendProbe(PeerIndex peer, std::span<const uint8_t> message, Instant now) {
  const PeerSlot* slot = tables_.FindPeer(peer);
  if (slot != nullptr && slot->path.remote.is_set()) SendTry(peer, message, slot->path, now);
}

void Sender::SendTry(PeerIndex peer, std::span<const uint8_t> message, const UdpPath& path,
                     Instant now) {
  PeerSlot* slot = tables_.FindPeer(peer);
  if (slot == nullptr || !IsUsable(slot->session.get(), now)) return;
  SendChannel& channel = *slot->session->channels[0];
  if (channel.counter.value() >= OMNI_REJECT_AFTER_MESSAGES) return;
  const auto bytes = static_cast<uint32_t>(message.size());
  uint8_t* header = Reserve(path, 0, bytes + OMNI_DATA_OVERHEAD);
  std::memcpy(header + OMNI_DATA_OVERHEAD, message.data(), bytes);
  Number(channel, header, bytes);
  slot->activity->tx_packets.Add(1);
  slot->activity->tx_bytes.Add(bytes);
  SetTime(slot->activity->last_tx, now);
}

void Sender::Keep(PeerSlot& slot, const HostPacket& packet, Instant now) {
  if (waiting_.is_full()) Sweep(now);
  const int dropped = waiting_.Add(slot, packet, now);
  if (dropped > 0) tables_.drops.Count(DropReason::tx_no_session, static_cast<uint64_t>(dropped));
}

void Sender::Sweep(Instant now) {
  if (now - swept_ < kSweepInterval) return;
  swept_ = now;
  int dropped = 0;
  for (PeerSlot& slot : tables_.peers) dropped += waiting_.DropExpired(slot, now);
  tables_.drops.Count(DropReason::tx_no_session, static_cast<uint64_t>(dropped));
}

void Sender::Wait(PeerIndex index, PeerSlot& slot, const HostPacket& packet, Instant now) {
  if (tables_.trace != nullptr) tables_.trace->Judge("waits for a session");
  Keep(slot, packet, now);
  if (now - slot.last_handshake_request < kHandshakeRequestInterval) return;
  slot.last_handshake_request = now;
  events_.OnHandshakeWanted(index);
}

void Sender::SetSession(PeerIndex peer, std::shared_ptr<const SendSession> session, Instant now) {
  PeerSlot* slot = tables_.FindPeer(peer);
  if (slot == nullptr) return;
  if (slot->session != nullptr) {
    Flush();  // what was gathered points at the keys of the session that leaves
    for (const auto& channel : slot->session->channels) aead_.Forget(channel->id);
  }
  slot->session = std::move(session);
  if (slot->session == nullptr) return;
  // Only what waits now: should the session be over already, Send() puts its packet back, behind
  // the others.
  for (size_t left = slot->waiting.size(); left > 0; --left) {
    const WaitingRoom::Packet* packet = waiting_.Take(*slot);
    if (packet == nullptr) break;
    if (now - packet->arrived > WaitingRoom::kMaxAge) {
      tables_.drops.Count(DropReason::tx_no_session);
      continue;
    }
    // SAFETY: as in SendMessage().
    const HostPacket waiting{.bytes = {const_cast<uint8_t*>(packet->bytes.data()), packet->size},
                             .offload = packet->offload};
    const bool own_message = packet->bytes[0] < 16;
    own_message ? SendMessage(peer, waiting.bytes, now) : Send(waiting, now);
  }
  Flush();
}

void Sender::DropWaiting(PeerIndex peer) {
  PeerSlot* slot = tables_.FindPeer(peer);
  if (slot == nullptr) return;
  tables_.drops.Count(DropReason::tx_no_session, static_cast<uint64_t>(waiting_.Clear(*slot)));
}

uint8_t* Sender::Reserve(const UdpPath& path, uint8_t traffic_class, uint32_t bytes) {
  OMNI_CHECK(bytes <= Train::kMaxBytes);
  if (arena_used_ + bytes > arena_.size() || jobs_.size() == kMaxJobs) Flush();
  uint8_t* at = arena_.data() + arena_used_;
  arena_used_ += bytes;
  if (!trains_.empty()) {
    Train& last = trains_.back();
    // A short segment ends its train; so does anything that would go elsewhere or not fit.
    const bool open = last.bytes == last.segment_bytes * last.segments;
    if (open && bytes <= last.segment_bytes && last.segments < Train::kMaxSegments &&
        last.bytes + bytes <= Train::kMaxBytes && last.traffic_class == traffic_class &&
        last.path == path) {
      last.bytes += bytes;
      ++last.segments;
      return at;
    }
  }
  trains_.push_back({.path = path,
                     .traffic_class = traffic_class,
                     .data = at,
                     .bytes = bytes,
                     .segment_bytes = bytes,
                     .segments = 1});
  return at;
}

void Sender::Number(SendChannel& channel, uint8_t* header, uint32_t text_bytes) {
  const Le64 id(channel.id);
  const Le64 counter(channel.counter.value());
  channel.counter.Add(1);
  std::memcpy(header, &id, sizeof(id));
  std::memcpy(header + offsetof(omni_data_header, counter), &counter, sizeof(counter));
  jobs_.push_back(
      {.key = &channel.key, .header = header, .text_bytes = text_bytes, .cipher = channel.cipher});
}

void Sender::Flush() {
  if (jobs_.empty()) return;
  aead_.Seal(jobs_);
  port_.Send(trains_, tables_.drops);
  jobs_.clear();
  trains_.clear();
  arena_used_ = 0;
}

}  // namespace omni
