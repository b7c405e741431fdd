// SPDX-License-Identifier: Apache-2.0
// TSO, USO and the joining of packets, through a TUN device of the process' private network.
#include <fmt/format.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/transport_header.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/setup/offload_check.h"
#include "dataplane/setup/tun_probe.h"

namespace omni {
namespace {

constexpr uint32_t kSegment = 1000;
// LIMIT: ten segments: what TCP sends before it wants an acknowledgement (RFC 6928).
constexpr uint32_t kTcpBytes = 9 * kSegment + 500;
constexpr uint32_t kUdpBytes = 20 * kSegment + 77;

absl::Status Refused(const char* what, const OffloadBackoff& joining) {
  return absl::InternalError(
      fmt::format("write a {} super-packet: {}", what, std::strerror(joining.last_error())));
}

// What the host's socket is given must come out of the TUN, in super-packets.
absl::Status CheckTcpReading(Conversation& conversation) {
  const Bytes sent = ProbeBytes(kTcpBytes);
  ASSIGN_OR_RETURN(const Conversation::Heard heard, conversation.Hear(sent));
  if (heard.stream != sent) return absl::DataLossError("a stream was sent changed");
  if (heard.super_packets == 0) return absl::UnimplementedError("the host sends no super-packets");
  return absl::OkStatus();
}

// What the peer says must reach the host's socket, joined.
absl::Status CheckTcpWriting(Conversation& conversation, TunProbe& probe) {
  const Bytes sent = ProbeBytes(kTcpBytes);
  std::vector<Conversation::Words> words;
  for (Bytes& piece : CutBytes(sent, kSegment)) {
    const bool last = piece.size() < kSegment;
    words.push_back({.flags = static_cast<uint8_t>(last ? kTcpAck | kTcpPsh : kTcpAck),
                     .options = {},
                     .payload = std::move(piece)});
  }
  const bool taken = conversation.Say(words);
  const OffloadBackoff& joining = probe.port().tcp_joining();
  if (joining.refusals() > 0) return Refused("TCP", joining);
  if (!taken) return absl::UnavailableError("the host takes no packet");
  if (conversation.HostReceives(sent.size()) != sent) {
    return absl::DataLossError("a TCP super-packet arrived changed, or not at all");
  }
  return absl::OkStatus();
}

// Datagrams of the peer must reach the host's socket, joined and taken apart again.
absl::Status CheckUdpWriting(TunProbe& probe, const ProbeFamily& family) {
  ASSIGN_OR_RETURN(const ProbeSocket host, ProbeSocket::Open(family, SOCK_DGRAM));
  const std::vector<Bytes> sent = CutBytes(ProbeBytes(kUdpBytes), kSegment);
  std::vector<ProbePacket> packets;
  packets.reserve(sent.size());
  for (const Bytes& piece : sent) packets.push_back(ProbePacket::MakeUdp(host.flow(), piece));
  const bool taken = probe.Write(packets);
  const OffloadBackoff& joining = probe.port().udp_joining();
  if (joining.refusals() > 0) return Refused("UDP", joining);
  if (!taken) return absl::UnavailableError("the host takes no packet");
  for (const Bytes& expected : sent) {
    if (host.Receive() != expected) {
      return absl::DataLossError("a UDP super-packet arrived changed, or not at all");
    }
  }
  return absl::OkStatus();
}

// A train of the host's socket must come out of the TUN as a super-packet.
absl::Status CheckUdpReading(TunProbe& probe, const ProbeFamily& family) {
  ASSIGN_OR_RETURN(ProbeSocket host, ProbeSocket::Open(family, SOCK_DGRAM));
  const ProbeFlow flow = host.flow();
  KernelUdpPort::Sockets sockets;
  (flow.from.address.is_v4() ? sockets.v4 : sockets.v6) = host.TakeFd();
  KernelUdpPort udp(std::move(sockets), KernelUdpPort::Gso::kOn);
  Bytes sent = ProbeBytes(kUdpBytes);
  const std::vector<Bytes> expected = CutBytes(sent, kSegment);
  const Train train{.path = {.remote = flow.from},
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
    const auto packet = probe.Read(kProtocolUdp, flow);
    if (!packet) return absl::DataLossError("a part of a train was not sent");
    super_packet |= packet->offload.kind != Offload::Kind::kNone;
    ASSIGN_OR_RETURN(const auto segments, CutAndCheck(*packet));
    for (const Bytes& segment : segments) {
      const size_t header = ParseInner(segment)->transport_offset + kUdpHeader;
      got.emplace_back(segment.begin() + static_cast<std::ptrdiff_t>(header), segment.end());
    }
  }
  if (got != expected) return absl::DataLossError("a train was sent changed");
  if (!super_packet) return absl::UnimplementedError("the host sends no super-packets");
  return absl::OkStatus();
}

absl::StatusOr<Conversation> Talk(TunProbe& probe, const ProbeFamily& family) {
  const uint16_t segment = kSegment;
  return Conversation::Open(probe, family, {2, 4, segment >> 8, segment & 0xff});
}

}  // namespace

void CheckTunOffloads(OffloadFindings& findings) {
  CheckResult tso;
  CheckResult uso;
  CheckResult tcp;
  CheckResult udp;
  const auto probe = TunProbe::Open();
  for (const ProbeFamily& family : {kProbeV4, kProbeV6}) {
    const absl::Status ready = probe.ok() ? (*probe)->AwaitDelivery(family) : probe.status();
    if (!ready.ok()) {
      const absl::Status missing = absl::UnavailableError(fmt::format("{}", Message(ready)));
      for (CheckResult* result : {&tso, &uso, &tcp, &udp}) result->Add(missing);
      continue;
    }
    uso.Add(CheckUdpReading(**probe, family));
    udp.Add(CheckUdpWriting(**probe, family));
    auto conversation = Talk(**probe, family);
    tso.Add(conversation.ok() ? CheckTcpReading(*conversation) : conversation.status());
    tcp.Add(conversation.ok() ? CheckTcpWriting(*conversation, **probe) : conversation.status());
  }
  const std::string refused = "the TUN device does not offer it";
  if (probe.ok() && !(*probe)->offloads().tso) tso = CheckResult(absl::UnimplementedError(refused));
  if (probe.ok() && !(*probe)->offloads().uso) {
    uso = CheckResult(absl::UnimplementedError(refused + "; Linux 6.2 does"));
  }
  findings[KernelOffload::kTunTso] = tso.Finding();
  findings[KernelOffload::kTunUso] = uso.Finding();
  findings[KernelOffload::kTunTcpCoalescing] = tcp.Finding();
  findings[KernelOffload::kTunUdpCoalescing] = udp.Finding();
}

}  // namespace omni
