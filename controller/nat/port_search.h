// SPDX-License-Identifier: Apache-2.0
// PortSearch: in which order the ports of a hard NAT are tried, to find the one that it has given a
// node towards us: those near where servers saw it first (NATs of carriers give a machine a block
// of ports, RFC 7422; others count up), then all others, each once, in no order that anybody could
// foresee. Pure: it ends by itself. docs/decisions/0010. Owned by PortSearches.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/ip.h"

namespace omni {

class PortSearch {
 public:
  // LIMIT: RFC 4787 section 5.1: a NAT gives ports from 1,024 on to sockets that have such.
  static constexpr uint32_t kFirstPort = 1024;
  static constexpr uint32_t kTotal = 65536 - kFirstPort;
  // LIMIT: on each side of where the node was seen: a block of RFC 7422 has some hundred ports.
  static constexpr int kNear = 256;

  // `seen`: ports at which servers have seen the node. `random`: any number.
  PortSearch(const IpAddress& address, std::span<const uint16_t> seen, uint32_t random);

  // The next place to try; empty when all were.
  std::optional<Endpoint> Next();
  uint32_t tried() const { return tried_; }

 private:
  std::optional<Endpoint> Take(int64_t port);

  const IpAddress address_;
  const std::vector<uint16_t> seen_;
  const uint32_t start_;
  std::bitset<65536> known_;  // those that were tried
  uint32_t tried_ = 0;
  uint32_t near_ = 0;  // steps taken so far, of both kinds
  uint32_t far_ = 0;
};

}  // namespace omni
