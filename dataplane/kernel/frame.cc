// SPDX-License-Identifier: Apache-2.0
#include "dataplane/kernel/frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <cstring>

#include "dataplane/core/checksum.h"

namespace omni {
namespace {

template <typename T>
void Append(std::vector<uint8_t>& out, const T& header) {
  const size_t at = out.size();
  out.resize(at + sizeof(header));
  std::memcpy(&out[at], &header, sizeof(header));
}

void AppendIpv4(const FrameAddresses& a, size_t payload, std::vector<uint8_t>& out) {
  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.tos = a.traffic_class;
  ip.tot_len = htons(static_cast<uint16_t>(sizeof(ip) + payload));
  ip.ttl = 64;
  ip.protocol = IPPROTO_UDP;
  std::memcpy(&ip.saddr, a.from.address.bytes.data(), sizeof(ip.saddr));
  std::memcpy(&ip.daddr, a.to.bytes.data(), sizeof(ip.daddr));
  const size_t at = out.size();
  Append(out, ip);
  const std::span<uint8_t> header = std::span(out).subspan(at, sizeof(ip));
  const uint16_t sum = ChecksumFinish(ChecksumAdd(header));
  std::memcpy(&header[offsetof(iphdr, check)], &sum, sizeof(sum));
}

void AppendIpv6(const FrameAddresses& a, size_t payload, std::vector<uint8_t>& out) {
  ipv6hdr ip{};
  ip.version = 6;
  ip.priority = a.traffic_class >> 4 & 0xf;
  ip.flow_lbl[0] = static_cast<uint8_t>(a.traffic_class << 4);
  ip.payload_len = htons(static_cast<uint16_t>(payload));
  ip.nexthdr = IPPROTO_UDP;
  ip.hop_limit = 64;
  std::memcpy(&ip.saddr, a.from.address.bytes.data(), sizeof(ip.saddr));
  std::memcpy(&ip.daddr, a.to.bytes.data(), sizeof(ip.daddr));
  Append(out, ip);
}

}  // namespace

void MakeFrame(const FrameAddresses& a, std::span<const uint8_t> datagram,
               std::vector<uint8_t>& frame) {
  const bool v4 = a.from.address.is_v4();
  const size_t payload = sizeof(udphdr) + datagram.size();
  frame.clear();
  frame.reserve(kEthernetHeader + sizeof(ipv6hdr) + payload);
  ethhdr ethernet{};
  ethernet.h_proto = htons(v4 ? ETH_P_IP : ETH_P_IPV6);
  Append(frame, ethernet);
  v4 ? AppendIpv4(a, payload, frame) : AppendIpv6(a, payload, frame);
  udphdr udp{};
  udp.source = htons(a.from.port);
  udp.dest = htons(a.to_port);
  udp.len = htons(static_cast<uint16_t>(payload));
  Append(frame, udp);
  frame.insert(frame.end(), datagram.begin(), datagram.end());
}

}  // namespace omni
