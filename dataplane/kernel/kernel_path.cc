// SPDX-License-Identifier: Apache-2.0
#include "dataplane/kernel/kernel_path.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "dataplane/kernel/frame.h"

namespace omni {
namespace {

// What a program's return values mean (linux/pkt_cls.h).
constexpr int kActionPass = -1;
constexpr int kActionRedirect = 7;

uint64_t Nanoseconds(Instant at) { return static_cast<uint64_t>(at.time_since_epoch().count()); }
Instant InstantOf(uint64_t nanoseconds) {
  return Instant(Duration(static_cast<int64_t>(nanoseconds)));
}

// ORDER: release; a program that sees the slot in use sees what was written to it before.
template <typename T>
void Activate(T& slot, uint32_t number) {
  std::atomic_ref(slot.active).store(number, std::memory_order_release);
}

// ORDER: sequentially consistent; what is written after this must not be seen before it.
template <typename T>
void Deactivate(T& slot) {
  std::atomic_ref(slot.active).store(0, std::memory_order_seq_cst);
}

template <typename T>
T Load(T& value) {
  return std::atomic_ref(value).load(std::memory_order_relaxed);
}

bool IsLinkLocal(const IpAddress& a) {
  return !a.is_v4() && a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}

// Empty: the interface is gone.
std::string NameOf(int interface) {
  std::array<char, IF_NAMESIZE> name{};
  const char* known = if_indextoname(static_cast<unsigned>(interface), name.data());
  return known == nullptr ? "" : known;
}

std::vector<KernelSlot> AllSlots() {
  std::vector<KernelSlot> out;
  out.reserve(OMNI_KERNEL_CHANNELS);
  for (KernelSlot slot = OMNI_KERNEL_CHANNELS; slot > 0; --slot) out.push_back(slot - 1);
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KernelPath>> KernelPath::Open(const KernelOptions& options) {
  ASSIGN_OR_RETURN(auto object, KernelObject::Load(options));
  ASSIGN_OR_RETURN(auto network, HostNetwork::Open());
  ASSIGN_OR_RETURN(auto tun, AttachSealer(*object, options));
  std::unique_ptr<KernelPath> out(
      new KernelPath(options, std::move(object), std::move(network), std::move(tun)));
  out->FollowInterfaces();
  return out;
}

KernelPath::KernelPath(const KernelOptions& options, std::unique_ptr<KernelObject> object,
                       std::unique_ptr<HostNetwork> network, Attachment tun)
    : options_(options),
      object_(std::move(object)),
      network_(std::move(network)),
      kind_(tun.kind()),
      tun_(std::move(tun)),
      free_rx_(AllSlots()),
      free_tx_(AllSlots()),
      threshold_(options.threshold) {}

std::string KernelPath::Describe() const {
  const std::lock_guard lock(mutex_);
  std::string where = "at TC";
  if (!at_xdp_.empty()) {
    std::string names;
    for (const int index : at_xdp_) {
      const std::string name = NameOf(index);
      if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
    }
    where = fmt::format("at XDP on {}, at TC elsewhere", names);
  } else if (options_.xdp == KernelXdp::kNo) {
    where += ": " + options_.no_xdp_reason;
  } else {
    where += ": no interface has native XDP, without VLANs";
  }
  std::string missing;
  for (const auto& [index, until] : taken_off_) {
    const std::string name = NameOf(index);
    if (name.empty()) continue;
    missing += fmt::format("; the program at {} was taken off and comes back within {} s", name,
                           std::chrono::duration_cast<std::chrono::seconds>(kAgain).count());
  }
  const std::string sealed = threshold_ == 0 ? "no packets are sealed (the threshold is 0)"
                                             : fmt::format("packets up to {} bytes", threshold_);
  return fmt::format("{}, by {}; opened {}{}", sealed,
                     kind_ == Attachment::Kind::kLink ? "TCX links" : "clsact filters", where,
                     missing);
}

std::optional<int> KernelPath::xdp_program() const {
  if (options_.xdp == KernelXdp::kNo) return std::nullopt;
  return object_->program_fd(KernelProgram::kOpenFrame);
}

// LIMIT: the smallest value that makes the program look at flows; no IP packet is as small.
constexpr uint32_t kWatchOnly = 1;

void KernelPath::SetThreshold(uint32_t bytes) {
  const std::lock_guard lock(mutex_);
  const bool begins = threshold_ == 0 && bytes > 0;
  threshold_ = bytes;
  if (begins) watches_until_ = Now() + options_.guard;
  if (bytes == 0) watches_until_ = {};
  object_->SetThreshold(watches_until_ == Instant{} ? bytes : kWatchOnly);
}

// ----------------------------------------------------------------------------------------------
// channels

std::optional<KernelSlot> KernelPath::AddReceive(const ReceiveChannel& channel) {
  const std::lock_guard lock(mutex_);
  if (free_rx_.empty() || channel.peer >= OMNI_KERNEL_PEERS) return std::nullopt;
  const KernelSlot slot = free_rx_.back();
  omni_kernel_rx& rx = object_->rx()[slot];
  rx = {.peer = channel.peer,
        .id = channel.id,
        .reject_at = Nanoseconds(channel.reject_at),
        .confirmed = channel.confirmed ? 1U : 0U};
  std::ranges::copy(channel.key.bytes(), rx.key);
  absl::Status status = object_->ResetWindow(slot, channel.id);
  if (status.ok()) {
    Activate(rx, next_active_++);
    status = object_->AddSlot(channel.id, slot);
  }
  if (!status.ok()) {
    spdlog::error("{}", Message(status));
    Deactivate(rx);
    sodium_memzero(rx.key, sizeof(rx.key));
    return std::nullopt;
  }
  free_rx_.pop_back();
  return slot;
}

KernelTraffic KernelPath::RemoveReceive(KernelSlot slot) {
  const std::lock_guard lock(mutex_);
  omni_kernel_rx& rx = object_->rx()[slot];
  object_->RemoveSlot(rx.id);
  Deactivate(rx);
  sodium_memzero(rx.key, sizeof(rx.key));
  free_rx_.push_back(slot);
  return Received(slot);
}

std::optional<KernelSlot> KernelPath::AddSend(PeerIndex peer, const SendChannel& channel,
                                              Instant reject_at) {
  const std::lock_guard lock(mutex_);
  if (free_tx_.empty()) return std::nullopt;
  const KernelSlot slot = free_tx_.back();
  free_tx_.pop_back();
  omni_kernel_tx& tx = object_->tx()[slot];
  tx = {.peer = peer, .id = channel.id, .reject_at = Nanoseconds(reject_at)};
  std::ranges::copy(channel.key.bytes(), tx.key);
  Activate(tx, next_active_++);
  return slot;
}

void KernelPath::RemoveSend(KernelSlot slot) {
  const std::lock_guard lock(mutex_);
  omni_kernel_tx& tx = object_->tx()[slot];
  Deactivate(tx);
  sodium_memzero(tx.key, sizeof(tx.key));
  free_tx_.push_back(slot);
}

KernelTraffic KernelPath::Received(KernelSlot slot) const {
  omni_kernel_rx& rx = object_->rx()[slot];
  return {.packets = Load(rx.packets),
          .bytes = Load(rx.bytes),
          .last = InstantOf(Load(rx.last_rx)),
          .last_data = InstantOf(Load(rx.last_data_rx))};
}

uint64_t KernelPath::Messages(KernelSlot slot) const { return Load(object_->tx()[slot].counter); }

// ----------------------------------------------------------------------------------------------
// peers

void KernelPath::AddPeer(PeerIndex peer) {
  if (peer >= OMNI_KERNEL_PEERS) return;
  const std::lock_guard lock(mutex_);
  omni_kernel_peer& entry = object_->peers()[peer];
  Deactivate(entry);
  entry = {.tx_slot = OMNI_KERNEL_CHANNELS};
}

void KernelPath::RemovePeer(PeerIndex peer) {
  if (peer >= OMNI_KERNEL_PEERS) return;
  const std::lock_guard lock(mutex_);
  Deactivate(object_->peers()[peer]);
  paths_.erase(peer);
  unresolved_.erase(peer);
}

// The kernel sends nothing to the peer until Maintain() knows by which interface.
void KernelPath::SetPath(PeerIndex peer, const UdpPath& path) {
  if (peer >= OMNI_KERNEL_PEERS) return;
  const std::lock_guard lock(mutex_);
  const auto known = paths_.find(peer);
  if (known != paths_.end() && known->second == path) return;
  Deactivate(object_->peers()[peer]);
  paths_.insert_or_assign(peer, path);
  unresolved_.insert(peer);
}

void KernelPath::SetFits(PeerIndex peer, uint32_t bytes) {
  if (peer >= OMNI_KERNEL_PEERS) return;
  std::atomic_ref(object_->peers()[peer].fits).store(bytes, std::memory_order_relaxed);
}

void KernelPath::SetSendChannel(PeerIndex peer, std::optional<KernelSlot> slot) {
  if (peer >= OMNI_KERNEL_PEERS) return;
  const uint32_t value = slot ? *slot : OMNI_KERNEL_CHANNELS;
  std::atomic_ref(object_->peers()[peer].tx_slot).store(value, std::memory_order_release);
}

KernelTraffic KernelPath::Sent(PeerIndex peer) const {
  if (peer >= OMNI_KERNEL_PEERS) return {};
  omni_kernel_peer& entry = object_->peers()[peer];
  const Instant last = InstantOf(Load(entry.last_tx));
  return {.packets = Load(entry.tx_packets),
          .bytes = Load(entry.tx_bytes),
          .last = last,
          .last_data = last};
}

void KernelPath::SetRoutes(const std::vector<RouteTable::Entry>& routes) {
  const std::lock_guard lock(mutex_);
  absl::flat_hash_map<IpPrefix, PeerIndex> wanted;
  wanted.reserve(routes.size());
  for (const RouteTable::Entry& entry : routes) wanted.insert_or_assign(entry.prefix, entry.peer);
  for (const auto& [prefix, peer] : routes_) {
    if (wanted.contains(prefix)) continue;
    object_->RemoveRoute(prefix.address.raw(), prefix.length);
  }
  for (const auto& [prefix, peer] : wanted) {
    const auto had = routes_.find(prefix);
    if (had != routes_.end() && had->second == peer) continue;
    const absl::Status status = object_->SetRoute(prefix.address.raw(), prefix.length, peer);
    if (!status.ok()) spdlog::error("{} ({})", Message(status), prefix.ToString());
  }
  routes_ = std::move(wanted);
}

KernelControl::Sealing KernelPath::WouldSeal(PeerIndex peer, uint32_t bytes,
                                             uint8_t protocol) const {
  const std::lock_guard lock(mutex_);
  if (threshold_ == 0) return {.why = "the in-kernel path is switched off"};
  if (!tun_) return {.why = "the program at the TUN was taken off; it comes back in a moment"};
  if (bytes > threshold_) {
    return {.why = fmt::format("{} bytes are above the threshold of {}", bytes, threshold_)};
  }
  const bool speaks = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
                      protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
  if (!speaks) return {.why = "it seals TCP, UDP and ICMP alone"};
  if (peer >= OMNI_KERNEL_PEERS) return {.why = "it has no room for this peer"};
  omni_kernel_peer& entry = object_->peers()[peer];
  if (Load(entry.tx_slot) >= OMNI_KERNEL_CHANNELS) {
    return {.why = "the session has no control channel: the peer offered none"};
  }
  if (Load(entry.active) == 0 || entry.interface == 0) {
    return {.why = "there is no route to the peer, or not by an Ethernet interface that is up"};
  }
  if (bytes > Load(entry.fits)) {
    return {.why = fmt::format("the path carries {} bytes whole", Load(entry.fits))};
  }
  return {.yes = true,
          .why = fmt::format(
              "{} bytes are within the threshold of {}; a flow that had a larger "
              "packet within {} ms goes through a worker all the same",
              bytes, threshold_,
              std::chrono::duration_cast<std::chrono::milliseconds>(options_.guard).count())};
}

// ----------------------------------------------------------------------------------------------
// the host

void KernelPath::Maintain() {
  const std::lock_guard lock(mutex_);
  if (watches_until_ != Instant{} && Now() >= watches_until_) {
    watches_until_ = {};
    object_->SetThreshold(threshold_);
  }
  if (network_->TakeChange()) {
    const size_t before = attached_.size();
    FollowInterfaces();
    if (attached_.size() != before) {
      spdlog::info("in-kernel path: watching {} interface{}", attached_.size(),
                   attached_.size() == 1 ? "" : "s");
    }
    for (const auto& [peer, path] : paths_) unresolved_.insert(peer);
  }
  LookForPrograms(Now());
  for (const PeerIndex peer : std::exchange(unresolved_, {})) ResolvePath(peer);
}

// Nobody tells when a program is taken off by another hand.
void KernelPath::LookForPrograms(Instant now) {
  if (now - looked_ < kLook) return;
  looked_ = now;
  const auto note = [&](int index) {
    const std::string name = NameOf(index);
    if (name.empty()) return;
    spdlog::warn("in-kernel path: the program at {} was taken off", name);
    taken_off_.insert_or_assign(index, now + kAgain);
  };
  for (auto entry = attached_.begin(); entry != attached_.end();) {
    const bool is_there = entry->second.is_there();
    if (!is_there) note(entry->first);
    entry = is_there ? std::next(entry) : attached_.erase(entry);
  }
  if (tun_ && !tun_->is_there()) {
    note(static_cast<int>(options_.tun_index));
    tun_.reset();
  }
  if (std::erase_if(taken_off_, [now](const auto& entry) { return entry.second <= now; }) == 0)
    return;
  FollowInterfaces();
  AttachTun();
}

// The program that seals, to the TUN.
absl::StatusOr<Attachment> KernelPath::AttachSealer(const KernelObject& object,
                                                    const KernelOptions& options) {
  return Attachment::Attach(object.program_fd(KernelProgram::kSealTun),
                            {.interface = static_cast<int>(options.tun_index),
                             .hook = Attachment::Hook::kEgress,
                             .handle = options.listen_port});
}

void KernelPath::AttachTun() {
  const int index = static_cast<int>(options_.tun_index);
  if (tun_ || taken_off_.contains(index)) return;
  auto tun = AttachSealer(*object_, options_);
  if (tun.ok()) {
    tun_.emplace(*std::move(tun));
  } else {
    spdlog::warn("{}", Message(tun.status()));
    taken_off_.insert_or_assign(index, Now() + kAgain);
  }
}

void KernelPath::FollowXdp(const std::set<uint32_t>& interfaces) {
  if (options_.xdp == KernelXdp::kNo) return;
  const std::lock_guard lock(mutex_);
  std::set<int> wanted;
  for (const uint32_t interface : interfaces) {
    const auto found = attached_.find(static_cast<int>(interface));
    // What XDP opens goes on in the clear to the program at TC ingress.
    if (found != attached_.end() && found->second.is_there()) wanted.insert(found->first);
  }
  for (const int index : std::set<int>(at_xdp_)) {
    if (!wanted.contains(index)) ForbidXdp(index);
  }
  for (const int index : wanted) {
    if (at_xdp_.contains(index)) continue;
    // What is refused is opened at TC.
    if (object_->AllowXdp(static_cast<uint32_t>(index)).ok()) at_xdp_.insert(index);
  }
}

void KernelPath::ForbidXdp(int interface) {
  object_->ForbidXdp(static_cast<uint32_t>(interface));
  at_xdp_.erase(interface);
}

void KernelPath::FollowInterfaces() {
  std::set<int> wanted = network_->Interfaces();
  wanted.erase(static_cast<int>(options_.tun_index));
  for (const int index : std::set<int>(at_xdp_)) {
    if (!wanted.contains(index)) ForbidXdp(index);
  }
  std::erase_if(attached_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::erase_if(refused_, [&](int index) { return !wanted.contains(index); });
  for (const int index : wanted) {
    if (attached_.contains(index) || taken_off_.contains(index)) continue;
    auto attachment = Attachment::Attach(
        object_->program_fd(KernelProgram::kOpenWire),
        {.interface = index, .hook = Attachment::Hook::kIngress, .handle = options_.listen_port});
    if (attachment.ok()) {
      attached_.emplace(index, *std::move(attachment));
    } else if (refused_.insert(index).second) {
      // Datagrams that come in there are opened all the same, by way of user space.
      spdlog::warn("{}", Message(attachment.status()));
    }
  }
}

void KernelPath::ResolvePath(PeerIndex peer) {
  const auto path = paths_.find(peer);
  if (path == paths_.end()) return;
  omni_kernel_peer wanted{};
  if (path->second.remote.is_set()) {
    const Endpoint& remote = path->second.remote;
    const auto route = network_->Resolve(path->second);
    wanted.family = remote.address.is_v4() ? 4 : 6;
    wanted.port = htons(remote.port);
    std::ranges::copy(remote.address.bytes, wanted.remote);
    if (path->second.local) std::ranges::copy(path->second.local->bytes, wanted.local);
    // What leaves by an interface that we do not watch has its answers come in there.
    if (route && route->source.family == remote.address.family &&
        attached_.contains(route->interface)) {
      wanted.interface = static_cast<uint32_t>(route->interface);
      std::ranges::copy(route->source.bytes, wanted.local);
    }
  }
  omni_kernel_peer& entry = object_->peers()[peer];
  const bool same = entry.active != 0 && entry.interface == wanted.interface &&
                    entry.family == wanted.family && entry.port == wanted.port &&
                    std::ranges::equal(entry.remote, wanted.remote) &&
                    std::ranges::equal(entry.local, wanted.local);
  if (same) return;
  Deactivate(entry);
  entry.interface = wanted.interface;
  entry.family = wanted.family;
  entry.port = wanted.port;
  std::ranges::copy(wanted.remote, entry.remote);
  std::ranges::copy(wanted.local, entry.local);
  Activate(entry, next_active_++);
}

std::vector<KernelEvent> KernelPath::TakeEvents() {
  const std::lock_guard lock(mutex_);
  std::vector<KernelEvent> out;
  for (const omni_kernel_event& event : object_->TakeEvents()) {
    if (event.type == OMNI_KERNEL_CONFIRMED) {
      out.emplace_back(KernelConfirmed{.channel = event.channel_id});
      continue;
    }
    const size_t bytes = event.family == 4 ? 4 : 16;
    const auto remote = IpAddress::FromBytes({event.remote, bytes});
    const auto local = IpAddress::FromBytes({event.local, bytes});
    if (!remote || !local) continue;
    KernelRoamed roamed{.channel = event.channel_id};
    roamed.path.remote = {.address = *remote, .port = ntohs(event.port)};
    if (IsLinkLocal(*remote)) roamed.path.remote.scope_id = event.interface;
    roamed.path.local = *local;
    out.emplace_back(roamed);
  }
  return out;
}

// ----------------------------------------------------------------------------------------------
// what reached a socket

ControlOpener::Result KernelPath::Open(std::span<const uint8_t> datagram,
                                       const ReceivedDatagram& origin, std::span<uint8_t> scratch) {
  const std::lock_guard lock(open_mutex_);
  MakeFrame(
      {.from = origin.path.remote,
       .to = origin.path.local.value_or(IpAddress{.family = origin.path.remote.address.family}),
       .to_port = options_.listen_port,
       .traffic_class = origin.traffic_class},
      datagram, frame_);
  const auto verdict = object_->Run(KernelProgram::kOpenAgain, frame_, scratch);
  // The kernel does not run a program on what is longer than a page: no control packet is.
  if (!verdict || verdict->action == kActionPass) return {.kind = Result::Kind::kUnknown};
  if (verdict->action != kActionRedirect || verdict->bytes <= kEthernetHeader ||
      verdict->bytes > scratch.size()) {
    return {.kind = Result::Kind::kEnded};
  }
  return {.kind = Result::Kind::kPacket,
          .inner = scratch.first(verdict->bytes).subspan(kEthernetHeader)};
}

}  // namespace omni
