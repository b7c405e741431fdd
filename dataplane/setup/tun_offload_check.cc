// SPDX-License-Identifier: Apache-2.0
// TSO, USO and the joining of packets, through a TUN device of the process' private network:
//
//   kernel's TCP and UDP sockets --- IP --- TUN --- KernelTunPort --- a peer that is played here
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/transport_header.h"
#include "dataplane/io/tun_port.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/setup/netlink_link.h"
#include "dataplane/setup/offload_check.h"
#include "dataplane/setup/probe_packet.h"

namespace omni {
namespace {

// LIMIT: nothing here waits for anybody but the kernel; this is for a machine that is busy.
constexpr Duration kPatience = std::chrono::milliseconds(200);
constexpr char kDevice[] = "omnitest";
constexpr uint32_t kMtu = 1500;
constexpr uint16_t kPeerPort = 7;
constexpr uint32_t kSegment = 1000;
// LIMIT: ten segments: what TCP sends before it wants an acknowledgement (RFC 6928).
constexpr uint32_t kTcpBytes = 9 * kSegment + 500;
constexpr uint32_t kUdpBytes = 20 * kSegment + 77;
constexpr uint8_t kSyn = 0x02;

absl::Status Failure(const std::string& what, int error) {
  return absl::InternalError(fmt::format("{}: {}", what, std::strerror(error)));
}

// The host's address on the TUN, and the peer's.
struct Family {
  const char* host;
  const char* peer;
  uint8_t prefix;
};
constexpr Family kV4 = {.host = "10.0.0.1", .peer = "10.0.0.2", .prefix = 24};
constexpr Family kV6 = {.host = "fd00::1", .peer = "fd00::2", .prefix = 64};

class Probe {
 public:
  explicit Probe(KernelTunPort::Device device)
      : offloads_(device.offloads), port_(std::move(device.queues[0]), Coalescer::Kinds{}) {}

  const KernelTunPort::Offloads& offloads() const { return offloads_; }
  KernelTunPort& port() { return port_; }

  // The next packet of a protocol that the host sends; the host also says other things.
  std::optional<HostPacket> Read(uint8_t protocol) {
    const Instant deadline = Now() + kPatience;
    for (;;) {
      while (const auto packet = port_.Read()) {
        const auto inner = ParseInner(packet->bytes);
        if (inner && inner->protocol == protocol) return packet;
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now()).count();
      pollfd poller = {port_.fd(), POLLIN, 0};
      if (left <= 0 || poll(&poller, 1, static_cast<int>(left)) <= 0) return std::nullopt;
    }
  }

  // Gives packets to the host in one batch; false when it dropped one.
  bool Write(std::vector<ProbePacket>& packets) {
    std::vector<std::span<uint8_t>> views;
    views.reserve(packets.size());
    for (ProbePacket& packet : packets) views.push_back(packet.bytes());
    DropCounters drops;
    port_.Write(views, drops);
    return drops.value(DropReason::rx_tun_full) + drops.value(DropReason::rx_tun_error) == 0;
  }

 private:
  const KernelTunPort::Offloads offloads_;
  KernelTunPort port_;
};

// A super-packet as packets, each found intact.
absl::StatusOr<std::vector<Bytes>> Cut(const HostPacket& packet) {
  const auto inner = ParseInner(packet.bytes);
  if (!inner) return absl::DataLossError("a packet from the host is no IP packet");
  const auto made = Segmenter::Make(packet.bytes, *inner, packet.offload);
  const auto* segmenter = std::get_if<Segmenter>(&made);
  if (segmenter == nullptr) return absl::DataLossError("a super-packet cannot be cut");
  std::vector<Bytes> out;
  for (size_t i = 0; i < segmenter->count(); ++i) {
    out.emplace_back(segmenter->SegmentBytes(i));
    segmenter->Write(i, out.back().data());
    if (!IsIntact(out.back())) return absl::DataLossError("a cut super-packet is not intact");
  }
  return out;
}

// A socket of the host, bound to its address on the TUN.
class HostSocket {
 public:
  static absl::StatusOr<HostSocket> Open(const Family& family, int type) {
    const Endpoint local{*IpAddress::Parse(family.host), 0};
    HostSocket out;
    out.fd_ = FileDescriptor(
        socket(local.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out.fd_.is_open()) return absl::UnavailableError("no socket of this family");
    sockaddr_storage storage{};
    socklen_t length = local.ToSockaddr(&storage);
    // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
    auto* raw = reinterpret_cast<sockaddr*>(&storage);
    if (bind(out.fd_.get(), raw, length) != 0) {
      return absl::UnavailableError("no address of this family");
    }
    length = sizeof(storage);
    getsockname(out.fd_.get(), raw, &length);
    const auto bound = Endpoint::FromSockaddr(raw);
    if (!bound) return absl::UnavailableError("no address of this family");
    out.flow_ = {.from = {*IpAddress::Parse(family.peer), kPeerPort}, .to = *bound};
    return out;
  }

  int fd() const { return fd_.get(); }
  FileDescriptor TakeFd() { return std::move(fd_); }
  // From the peer to this socket.
  const ProbeFlow& flow() const { return flow_; }

  bool Connect() const {
    sockaddr_storage storage{};
    const socklen_t length = flow_.from.ToSockaddr(&storage);
    // SAFETY: as above.
    return connect(fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 ||
           errno == EINPROGRESS;
  }

  // One datagram, or what a stream has; empty when nothing comes.
  Bytes Receive(Duration patience = kPatience) const {
    pollfd poller = {fd(), POLLIN, 0};
    Bytes out(65536);
    if (poll(&poller, 1, static_cast<int>(patience / 1ms)) <= 0) return {};
    const ssize_t n = recv(fd(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }

 private:
  FileDescriptor fd_;
  ProbeFlow flow_;
};

// A TCP connection between a socket of the host and the peer.
class Conversation {
 public:
  static absl::StatusOr<Conversation> Open(Probe& probe, const Family& family) {
    ASSIGN_OR_RETURN(HostSocket host, HostSocket::Open(family, SOCK_STREAM));
    const int one = 1;
    setsockopt(host.fd(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (!host.Connect()) return absl::UnavailableError("the host does not connect");
    Conversation out(probe, std::move(host));
    const auto syn = probe.Read(kProtocolTcp);
    if (!syn) return absl::UnavailableError("the host does not connect");
    out.expected_ = LoadField<Be32>(Transport(syn->bytes) + kTcpSequence) + 1;
    const uint16_t mss = kSegment;
    if (!out.Say({{kSyn | kTcpAck, {2, 4, mss >> 8, mss & 0xff}, {}}})) {
      return absl::UnavailableError("the host takes no packet");
    }
    ++out.sequence_;
    if (!probe.Read(kProtocolTcp)) return absl::UnavailableError("the host does not connect");
    return out;
  }

  // What the host's socket is given must come out of the TUN, in super-packets.
  absl::Status CheckReading() {
    const Bytes sent = ProbeBytes(kTcpBytes);
    if (send(host_.fd(), sent.data(), sent.size(), 0) != static_cast<ssize_t>(sent.size())) {
      return absl::UnavailableError("the host sends nothing");
    }
    Bytes got;
    bool super_packet = false;
    while (got.size() < sent.size()) {
      const auto packet = probe_->Read(kProtocolTcp);
      if (!packet) return absl::DataLossError("a part of a stream was not sent");
      super_packet |= packet->offload.kind != Offload::Kind::kNone;
      ASSIGN_OR_RETURN(const auto segments, Cut(*packet));
      for (const Bytes& segment : segments) Take(segment, got);
    }
    if (got != sent) return absl::DataLossError("a stream was sent changed");
    if (!super_packet) return absl::UnimplementedError("the host sends no super-packets");
    return absl::OkStatus();
  }

  // What the peer says must reach the host's socket, joined.
  absl::Status CheckWriting() {
    const Bytes sent = ProbeBytes(kTcpBytes);
    std::vector<Words> words;
    for (Bytes& piece : CutBytes(sent, kSegment)) {
      const bool last = piece.size() < kSegment;
      words.push_back({static_cast<uint8_t>(last ? kTcpAck | kTcpPsh : kTcpAck), {}, piece});
    }
    const bool taken = Say(words);
    const OffloadBackoff& joining = probe_->port().tcp_joining();
    if (joining.refusals() > 0) return Failure("write a TCP super-packet", joining.last_error());
    if (!taken) return absl::UnavailableError("the host takes no packet");
    Bytes got;
    while (got.size() < sent.size()) {
      const Bytes more = host_.Receive();
      if (more.empty()) return absl::DataLossError("a part of a TCP super-packet did not arrive");
      got.insert(got.end(), more.begin(), more.end());
    }
    if (got != sent) return absl::DataLossError("a TCP super-packet arrived changed");
    return absl::OkStatus();
  }

 private:
  struct Words {
    uint8_t flags = 0;
    Bytes options;
    Bytes payload;
  };

  Conversation(Probe& probe, HostSocket host) : probe_(&probe), host_(std::move(host)) {}

  static const uint8_t* Transport(std::span<const uint8_t> packet) {
    return packet.data() + ParseInner(packet)->transport_offset;
  }

  bool Say(const std::vector<Words>& words) {
    std::vector<ProbePacket> packets;
    for (const Words& w : words) {
      packets.push_back(ProbePacket::MakeTcp(host_.flow(),
                                             {.sequence = sequence_,
                                              .acknowledgement = expected_,
                                              .flags = w.flags,
                                              .options = w.options},
                                             w.payload));
      sequence_ += static_cast<uint32_t>(w.payload.size());
    }
    return probe_->Write(packets);
  }

  // Appends what is new in a segment.
  void Take(std::span<const uint8_t> segment, Bytes& out) {
    const uint8_t* transport = Transport(segment);
    const auto begin = static_cast<size_t>(transport - segment.data());
    const size_t header = (transport[12] >> 4) * 4U;
    if (LoadField<Be32>(transport + kTcpSequence) != expected_) return;  // a repetition
    const auto payload = segment.subspan(begin + header);
    out.insert(out.end(), payload.begin(), payload.end());
    expected_ += static_cast<uint32_t>(payload.size());
  }

  Probe* probe_;
  HostSocket host_;
  uint32_t sequence_ = 1;  // of the peer's next byte
  uint32_t expected_ = 0;  // of the host's next byte
};

// The kernel puts an address to use some time after it took it (IPv6's in a task of its own): until
// one plain datagram of the peer reaches the host.
absl::Status AwaitDelivery(Probe& probe, const Family& family) {
  ASSIGN_OR_RETURN(const HostSocket host, HostSocket::Open(family, SOCK_DGRAM));
  constexpr Duration kTry = std::chrono::milliseconds(5);
  for (Duration waited{}; waited < kPatience; waited += kTry) {
    std::vector<ProbePacket> packets = {ProbePacket::MakeUdp(host.flow(), ProbeBytes(1))};
    if (probe.Write(packets) && !host.Receive(kTry).empty()) return absl::OkStatus();
  }
  return absl::UnavailableError("the host takes no packet");
}

// Datagrams of the peer must reach the host's socket, joined and taken apart again.
absl::Status CheckUdpWriting(Probe& probe, const Family& family) {
  ASSIGN_OR_RETURN(const HostSocket host, HostSocket::Open(family, SOCK_DGRAM));
  const std::vector<Bytes> sent = CutBytes(ProbeBytes(kUdpBytes), kSegment);
  std::vector<ProbePacket> packets;
  packets.reserve(sent.size());
  for (const Bytes& piece : sent) packets.push_back(ProbePacket::MakeUdp(host.flow(), piece));
  const bool taken = probe.Write(packets);
  const OffloadBackoff& joining = probe.port().udp_joining();
  if (joining.refusals() > 0) return Failure("write a UDP super-packet", joining.last_error());
  if (!taken) return absl::UnavailableError("the host takes no packet");
  for (const Bytes& expected : sent) {
    if (host.Receive() != expected) {
      return absl::DataLossError("a UDP super-packet arrived changed, or not at all");
    }
  }
  return absl::OkStatus();
}

// A train of the host's socket must come out of the TUN as a super-packet.
absl::Status CheckUdpReading(Probe& probe, const Family& family) {
  ASSIGN_OR_RETURN(HostSocket host, HostSocket::Open(family, SOCK_DGRAM));
  const Endpoint peer = host.flow().from;
  KernelUdpPort::Sockets sockets;
  (peer.address.is_v4() ? sockets.v4 : sockets.v6) = host.TakeFd();
  KernelUdpPort udp(std::move(sockets), KernelUdpPort::Gso::kOn);
  Bytes sent = ProbeBytes(kUdpBytes);
  const std::vector<Bytes> expected = CutBytes(sent, kSegment);
  const Train train{.path = {.remote = peer},
                    .data = sent.data(),
                    .bytes = kUdpBytes,
                    .segment_bytes = kSegment,
                    .segments = static_cast<uint32_t>(expected.size())};
  DropCounters drops;
  udp.Send({&train, 1}, drops);
  if (udp.gso().refusals() > 0) return absl::UnavailableError("the host sends no trains");
  std::vector<Bytes> got;
  bool super_packet = false;
  while (got.size() < expected.size()) {
    const auto packet = probe.Read(kProtocolUdp);
    if (!packet) return absl::DataLossError("a part of a train was not sent");
    super_packet |= packet->offload.kind != Offload::Kind::kNone;
    ASSIGN_OR_RETURN(const auto segments, Cut(*packet));
    for (const Bytes& segment : segments) {
      const size_t header = ParseInner(segment)->transport_offset + kUdpHeader;
      got.emplace_back(segment.begin() + static_cast<std::ptrdiff_t>(header), segment.end());
    }
  }
  if (got != expected) return absl::DataLossError("a train was sent changed");
  if (!super_packet) return absl::UnimplementedError("the host sends no super-packets");
  return absl::OkStatus();
}

// A TUN device with an address of each family that this kernel has.
absl::StatusOr<std::unique_ptr<Probe>> OpenProbe() {
  ASSIGN_OR_RETURN(auto device, KernelTunPort::Open(kDevice, 1, KernelTunPort::Offloads{}));
  ASSIGN_OR_RETURN(auto link, NetlinkLink::Open(kDevice));
  LinkState state{.addresses = {}, .mtu = kMtu, .routes = {}};
  absl::Status one = absl::UnavailableError("no address");
  for (const Family& family : {kV4, kV6}) {
    state.addresses.push_back({*IpAddress::Parse(family.host), family.prefix});
    if (link->Apply(state).ok()) one = absl::OkStatus();
  }
  RETURN_IF_ERROR(one);
  return std::make_unique<Probe>(std::move(device));
}

}  // namespace

void CheckTunOffloads(OffloadFindings& findings) {
  CheckResult tso;
  CheckResult uso;
  CheckResult tcp;
  CheckResult udp;
  const auto probe = OpenProbe();
  for (const Family& family : {kV4, kV6}) {
    const absl::Status ready = probe.ok() ? AwaitDelivery(**probe, family) : probe.status();
    if (!ready.ok()) {
      const absl::Status missing = absl::UnavailableError(fmt::format("{}", Message(ready)));
      for (CheckResult* result : {&tso, &uso, &tcp, &udp}) result->Add(missing);
      continue;
    }
    uso.Add(CheckUdpReading(**probe, family));
    udp.Add(CheckUdpWriting(**probe, family));
    auto conversation = Conversation::Open(**probe, family);
    tso.Add(conversation.ok() ? conversation->CheckReading() : conversation.status());
    tcp.Add(conversation.ok() ? conversation->CheckWriting() : conversation.status());
  }
  findings[KernelOffload::kTunTso] = tso.Finding();
  findings[KernelOffload::kTunUso] = uso.Finding();
  findings[KernelOffload::kTunTcpCoalescing] = tcp.Finding();
  findings[KernelOffload::kTunUdpCoalescing] = udp.Finding();
}

}  // namespace omni
