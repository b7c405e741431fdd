// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/packet_trace.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/byte_order.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/transport_header.h"

namespace omni {

void PacketTrace::Begin(const Filter& filter) {
  peer_.store(filter.peer, std::memory_order_relaxed);
  drops_only_.store(filter.drops_only, std::memory_order_relaxed);
  read_.store(written_.load(std::memory_order_acquire), std::memory_order_release);
  missed_before_ = missed_.value();
  on_.store(true, std::memory_order_relaxed);
}

void PacketTrace::End() { on_.store(false, std::memory_order_relaxed); }

PacketTrace::Taken PacketTrace::Take() {
  Taken out{.packets = {}, .missed = missed_.value() - missed_before_};
  size_t at = read_.load(std::memory_order_relaxed);
  const size_t end = written_.load(std::memory_order_acquire);
  out.packets.reserve(end - at);
  for (; at != end; ++at) out.packets.push_back(ring_[at % kRecords]);
  read_.store(end, std::memory_order_release);
  return out;
}

// Ports where there are any; a packet that is none leaves the record as it is.
void PacketTrace::ReadInner(std::span<const uint8_t> packet) {
  const auto inner = ParseInner(packet);
  if (!inner) return;
  current_.source = inner->source;
  current_.destination = inner->destination;
  current_.protocol = inner->protocol;
  current_.source_port = current_.destination_port = 0;
  const bool has_ports = inner->protocol == kProtocolTcp || inner->protocol == kProtocolUdp;
  if (!has_ports || inner->is_fragment || packet.size() < inner->transport_offset + 4U) return;
  current_.source_port = LoadField<Be16>(&packet[inner->transport_offset]);
  current_.destination_port = LoadField<Be16>(&packet[inner->transport_offset + 2U]);
}

void PacketTrace::OpenHost(const HostPacket& packet, PeerIndex peer, std::optional<Way> way,
                           Instant now) {
  current_ = {.at = now,
              .outgoing = true,
              .peer = peer,
              .bytes = static_cast<uint32_t>(packet.bytes.size()),
              .verdict = "sent",
              .way = way};
  is_open_ = true;
  last_ = now;
  ReadInner(packet.bytes);
  const uint32_t segment = packet.offload.segment_bytes;
  // The headers count for a part of a segment, and so for nothing.
  if (segment > 0) current_.packets = std::max(1U, current_.bytes / segment);
}

void PacketTrace::OpenDatagram(std::span<const uint8_t> datagram, const ReceivedDatagram& origin,
                               Instant now) {
  current_ = {.at = now,
              .bytes = static_cast<uint32_t>(datagram.size()),
              .source = origin.path.remote.address,
              .source_port = origin.path.remote.port,
              .way = origin.way};
  if (origin.path.local) current_.destination = *origin.path.local;
  is_open_ = true;
  last_ = now;
  if (datagram.empty() || datagram[0] != OMNI_MSG_DATA) {
    current_.verdict = "control";
  } else if (datagram.size() >= OMNI_DATA_OVERHEAD) {
    Le64 id;
    Le64 counter;
    std::memcpy(&id, datagram.data(), sizeof(id));
    std::memcpy(&counter, datagram.data() + offsetof(omni_data_header, counter), sizeof(counter));
    current_.channel_id = id.value();
    current_.counter = counter.value();
  }
}

void PacketTrace::OpenData(std::span<const uint8_t> header, std::span<const uint8_t> text,
                           bool authentic, PeerIndex peer, const ReceivedDatagram& origin,
                           Instant now) {
  OpenDatagram(header, origin, now);
  current_.peer = peer;
  current_.bytes = static_cast<uint32_t>(header.size() + text.size());
  if (!authentic) return;
  current_.bytes = static_cast<uint32_t>(text.size());
  if (text.empty()) {
    current_.verdict = "keepalive";
  } else if (text[0] == OMNI_INNER_PIECE) {
    current_.verdict = "piece";
  } else if (text[0] < 16) {
    current_.verdict = "message";
  } else {
    current_.verdict = "delivered";
    ReadInner(text);
  }
}

void PacketTrace::Close() {
  if (std::exchange(is_open_, false) && !current_.verdict.empty()) Keep(current_);
}

void PacketTrace::OnDrop(DropReason reason, uint64_t packets) {
  const std::string_view name = kDropReasonInfo[static_cast<size_t>(reason)].name;
  if (is_open_) {
    current_.verdict = name;
    current_.dropped = true;
    return;
  }
  Keep({.at = last_,
        .outgoing = name.starts_with("tx_"),
        .packets = static_cast<uint32_t>(packets),
        .verdict = name,
        .dropped = true});
}

void PacketTrace::Keep(const TracedPacket& packet) {
  if (drops_only_.load(std::memory_order_relaxed) && !packet.dropped) return;
  const PeerIndex peer = peer_.load(std::memory_order_relaxed);
  if (peer != kNoPeer && packet.peer != peer) return;
  const size_t at = written_.load(std::memory_order_relaxed);
  if (at - read_.load(std::memory_order_acquire) >= kRecords) return missed_.Add(1);
  ring_[at % kRecords] = packet;
  written_.store(at + 1, std::memory_order_release);
}

}  // namespace omni
