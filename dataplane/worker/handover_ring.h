// SPDX-License-Identifier: Apache-2.0
// HandoverRing: datagrams on their way from the worker that received them to the one that owns
// their channel. One writer, one reader, no lock: a ring of bytes in which each record stands in
// one piece.
//
//   | head: length, segment meta | datagram | pad | head ... | (a head of length kWrap sends the
//   reader to the start)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "dataplane/core/port.h"

namespace omni {

class HandoverRing {
 public:
  // LIMIT: 256 KiB: more than one UDP_GRO message of every size, in pages that stay untouched while
  // nothing is handed over.
  static constexpr uint32_t kBytes = 256 * 1024;

  struct Record {
    UdpPath path;
    uint8_t traffic_class = 0;
    uint32_t size = 0;
    std::span<uint8_t> bytes;  // in the ring, with TunPort::kHeadroom to spare because the outer
                               // header stands there
  };

  HandoverRing() : data_(new uint8_t[kBytes]) {}

  // Writer. Gives false when there is no room.
  bool Push(std::span<const uint8_t> datagram, const UdpPath& path, uint8_t traffic_class);

  // Reader. The record is valid until Pop(). Null when the ring is empty.
  std::optional<Record> Front();
  void Pop();

 private:
  static constexpr uint32_t kWrap = UINT32_MAX;
  struct Head {
    uint32_t size = 0;
    uint8_t traffic_class = 0;
    UdpPath path;
  };
  static constexpr uint32_t Round(size_t n) { return static_cast<uint32_t>((n + 63) / 64 * 64); }
  static constexpr uint32_t kHeadBytes = (sizeof(Head) + 63) / 64 * 64;

  std::unique_ptr<uint8_t[]> data_;
  uint32_t front_bytes_ = 0;  // of the record that Front() gave
  // Positions only grow; modulo kBytes they point into the ring. ORDER: each side publishes with
  // release what the other reads with acquire.
  alignas(64) std::atomic<uint64_t> written_ = 0;
  alignas(64) std::atomic<uint64_t> read_ = 0;
};

}  // namespace omni
