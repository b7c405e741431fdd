// SPDX-License-Identifier: Apache-2.0
// What the kernel says of an interface's XDP (generic netlink, family "netdev", Linux 6.3 and
// later). Needs no privilege. Owned by XdpPath; one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

class XdpFeatures {
 public:
  static absl::StatusOr<XdpFeatures> Open();

  // Whether frames that XDP sends by the interface leave it now. Of a veth, that depends on its
  // other end: it takes some only while it has XDP or GRO itself, and drops them else. No value:
  // the kernel does not say.
  std::optional<bool> SendsFrames(uint32_t interface);

 private:
  explicit XdpFeatures(FileDescriptor socket) : socket_(std::move(socket)) {}
  std::optional<uint64_t> Ask(uint16_t family, uint8_t command, uint16_t attribute,
                              std::span<const uint8_t> value, uint16_t wanted);

  FileDescriptor socket_;
  uint32_t sequence_ = 0;
  uint16_t family_ = 0;  // 0: not known (yet)
};

}  // namespace omni
