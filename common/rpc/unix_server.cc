// SPDX-License-Identifier: Apache-2.0
#include "common/rpc/unix_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: 64 waiting connections; management traffic is a handful of clients.
constexpr int kBacklog = 64;

// LIMIT: the whole state of 100,000 peers with several prefixes each is some 10 MiB; gRPC's default
// of 4 MiB would refuse it. Only callers whom the kernel vouches for come this far.
constexpr int kMaxMessageBytes = 64 << 20;

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        fmt::format("socket path \"{}\": must have 1-107 bytes", path));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Removes the file of a server that is gone.
absl::Status RemoveStale(const sockaddr_un& address, const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return absl::OkStatus();
  if (!S_ISSOCK(st.st_mode)) {
    return absl::AlreadyExistsError(fmt::format("listen on {}: exists and is no socket", path));
  }
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return ErrnoStatus("socket");
  const absl::Cleanup close_probe = [probe] { close(probe); };
  if (connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return absl::AlreadyExistsError(
        fmt::format("listen on {}: another process serves this socket", path));
  }
  if (unlink(path.c_str()) != 0) return ErrnoStatus("remove stale socket " + path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UnixListener> UnixListener::Open(const Options& options) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(options.path));
  RETURN_IF_ERROR(RemoveStale(address, options.path));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus("socket");
  UnixListener listener(fd, options.path);
  // SAFETY: sockaddr_un is one of the types behind sockaddr. The mode comes from the umask and the
  // owner is set without following a link: the directory may belong to a user who would put a link
  // in the file's place, to be given another's file while this process is still root.
  const mode_t old_mask = umask(0777 & ~options.mode);
  const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_error = errno;
  umask(old_mask);
  if (bound != 0) return ErrnoStatus("listen on " + options.path, bind_error);
  if (lchown(options.path.c_str(), options.owner, options.group) != 0) {
    return ErrnoStatus("chown " + options.path);
  }
  if (listen(fd, kBacklog) != 0) return ErrnoStatus("listen on " + options.path);
  return listener;
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

UnixListener::~UnixListener() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(path_.c_str());
}

UnixServer::UnixServer(UnixListener listener, AllowedCallers allowed)
    : listener_(std::move(listener)), allowed_(std::move(allowed)) {}

absl::StatusOr<std::unique_ptr<UnixServer>> UnixServer::Start(
    UnixListener listener, AllowedCallers allowed, const std::vector<grpc::Service*>& services) {
  static const bool reflection = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)reflection;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<UnixServer> out(new UnixServer(std::move(listener), std::move(allowed)));
  out->stop_event_ = eventfd(0, EFD_CLOEXEC);
  if (out->stop_event_ < 0) return ErrnoStatus("eventfd");
  out->server_ = builder.BuildAndStart();
  if (!out->server_) return absl::InternalError("gRPC server did not start");
  out->acceptor_ = std::thread([server = out.get()] { server->AcceptLoop(); });
  return out;
}

UnixServer::~UnixServer() {
  Stop();
  if (stop_event_ >= 0) close(stop_event_);
}

void UnixServer::Stop() {
  if (!acceptor_.joinable()) return;
  const uint64_t one = 1;
  (void)!write(stop_event_, &one, sizeof(one));
  acceptor_.join();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  server_->Wait();
}

void UnixServer::AcceptLoop() {
  for (;;) {
    pollfd fds[2] = {{listener_.fd(), POLLIN, 0}, {stop_event_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    const int connection = accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) {
      // Out of descriptors: wait a moment instead of spinning on the same error.
      if (errno == EMFILE || errno == ENFILE) poll(fds + 1, 1, 100);
      continue;
    }
    if (IsAllowed(connection)) {
      grpc::AddInsecureChannelFromFd(server_.get(), connection);
    } else {
      close(connection);
    }
  }
}

bool UnixServer::IsAllowed(int connection) const {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  if (peer.uid == 0 || peer.uid == geteuid()) return true;
  if (std::ranges::find(allowed_.uids, peer.uid) != allowed_.uids.end()) return true;
  // LIMIT: 1,024 supplementary groups are looked at; a caller with more is judged by its uid and
  // primary group.
  std::vector<gid_t> groups(1024);
  length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  const bool known = getsockopt(connection, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0;
  groups.resize(known ? length / sizeof(gid_t) : 0);
  groups.push_back(peer.gid);
  for (const gid_t group : groups) {
    if (std::ranges::find(allowed_.groups, group) != allowed_.groups.end()) return true;
  }
  spdlog::warn("{}: connection of uid {} (pid {}) refused", listener_.path(), peer.uid, peer.pid);
  return false;
}

}  // namespace omni
