// SPDX-License-Identifier: Apache-2.0
#include "common/metrics/exposer.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>

#include "absl/cleanup/cleanup.h"
#include "common/ip.h"
#include "common/status.h"

namespace omni {
namespace {

// The HTTP library does not say why it cannot listen; a socket of our own does.
absl::Status CheckFree(const std::string& listen) {
  const auto endpoint = Endpoint::Parse(listen);
  if (!endpoint)
    return absl::InvalidArgumentError(fmt::format("metrics: \"{}\" is not IP:PORT", listen));
  sockaddr_storage address{};
  const socklen_t length = endpoint->ToSockaddr(&address);
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus("socket");
  const absl::Cleanup close_fd = [fd] { close(fd); };
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  // SAFETY: sockaddr_storage holds the sockaddr that `length` bytes of it describe.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(fd, 1) != 0) {
    return ErrnoStatus("metrics: listen on " + listen);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<prometheus::Exposer>> StartExposer(const std::string& listen) {
  RETURN_IF_ERROR(CheckFree(listen));
  try {
    // LIMIT: two scrapes at a time; one Prometheus makes one.
    return std::make_unique<prometheus::Exposer>(listen, 2);
  } catch (const std::exception& error) {
    return absl::UnavailableError(fmt::format("metrics: listen on {}: {}", listen, error.what()));
  }
}

}  // namespace omni
