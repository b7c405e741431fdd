// SPDX-License-Identifier: Apache-2.0
// A gRPC server on a unix socket that knows who calls. gRPC 1.51 does not tell a unix peer's
// credentials, so this accepts the connections itself, asks the kernel (SO_PEERCRED,
// SO_PEERGROUPS), closes strangers' unread and hands the rest to gRPC. Owned by main(); start it
// after privileges are dropped (it makes threads), open the socket before.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace omni {

// A listening unix socket: a stale file of an ended process is replaced, a living one's is
// ALREADY_EXISTS.
class UnixListener {
 public:
  struct Options {
    std::string path;
    mode_t mode = 0660;
    uid_t owner = static_cast<uid_t>(-1);  // -1: as created
    gid_t group = static_cast<gid_t>(-1);
  };
  static absl::StatusOr<UnixListener> Open(const Options& options);

  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();  // closes; the file stays when this process may not remove it

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  UnixListener(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// Who may connect, besides uid 0 and this process's own uid.
struct AllowedCallers {
  std::vector<uid_t> uids;
  std::vector<gid_t> groups;  // primary or supplementary
};

class UnixServer {
 public:
  // Serves `services` (not owned, must outlive the server) with reflection.
  static absl::StatusOr<std::unique_ptr<UnixServer>> Start(
      UnixListener listener, AllowedCallers allowed, const std::vector<grpc::Service*>& services);
  ~UnixServer();  // Stop()

  // Refuses new calls, cancels running ones, joins the accepting thread. Idempotent.
  void Stop();

 private:
  UnixServer(UnixListener listener, AllowedCallers allowed);
  void AcceptLoop();
  bool IsAllowed(int connection) const;

  UnixListener listener_;
  AllowedCallers allowed_;
  std::unique_ptr<grpc::Server> server_;
  int stop_event_ = -1;
  std::thread acceptor_;
};

}  // namespace omni
