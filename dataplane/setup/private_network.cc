// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/private_network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "common/status.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/setup/netlink_link.h"

namespace omni {
namespace {

constexpr uint32_t kLoopbackMtu = 65536;
// First byte of what the child tells.
constexpr char kDone = '+';
constexpr char kFailed = '-';

[[noreturn]] void RunChild(int pipe, const std::function<std::string()>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const absl::Status entered = EnterPrivateNetwork();
  const std::string text = entered.ok() ? kDone + work() : kFailed + std::string(Message(entered));
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(pipe, text.data() + at, text.size() - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  _exit(0);
}

// Everything until the writer closes; empty when that takes too long.
std::string ReadAll(int pipe, Duration limit) {
  const Instant deadline = Now() + limit;
  std::string out;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now());
    pollfd poller = {pipe, POLLIN, 0};
    if (left.count() <= 0 || poll(&poller, 1, static_cast<int>(left.count())) <= 0) return "";
    std::array<char, 4096> buffer;
    const ssize_t n = read(pipe, buffer.data(), buffer.size());
    if (n == 0) return out;
    if (n > 0) out.append(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace

absl::Status EnterPrivateNetwork() {
  if (unshare(CLONE_NEWNET) != 0) return ErrnoStatus("make a private network");
  ASSIGN_OR_RETURN(auto loopback, NetlinkLink::Open("lo"));
  return loopback->Apply({.addresses = {}, .mtu = kLoopbackMtu, .routes = {}});
}

absl::StatusOr<std::string> RunInPrivateNetwork(const std::function<std::string()>& work,
                                                Duration limit) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoStatus("open a pipe");
  const FileDescriptor reader(ends[0]);
  FileDescriptor writer(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoStatus("fork");
  if (child == 0) RunChild(writer.get(), work);
  { const FileDescriptor closed = std::move(writer); }
  const std::string told = ReadAll(reader.get(), limit);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (told.empty()) return absl::UnavailableError("the test did not end in time");
  if (told[0] == kFailed) return absl::UnavailableError(told.substr(1));
  return told.substr(1);
}

}  // namespace omni
