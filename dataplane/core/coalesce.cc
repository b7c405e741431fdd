// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/coalesce.h"

#include <algorithm>
#include <cstring>

#include "dataplane/core/checksum.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

constexpr size_t kMaxPacketBytes = 65535;

bool Same(const uint8_t* a, const uint8_t* b, size_t from, size_t to) {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

// Whether two headers of one flow may stand for each other, as GRO sees it.
bool SameIpHeader(const uint8_t* a, const uint8_t* b) {
  if (a[0] >> 4 == 6) {
    return Same(a, b, 0, 4) && Same(a, b, 6, kIpv6Header);  // all but the length
  }
  // Type of service; DF; TTL, protocol; addresses. The id has a rule of its own.
  return Same(a, b, 0, 2) && Same(a, b, 6, 10) && Same(a, b, 12, kIpv4Header);
}

bool SameTcpHeader(const uint8_t* a, const uint8_t* b, size_t bytes) {
  // Ports; acknowledgement and data offset; window; urgent pointer and options. Flags were judged
  // before.
  return Same(a, b, 0, 4) && Same(a, b, 8, 13) && Same(a, b, 14, 16) && Same(a, b, 18, bytes);
}

}  // namespace

// What the decision about one packet needs.
struct Coalescer::Candidate {
  std::span<uint8_t> packet;
  bool joins = false;  // of a kind that may be in a group
  bool is_tcp = false;
  bool closes = false;  // must be the last of its group (PSH)
  size_t ip_bytes = 0;
  size_t header_bytes = 0;
  uint32_t sequence = 0;

  size_t payload_bytes() const { return packet.size() - header_bytes; }
  bool is_v4() const { return packet[0] >> 4 == 4; }
  uint8_t* transport() const { return packet.data() + ip_bytes; }
  uint16_t ip_id() const { return LoadField<Be16>(packet.data() + 4); }
  bool dont_fragment() const { return (packet[6] & 0x40) != 0; }
  // Whether the transport checksum is right: a super-packet's is made anew, and must not heal a
  // broken one.
  bool ChecksumIsRight() const {
    const std::span<const uint8_t> bytes = packet.subspan(ip_bytes);
    const uint64_t pseudo =
        PseudoHeaderSum(InnerAddresses(packet), is_tcp ? kProtocolTcp : kProtocolUdp,
                        static_cast<uint32_t>(bytes.size()));
    return ChecksumFinish(ChecksumAdd(bytes, pseudo)) == 0;
  }
};

Coalescer::Candidate Coalescer::Examine(std::span<uint8_t> packet, const InnerPacket& inner,
                                        Kinds kinds) {
  Candidate out{.packet = packet};
  out.ip_bytes = out.is_v4() ? kIpv4Header : kIpv6Header;
  if (inner.is_fragment || inner.transport_offset != out.ip_bytes) return out;
  // A super-packet's header checksum is made anew, too.
  if (out.is_v4() && ChecksumFinish(ChecksumAdd(packet.first(kIpv4Header))) != 0) return out;
  const size_t transport_bytes = packet.size() - out.ip_bytes;
  const uint8_t* transport = out.transport();
  if (inner.protocol == kProtocolTcp && kinds.tcp && transport_bytes >= kTcpHeader) {
    out.is_tcp = true;
    const size_t tcp = (transport[12] >> 4) * 4U;
    out.header_bytes = out.ip_bytes + tcp;
    out.closes = (transport[13] & kTcpPsh) != 0;
    out.sequence = LoadField<Be32>(transport + 4);
    const bool plain = (transport[13] & ~kTcpPsh) == kTcpAck;
    if (!plain || tcp < kTcpHeader) return out;
  } else if (inner.protocol == kProtocolUdp && kinds.udp && transport_bytes >= kUdpHeader) {
    out.header_bytes = out.ip_bytes + kUdpHeader;
    const bool whole = LoadField<Be16>(transport + 4) == transport_bytes;
    if (!whole || LoadWord(transport + 6) == 0) return out;
  } else {
    return out;
  }
  out.joins = packet.size() > out.header_bytes && out.ChecksumIsRight();
  return out;
}

std::span<const Coalescer::Group> Coalescer::Coalesce(std::span<const std::span<uint8_t>> packets,
                                                      Kinds kinds) {
  groups_.clear();
  items_.clear();
  open_.clear();
  saved_.resize(std::max(saved_.size(), std::min(packets.size(), kMaxPackets)));
  for (const std::span<uint8_t> packet : packets.first(std::min(packets.size(), kMaxPackets))) {
    const auto inner = ParseInner(packet);
    Candidate candidate{.packet = packet};
    if (inner) candidate = Examine(packet, *inner, kinds);
    const uint32_t flow_hash = inner ? inner->flow_hash : 0;
    const auto item = static_cast<uint32_t>(items_.size());
    items_.push_back({.packet = packet, .header_bytes = candidate.header_bytes});

    const auto found = std::ranges::find(open_, flow_hash, &Open::flow_hash);
    const auto at = static_cast<size_t>(found - open_.begin());
    if (found != open_.end()) {
      const bool appended = candidate.joins && TryAppend(*found, candidate, item);
      // Whatever does not fit comes after what is there: the group must not grow behind its back.
      if (!appended || candidate.closes || candidate.payload_bytes() < found->segment_bytes) {
        Close(at);
      }
      if (appended) continue;
    }
    if (inner && inner->is_fragment) {
      // A fragment has no ports: it may belong to any flow.
      while (!open_.empty()) Close(open_.size() - 1);
    }
    groups_.push_back(
        {.first = packet, .header_bytes = candidate.header_bytes, .first_item = item});
    if (!candidate.joins || candidate.closes) continue;
    open_.push_back(
        {.flow_hash = flow_hash,
         .group = static_cast<uint32_t>(groups_.size() - 1),
         .last_item = item,
         .payload_bytes = candidate.payload_bytes(),
         .segment_bytes = candidate.payload_bytes(),
         .next_sequence = candidate.sequence + static_cast<uint32_t>(candidate.payload_bytes()),
         .next_ip_id = static_cast<uint16_t>(candidate.ip_id() + 1)});
  }
  while (!open_.empty()) Close(open_.size() - 1);
  return groups_;
}

bool Coalescer::Matches(const Group& group, const Candidate& candidate) const {
  if (group.header_bytes != candidate.header_bytes) return false;
  const uint8_t* first = group.first.data();
  if (!SameIpHeader(first, candidate.packet.data())) return false;
  const uint8_t* transport = first + candidate.ip_bytes;
  if (!candidate.is_tcp) return Same(transport, candidate.transport(), 0, 4);
  return SameTcpHeader(transport, candidate.transport(),
                       candidate.header_bytes - candidate.ip_bytes);
}

bool Coalescer::TryAppend(Open& open, const Candidate& candidate, uint32_t item) {
  Group& group = groups_[open.group];
  const size_t payload = candidate.payload_bytes();
  if (group.packets == kMaxSegments || payload > open.segment_bytes ||
      group.header_bytes + open.payload_bytes + payload > kMaxPacketBytes ||
      !Matches(group, candidate)) {
    return false;
  }
  if (candidate.is_tcp && candidate.sequence != open.next_sequence) return false;
  // RFC 6864: the id of a packet that must not be fragmented means nothing.
  if (candidate.is_v4() && !candidate.dont_fragment() && candidate.ip_id() != open.next_ip_id) {
    return false;
  }
  items_[open.last_item].next = item;
  open.last_item = item;
  open.payload_bytes += payload;
  open.next_sequence += static_cast<uint32_t>(payload);
  ++open.next_ip_id;
  ++group.packets;
  return true;
}

void Coalescer::Close(size_t open_index) {
  const Open open = open_[open_index];
  open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(open_index));
  if (groups_[open.group].packets > 1) Finish(groups_[open.group], open);
}

// Makes the first packet's header that of the super-packet: length, flags, and in the checksum
// field the sum of the pseudo header, for the kernel to complete if the packet ever leaves the
// machine.
void Coalescer::Finish(Group& group, const Open& open) {
  uint8_t* ip = group.first.data();
  std::memcpy(saved_[open.group].data(), ip, group.header_bytes);
  const bool v4 = ip[0] >> 4 == 4;
  const size_t ip_bytes = v4 ? kIpv4Header : kIpv6Header;
  const size_t total = group.header_bytes + open.payload_bytes;
  const auto transport_bytes = static_cast<uint32_t>(total - ip_bytes);
  if (v4) {
    StoreField<Be16>(ip + 2, static_cast<uint16_t>(total));
    StoreWord(ip + 10, 0);
    StoreWord(ip + 10, ChecksumFinish(ChecksumAdd({ip, kIpv4Header})));
  } else {
    StoreField<Be16>(ip + 4, static_cast<uint16_t>(transport_bytes));
  }
  const uint8_t protocol = v4 ? ip[9] : ip[6];
  uint8_t* transport = ip + ip_bytes;
  group.offload = {.needs_checksum = true,
                   .segment_bytes = static_cast<uint16_t>(open.segment_bytes),
                   .checksum_start = static_cast<uint16_t>(ip_bytes)};
  if (protocol == kProtocolTcp) {
    group.offload.kind = v4 ? Offload::Kind::kTcp4 : Offload::Kind::kTcp6;
    group.offload.checksum_offset = 16;
    transport[13] |= items_[open.last_item].packet[ip_bytes + 13] & kTcpPsh;
  } else {
    group.offload.kind = Offload::Kind::kUdp;
    group.offload.checksum_offset = 6;
    StoreField<Be16>(transport + 4, static_cast<uint16_t>(transport_bytes));
  }
  const uint64_t pseudo = PseudoHeaderSum(InnerAddresses(group.first), protocol, transport_bytes);
  StoreWord(transport + group.offload.checksum_offset, ChecksumFold(pseudo));
}

void Coalescer::Restore(const Group& group) const {
  if (group.packets == 1) return;
  const auto index = static_cast<size_t>(&group - groups_.data());
  std::memcpy(group.first.data(), saved_[index].data(), group.header_bytes);
}

}  // namespace omni
