// SPDX-License-Identifier: Apache-2.0
// SteerObject: the loaded program and maps of bpf/steer.bpf.c, and its attachment to an interface.
// Loading needs CAP_BPF and CAP_NET_ADMIN, attaching CAP_NET_ADMIN; changing maps needs nothing.
// Owned by XdpPath; any thread may call: everything is one system call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "bpf/steer_abi.h"
#include "common/clock.h"
#include "common/ip.h"
#include "dataplane/core/channel.h"
#include "dataplane/io/file_descriptor.h"

struct steer_bpf;

namespace omni {

// Where in the kernel a program sees frames: in the driver, or behind it, where GRO may have merged
// some and a buffer has been allocated for each.
enum class XdpMode : uint8_t { kNative, kGeneric };

class SteerObject {
 public:
  // UNIMPLEMENTED names what the kernel lacks.
  static absl::StatusOr<std::unique_ptr<SteerObject>> Load(uint16_t listen_port);
  ~SteerObject();

  // The attachment lasts as long as the descriptor, and so at most as long as the process.
  // ALREADY_EXISTS names the program that is there. UNIMPLEMENTED: the driver has no XDP.
  absl::StatusOr<FileDescriptor> Attach(int interface, XdpMode mode) const;
  // Whether an attachment still is one: somebody may have detached it, or the interface is gone.
  static bool IsAttached(const FileDescriptor& link);

  absl::Status AddAddress(const IpAddress& address);
  void RemoveAddress(const IpAddress& address);
  // RESOURCE_EXHAUSTED when the table is full.
  absl::Status AddChannel(ChannelId id);
  void RemoveChannel(ChannelId id);
  // Channels may exist that the table does not have.
  void SetIncomplete();

  absl::Status SetInterface(uint32_t interface, const omni_steer_interface& queues);
  void RemoveInterface(uint32_t interface);
  absl::Status SetSocket(uint32_t place, int socket);

  // Sums over all CPUs, by omni_drop_reason and by omni_steer_counter.
  std::vector<uint64_t> Drops() const;
  std::vector<uint64_t> Counters() const;

  // Runs the program on one frame, as the kernel would. No value: the kernel refused.
  struct Verdict {
    uint32_t action = 0;
    size_t bytes = 0;  // of the frame afterwards, which stands in `out`
  };
  std::optional<Verdict> Run(std::span<const uint8_t> frame, std::span<uint8_t> out) const;

  // Instructions that the verifier went through.
  uint32_t verified_instructions() const;

 private:
  SteerObject() = default;
  absl::Status Open(uint16_t listen_port);

  steer_bpf* skeleton_ = nullptr;
};

}  // namespace omni
