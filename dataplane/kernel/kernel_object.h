// SPDX-License-Identifier: Apache-2.0
// KernelObject: the loaded programs and maps of bpf/kernel_path.bpf.c. Loading needs CAP_BPF,
// CAP_PERFMON and CAP_NET_ADMIN; everything after goes through open file descriptors and mapped
// memory and needs none. Owned by KernelPath; what it gives may be used from any thread, under the
// rule of bpf/kernel_abi.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bpf/kernel_abi.h"
#include "common/clock.h"

struct kernel_path_bpf;
struct ring_buffer;

namespace omni {

// An array map in our memory.
template <typename T>
class MappedArray {
 public:
  static absl::StatusOr<MappedArray> Map(int fd, uint32_t entries);
  MappedArray(MappedArray&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)), entries_(other.entries_) {}
  MappedArray& operator=(MappedArray&&) = delete;
  ~MappedArray();

  uint32_t size() const { return entries_; }
  T& operator[](uint32_t index) const { return at_[index]; }

 private:
  MappedArray(T* at, uint32_t entries) : at_(at), entries_(entries) {}
  T* at_;
  uint32_t entries_;
};

enum class KernelProgram { kOpenWire, kOpenAgain, kSealTun, kOpenFrame };

// Whether the program for XDP is loaded, too: it needs a later kernel than the others.
enum class KernelXdp : uint8_t { kNo, kYes };

struct KernelOptions {
  uint16_t listen_port = 0;
  uint32_t tun_index = 0;
  uint32_t threshold = 0;
  Duration guard{};  // how long a flow of which user space had a packet stays there
  Duration pace{};   // between two packets of a flow; what is faster for long goes to user space
  KernelXdp xdp = KernelXdp::kNo;
  std::string no_xdp_reason;  // why not
};

class KernelObject {
 public:
  // UNIMPLEMENTED names what the kernel lacks.
  static absl::StatusOr<std::unique_ptr<KernelObject>> Load(const KernelOptions& options);
  ~KernelObject();

  const MappedArray<omni_kernel_rx>& rx() const { return *rx_; }
  const MappedArray<omni_kernel_tx>& tx() const { return *tx_; }
  const MappedArray<omni_kernel_peer>& peers() const { return *peers_; }

  // The window of a slot as if nothing had been received, and of channel `id`.
  absl::Status ResetWindow(uint32_t slot, uint64_t id);
  absl::Status AddSlot(uint64_t id, uint32_t slot);
  void RemoveSlot(uint64_t id);
  absl::Status SetRoute(std::span<const uint8_t> address, uint32_t length, uint32_t peer);
  void RemoveRoute(std::span<const uint8_t> address, uint32_t length);

  // Whether XDP may open packets of an interface: only while the program at its TC ingress is
  // there.
  absl::Status AllowXdp(uint32_t interface);
  void ForbidXdp(uint32_t interface);
  // Largest packet that the kernel seals, from the next one on. 0: none, and no packet is looked
  // at; to go on from there without overtaking anything, see KernelPath::SetThreshold().
  void SetThreshold(uint32_t bytes);

  // As if no flow had gone through user space lately.
  void ForgetFlows();

  // Everything told since the last call.
  std::vector<omni_kernel_event> TakeEvents();
  // Sums over all CPUs, by omni_drop_reason and omni_kernel_counter; and the same of each CPU.
  std::vector<uint64_t> Counters() const;
  std::vector<std::vector<uint64_t>> CountersByCpu() const;

  // Runs a program on one packet, as the kernel would. The packet as it is afterwards stands in
  // `out`, at XDP behind what was put in front of it for TC; no value: the kernel refused.
  struct Verdict {
    int action = 0;
    size_t bytes = 0;
    size_t mark_bytes = 0;  // of `bytes`
    Duration duration{};
  };
  std::optional<Verdict> Run(KernelProgram program, std::span<const uint8_t> packet,
                             std::span<uint8_t> out, uint32_t repeat = 1) const;

  int program_fd(KernelProgram program) const;
  // Instructions that the verifier went through, by program.
  uint32_t verified_instructions(KernelProgram program) const;

 private:
  KernelObject() = default;
  absl::Status Open(const KernelOptions& options);

  kernel_path_bpf* skeleton_ = nullptr;
  ring_buffer* ring_ = nullptr;
  std::vector<omni_kernel_event> events_;
  std::optional<MappedArray<omni_kernel_bucket>> buckets_;
  std::optional<MappedArray<omni_kernel_rx>> rx_;
  std::optional<MappedArray<omni_kernel_tx>> tx_;
  std::optional<MappedArray<omni_kernel_peer>> peers_;
  std::optional<MappedArray<omni_kernel_config>> config_;
};

}  // namespace omni
