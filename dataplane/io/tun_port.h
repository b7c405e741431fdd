// SPDX-License-Identifier: Apache-2.0
// KernelTunPort: one queue of the TUN device, opened with virtio headers and TSO/USO, so that the
// kernel hands out super-packets. Owned by one worker.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/core/coalesce.h"
#include "dataplane/core/port.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

class KernelTunPort final : public TunPort {
 public:
  struct Device {
    std::string name;
    std::vector<FileDescriptor> queues;
    bool tso = false;
    bool uso = false;
  };
  // Creates the device with one queue per worker. ALREADY_EXISTS when another process holds the
  // name; PERMISSION_DENIED without CAP_NET_ADMIN; NOT_FOUND without /dev/net/tun.
  static absl::StatusOr<Device> Open(const std::string& name, uint32_t workers);

  explicit KernelTunPort(FileDescriptor queue);

  std::optional<HostPacket> Read() override;
  void Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) override;

  int fd() const { return queue_.get(); }
  // Whether packets are joined before they are written. From any thread.
  bool coalesces() const { return coalesce_.load(std::memory_order_relaxed); }

 private:
  void WriteOne(std::span<uint8_t> packet, DropCounters& drops);
  void WriteGroup(const Coalescer::Group& group, DropCounters& drops);

  FileDescriptor queue_;
  std::vector<uint8_t> buffer_;
  Coalescer coalescer_;
  // Until the kernel refuses a super-packet. ORDER: relaxed; written by the worker, read for
  // display.
  std::atomic<bool> coalesce_ = true;
};

}  // namespace omni
