// SPDX-License-Identifier: Apache-2.0
// AF_XDP sockets of interfaces, and the hops over which workers send by them. One socket a queue;
// queue q is worker q mod workers'. Whatever goes wrong here leaves the kernel's sockets.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "dataplane/xdp/xdp_path.h"

namespace omni {

void XdpPath::OpenSpareSockets() {
  auto finder = HopFinder::Open(options_.listen_port);
  if (!finder.ok()) {
    no_spare_ = Message(finder.status());
    return;
  }
  finder_ = *std::move(finder);
  // The frames of all sockets are locked memory.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  (void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
  for (size_t i = 0; i < kSpareSockets; ++i) {
    auto spare = XskSocket::Open();
    if (!spare.ok()) {
      no_spare_ = Message(spare.status());
      break;
    }
    spare_.push_back(*std::move(spare));
  }
  for (uint32_t i = 0; i < options_.workers; ++i) boxes_.push_back(std::make_shared<PlanBox>());
}

XdpPath::Port XdpPath::MakePort(uint32_t worker, Port kernel) {
  if (boxes_.empty()) return kernel;
  auto port =
      std::make_unique<AfxdpPort>(std::move(kernel.port), std::move(kernel.fds), boxes_[worker]);
  std::vector<int> fds = port->fds();
  return {.port = std::move(port), .fds = std::move(fds)};
}

void XdpPath::FollowSockets(Watched& watched, Instant now) {
  const bool is_broken =
      std::ranges::any_of(watched.sockets, [](const auto& socket) { return socket->is_broken(); });
  if (!watched.link.is_open() || !watched.host.up || is_broken) {
    return LetGo(watched, now, "the interface is down, or has no XDP any more");
  }
  if (watched.decision.sockets == SocketChoice::kNone || !watched.sockets.empty()) return;
  // A queue can be bound again once nobody holds the socket that was on it.
  std::erase_if(leaving_, [](const auto& socket) { return socket.expired(); });
  if (now < watched.next_bind || !leaving_.empty()) return;
  const absl::Status status = BindSockets(watched);
  if (status.ok()) {
    spdlog::info("{}: AF_XDP on {} queues, {}", watched.host.name, watched.sockets.size(),
                 watched.sockets.front()->copies() ? "copied" : "zero-copy");
    watched.socket_refusal.clear();
    watched.bind_pause = kRetry;
    sockets_changed_ = true;
    return;
  }
  watched.sockets.clear();
  // What a driver cannot do, it cannot do the next time.
  watched.next_bind = absl::IsUnimplemented(status) ? Instant::max() : now + watched.bind_pause;
  watched.bind_pause = std::min<Duration>(watched.bind_pause * 2, kLongestRetry);
  if (watched.socket_refusal != Message(status)) {
    spdlog::info("{}: no AF_XDP: {}", watched.host.name, Message(status));
  }
  watched.socket_refusal = Message(status);
}

absl::Status XdpPath::BindSockets(Watched& watched) {
  std::set<uint32_t> places;
  for (uint32_t i = 0; i < OMNI_STEER_INTERFACES; ++i) places.insert(i);
  for (const auto& [index, other] : watched_) {
    if (!other.sockets.empty()) places.erase(other.place);
  }
  if (places.empty())
    return absl::ResourceExhaustedError("too many interfaces have AF_XDP sockets");
  watched.place = *places.begin();
  const auto copying = watched.decision.sockets == SocketChoice::kZeroCopy
                           ? XskSocket::Copying::kNever
                           : XskSocket::Copying::kIfNeeded;
  const uint32_t queues = std::min<uint32_t>(watched.host.rx_queues, OMNI_STEER_QUEUES);
  watched.sockets.resize(queues);
  for (uint32_t i = 0; i < queues; ++i) {
    // One that is refused must not cost the sockets of those before it each time.
    const uint32_t queue = (watched.first_queue + i) % queues;
    if (spare_.empty()) {
      return absl::ResourceExhaustedError(
          no_spare_.empty() ? "the AF_XDP sockets are used up; a restart gives more" : no_spare_);
    }
    absl::Status bound =
        spare_.back()->Bind({.interface = watched.host.index, .queue = queue}, copying);
    if (!bound.ok()) {
      watched.first_queue = queue;
      if (spare_.back()->is_spoilt()) spare_.pop_back();
      return bound;
    }
    watched.sockets[queue] = std::move(spare_.back());
    spare_.pop_back();
    watched.sockets[queue]->SetPolling(settings_.polling);
    const uint32_t place = watched.place * OMNI_STEER_QUEUES + queue;
    RETURN_IF_ERROR(steer_->SetSocket(place, watched.sockets[queue]->fd()));
  }
  return steer_->SetInterface(watched.host.index, {.first = watched.place * OMNI_STEER_QUEUES,
                                                   .queues = queues,
                                                   .longest = XskSocket::kLongest,
                                                   .workers = options_.workers});
}

void XdpPath::LetGo(Watched& watched, Instant now, std::string_view why) {
  watched.ends_at.reset();
  if (watched.sockets.empty()) return;
  spdlog::info("{}: AF_XDP ends, because {}; the UDP sockets go on", watched.host.name, why);
  steer_->RemoveInterface(watched.host.index);
  leaving_.insert(leaving_.end(), watched.sockets.begin(), watched.sockets.end());
  watched.sockets.clear();
  watched.socket_refusal = why;
  watched.next_bind = now + kLook;
  sockets_changed_ = true;
}

void XdpPath::FollowHops(Instant now) {
  std::set<HopKey> relays = relays_->TakeFresh();
  if (!finder_) return;
  const bool sends = SendsAnywhere();
  if (!sends) relays.clear();
  std::set<HopKey> fresh;
  for (const auto& box : boxes_) {
    for (const HopKey& key : box->TakeWanted()) fresh.insert(key);
  }
  if (wanted_.size() + fresh.size() > kMaxHops) wanted_.clear();
  wanted_.insert(fresh.begin(), fresh.end());
  // Each change of a neighbour is news; what peers there are is looked through once a second.
  const bool look_at_all = now - resolved_ >= kLook;
  if (fresh.empty() && relays.empty() && !look_at_all && !sockets_changed_) return;
  finder_->Refresh(links_.Interfaces());
  std::map<HopKey, HopFinder::Found> found;
  if (!look_at_all) found = found_;
  std::set<HopKey> asked = look_at_all ? wanted_ : std::move(fresh);
  if (look_at_all && sends) relays = relays_->Wanted();
  asked.merge(relays);
  for (const HopKey& key : asked) {
    if (const auto hop = finder_->Find(key)) found.insert_or_assign(key, *hop);
  }
  if (look_at_all) {
    resolved_ = now;
    finder_->KeepNeighbours();
  }
  const bool changed = found != found_ || sockets_changed_;
  found_ = std::move(found);
  FollowRelays();
  if (changed) Publish();
}

void XdpPath::Publish() {
  sockets_changed_ = false;
  auto hops = std::make_shared<HopTable>();
  for (const auto& [key, found] : found_) {
    hops->emplace(
        key,
        Hop{.interface = found.interface, .mtu = found.mtu, .head = FrameHead(found.addresses)});
  }
  const std::lock_guard lock(mutex_);
  published_ = hops;
  for (uint32_t worker = 0; worker < boxes_.size(); ++worker) {
    PortPlan plan{.hops = hops};
    for (const auto& [index, watched] : watched_) {
      for (uint32_t queue = worker; queue < watched.sockets.size(); queue += options_.workers) {
        plan.sockets.push_back(watched.sockets[queue]);
      }
    }
    boxes_[worker]->Publish(std::move(plan));
  }
}

// Where there are to be some.
std::string XdpPath::WhyNoSockets(const Watched& watched) {
  if (!watched.socket_refusal.empty()) return watched.socket_refusal;
  if (!watched.refusal.empty()) return watched.refusal;
  return watched.host.up ? "not bound yet" : "the interface is down";
}

std::optional<XdpPath::State> XdpPath::DescribeSockets(const Watched& watched) {
  State out{.name = "afxdp:" + watched.host.name, .active = !watched.sockets.empty()};
  if (out.active) {
    out.reason = fmt::format("{}, {} of {} queues",
                             watched.sockets.front()->copies() ? "copied" : "zero-copy",
                             watched.sockets.size(), watched.host.rx_queues);
  } else if (watched.decision.sockets != SocketChoice::kNone) {
    out.reason = WhyNoSockets(watched);
  } else if (watched.decision.named) {
    out.reason = watched.decision.socket_reason;
  } else {
    return std::nullopt;
  }
  return out;
}

XdpPath::State XdpPath::DescribePath() const {
  const std::lock_guard lock(mutex_);
  std::string where;
  std::string why_not;
  for (const auto& [index, watched] : watched_) {
    if (!watched.sockets.empty()) {
      where += (where.empty() ? "" : ", ") + watched.host.name;
    } else if (watched.decision.sockets != SocketChoice::kNone) {
      why_not = watched.host.name + ": " + WhyNoSockets(watched);
    }
  }
  if (!where.empty()) return {"afxdp", true, where};
  if (steer_ == nullptr) {
    return {"socket", true, no_steer_.empty() ? "XDP is " + std::string(kNotLoaded) : no_steer_};
  }
  if (!why_not.empty()) return {"socket", true, why_not};
  return {"socket", true, "no interface is to have AF_XDP, or none's driver binds it by itself"};
}

XdpPath::State XdpPath::WayTo(const UdpPath& path) const {
  const std::lock_guard lock(mutex_);
  const bool any = std::ranges::any_of(
      watched_, [](const auto& entry) { return !entry.second.sockets.empty(); });
  if (!any) return {"socket", true, "no interface has AF_XDP sockets"};
  const auto found = published_->find(HopKey{path.remote, path.local.value_or(IpAddress())});
  if (found == published_->end()) {
    return {"socket", true,
            "the way to the peer is not resolved: no bulk went there yet, or its route or "
            "neighbour is not known"};
  }
  const auto watched = watched_.find(found->second.interface);
  if (watched == watched_.end() || watched->second.sockets.empty()) {
    return {"socket", true, "the interface of its route has no AF_XDP sockets"};
  }
  return {"afxdp", true,
          fmt::format("by {}, frames of at most {} bytes", watched->second.host.name,
                      XskSocket::kLongest)};
}

}  // namespace omni
