// SPDX-License-Identifier: Apache-2.0
// KernelPath: the in-kernel path. Loads and attaches the programs, gives them channels, peers and
// routes, and tells what they saw. Made in the privileged minute; afterwards it needs CAP_NET_ADMIN
// to follow interfaces that come and go, and nothing for all the rest. Thread-safe: the hub and its
// tick call one half under one lock, workers the opener under another.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "dataplane/hub/kernel_control.h"
#include "dataplane/kernel/attachment.h"
#include "dataplane/kernel/host_network.h"
#include "dataplane/kernel/kernel_object.h"
#include "dataplane/worker/control_opener.h"

namespace omni {

class KernelPath final : public KernelControl, public ControlOpener {
 public:
  // Loads the programs and attaches them to the TUN and to all interfaces that are there.
  static absl::StatusOr<std::unique_ptr<KernelPath>> Open(const KernelOptions& options);

  // "packets up to 512 bytes, by TCX links; opened at XDP on eth0, at TC elsewhere", for people.
  std::string Describe() const;

  // The program that opens frames at XDP; no value: it is not loaded.
  std::optional<int> xdp_program() const;
  // Has XDP open packets of these interfaces as long as the program at their TC ingress is there,
  // and of no others. Called by the main thread in its tick.
  void FollowXdp(const std::set<uint32_t>& interfaces);
  // Largest packet that the kernel seals; 0: none, from the next packet on. Channels keep their
  // owner: those that we send on rest, with their counters, and those that we receive on are opened
  // in the kernel for as long as their sessions live. When it seals again after that, it first
  // watches, for as long as user space may hold packets of a flow, which flows those are.
  void SetThreshold(uint32_t bytes);

  // KernelControl.
  std::optional<KernelSlot> AddReceive(const ReceiveChannel& channel) override;
  std::optional<KernelSlot> AddSend(PeerIndex peer, const SendChannel& channel,
                                    Instant reject_at) override;
  KernelTraffic RemoveReceive(KernelSlot slot) override;
  void RemoveSend(KernelSlot slot) override;
  KernelTraffic Received(KernelSlot slot) const override;
  uint64_t Messages(KernelSlot slot) const override;
  void AddPeer(PeerIndex peer) override;
  void RemovePeer(PeerIndex peer) override;
  void SetPath(PeerIndex peer, const UdpPath& path) override;
  void SetFits(PeerIndex peer, uint32_t bytes) override;
  void SetSendChannel(PeerIndex peer, std::optional<KernelSlot> slot) override;
  KernelTraffic Sent(PeerIndex peer) const override;
  void SetRoutes(const std::vector<RouteTable::Entry>& routes) override;
  void Maintain() override;
  std::vector<KernelEvent> TakeEvents() override;
  std::vector<uint64_t> Counters() const override { return object_->Counters(); }
  std::vector<std::vector<uint64_t>> CountersByCpu() const override {
    return object_->CountersByCpu();
  }
  Sealing WouldSeal(PeerIndex peer, uint32_t bytes, uint8_t protocol) const override;

  // ControlOpener.
  Result Open(std::span<const uint8_t> datagram, const ReceivedDatagram& origin,
              std::span<uint8_t> scratch) override;

 private:
  using Slots = std::vector<KernelSlot>;  // free ones

  KernelPath(const KernelOptions& options, std::unique_ptr<KernelObject> object,
             std::unique_ptr<HostNetwork> network, Attachment tun);

  // LIMIT: so often the programs are looked for, and so long whoever took one off has for whatever
  // it was taken off for.
  static constexpr Duration kLook = std::chrono::seconds(1);
  static constexpr Duration kAgain = std::chrono::seconds(10);

  static absl::StatusOr<Attachment> AttachSealer(const KernelObject& object,
                                                 const KernelOptions& options);

  // All below with mutex_ held.
  void LookForPrograms(Instant now);
  void AttachTun();
  void FollowInterfaces();
  void ResolvePath(PeerIndex peer);
  void ForbidXdp(int interface);

  const KernelOptions options_;
  const std::unique_ptr<KernelObject> object_;
  const std::unique_ptr<HostNetwork> network_;
  const Attachment::Kind kind_;

  mutable std::mutex mutex_;
  std::optional<Attachment> tun_;       // unset: somebody took it off
  std::map<int, Attachment> attached_;  // by interface
  std::map<int, Instant> taken_off_;    // by somebody; until when it stays off
  Instant looked_;
  std::set<int> at_xdp_;   // interfaces of which XDP opens packets
  std::set<int> refused_;  // interfaces that took no program; told once
  Slots free_rx_;
  Slots free_tx_;
  uint32_t next_active_ = 1;
  uint32_t threshold_;     // that is wanted
  Instant watches_until_;  // zero: the threshold is in force
  absl::flat_hash_map<PeerIndex, UdpPath> paths_;
  std::set<PeerIndex> unresolved_;
  absl::flat_hash_map<IpPrefix, PeerIndex> routes_;

  std::mutex open_mutex_;  // of Open(): the programs share one workspace a CPU
  std::vector<uint8_t> frame_;
};

}  // namespace omni
