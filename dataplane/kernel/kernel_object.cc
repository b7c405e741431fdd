// SPDX-License-Identifier: Apache-2.0
#include "dataplane/kernel/kernel_object.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/log.h"
#include "common/status.h"
#include "dataplane/io/per_cpu.h"
#include "generated/bpf/kernel_path.skel.h"

namespace omni {
namespace {

// LIMIT: headers in front of the longest packet that a program is run on by hand.
constexpr size_t kLongestLog = 400;

size_t MappedBytes(size_t value, uint32_t entries) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (value * entries + page - 1) / page * page;
}

// The layouts that both sides were compiled with must be one.
absl::Status CheckLayout(const bpf_map* map, size_t key, size_t value) {
  if (bpf_map__key_size(map) == key && bpf_map__value_size(map) == value) return absl::OkStatus();
  return absl::InternalError(fmt::format("map {}: key {} and value {} bytes, not {} and {}",
                                         bpf_map__name(map), bpf_map__key_size(map),
                                         bpf_map__value_size(map), key, value));
}

int KeepMessage(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, kLongestLog> text{};
  const int length = vsnprintf(text.data(), text.size(), format, arguments);
  std::string line(text.data());
  while (!line.empty() && line.back() == '\n') line.pop_back();
  spdlog::debug("{}", line);
  return length;
}

absl::Status LoadError(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(
          "load BPF programs: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed, or the kernel's "
          "verifier refused");
    case ENOSYS:
    case EOPNOTSUPP:
      return absl::UnimplementedError("load BPF programs: the kernel has no BPF");
    default:
      return ErrnoStatus("load BPF programs (Linux 5.15 or later is needed)", error);
  }
}

}  // namespace

template <typename T>
absl::StatusOr<MappedArray<T>> MappedArray<T>::Map(int fd, uint32_t entries) {
  // The kernel rounds a mapped array's values up to eight bytes.
  static_assert(sizeof(T) % 8 == 0);
  void* at =
      mmap(nullptr, MappedBytes(sizeof(T), entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return ErrnoStatus("map a BPF array");
  return MappedArray(static_cast<T*>(at), entries);
}

template <typename T>
MappedArray<T>::~MappedArray() {
  if (at_ != nullptr) munmap(at_, MappedBytes(sizeof(T), entries_));
}

absl::StatusOr<std::unique_ptr<KernelObject>> KernelObject::Load(const KernelOptions& options) {
  std::unique_ptr<KernelObject> out(new KernelObject());
  RETURN_IF_ERROR(out->Open(options));
  return out;
}

absl::Status KernelObject::Open(const KernelOptions& options) {
  libbpf_set_print(KeepMessage);
  skeleton_ = kernel_path_bpf__open();
  if (skeleton_ == nullptr) return ErrnoStatus("open BPF object");
  skeleton_->rodata->omni_port = htons(options.listen_port);
  skeleton_->rodata->omni_tun = options.tun_index;
  skeleton_->rodata->omni_guard_ns = static_cast<uint64_t>(options.guard.count());
  skeleton_->rodata->omni_pace_ns = static_cast<uint64_t>(options.pace.count());
  skeleton_->rodata->omni_magic = 1 + randombytes_uniform(UINT32_MAX);
  bpf_program__set_autoload(skeleton_->progs.omni_open_frame, options.xdp == KernelXdp::kYes);
  const auto& maps = skeleton_->maps;
  RETURN_IF_ERROR(CheckLayout(maps.omni_rx, 4, sizeof(omni_kernel_rx)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_windows, 4, sizeof(omni_kernel_window)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_tx, 4, sizeof(omni_kernel_tx)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_peers, 4, sizeof(omni_kernel_peer)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_rx_slots, 4, sizeof(omni_kernel_bucket)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_routes4, sizeof(omni_route4_key), 4));
  RETURN_IF_ERROR(CheckLayout(maps.omni_routes6, sizeof(omni_route6_key), 4));
  RETURN_IF_ERROR(CheckLayout(maps.omni_flows, 4, sizeof(omni_kernel_flow)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_config, 4, sizeof(omni_kernel_config)));
  RETURN_IF_ERROR(CheckLayout(maps.omni_counters, 4, 8));
  RETURN_IF_ERROR(CheckLayout(maps.omni_xdp_interfaces, 4, 4));
  if (const int error = kernel_path_bpf__load(skeleton_); error != 0) return LoadError(-error);

  const auto map = [](auto& to, const bpf_map* from) -> absl::Status {
    using Array = typename std::remove_reference_t<decltype(to)>::value_type;
    ASSIGN_OR_RETURN(auto array, Array::Map(bpf_map__fd(from), bpf_map__max_entries(from)));
    to.emplace(std::move(array));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(map(buckets_, maps.omni_rx_slots));
  RETURN_IF_ERROR(map(rx_, maps.omni_rx));
  RETURN_IF_ERROR(map(tx_, maps.omni_tx));
  RETURN_IF_ERROR(map(peers_, maps.omni_peers));
  RETURN_IF_ERROR(map(config_, maps.omni_config));
  SetThreshold(options.threshold);
  ring_ = ring_buffer__new(
      bpf_map__fd(maps.omni_events),
      [](void* self, void* data, size_t size) {
        if (size != sizeof(omni_kernel_event)) return 0;
        std::memcpy(&static_cast<KernelObject*>(self)->events_.emplace_back(), data, size);
        return 0;
      },
      this, nullptr);
  if (ring_ == nullptr) return ErrnoStatus("open BPF ring buffer");
  return absl::OkStatus();
}

KernelObject::~KernelObject() {
  ring_buffer__free(ring_);
  buckets_.reset();
  rx_.reset();
  tx_.reset();
  peers_.reset();
  config_.reset();
  if (skeleton_ != nullptr) kernel_path_bpf__destroy(skeleton_);
}

absl::Status KernelObject::ResetWindow(uint32_t slot, uint64_t id) {
  const omni_kernel_window window{.id = id};
  if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.omni_windows), &slot, &window, BPF_ANY) !=
      0) {
    return ErrnoStatus("reset a replay window");
  }
  return absl::OkStatus();
}

absl::Status KernelObject::AddSlot(uint64_t id, uint32_t slot) {
  omni_kernel_bucket& bucket = (*buckets_)[OMNI_BUCKET_OF(id)];
  for (uint32_t i = 0; i < OMNI_KERNEL_BUCKET; ++i) {
    if (bucket.id[i] != 0) continue;
    bucket.slot[i] = slot;
    // ORDER: release; a program that sees the id sees its slot.
    std::atomic_ref(bucket.id[i]).store(id, std::memory_order_release);
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError("give a channel to the kernel: its bucket is full");
}

void KernelObject::RemoveSlot(uint64_t id) {
  for (uint64_t& other : (*buckets_)[OMNI_BUCKET_OF(id)].id) {
    // ORDER: sequentially consistent; what is written to the slot after this is another channel's.
    if (other == id) std::atomic_ref(other).store(0, std::memory_order_seq_cst);
  }
}

absl::Status KernelObject::SetRoute(std::span<const uint8_t> address, uint32_t length,
                                    uint32_t peer) {
  int error = 0;
  if (address.size() == sizeof(omni_route4_key::address)) {
    omni_route4_key key{.length = length};
    std::ranges::copy(address, key.address);
    error = bpf_map_update_elem(bpf_map__fd(skeleton_->maps.omni_routes4), &key, &peer, BPF_ANY);
  } else {
    omni_route6_key key{.length = length};
    std::ranges::copy(address, key.address);
    error = bpf_map_update_elem(bpf_map__fd(skeleton_->maps.omni_routes6), &key, &peer, BPF_ANY);
  }
  return error == 0 ? absl::OkStatus() : ErrnoStatus("add a route to the kernel's");
}

void KernelObject::RemoveRoute(std::span<const uint8_t> address, uint32_t length) {
  if (address.size() == sizeof(omni_route4_key::address)) {
    omni_route4_key key{.length = length};
    std::ranges::copy(address, key.address);
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.omni_routes4), &key);
  } else {
    omni_route6_key key{.length = length};
    std::ranges::copy(address, key.address);
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.omni_routes6), &key);
  }
}

void KernelObject::SetThreshold(uint32_t bytes) {
  // ORDER: relaxed; a packet goes by the old value or by the new one.
  std::atomic_ref((*config_)[0].threshold).store(bytes, std::memory_order_relaxed);
}

void KernelObject::ForgetFlows() {
  const omni_kernel_flow never{};
  for (uint32_t i = 0; i < OMNI_KERNEL_FLOWS; ++i) {
    bpf_map_update_elem(bpf_map__fd(skeleton_->maps.omni_flows), &i, &never, BPF_ANY);
  }
}

std::vector<omni_kernel_event> KernelObject::TakeEvents() {
  ring_buffer__consume(ring_);
  return std::exchange(events_, {});
}

std::vector<std::vector<uint64_t>> KernelObject::CountersByCpu() const {
  return ReadPerCpu(bpf_map__fd(skeleton_->maps.omni_counters), OMNI_COUNTERS);
}

std::vector<uint64_t> KernelObject::Counters() const {
  return SumOverCpus(CountersByCpu(), OMNI_COUNTERS);
}

absl::Status KernelObject::AllowXdp(uint32_t interface) {
  const uint32_t place = interface % OMNI_KERNEL_XDP_INTERFACES;
  const int fd = bpf_map__fd(skeleton_->maps.omni_xdp_interfaces);
  uint32_t holder = 0;
  if (bpf_map_lookup_elem(fd, &place, &holder) == 0 && holder != 0 && holder != interface) {
    return absl::ResourceExhaustedError(fmt::format(
        "let XDP open packets of interface {}: interface {} has its place", interface, holder));
  }
  if (bpf_map_update_elem(fd, &place, &interface, BPF_ANY) == 0) return absl::OkStatus();
  return ErrnoStatus(fmt::format("let XDP open packets of interface {}", interface));
}

void KernelObject::ForbidXdp(uint32_t interface) {
  const uint32_t place = interface % OMNI_KERNEL_XDP_INTERFACES;
  const int fd = bpf_map__fd(skeleton_->maps.omni_xdp_interfaces);
  uint32_t holder = 0;
  if (bpf_map_lookup_elem(fd, &place, &holder) != 0 || holder != interface) return;
  holder = 0;
  bpf_map_update_elem(fd, &place, &holder, BPF_ANY);
}

std::optional<KernelObject::Verdict> KernelObject::Run(KernelProgram program,
                                                       std::span<const uint8_t> packet,
                                                       std::span<uint8_t> out,
                                                       uint32_t repeat) const {
  // At XDP the kernel gives back what stands in front of the packet if it was told of some before.
  xdp_md frame{};
  frame.data_end = static_cast<uint32_t>(packet.size());
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet.data(), .data_out = out.data(),
              .data_size_in = static_cast<uint32_t>(packet.size()),
              .data_size_out = static_cast<uint32_t>(out.size()),
              .repeat = static_cast<int>(repeat));
  if (program == KernelProgram::kOpenFrame) {
    run.ctx_in = run.ctx_out = &frame;
    run.ctx_size_in = run.ctx_size_out = sizeof(frame);
  }
  if (bpf_prog_test_run_opts(program_fd(program), &run) != 0) return std::nullopt;
  return Verdict{.action = static_cast<int>(run.retval),
                 .bytes = run.data_size_out,
                 .mark_bytes = frame.data - frame.data_meta,
                 .duration = Duration(run.duration)};
}

int KernelObject::program_fd(KernelProgram program) const {
  switch (program) {
    case KernelProgram::kOpenWire:
      return bpf_program__fd(skeleton_->progs.omni_open_wire);
    case KernelProgram::kOpenAgain:
      return bpf_program__fd(skeleton_->progs.omni_open_again);
    case KernelProgram::kOpenFrame:
      return bpf_program__fd(skeleton_->progs.omni_open_frame);
    case KernelProgram::kSealTun:
      break;
  }
  return bpf_program__fd(skeleton_->progs.omni_seal_tun);
}

uint32_t KernelObject::verified_instructions(KernelProgram program) const {
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd(program), &info, &size) != 0) return 0;
  return info.verified_insns;
}

}  // namespace omni
