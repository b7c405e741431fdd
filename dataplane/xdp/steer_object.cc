// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/steer_object.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>

#include <algorithm>
#include <cstring>

#include "common/status.h"
#include "common/wire.h"
#include "dataplane/io/per_cpu.h"
#include "generated/bpf/steer.skel.h"

namespace omni {
namespace {

static_assert(OMNI_INITIATION_BYTES == sizeof(wire::Initiation));
static_assert(OMNI_RESPONSE_BYTES == sizeof(wire::Response));
static_assert(OMNI_COOKIE_BYTES == sizeof(wire::CookieReply));

constexpr uint8_t kPresent = 1;

absl::Status LoadError(int error) {
  if (error == EPERM || error == EACCES) {
    return absl::PermissionDeniedError(
        "load the XDP program: CAP_BPF and CAP_NET_ADMIN are needed");
  }
  if (error == EINVAL || error == ENOSYS) {
    return absl::UnimplementedError("load the XDP program: Linux 5.18 or later is needed");
  }
  return ErrnoStatus("load the XDP program", error);
}

// The layouts that both sides were compiled with must be one.
absl::Status CheckLayout(const bpf_map* map, size_t key, size_t value) {
  if (bpf_map__key_size(map) == key && bpf_map__value_size(map) == value) return absl::OkStatus();
  return absl::InternalError(fmt::format("map {}: key {} and value {} bytes, not {} and {}",
                                         bpf_map__name(map), bpf_map__key_size(map),
                                         bpf_map__value_size(map), key, value));
}

omni_steer_address KeyOf(const IpAddress& address) {
  omni_steer_address key{.family = static_cast<uint8_t>(address.family)};
  std::ranges::copy(address.bytes, key.bytes);
  return key;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SteerObject>> SteerObject::Load(uint16_t listen_port) {
  std::unique_ptr<SteerObject> out(new SteerObject());
  RETURN_IF_ERROR(out->Open(listen_port));
  return out;
}

absl::Status SteerObject::Open(uint16_t listen_port) {
  // What it has to say is in the status.
  libbpf_set_print(nullptr);
  skeleton_ = steer_bpf__open();
  if (skeleton_ == nullptr) return ErrnoStatus("open the XDP program");
  skeleton_->rodata->omni_steer_port = htons(listen_port);
  const auto& maps = skeleton_->maps;
  RETURN_IF_ERROR(CheckLayout(maps.steer_addresses, sizeof(omni_steer_address), 1));
  RETURN_IF_ERROR(CheckLayout(maps.steer_channels, sizeof(ChannelId), 1));
  RETURN_IF_ERROR(CheckLayout(maps.steer_interfaces, 4, sizeof(omni_steer_interface)));
  RETURN_IF_ERROR(CheckLayout(maps.steer_config, 4, sizeof(omni_steer_config)));
  RETURN_IF_ERROR(CheckLayout(maps.steer_counters, 4, 8));
  RETURN_IF_ERROR(CheckLayout(maps.steer_expected, sizeof(omni_steer_address), 8));
  RETURN_IF_ERROR(CheckLayout(maps.omni_counters, 4, 8));
  RETURN_IF_ERROR(CheckLayout(maps.steer_relays, sizeof(ChannelId), sizeof(omni_steer_relay)));
  RETURN_IF_ERROR(
      CheckLayout(maps.steer_relay_windows, sizeof(ChannelId), sizeof(omni_steer_window)));
  if (const int error = steer_bpf__load(skeleton_); error != 0) return LoadError(-error);
  return absl::OkStatus();
}

SteerObject::~SteerObject() {
  if (skeleton_ != nullptr) steer_bpf__destroy(skeleton_);
}

absl::StatusOr<FileDescriptor> SteerObject::Attach(int interface, XdpMode mode) const {
  const uint32_t flags = mode == XdpMode::kNative ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
  const int fd = bpf_link_create(program_fd(mode), interface, BPF_XDP, &options);
  if (fd >= 0) return FileDescriptor(fd);
  const std::string what = fmt::format("attach XDP to interface {}", interface);
  // EBUSY: something hangs there by a link; EEXIST: something without one.
  if (fd == -EBUSY || fd == -EEXIST) {
    uint32_t id = 0;
    (void)bpf_xdp_query_id(interface, 0, &id);
    return absl::AlreadyExistsError(
        fmt::format("{}: another XDP program (id {}) is there; take it off, or leave the interface "
                    "to it: see \"bpftool prog show id {}\"",
                    what, id, id));
  }
  if (fd == -EOPNOTSUPP) return absl::UnimplementedError(what + ": its driver has no XDP");
  return ErrnoStatus(what, -fd);
}

void SteerObject::Detach(FileDescriptor link) { (void)bpf_link_detach(link.get()); }

bool SteerObject::IsAttached(const FileDescriptor& link) {
  bpf_link_info info{};
  uint32_t size = sizeof(info);
  return link.is_open() && bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0 &&
         info.xdp.ifindex != 0;
}

absl::Status SteerObject::AddAddress(const IpAddress& address) {
  const omni_steer_address key = KeyOf(address);
  if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_addresses), &key, &kPresent, BPF_ANY) !=
      0) {
    return ErrnoStatus("watch address " + address.ToString());
  }
  return absl::OkStatus();
}

void SteerObject::RemoveAddress(const IpAddress& address) {
  const omni_steer_address key = KeyOf(address);
  bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_addresses), &key);
}

bool SteerObject::PutChannel(ChannelId id, ChannelUse use) {
  const uint8_t value = use == ChannelUse::kOurs ? OMNI_STEER_OURS : OMNI_STEER_RELAYED;
  return bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_channels), &id, &value, BPF_ANY) ==
         0;
}

void SteerObject::AddChannel(ChannelId id, ChannelUse use) {
  if (PutChannel(id, use)) return;
  unlisted_.emplace(id, use);
  SetIncomplete(true);
}

void SteerObject::RemoveChannel(ChannelId id) {
  if (unlisted_.empty()) {
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_channels), &id);
    return;
  }
  if (unlisted_.erase(id) == 0) {
    bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_channels), &id);
    const auto [waiting, use] = *unlisted_.begin();
    if (PutChannel(waiting, use)) unlisted_.erase(waiting);
  }
  if (unlisted_.empty()) SetIncomplete(false);
}

bool SteerObject::AddRelayWindow(ChannelId id) {
  const omni_steer_window unused{.id = id};
  return bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_relay_windows), &id, &unused,
                             BPF_NOEXIST) == 0;
}

void SteerObject::RemoveRelayWindow(ChannelId id) {
  bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_relay_windows), &id);
}

bool SteerObject::PutRelay(ChannelId id, const omni_steer_relay& relay) {
  return bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_relays), &id, &relay, BPF_ANY) == 0;
}

void SteerObject::RemoveRelay(ChannelId id) {
  bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_relays), &id);
}

void SteerObject::Expect(const IpAddress& address) {
  const omni_steer_address key = KeyOf(address);
  const uint64_t full = 0;
  // What is there keeps its bucket.
  bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_expected), &key, &full, BPF_NOEXIST);
}

void SteerObject::SetIncomplete(bool incomplete) {
  const uint32_t only = 0;
  const omni_steer_config config{.incomplete = incomplete ? 1U : 0U};
  bpf_map_update_elem(bpf_map__fd(skeleton_->maps.steer_config), &only, &config, BPF_ANY);
}

absl::Status SteerObject::SetOpener(int program) {
  const uint32_t only = 0;
  const int fd = bpf_map__fd(skeleton_->maps.steer_opener);
  if (bpf_map_update_elem(fd, &only, &program, BPF_ANY) == 0) return absl::OkStatus();
  return ErrnoStatus("have XDP open control channels");
}

absl::Status SteerObject::SetInterface(uint32_t interface, const omni_steer_interface& queues) {
  const int fd = bpf_map__fd(skeleton_->maps.steer_interfaces);
  if (bpf_map_update_elem(fd, &interface, &queues, BPF_ANY) == 0) return absl::OkStatus();
  return ErrnoStatus("give an interface's channels to AF_XDP");
}

void SteerObject::RemoveInterface(uint32_t interface) {
  bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.steer_interfaces), &interface);
}

absl::Status SteerObject::SetSocket(uint32_t place, int socket) {
  const int fd = bpf_map__fd(skeleton_->maps.steer_sockets);
  if (bpf_map_update_elem(fd, &place, &socket, BPF_ANY) == 0) return absl::OkStatus();
  return ErrnoStatus("give a queue to its AF_XDP socket");
}

std::vector<std::vector<uint64_t>> SteerObject::DropsByCpu() const {
  return ReadPerCpu(bpf_map__fd(skeleton_->maps.omni_counters), OMNI_DROP_COUNT);
}

std::vector<std::vector<uint64_t>> SteerObject::CountersByCpu() const {
  return ReadPerCpu(bpf_map__fd(skeleton_->maps.steer_counters), OMNI_STEER_COUNT);
}

std::vector<uint64_t> SteerObject::Drops() const {
  return SumOverCpus(DropsByCpu(), OMNI_DROP_COUNT);
}

std::vector<uint64_t> SteerObject::Counters() const {
  return SumOverCpus(CountersByCpu(), OMNI_STEER_COUNT);
}

int SteerObject::program_fd(XdpMode mode) const {
  return bpf_program__fd(mode == XdpMode::kNative ? skeleton_->progs.omni_steer
                                                  : skeleton_->progs.omni_steer_generic);
}

std::optional<SteerObject::Verdict> SteerObject::Run(std::span<const uint8_t> frame,
                                                     std::span<uint8_t> out, XdpMode mode) const {
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_out = out.data(),
              .data_size_in = static_cast<uint32_t>(frame.size()),
              .data_size_out = static_cast<uint32_t>(out.size()), .repeat = 1);
  if (bpf_prog_test_run_opts(program_fd(mode), &run) != 0) {
    return std::nullopt;
  }
  return Verdict{.action = run.retval, .bytes = run.data_size_out};
}

uint32_t SteerObject::verified_instructions(XdpMode mode) const {
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  const int fd = program_fd(mode);
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.verified_insns : 0;
}

}  // namespace omni
