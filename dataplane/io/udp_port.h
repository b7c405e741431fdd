// SPDX-License-Identifier: Apache-2.0
// KernelUdpPort: the UDP port of one worker through ordinary sockets: one for IPv4 and one for IPv6
// on the same port number, recvmmsg/sendmmsg, UDP_SEGMENT and UDP_GRO. All workers' sockets of a
// family form a reuseport group whose filter brings session data to the worker that owns its
// channel, and everything else to worker 0. Trains that the kernel refuses go datagram by datagram.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/core/port.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/offload_backoff.h"

namespace omni {

class KernelUdpPort final : public UdpPort {
 public:
  struct Sockets {
    FileDescriptor v4;
    FileDescriptor v6;  // unset where the kernel has no IPv6
  };
  enum class Gro : uint8_t { kOff, kOn };
  struct Bound {
    std::vector<Sockets> workers;
    absl::Status gro;  // why it is off where it was wanted
  };
  // Binds the sockets of all workers, in the order of the workers. ALREADY_EXISTS when the port is
  // taken.
  static absl::StatusOr<Bound> Bind(uint16_t port, uint32_t workers, Gro gro);

  enum class Gso : uint8_t { kOff, kOn };
  KernelUdpPort(Sockets sockets, Gso gso);

  void Send(std::span<const Train> trains, DropCounters& drops) override;
  size_t Receive(std::span<ReceivedDatagram> out, DropCounters& drops) override;

  // To wait on.
  std::vector<int> fds() const;
  // How the kernel takes trains.
  const OffloadBackoff& gso() const { return gso_; }
  // All that was given to the kernel, taken or not, and all that came from it.
  const WayCounters& traffic() const { return traffic_; }

 private:
  // LIMIT: 8 messages of 64 KiB a call; deeper reading gained nothing (measured).
  static constexpr size_t kMessages = 8;
  static constexpr size_t kBufferBytes = 65536;
  static constexpr size_t kControlBytes = 128;

  // Everything one message needs to stay in place until the system call.
  struct SendSlot {
    sockaddr_storage address;
    iovec vector;
    alignas(cmsghdr) std::array<uint8_t, kControlBytes> control;

    // Points `header` at this slot, filled for `train`.
    void Fill(const Train& train, msghdr& header);
  };

  // All of the same form: trains, or datagrams.
  void SendTrains(std::span<const Train> trains, DropCounters& drops);
  void SendFamily(int fd, std::span<const Train* const> trains, DropCounters& drops);
  // A train that the kernel refused as a whole: datagram by datagram, without sticky source where
  // that is the cause.
  void SendOne(int fd, const Train& train, DropCounters& drops);
  size_t ReceiveFamily(int fd, std::span<ReceivedDatagram> out, DropCounters& drops);

  Sockets sockets_;
  bool v6_next_ = false;
  std::vector<uint8_t> buffers_;
  alignas(cmsghdr) std::array<std::array<uint8_t, kControlBytes>, kMessages> controls_{};
  std::vector<SendSlot> send_slots_;
  std::vector<mmsghdr> send_headers_;
  std::vector<Train> singles_;  // trains taken apart
  bool waiting_helps_ = true;   // for room, as far as this batch has shown
  const Gso use_gso_;
  OffloadBackoff gso_;
  WayCounters traffic_;
};

}  // namespace omni
