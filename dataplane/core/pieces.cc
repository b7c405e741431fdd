// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/pieces.h"

#include <algorithm>
#include <cstring>

#include "common/byte_order.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/port.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

constexpr size_t kSlotBytes = TunPort::kHeadroom + kMaxInnerPacket + 1;
constexpr size_t kHeader = sizeof(omni_inner_piece);
constexpr uint8_t kCongested = 3;  // ECN: CE

}  // namespace

PieceLayout PieceLayout::Of(uint32_t total, uint32_t whole) {
  const uint32_t most = whole - static_cast<uint32_t>(kHeader);
  const uint32_t count = (total + most - 1) / most;
  return {.total = total, .piece = (total + count - 1) / count};
}

void WritePieceHeader(const PieceLayout& layout, uint32_t index, uint32_t id, uint8_t* out) {
  std::memset(out, 0, kHeader);
  out[offsetof(omni_inner_piece, type)] = OMNI_INNER_PIECE;
  out[offsetof(omni_inner_piece, index)] = static_cast<uint8_t>(index);
  StoreField<Le16>(out + offsetof(omni_inner_piece, piece_bytes),
                   static_cast<uint16_t>(layout.piece));
  StoreField<Le16>(out + offsetof(omni_inner_piece, total_bytes),
                   static_cast<uint16_t>(layout.total));
  StoreField<Le32>(out + offsetof(omni_inner_piece, id), id);
}

Reassembler::Reassembler()
    : slots_(kSlots), buffers_(std::make_unique_for_overwrite<uint8_t[]>(kSlots * kSlotBytes)) {}

std::optional<Reassembler::Whole> Reassembler::Add(PeerIndex peer, ChannelId channel,
                                                   std::span<const uint8_t> message,
                                                   uint8_t traffic_class, DropCounters& drops) {
  const auto malformed = [&drops] {
    drops.Count(DropReason::rx_inner_malformed);
    return std::nullopt;
  };
  if (message.size() <= kHeader) return malformed();
  const uint8_t* header = message.data();
  const uint32_t index = header[offsetof(omni_inner_piece, index)];
  const uint32_t id = LoadField<Le32>(header + offsetof(omni_inner_piece, id));
  const PieceLayout layout = {
      .total = LoadField<Le16>(header + offsetof(omni_inner_piece, total_bytes)),
      .piece = LoadField<Le16>(header + offsetof(omni_inner_piece, piece_bytes))};
  const bool reserved = LoadField<Le16>(header + offsetof(omni_inner_piece, reserved)) != 0;
  // The pieces tile the packet, or what an earlier packet left in the buffer would be delivered.
  if (reserved || layout.piece == 0 || layout.total <= layout.piece ||
      layout.count() > kMaxPieces || index >= layout.count() ||
      message.size() != kHeader + layout.Bytes(index)) {
    return malformed();
  }
  Slot* slot = Find(channel, id);
  if (slot == nullptr) {
    slot = Take(peer, drops);
    *slot = {.use = Use::kFilling,
             .peer = peer,
             .channel = channel,
             .id = id,
             .layout = layout,
             .traffic_class = traffic_class,
             .age = next_age_++};
  }
  if (slot->layout != layout || slot->have[index]) return malformed();
  slot->have.set(index);
  if ((traffic_class & kCongested) == kCongested) slot->traffic_class |= kCongested;
  uint8_t* packet = BufferOf(*slot);
  std::memcpy(packet + size_t{index} * layout.piece, header + kHeader, layout.Bytes(index));
  if (slot->have.count() < layout.count()) return std::nullopt;
  slot->use = Use::kGiven;
  ++given_;
  return Whole{.packet = {packet, layout.total}, .traffic_class = slot->traffic_class};
}

Reassembler::Slot* Reassembler::Find(ChannelId channel, uint32_t id) {
  for (Slot& slot : slots_) {
    if (slot.use == Use::kFilling && slot.channel == channel && slot.id == id) return &slot;
  }
  return nullptr;
}

Reassembler::Slot* Reassembler::Take(PeerIndex peer, DropCounters& drops) {
  Slot* leaves = nullptr;
  size_t most = 0;
  for (Slot& slot : slots_) {
    if (slot.use == Use::kFree) return &slot;
    if (slot.use == Use::kGiven) continue;
    const size_t share = ShareOf(slot.peer) + (slot.peer == peer ? 1 : 0);
    if (share < most || (share == most && slot.age > leaves->age)) continue;
    leaves = &slot;
    most = share;
  }
  drops.Count(DropReason::rx_piece, leaves->have.count());
  return leaves;
}

size_t Reassembler::ShareOf(PeerIndex peer) const {
  return static_cast<size_t>(std::ranges::count_if(
      slots_, [peer](const Slot& s) { return s.use == Use::kFilling && s.peer == peer; }));
}

uint8_t* Reassembler::BufferOf(const Slot& slot) {
  const auto number = static_cast<size_t>(&slot - slots_.data());
  return buffers_.get() + number * kSlotBytes + TunPort::kHeadroom;
}

void Reassembler::Release() {
  if (given_ == 0) return;
  for (Slot& slot : slots_) {
    if (slot.use == Use::kGiven) slot.use = Use::kFree;
  }
  given_ = 0;
}

}  // namespace omni
