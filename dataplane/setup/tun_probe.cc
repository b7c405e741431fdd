// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/tun_probe.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "common/status.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/transport_header.h"
#include "dataplane/setup/netlink_link.h"

namespace omni {
namespace {

constexpr char kDevice[] = "omnitest";
constexpr uint32_t kMtu = 1500;
constexpr uint16_t kPeerPort = 7;
constexpr uint8_t kSyn = 0x02;

int Milliseconds(Duration duration) {
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

const uint8_t* Transport(std::span<const uint8_t> packet) {
  return packet.data() + ParseInner(packet)->transport_offset;
}

// Whether a TCP or UDP packet is of the direction opposite to `flow`.
bool BelongsTo(const ProbeFlow& flow, std::span<const uint8_t> packet) {
  const auto inner = ParseInner(packet);
  return packet.size() >= inner->transport_offset + kUdpHeader &&
         inner->source == flow.to.address && LoadField<Be16>(Transport(packet)) == flow.to.port;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TunProbe>> TunProbe::Open() {
  ASSIGN_OR_RETURN(auto device, KernelTunPort::Open(kDevice, 1, KernelTunPort::Offloads{}));
  ASSIGN_OR_RETURN(auto link, NetlinkLink::Open(kDevice));
  LinkState state{.addresses = {}, .mtu = kMtu, .routes = {}};
  absl::Status one = absl::UnavailableError("no address");
  for (const ProbeFamily& family : {kProbeV4, kProbeV6}) {
    state.addresses.push_back({*IpAddress::Parse(family.host), family.prefix});
    if (link->Apply(state).ok()) one = absl::OkStatus();
  }
  RETURN_IF_ERROR(one);
  return std::unique_ptr<TunProbe>(new TunProbe(std::move(device)));
}

absl::Status TunProbe::AwaitDelivery(const ProbeFamily& family) {
  ASSIGN_OR_RETURN(const ProbeSocket host, ProbeSocket::Open(family, SOCK_DGRAM));
  constexpr Duration kTry = std::chrono::milliseconds(5);
  for (Duration waited{}; waited < kProbePatience; waited += kTry) {
    std::vector<ProbePacket> packets = {ProbePacket::MakeUdp(host.flow(), ProbeBytes(1))};
    if (Write(packets) && !host.Receive(kTry).empty()) return absl::OkStatus();
  }
  return absl::UnavailableError("the host takes no packet");
}

std::optional<HostPacket> TunProbe::Read(uint8_t protocol, const ProbeFlow& flow) {
  const Instant deadline = Now() + kProbePatience;
  for (;;) {
    while (const auto packet = port_.Read()) {
      const auto inner = ParseInner(packet->bytes);
      if (inner && inner->protocol == protocol && BelongsTo(flow, packet->bytes)) return packet;
    }
    const int left = Milliseconds(deadline - Now());
    pollfd poller = {port_.fd(), POLLIN, 0};
    if (left <= 0 || poll(&poller, 1, left) <= 0) return std::nullopt;
  }
}

bool TunProbe::Write(std::vector<ProbePacket>& packets) {
  std::vector<std::span<uint8_t>> views;
  views.reserve(packets.size());
  for (ProbePacket& packet : packets) views.push_back(packet.bytes());
  DropCounters drops;
  port_.Write(views, drops);
  return drops.value(DropReason::rx_tun_full) + drops.value(DropReason::rx_tun_error) == 0;
}

absl::StatusOr<std::vector<Bytes>> CutAndCheck(const HostPacket& packet) {
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

absl::StatusOr<ProbeSocket> ProbeSocket::Open(const ProbeFamily& family, int type) {
  const Endpoint local{*IpAddress::Parse(family.host), 0};
  ProbeSocket out;
  out.fd_ = FileDescriptor(
      socket(local.address.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.fd_.is_open()) return absl::UnavailableError("no socket of this family");
  sockaddr_storage storage{};
  socklen_t length = local.ToSockaddr(&storage);
  // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  if (bind(out.fd(), raw, length) != 0) return absl::UnavailableError("no address of this family");
  length = sizeof(storage);
  const bool known = getsockname(out.fd(), raw, &length) == 0;
  const auto bound = Endpoint::FromSockaddr(raw);
  if (!known || !bound) return absl::UnavailableError("no address of this family");
  out.flow_ = {.from = {*IpAddress::Parse(family.peer), kPeerPort}, .to = *bound};
  return out;
}

bool ProbeSocket::Connect() const {
  sockaddr_storage storage{};
  const socklen_t length = flow_.from.ToSockaddr(&storage);
  // SAFETY: as above.
  return connect(fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 ||
         errno == EINPROGRESS;
}

Bytes ProbeSocket::Receive(Duration patience) const {
  pollfd poller = {fd(), POLLIN, 0};
  if (poll(&poller, 1, Milliseconds(patience)) <= 0) return {};
  Bytes out(65536);
  const ssize_t n = recv(fd(), out.data(), out.size(), 0);
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

absl::StatusOr<Conversation> Conversation::Open(TunProbe& probe, const ProbeFamily& family,
                                                const Bytes& options) {
  ASSIGN_OR_RETURN(ProbeSocket host, ProbeSocket::Open(family, SOCK_STREAM));
  const int one = 1;
  setsockopt(host.fd(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (!host.Connect()) return absl::UnavailableError("the host does not connect");
  Conversation out(probe, std::move(host));
  const auto syn = probe.Read(kProtocolTcp, out.flow());
  if (!syn) return absl::UnavailableError("the host does not connect");
  out.expected_ = LoadField<Be32>(Transport(syn->bytes) + kTcpSequence) + 1;
  if (!out.Say({{.flags = kSyn | kTcpAck, .options = options, .payload = {}}})) {
    return absl::UnavailableError("the host takes no packet");
  }
  ++out.sequence_;
  if (!probe.Read(kProtocolTcp, out.flow()))
    return absl::UnavailableError("the host does not connect");
  return out;
}

absl::StatusOr<Conversation::Heard> Conversation::Hear(std::span<const uint8_t> bytes) {
  if (send(host_.fd(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return absl::UnavailableError("the host sends nothing");
  }
  Heard out;
  while (out.stream.size() < bytes.size()) {
    const auto packet = probe_->Read(kProtocolTcp, flow());
    if (!packet) return absl::DataLossError("a part of a stream was not sent");
    if (packet->offload.kind != Offload::Kind::kNone) ++out.super_packets;
    ASSIGN_OR_RETURN(const auto segments, CutAndCheck(*packet));
    for (const Bytes& segment : segments) Take(segment, out);
  }
  return out;
}

// Appends what is new in a segment; the host may repeat itself, or only acknowledge.
void Conversation::Take(std::span<const uint8_t> segment, Heard& out) {
  const uint8_t* transport = Transport(segment);
  const auto begin = static_cast<size_t>(transport - segment.data());
  const auto payload = segment.subspan(begin + (transport[12] >> 4) * 4U);
  if (payload.empty() || LoadField<Be32>(transport + kTcpSequence) != expected_) return;
  out.stream.insert(out.stream.end(), payload.begin(), payload.end());
  out.segments.emplace_back(segment.begin(), segment.end());
  expected_ += static_cast<uint32_t>(payload.size());
}

std::vector<ProbePacket> Conversation::Phrase(const std::vector<Words>& words) {
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
  return packets;
}

bool Conversation::Say(const std::vector<Words>& words) {
  std::vector<ProbePacket> packets = Phrase(words);
  return probe_->Write(packets);
}

Bytes Conversation::HostReceives(size_t count) const {
  Bytes out;
  while (out.size() < count) {
    const Bytes more = host_.Receive();
    if (more.empty()) break;
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace omni
