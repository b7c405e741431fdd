// SPDX-License-Identifier: Apache-2.0
// omni-bench-afxdp [SECONDS [RATE]]: packets per second of AF_XDP in copy mode, over a veth in a
// network namespace of its own: sending alone, sending and receiving as fast as it goes, and the
// loss at a steady rate: 80 % of what was received, or RATE packets a second. Payloads of 64 bytes,
// sorted by the program at XDP. Both are measured twice: as a veth comes, which receives in a soft
// interrupt of the core that sends, and with one core a direction, by threaded NAPI. The threads
// run with a real-time priority where they may, because other programs on the core would be
// measured otherwise.
#include <fmt/core.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#include "common/status.h"
#include "dataplane/setup/private_network.h"
#include "dataplane/xdp/frame.h"
#include "dataplane/xdp/steer_object.h"
#include "dataplane/xdp/xsk_socket.h"

namespace omni {
namespace {

constexpr uint16_t kPort = 51900;
constexpr ChannelId kChannel = 0x1122334455660004;
constexpr size_t kPayload = 64;
constexpr size_t kBurst = 64;
// A veth's ring takes 256 frames (VETH_RING_SIZE) and drops what is beyond: a steady sender gives
// it a small part of that at once.
constexpr uint64_t kSteadyBurst = 32;

constexpr unsigned kSender = 0;
constexpr unsigned kReceiver = 1;

// A thread, 0 for the caller, to a processor.
void Pin(pid_t thread, unsigned cpu, int priority) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % std::thread::hardware_concurrency(), &set);
  (void)sched_setaffinity(thread, sizeof(set), &set);
  const sched_param param = {.sched_priority = priority};
  if (sched_setscheduler(thread, SCHED_FIFO, &param) != 0) {
    fmt::print("without real-time priority\n");
  }
}

// From now on the kernel takes what arrives at v1 in a thread of its own, on the receiver's core,
// below the receiver's priority: it would never let it run otherwise.
absl::Status ReceiveInAThread() {
  // What /sys shows is the network of who mounted it.
  if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) {
    return ErrnoStatus("mount /sys");
  }
  std::ofstream switched("/sys/class/net/v1/threaded");
  if (!(switched << "1" << std::flush)) return ErrnoStatus("switch to threaded NAPI");
  int pinned = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name;
    if (!std::getline(std::ifstream(entry.path() / "comm"), name) ||
        !name.starts_with("napi/v1-")) {
      continue;
    }
    Pin(std::stoi(entry.path().filename()), kReceiver, 1);
    ++pinned;
  }
  if (pinned == 0) return absl::UnavailableError("threaded NAPI: no thread");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<XskSocket>> BindTo(uint32_t interface) {
  ASSIGN_OR_RETURN(std::unique_ptr<XskSocket> socket, XskSocket::Open());
  RETURN_IF_ERROR(socket->Bind({.interface = interface}, XskSocket::Copying::kIfNeeded));
  return socket;
}

// Sends for so long, at most so many a second; gives the number. A sender that was held up goes on
// at its rate, and does not make up for it.
uint64_t SendFor(XskSocket& socket, Duration duration, double rate) {
  const FrameHead head({.remote = *Endpoint::Parse("192.0.2.2:51900"),
                        .local = *IpAddress::Parse("192.0.2.1"),
                        .local_port = kPort});
  uint64_t sent = 0;
  const bool is_steady = std::isfinite(rate);
  const uint64_t burst = is_steady ? kSteadyBurst : kBurst;
  const Instant begin = Now();
  Instant next = begin;
  const Duration pause(is_steady ? static_cast<int64_t>(1e9 * static_cast<double>(burst) / rate)
                                 : 0);
  for (Instant now = begin; now - begin < duration; now = Now()) {
    if (now < next) continue;
    next = std::max(next + pause, now - pause);
    for (uint64_t i = 0; i < burst; ++i) {
      const std::span<uint8_t> frame = socket.Reserve();
      if (frame.empty()) break;
      const auto payload = frame.subspan(head.bytes(), kPayload);
      std::memcpy(payload.data(), &kChannel, sizeof(kChannel));
      head.Write(payload, 0);
      socket.Commit(static_cast<uint32_t>(head.bytes() + kPayload));
      ++sent;
    }
    socket.Flush();
  }
  return sent;
}

// Takes frames until told to stop and nothing comes any more; gives the number of datagrams.
uint64_t ReceiveUntil(XskSocket& socket, const std::atomic<bool>& stop) {
  std::array<std::span<uint8_t>, kBurst> frames;
  uint64_t received = 0;
  for (;;) {
    const size_t count = socket.Receive(frames);
    for (size_t i = 0; i < count; ++i) received += ParseFrame(frames[i], 1) ? 1 : 0;
    if (count > 0) continue;
    pollfd poller = {socket.fd(), POLLIN, 0};
    if (poll(&poller, 1, 50) == 0 && stop.load()) return received;
  }
}

struct Rates {
  uint64_t sent = 0;
  uint64_t received = 0;
};

Rates Both(XskSocket& from, XskSocket& to, Duration duration, double rate) {
  Rates out;
  std::atomic<bool> stop = false;
  std::atomic<bool> ready = false;
  std::thread receiver([&] {
    Pin(0, kReceiver, 2);
    ready.store(true);
    out.received = ReceiveUntil(to, stop);
  });
  while (!ready.load()) std::this_thread::yield();  // it begins on this core
  out.sent = SendFor(from, duration, rate);
  stop.store(true);
  receiver.join();
  return out;
}

// As fast as it goes, then at a steady rate, or at 80 % of what was received when that is 0.
absl::Status MeasureBoth(XskSocket& from, XskSocket& to, Duration duration, double rate) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const Rates fast = Both(from, to, duration, std::numeric_limits<double>::infinity());
  const double received = static_cast<double>(fast.received) / seconds;
  fmt::print("  send {:.2f} Mpps, receive {:.2f} Mpps\n",
             static_cast<double>(fast.sent) / seconds / 1e6, received / 1e6);
  const auto before = to.losses();
  const Rates paced = Both(from, to, duration, rate > 0 ? rate : received * 0.8);
  const auto after = to.losses();
  fmt::print(
      "  at {:.2f} Mpps: {} of {} lost, {} of them for want of room in the socket's ring, {} "
      "for want of frames, the rest in the veth\n",
      static_cast<double>(paced.sent) / seconds / 1e6, paced.sent - paced.received, paced.sent,
      after.ring_full - before.ring_full, after.no_frame - before.no_frame);
  return paced.received > 0 ? absl::OkStatus() : absl::InternalError("nothing was received");
}

absl::Status Measure(double seconds, double rate) {
  Pin(0, kSender, 1);
  RETURN_IF_ERROR(EnterPrivateNetwork());
  if (std::system("ip link add name v0 type veth peer name v1 && ip link set v0 up && "
                  "ip address add 192.0.2.2/24 dev v1 && ip link set v1 up") != 0) {
    return absl::UnavailableError("no veth can be made");
  }
  const auto duration =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  const unsigned a = if_nametoindex("v0");
  const unsigned b = if_nametoindex("v1");
  ASSIGN_OR_RETURN(auto from, BindTo(a));
  const uint64_t sent = SendFor(*from, duration, std::numeric_limits<double>::infinity());
  fmt::print("send alone: {:.2f} Mpps\n", static_cast<double>(sent) / seconds / 1e6);
  ASSIGN_OR_RETURN(auto steer, SteerObject::Load(kPort));
  RETURN_IF_ERROR(steer->AddAddress(*IpAddress::Parse("192.0.2.2")));
  steer->AddChannel(kChannel, ChannelUse::kOurs);
  ASSIGN_OR_RETURN(const FileDescriptor link, steer->Attach(static_cast<int>(b), XdpMode::kNative));
  ASSIGN_OR_RETURN(auto to, BindTo(b));
  RETURN_IF_ERROR(steer->SetSocket(0, to->fd()));
  RETURN_IF_ERROR(
      steer->SetInterface(b, {.queues = 1, .longest = XskSocket::kLongest, .workers = 1}));
  fmt::print("the sender's core does both, but for the receiving program:\n");
  RETURN_IF_ERROR(MeasureBoth(*from, *to, duration, rate));
  RETURN_IF_ERROR(ReceiveInAThread());
  fmt::print("one core a direction:\n");
  return MeasureBoth(*from, *to, duration, rate);
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  if (seconds <= 0) {
    fmt::print(stderr, "usage: omni-bench-afxdp [SECONDS [RATE]]\n");
    return 2;
  }
  const absl::Status status = omni::Measure(seconds, argc > 2 ? std::atof(argv[2]) : 0);
  if (status.ok()) return 0;
  fmt::print(stderr, "omni-bench-afxdp: {}\n", omni::Message(status));
  return 1;
}
