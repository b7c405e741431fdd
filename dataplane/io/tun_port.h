// SPDX-License-Identifier: Apache-2.0
// KernelTunPort: one queue of the TUN device, opened with virtio headers and TSO/USO, so that the
// kernel hands out super-packets. Owned by one worker.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/core/coalesce.h"
#include "dataplane/core/port.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/offload_backoff.h"

namespace omni {

class KernelTunPort final : public TunPort {
 public:
  // Super-packets that the kernel may hand out.
  struct Offloads {
    bool tso = true;
    bool uso = true;
  };
  struct Device {
    std::string name;
    std::vector<FileDescriptor> queues;
    Offloads offloads;  // those of the wanted ones that the kernel accepted
  };
  // Creates the device with one queue per worker. ALREADY_EXISTS when another process holds the
  // name; PERMISSION_DENIED without CAP_NET_ADMIN; NOT_FOUND without /dev/net/tun.
  static absl::StatusOr<Device> Open(const std::string& name, uint32_t workers, Offloads wanted);

  KernelTunPort(FileDescriptor queue, Coalescer::Kinds joins);

  std::optional<HostPacket> Read() override;
  void Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) override;

  int fd() const { return queue_.get(); }
  // How the kernel takes super-packets.
  const OffloadBackoff& tcp_joining() const { return tcp_; }
  const OffloadBackoff& udp_joining() const { return udp_; }

 private:
  bool WriteOne(std::span<uint8_t> packet, DropCounters& drops);
  void WriteGroup(const Coalescer::Group& group, DropCounters& drops);
  // Packet by packet, after the kernel did not take the group. How many it took then: none means
  // that it was not the group's fault.
  uint32_t WriteApart(const Coalescer::Group& group, DropCounters& drops);

  FileDescriptor queue_;
  std::vector<uint8_t> buffer_;
  Coalescer coalescer_;
  const Coalescer::Kinds joins_;
  OffloadBackoff tcp_;
  OffloadBackoff udp_;
};

}  // namespace omni
