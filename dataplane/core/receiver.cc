// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/receiver.h"

#include <algorithm>
#include <cstring>

#include "common/byte_order.h"
#include "dataplane/core/ecn.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/too_big.h"

namespace omni {

namespace {

// Sent over a path that may never be used: it says nothing of where the peer is.
bool IsTry(std::span<const uint8_t> packet) {
  return !packet.empty() && (packet[0] == OMNI_INNER_TRY || packet[0] == OMNI_INNER_TRY_REPLY);
}

}  // namespace

Receiver::Receiver(WorkerTables& tables, Aead& aead, TunPort& port, Forwarder& forwarder,
                   WorkerEvents& events)
    : tables_(tables), aead_(aead), port_(port), forwarder_(forwarder), events_(events) {
  jobs_.reserve(kMaxJobs);
  pending_.reserve(kMaxJobs);
  deliver_.reserve(kMaxJobs);
}

void Receiver::Receive(std::span<const ReceivedDatagram> batch, Instant now) {
  for (const ReceivedDatagram& message : batch) {
    std::span<uint8_t> rest = message.bytes;
    if (rest.empty() || message.segment_bytes == 0) {
      tables_.drops.Count(DropReason::rx_truncated);
      continue;
    }
    while (!rest.empty()) {
      const auto datagram = rest.first(std::min<size_t>(rest.size(), message.segment_bytes));
      rest = rest.subspan(datagram.size());
      if (tables_.trace == nullptr) {
        Classify(datagram, message, now);
      } else {
        tables_.trace->OpenDatagram(datagram, message, now);
        Classify(datagram, message, now);
        tables_.trace->Close();
      }
    }
  }
  OpenPending(now);
  forwarder_.Flush();
}

void Receiver::Classify(std::span<uint8_t> datagram, const ReceivedDatagram& origin, Instant now) {
  if (datagram[0] != OMNI_MSG_DATA) return events_.OnControl(datagram, origin.path, now);
  if (datagram.size() < OMNI_DATA_OVERHEAD) {
    return tables_.drops.Count(DropReason::rx_truncated);
  }
  FindChannel(datagram, origin, now);
}

void Receiver::FindChannel(std::span<uint8_t> datagram, const ReceivedDatagram& origin,
                           Instant now) {
  Le64 id;
  Le64 counter;
  std::memcpy(&id, datagram.data(), sizeof(id));
  std::memcpy(&counter, datagram.data() + offsetof(omni_data_header, counter), sizeof(counter));
  const auto found = tables_.channels.find(id.value());
  if (found == tables_.channels.end()) {
    if (forwarder_.Take(datagram, origin, now)) return;
    if (ChannelKind(id.value()) == OMNI_CHANNEL_L3_CONTROL) {
      OpenPending(now);  // the packets of a flow stay in order
      return events_.OnControlChannel(datagram, origin);
    }
    // The socket filter brings each channel to its owner; only datagrams merged by GRO can come to
    // a wrong one.
    const uint32_t owner = ChannelNumber(id.value()) % tables_.workers;
    if (owner != tables_.worker) return events_.OnHandover(owner, datagram, origin);
    return tables_.drops.Count(DropReason::rx_unknown_channel);
  }
  ReceiveChannel& channel = *found->second;
  if (now >= channel.reject_at) return tables_.drops.Count(DropReason::rx_session_expired);
  if (counter.value() >= OMNI_REJECT_AFTER_MESSAGES) {
    return tables_.drops.Count(DropReason::rx_counter_limit);
  }
  if (jobs_.size() == kMaxJobs) OpenPending(now);
  jobs_.push_back({.key = &channel.key,
                   .header = datagram.data(),
                   .text_bytes = static_cast<uint32_t>(datagram.size() - OMNI_DATA_OVERHEAD),
                   .cipher = channel.cipher});
  pending_.push_back({.channel = &channel, .origin = &origin});
}

void Receiver::OpenPending(Instant now) {
  if (jobs_.empty()) return;
  aead_.Open(jobs_);
  for (size_t i = 0; i < jobs_.size(); ++i) {
    if (tables_.trace == nullptr) {
      Accept(jobs_[i], pending_[i], now);
    } else {
      AcceptTraced(jobs_[i], pending_[i], now);
    }
  }
  Deliver();
  jobs_.clear();
  pending_.clear();
}

void Receiver::AcceptTraced(const AeadJob& job, const Pending& pending, Instant now) {
  tables_.trace->OpenData({job.header, OMNI_DATA_OVERHEAD},
                          {job.header + OMNI_DATA_OVERHEAD, job.text_bytes}, job.authentic,
                          pending.channel->peer, *pending.origin, now);
  Accept(job, pending, now);
  tables_.trace->Close();
}

void Receiver::Deliver() {
  if (!deliver_.empty()) port_.Write(deliver_, tables_.drops);
  deliver_.clear();
  reassembler_.Release();
}

void Receiver::Accept(const AeadJob& job, const Pending& pending, Instant now) {
  if (!job.authentic) return tables_.drops.Count(DropReason::rx_bad_tag);
  Le64 counter;
  std::memcpy(&counter, job.header + offsetof(omni_data_header, counter), sizeof(counter));
  const ReplayVerdict verdict = pending.channel->replay.Accept(counter.value());
  if (verdict == ReplayVerdict::kReplay) {
    return tables_.drops.Count(DropReason::rx_replayed);
  }
  PeerSlot* peer = tables_.FindPeer(pending.channel->peer);
  if (peer == nullptr) return tables_.drops.Count(DropReason::rx_unknown_channel);
  pending.channel->packets.Add(1);
  peer->activity->rx_packets.Add(1);
  peer->activity->rx_bytes.Add(job.text_bytes);
  const std::span<uint8_t> packet = {job.header + OMNI_DATA_OVERHEAD, job.text_bytes};
  const bool is_try = IsTry(packet);
  UpdatePeer(pending, *peer, is_try ? ReplayVerdict::kInOrder : verdict, now);
  if (is_try) return AcceptTry(packet, pending, now);
  if (packet.empty()) return;  // keepalive
  if (packet[0] == OMNI_INNER_PIECE) return AcceptPiece(packet, pending, *peer, now);
  AcceptInner(packet, pending.origin->traffic_class, pending.channel->peer, *peer, now);
}

void Receiver::UpdatePeer(const Pending& pending, PeerSlot& peer, ReplayVerdict verdict,
                          Instant now) {
  SetTime(peer.activity->last_rx, now);
  if (!pending.channel->confirmed) {
    pending.channel->confirmed = true;
    events_.OnConfirmed(pending.channel->session);
  }
  // Only the newest packet moves the endpoint: one that was delayed on the old way must not move it
  // back.
  if (verdict == ReplayVerdict::kNewest && peer.path != pending.origin->path) {
    // Of a new way nothing is known.
    if (!IsSameWay(peer.path, pending.origin->path)) peer.mtu.whole = PathMtu().whole;
    peer.path = pending.origin->path;
    events_.OnRoamed(pending.channel->peer, pending.channel->session, peer.path);
  }
}

void Receiver::AcceptTry(std::span<const uint8_t> message, const Pending& pending, Instant now) {
  if (message.size() != sizeof(omni_inner_echo)) {
    return tables_.drops.Count(DropReason::rx_inner_malformed);
  }
  const PeerIndex peer = pending.channel->peer;
  if (message[0] == OMNI_INNER_TRY) return events_.OnTry(peer, message, pending.origin->path);
  events_.OnEchoReply(peer, message, now);
}

void Receiver::AcceptPiece(std::span<uint8_t> message, const Pending& pending, PeerSlot& peer,
                           Instant now) {
  if (reassembler_.is_full()) Deliver();
  const auto whole = reassembler_.Add(pending.channel->peer, pending.channel->id, message,
                                      pending.origin->traffic_class, tables_.drops);
  if (whole) AcceptInner(whole->packet, whole->traffic_class, pending.channel->peer, peer, now);
}

void Receiver::AcceptMessage(std::span<uint8_t> message, PeerIndex index, Instant now) {
  if (message.size() < sizeof(omni_inner_echo)) {
    return tables_.drops.Count(DropReason::rx_inner_malformed);
  }
  switch (message[0]) {
    case OMNI_INNER_ECHO_REQUEST:
    case OMNI_INNER_PROBE:
      return events_.OnEchoRequest(index, message);
    case OMNI_INNER_ECHO_REPLY:
      return events_.OnEchoReply(index, message, now);
    default:
      return tables_.drops.Count(DropReason::rx_inner_malformed);
  }
}

void Receiver::AcceptInner(std::span<uint8_t> packet, uint8_t traffic_class, PeerIndex index,
                           PeerSlot& peer, Instant now) {
  if (packet[0] < 16) return AcceptMessage(packet, index, now);
  const auto inner = ParseInner(packet);
  if (!inner) return tables_.drops.Count(DropReason::rx_inner_malformed);
  if (tables_.routes->Lookup(inner->source) != index) {
    return tables_.drops.Count(DropReason::rx_inner_source);
  }
  const auto merged = DecapsulateEcn(inner->traffic_class, traffic_class);
  if (!merged) return tables_.drops.Count(DropReason::rx_ecn);
  if (*merged != inner->traffic_class) SetTrafficClass(packet, *merged);
  if (inner->protocol == kProtocolTcp) ClampMss(packet, *inner, peer.mtu.limit);
  SetTime(peer.activity->last_data_rx, now);
  deliver_.push_back(packet);
}

}  // namespace omni
