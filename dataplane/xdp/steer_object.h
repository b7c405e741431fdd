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

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "bpf/steer_abi.h"
#include "common/clock.h"
#include "common/ip.h"
#include "dataplane/core/channel.h"
#include "dataplane/hub/channel_watch.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/xdp/relay_table.h"

struct steer_bpf;

namespace omni {

// Where in the kernel a program sees frames: in the driver, or behind it, where GRO may have merged
// some and a buffer has been allocated for each.
enum class XdpMode : uint8_t { kNative, kGeneric };

class SteerObject final : public RelayMaps {
 public:
  // UNIMPLEMENTED names what the kernel lacks.
  static absl::StatusOr<std::unique_ptr<SteerObject>> Load(uint16_t listen_port);
  ~SteerObject() override;

  // The attachment lasts as long as the descriptor, and so at most as long as the process.
  // ALREADY_EXISTS names the program that is there. UNIMPLEMENTED: the driver has no XDP.
  absl::StatusOr<FileDescriptor> Attach(int interface, XdpMode mode) const;
  // Ends it at once; closing the descriptor may take the kernel a moment longer.
  static void Detach(FileDescriptor link);
  // Whether an attachment still is one: somebody may have detached it, or the interface is gone.
  static bool IsAttached(const FileDescriptor& link);

  absl::Status AddAddress(const IpAddress& address);
  void RemoveAddress(const IpAddress& address);
  // By one at a time. What finds the table full waits for room in it; until all have found some,
  // the program lets unknown channels pass: no session dies of a full table.
  void AddChannel(ChannelId id, ChannelUse use);
  void RemoveChannel(ChannelId id);
  // RelayMaps; the channels are added as relayed ones.
  bool AddRelayWindow(ChannelId id) override;
  void RemoveRelayWindow(ChannelId id) override;
  bool PutRelay(ChannelId id, const omni_steer_relay& relay) override;
  void RemoveRelay(ChannelId id) override;
  // Handshake messages of this address have a rate of their own.
  void Expect(const IpAddress& address);

  // The program that opens control channels. It must be one for XDP in pieces.
  absl::Status SetOpener(int program);

  absl::Status SetInterface(uint32_t interface, const omni_steer_interface& queues);
  void RemoveInterface(uint32_t interface);
  absl::Status SetSocket(uint32_t place, int socket);

  // Sums over all CPUs, by omni_drop_reason and by omni_steer_counter.
  std::vector<uint64_t> Drops() const;
  std::vector<uint64_t> Counters() const;
  // The same by CPU.
  std::vector<std::vector<uint64_t>> DropsByCpu() const;
  std::vector<std::vector<uint64_t>> CountersByCpu() const;

  // Runs the program on one frame, as the kernel would. No value: the kernel refused.
  struct Verdict {
    uint32_t action = 0;
    size_t bytes = 0;  // of the frame afterwards, which stands in `out`
  };
  std::optional<Verdict> Run(std::span<const uint8_t> frame, std::span<uint8_t> out,
                             XdpMode mode = XdpMode::kNative) const;

  // Instructions that the verifier went through.
  uint32_t verified_instructions(XdpMode mode) const;

 private:
  SteerObject() = default;
  absl::Status Open(uint16_t listen_port);
  int program_fd(XdpMode mode) const;
  bool PutChannel(ChannelId id, ChannelUse use);
  void SetIncomplete(bool incomplete);

  steer_bpf* skeleton_ = nullptr;
  absl::flat_hash_map<ChannelId, ChannelUse> unlisted_;  // that the table had no room for
};

}  // namespace omni
