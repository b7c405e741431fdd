// SPDX-License-Identifier: Apache-2.0
// Hosts in one process for tests: a network in memory that delays, loses, repeats and reorders, a
// clock that jumps from event to event, and a host that notes what it hears. One thread.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "signal/quic/host.h"

namespace omni::quic {

class TestIdentity {
 public:
  TestIdentity() {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("omni-quic-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    identity_ = std::make_unique<Identity>(*Identity::Create(path_));
  }
  ~TestIdentity() { std::filesystem::remove_all(path_); }
  TestIdentity(const TestIdentity&) = delete;
  TestIdentity& operator=(const TestIdentity&) = delete;
  const Identity& get() const { return *identity_; }

 private:
  std::string path_;
  std::unique_ptr<Identity> identity_;
};

// Whoever has an address on the network: takes datagrams and has a timer.
class NetworkNode {
 public:
  virtual ~NetworkNode() = default;
  virtual void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) = 0;
  virtual void OnTimer(Instant now) = 0;
  virtual std::optional<Instant> NextDeadline() const = 0;
};

class TestNetwork {
 public:
  double loss = 0;
  double reorder = 0;
  double duplicate = 0;
  size_t largest = 0;
  std::map<Endpoint, size_t> bytes_to;  // that arrived
  size_t delivered_before = 0;          // bytes to the endpoint of DeliverOne() before it

  Instant now() const { return now_; }
  void Attach(const Endpoint& at, NetworkNode* node) { nodes_[at] = node; }
  void Detach(const Endpoint& at) { nodes_.erase(at); }
  void Cut(const Endpoint& at) { cut_.insert(at); }
  void Heal() { cut_.clear(); }

  void Send(const Endpoint& from, const Endpoint& to, std::span<const uint8_t> bytes) {
    largest = std::max(largest, bytes.size());
    // QUIC, and the session data that shares its port.
    EXPECT_TRUE(IsQuic(bytes.front()) || bytes.front() == 4);
    if (cut_.contains(from) || Chance(loss)) return;
    const int copies = Chance(duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const Duration delay = Chance(reorder) ? 5ms + 1ms * static_cast<int>(random_() % 30) : 5ms;
      flying_.emplace(std::make_pair(now_ + delay, sent_++),
                      Flying{from, to, {bytes.begin(), bytes.end()}});
    }
  }

  // Lets time pass, from event to event. LIMIT: an hour of it.
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const Instant end = now_ + 3600s;
    while (!condition()) {
      if (!Step(end)) return condition();
    }
    return true;
  }
  void RunFor(Duration time) {
    const Instant end = now_ + time;
    while (Step(end)) {
    }
    now_ = end;
  }
  // The next datagram that arrives at `to`.
  void DeliverOne(const Endpoint& to) {
    delivered_before = bytes_to[to];
    RunUntil([&] { return bytes_to[to] != delivered_before; });
  }

 private:
  struct Flying {
    Endpoint from;
    Endpoint to;
    std::vector<uint8_t> bytes;
  };
  bool Chance(double p) {
    return p > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < p;
  }
  // One event; false when none comes before `end`.
  bool Step(Instant end) {
    std::optional<Instant> next;
    if (!flying_.empty()) next = flying_.begin()->first.first;
    NetworkNode* due = nullptr;
    for (const auto& [at, node] : nodes_) {
      const auto deadline = node->NextDeadline();
      if (deadline && (!next || *deadline < *next)) {
        next = deadline;
        due = node;
      }
    }
    if (!next || *next > end) return false;
    now_ = std::max(now_, *next);
    if (due != nullptr) {
      due->OnTimer(now_);
      return true;
    }
    const Flying datagram = std::move(flying_.extract(flying_.begin()).mapped());
    const auto node = nodes_.find(datagram.to);
    if (node == nodes_.end() || cut_.contains(datagram.to)) return true;
    bytes_to[datagram.to] += datagram.bytes.size();
    node->second->OnDatagram(datagram.bytes, datagram.from, now_);
    return true;
  }

  Instant now_ = Instant(1000s);
  std::map<Endpoint, NetworkNode*> nodes_;
  std::set<Endpoint> cut_;
  std::map<std::pair<Instant, uint64_t>, Flying> flying_;
  uint64_t sent_ = 0;
  std::mt19937 random_{1};
};

class TestHost : public NetworkNode, public Listener {
 public:
  struct Options {
    std::string protocol = "test/1";
    size_t max_accepted = 0;
    size_t retry_from = 64;
  };
  TestHost(TestNetwork& network, const TestIdentity& identity, const std::string& at,
           Options options)
      : network_(network),
        identity_(identity),
        options_(std::move(options)),
        endpoint_(*Endpoint::Parse(at)) {
    network_.Attach(endpoint_, this);
    Restart();
  }
  ~TestHost() override { network_.Detach(endpoint_); }
  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  std::map<ConnectionId, PublicKey> peers;
  std::vector<std::string> messages;
  std::map<ConnectionId, Closed> closed;
  std::map<ConnectionId, Endpoint> moved;
  std::set<ConnectionId> writable;
  size_t datagrams_sent = 0;

  Host& host() { return *host_; }
  const Endpoint& endpoint() const { return endpoint_; }
  bool connected(ConnectionId id) const { return peers.contains(id); }
  // Forgets everything but its keys.
  void Restart() {
    HostOptions options;
    options.identity = &identity_.get();
    options.protocol = options_.protocol;
    options.cid_key = QuicCidKey{7};
    options.max_accepted = options_.max_accepted;
    options.retry_from = options_.retry_from;
    options.send = [this](const Route& to, std::span<const uint8_t> bytes) {
      ++datagrams_sent;
      network_.Send(endpoint_, to.remote, bytes);
    };
    host_ = std::make_unique<Host>(std::move(options), *this);
  }
  void MoveTo(const std::string& at) {
    network_.Detach(endpoint_);
    endpoint_ = *Endpoint::Parse(at);
    network_.Attach(endpoint_, this);
  }

  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    host_->OnDatagram(datagram, {.remote = from}, now);
  }
  void OnTimer(Instant now) override { host_->OnTimer(now); }
  std::optional<Instant> NextDeadline() const override { return host_->NextDeadline(); }

  void OnConnected(ConnectionId id, const PublicKey& peer) override { peers[id] = peer; }
  void OnMessage(ConnectionId, std::string_view message) override {
    messages.emplace_back(message);
  }
  void OnWritable(ConnectionId id) override { writable.insert(id); }
  void OnMoved(ConnectionId id, const Endpoint& remote) override { moved[id] = remote; }
  void OnClosed(ConnectionId id, const Closed& why) override { closed[id] = why; }

 private:
  TestNetwork& network_;
  const TestIdentity& identity_;
  const Options options_;
  Endpoint endpoint_;
  std::unique_ptr<Host> host_;
};

}  // namespace omni::quic
