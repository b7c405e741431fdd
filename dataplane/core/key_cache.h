// SPDX-License-Identifier: Apache-2.0
// KeyCache: expanded keys of the channels in use, for ciphers whose keys are slow to expand and
// large (AES-256-GCM: about 1 KiB). Channels hold their 32 bytes; this holds a fixed number of
// expansions and makes them anew when they were pushed out. Owned by a CipherEngine.
//
// A channel's id says where to look, the key itself whether that is the one: an expansion is never
// used for another key, whoever chooses the ids, whatever memory a channel gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/byte_order.h"
#include "common/secret.h"
#include "dataplane/core/aead.h"

namespace omni {

// `Expansion` is default-constructible, with Make(const Key32&, with...) and Wipe().
template <typename Expansion>
class KeyCache {
 public:
  KeyCache() : slots_(kSlots) {}
  ~KeyCache() {
    for (Slot& slot : slots_) slot.expansion.Wipe();
  }
  KeyCache(const KeyCache&) = delete;
  KeyCache& operator=(const KeyCache&) = delete;

  // Good until the next call. `with` is what Make() needs besides the key.
  template <typename... With>
  Expansion& For(const AeadJob& job, With... with) {
    Le64 id;
    std::memcpy(&id, job.header, sizeof(id));
    Slot& slot = slots_[SlotOf(id.value())];
    if (slot.used && slot.key == *job.key) return slot.expansion;
    slot.key.Assign(job.key->bytes());
    slot.used = true;
    slot.expansion.Make(slot.key, with...);
    return slot.expansion;
  }

  // Whoever shares the slot pays with one expansion.
  void Forget(uint64_t channel_id) {
    Slot& slot = slots_[SlotOf(channel_id)];
    if (!slot.used) return;
    slot.key.Erase();
    slot.expansion.Wipe();
    slot.used = false;
  }

 private:
  // LIMIT: 128 channels, 64 peers that talk at the same time, in about 130 KiB; each further one
  // costs an expansion, some hundred nanoseconds a batch.
  static constexpr unsigned kSlotBits = 7;
  static constexpr size_t kSlots = size_t{1} << kSlotBits;

  struct Slot {
    Key32 key;
    bool used = false;
    Expansion expansion;
  };

  // Fibonacci hashing: the channels of a session differ in few bits.
  static size_t SlotOf(uint64_t channel_id) {
    return (channel_id * 0x9e3779b97f4a7c15) >> (64 - kSlotBits);
  }

  std::vector<Slot> slots_;
};

// The expansions of one batch: channels come in runs, and a run needs one look.
template <typename Expansion>
class KeyRun {
 public:
  explicit KeyRun(KeyCache<Expansion>& cache) : cache_(cache) {}

  template <typename... With>
  Expansion& For(const AeadJob& job, With... with) {
    if (job.key != key_) {
      key_ = job.key;
      expansion_ = &cache_.For(job, with...);
    }
    return *expansion_;
  }

 private:
  KeyCache<Expansion>& cache_;
  const Key32* key_ = nullptr;
  Expansion* expansion_ = nullptr;
};

}  // namespace omni
