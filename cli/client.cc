// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace omni {
namespace {

std::string GroupOf(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return "omni";
  group entry{};
  group* found = nullptr;
  std::array<char, 4096> buffer{};
  if (getgrgid_r(st.st_gid, &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return fmt::format("{}", st.st_gid);
  }
  return found->gr_name;
}

// What people can do about it, by the error of connect().
std::string LikelyCause(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
      return "the socket does not exist; is omni-controller running? "
             "(systemctl status omni-controller; another path: --socket or $OMNI_SOCKET)";
    case ECONNREFUSED:
      return "nothing serves the socket; omni-controller has ended "
             "(journalctl -u omni-controller)";
    case EACCES:
    case EPERM:
      return fmt::format("permission denied; be root or a member of group {}", GroupOf(path));
    default:
      return std::strerror(error);
  }
}

// A plain connect() tells the cause that gRPC would hide. Returns errno, 0 when it works.
int Probe(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  // SAFETY: sockaddr_un is one of the types behind sockaddr.
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int error = connected ? 0 : errno;
  close(fd);
  return error;
}

ExitCode ExitCodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return ExitCode::kUsage;
    case grpc::StatusCode::NOT_FOUND:
      return ExitCode::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return ExitCode::kConflict;
    case grpc::StatusCode::UNAVAILABLE:
      return ExitCode::kNoDataplane;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ExitCode::kTimeout;
    default:
      return ExitCode::kFailed;
  }
}

}  // namespace

Client::Client(const Context& context) : socket_(context.socket), timeout_(context.timeout_s) {
  if (const int error = Probe(socket_); error != 0) {
    throw CommandError(ExitCode::kUnreachable, fmt::format("connect to controller {}: {}", socket_,
                                                           LikelyCause(error, socket_)));
  }
  const auto channel = grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials());
  // The controller closes strangers' connections unread: the kernel lets us in, HTTP/2 never
  // starts.
  if (!channel->WaitForConnected(Deadline())) {
    throw CommandError(ExitCode::kUnreachable,
                       fmt::format("connect to controller {}: no answer within {} s; it is stuck, "
                                   "or it refuses this user: be root or a member of group {}",
                                   socket_, timeout_.count(), GroupOf(socket_)));
  }
  stub_ = api::Control::NewStub(channel);
}

std::chrono::system_clock::time_point Client::Deadline() const {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout_);
}

void Client::Check(const grpc::Status& status) const {
  if (status.ok()) return;
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    throw CommandError(ExitCode::kTimeout, fmt::format("controller {}: no answer within {} s",
                                                       socket_, timeout_.count()));
  }
  // The connection broke under the call: it is the controller that went away, not the dataplane.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && Probe(socket_) != 0) {
    throw CommandError(ExitCode::kUnreachable,
                       fmt::format("controller {}: ended during the call", socket_));
  }
  throw CommandError(ExitCodeOf(status.error_code()), status.error_message());
}

}  // namespace omni
