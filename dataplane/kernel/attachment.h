// SPDX-License-Identifier: Apache-2.0
// Attachment: a program at the TC hook of an interface. From Linux 6.6 on it hangs on a link (TCX)
// that ends with the process, whatever ends it; before, it is a filter of the clsact qdisc, which a
// crash leaves behind and the next start on the same port replaces: it takes only packets of
// channels that ended with the process. Owned by KernelPath.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

class Attachment {
 public:
  enum class Hook : uint8_t { kIngress, kEgress };
  enum class Kind : uint8_t { kLink, kFilter };
  struct Where {
    int interface = 0;
    Hook hook = Hook::kIngress;
    // Tells our filters from those of other dataplanes of this machine: the listen port.
    uint32_t handle = 0;
  };

  // By a link where the kernel has them, else by a filter. Needs CAP_NET_ADMIN.
  static absl::StatusOr<Attachment> Attach(int program, const Where& where);
  static absl::StatusOr<Attachment> AttachLink(int program, const Where& where);
  static absl::StatusOr<Attachment> AttachFilter(int program, const Where& where);

  Attachment(Attachment&& other) noexcept
      : kind_(other.kind_), where_(other.where_), link_(std::move(other.link_)) {
    other.where_.interface = 0;
  }
  Attachment& operator=(Attachment&&) = delete;
  ~Attachment();

  Kind kind() const { return kind_; }
  // Whether the program still is there: somebody may have taken it away.
  bool is_there() const;

 private:
  Attachment(Kind kind, const Where& where, FileDescriptor link)
      : kind_(kind), where_(where), link_(std::move(link)) {}

  Kind kind_;
  Where where_;
  FileDescriptor link_;
};

}  // namespace omni
