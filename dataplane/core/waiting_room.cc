// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/waiting_room.h"

#include <algorithm>

namespace omni {

WaitingRoom::WaitingRoom() : packets_(std::make_unique<std::array<Packet, kSlots>>()) {
  for (uint16_t i = 0; i < kSlots; ++i) free_.push_back(i);
}

int WaitingRoom::Add(PeerSlot& slot, const HostPacket& packet, Instant now) {
  if (packet.bytes.size() > kSlotBytes) return 1;
  int dropped = 0;
  if (slot.waiting.size() >= kPerPeer) {
    (void)Take(slot);
    ++dropped;
  }
  if (free_.empty()) return dropped + 1;
  const uint16_t index = free_.back();
  free_.pop_back();
  Packet& kept = (*packets_)[index];
  std::ranges::copy(packet.bytes, kept.bytes.begin());
  kept.size = static_cast<uint16_t>(packet.bytes.size());
  kept.offload = packet.offload;
  kept.arrived = now;
  slot.waiting.push_back(index);
  return dropped;
}

WaitingRoom::Packet* WaitingRoom::Take(PeerSlot& slot) {
  if (slot.waiting.empty()) return nullptr;
  const uint16_t index = slot.waiting.front();
  slot.waiting.erase(slot.waiting.begin());
  free_.push_back(index);
  return &(*packets_)[index];
}

int WaitingRoom::DropExpired(PeerSlot& slot, Instant now) {
  int count = 0;
  for (; !slot.waiting.empty(); ++count) {
    if (now - (*packets_)[slot.waiting.front()].arrived <= kMaxAge) break;
    (void)Take(slot);
  }
  return count;
}

int WaitingRoom::Clear(PeerSlot& slot) {
  int count = 0;
  while (Take(slot) != nullptr) ++count;
  return count;
}

}  // namespace omni
