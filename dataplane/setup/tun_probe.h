// SPDX-License-Identifier: Apache-2.0
// TunProbe: a TUN device in the process' private network, between the kernel's own TCP and UDP
// sockets and a peer that is played here. For the self-test of the offloads, and for the tests that
// compare ours with the kernel's. One thread.
//
//   kernel's TCP and UDP sockets --- IP --- TUN --- KernelTunPort --- the peer
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "dataplane/io/tun_port.h"
#include "dataplane/setup/probe_packet.h"

namespace omni {

// LIMIT: nothing here waits for anybody but the kernel; this is for a machine that is busy.
inline constexpr Duration kProbePatience = std::chrono::milliseconds(200);

// The host's address on the TUN, and the peer's.
struct ProbeFamily {
  const char* host;
  const char* peer;
  uint8_t prefix;
};
inline constexpr ProbeFamily kProbeV4 = {.host = "10.0.0.1", .peer = "10.0.0.2", .prefix = 24};
inline constexpr ProbeFamily kProbeV6 = {.host = "fd00::1", .peer = "fd00::2", .prefix = 64};

class TunProbe {
 public:
  // A device with an address of each family that this kernel has.
  static absl::StatusOr<std::unique_ptr<TunProbe>> Open();

  const KernelTunPort::Offloads& offloads() const { return offloads_; }
  KernelTunPort& port() { return port_; }

  // UNAVAILABLE when not one plain datagram reaches the host. The kernel puts an address to use
  // some time after it took it (IPv6's in a task of its own): to be called first.
  absl::Status AwaitDelivery(const ProbeFamily& family);

  // The next TCP or UDP packet of a conversation that the host sends; the host also says other
  // things. `flow`: from the peer to the host.
  std::optional<HostPacket> Read(uint8_t protocol, const ProbeFlow& flow);
  // Gives packets to the host in one batch; false when it dropped one.
  bool Write(std::vector<ProbePacket>& packets);

 private:
  explicit TunProbe(KernelTunPort::Device device)
      : offloads_(device.offloads), port_(std::move(device.queues[0]), Coalescer::Kinds{}) {}

  const KernelTunPort::Offloads offloads_;
  KernelTunPort port_;
};

// A super-packet as packets, each found intact.
absl::StatusOr<std::vector<Bytes>> CutAndCheck(const HostPacket& packet);

// A socket of the host, bound to its address on the TUN.
class ProbeSocket {
 public:
  // `type`: SOCK_STREAM or SOCK_DGRAM.
  static absl::StatusOr<ProbeSocket> Open(const ProbeFamily& family, int type);

  int fd() const { return fd_.get(); }
  FileDescriptor TakeFd() { return std::move(fd_); }
  // From the peer to this socket.
  const ProbeFlow& flow() const { return flow_; }
  bool Connect() const;
  // One datagram, or what a stream has; empty when nothing comes.
  Bytes Receive(Duration patience = kProbePatience) const;

 private:
  FileDescriptor fd_;
  ProbeFlow flow_;
};

// A TCP connection between a socket of the host and the peer.
class Conversation {
 public:
  struct Words {
    uint8_t flags = 0;
    Bytes options;
    Bytes payload;
  };
  // `options`: of the peer's SYN, a multiple of 4 bytes; decides the host's segments.
  static absl::StatusOr<Conversation> Open(TunProbe& probe, const ProbeFamily& family,
                                           const Bytes& options);

  // What the host's socket is given, as it came out of the TUN. At most what TCP sends before it
  // wants an acknowledgement: ten segments (RFC 6928).
  struct Heard {
    Bytes stream;
    std::vector<Bytes> segments;
    size_t super_packets = 0;
  };
  absl::StatusOr<Heard> Hear(std::span<const uint8_t> bytes);
  // The peer's next packets.
  std::vector<ProbePacket> Phrase(const std::vector<Words>& words);
  // Gives them to the host; false when it dropped one.
  bool Say(const std::vector<Words>& words);
  // The next `count` bytes that the host's socket has; fewer when they do not come.
  Bytes HostReceives(size_t count) const;

  const ProbeFlow& flow() const { return host_.flow(); }

 private:
  Conversation(TunProbe& probe, ProbeSocket host) : probe_(&probe), host_(std::move(host)) {}
  void Take(std::span<const uint8_t> segment, Heard& out);

  TunProbe* probe_;
  ProbeSocket host_;
  uint32_t sequence_ = 1;  // of the peer's next byte
  uint32_t expected_ = 0;  // of the host's next byte
};

}  // namespace omni
