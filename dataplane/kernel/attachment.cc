// SPDX-License-Identifier: Apache-2.0
#include "dataplane/kernel/attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "common/status.h"

namespace omni {
namespace {

// Values of enum bpf_attach_type that Debian 12's headers do not have yet (Linux 6.6).
constexpr int kTcxIngress = 46;
constexpr int kTcxEgress = 47;
// LIMIT: the place of our filters among those of an interface. Nothing is known of others:
// somewhere in the middle, so that an administrator can come before and after.
constexpr uint32_t kPriority = 519;

absl::Status AttachError(int error, const Attachment::Where& where) {
  return ErrnoStatus(fmt::format("attach a BPF program to interface {}", where.interface), error);
}

bpf_tc_hook HookOf(const Attachment::Where& where) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = where.interface;
  hook.attach_point = where.hook == Attachment::Hook::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
  return hook;
}

bpf_tc_opts FilterOf(const Attachment::Where& where) {
  bpf_tc_opts filter{};
  filter.sz = sizeof(filter);
  filter.handle = where.handle;
  filter.priority = kPriority;
  return filter;
}

}  // namespace

absl::StatusOr<Attachment> Attachment::Attach(int program, const Where& where) {
  auto link = AttachLink(program, where);
  // EINVAL: an attach type that the kernel does not know.
  if (link.ok() || !absl::IsInvalidArgument(link.status())) return link;
  return AttachFilter(program, where);
}

absl::StatusOr<Attachment> Attachment::AttachLink(int program, const Where& where) {
  const auto type =
      static_cast<bpf_attach_type>(where.hook == Hook::kIngress ? kTcxIngress : kTcxEgress);
  const int fd = bpf_link_create(program, where.interface, type, nullptr);
  if (fd < 0) return AttachError(-fd, where);
  return Attachment(Kind::kLink, where, FileDescriptor(fd));
}

absl::StatusOr<Attachment> Attachment::AttachFilter(int program, const Where& where) {
  bpf_tc_hook hook = HookOf(where);
  if (const int error = bpf_tc_hook_create(&hook); error != 0 && error != -EEXIST) {
    return AttachError(-error, where);
  }
  bpf_tc_opts filter = FilterOf(where);
  filter.prog_fd = program;
  filter.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &filter); error != 0) {
    return AttachError(-error, where);
  }
  return Attachment(Kind::kFilter, where, FileDescriptor());
}

bool Attachment::is_there() const {
  if (kind_ == Kind::kLink) {
    bpf_link_info info{};
    uint32_t size = sizeof(info);
    // The index stands where that of an XDP link does; Debian 12's headers do not know TCX yet.
    return bpf_obj_get_info_by_fd(link_.get(), &info, &size) == 0 && info.xdp.ifindex != 0;
  }
  const bpf_tc_hook hook = HookOf(where_);
  bpf_tc_opts filter = FilterOf(where_);
  return bpf_tc_query(&hook, &filter) == 0;
}

Attachment::~Attachment() {
  if (where_.interface == 0 || kind_ == Kind::kLink) return;
  // The qdisc stays: it may have filters of others by now.
  const bpf_tc_hook hook = HookOf(where_);
  const bpf_tc_opts filter = FilterOf(where_);
  bpf_tc_detach(&hook, &filter);
}

}  // namespace omni
