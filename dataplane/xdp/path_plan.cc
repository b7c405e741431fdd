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
  const auto& path = options_.choices.path;
  const bool excluded =
      path.others == PathChoice::kSocket && std::ranges::all_of(path.named, [](const auto& named) {
        return named.second == PathChoice::kSocket;
      });
  if (excluded) return;
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
  if (!watched.link.is_open() || !watched.host.up || is_broken) return LetGo(watched, now);
  if (watched.decision.sockets == SocketChoice::kNone || !watched.sockets.empty()) return;
  // A queue can be bound again once nobody holds the socket that was on it.
  std::erase_if(leaving_, [](const auto& socket) { return socket.expired(); });
  if (now < watched.next_bind || !leaving_.empty()) return;
  const absl::Status status = BindSockets(watched);
  if (status.ok()) {
    spdlog::info("{}: AF_XDP on {} queues, {}", watched.host.name, watched.sockets.size(),
                 watched.sockets.front()->copies() ? "copied" : "zero-copy");
    watched.socket_refusal.clear();
    sockets_changed_ = true;
    return;
  }
  watched.sockets.clear();
  // What a driver cannot do, it cannot do the next time.
  watched.next_bind = absl::IsUnimplemented(status) ? Instant::max() : now + kRetry;
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
  for (uint32_t queue = 0; queue < queues; ++queue) {
    if (spare_.empty()) {
      return absl::ResourceExhaustedError(
          no_spare_.empty() ? "the AF_XDP sockets are used up; a restart gives more" : no_spare_);
    }
    FileDescriptor fd = std::move(spare_.back());
    spare_.pop_back();
    ASSIGN_OR_RETURN(
        std::shared_ptr<XskSocket> socket,
        XskSocket::Bind(std::move(fd), {.interface = watched.host.index, .queue = queue}, copying));
    const uint32_t place = watched.place * OMNI_STEER_QUEUES + queue;
    RETURN_IF_ERROR(steer_->SetSocket(place, socket->fd()));
    watched.sockets.push_back(std::move(socket));
  }
  return steer_->SetInterface(watched.host.index, {.first = watched.place * OMNI_STEER_QUEUES,
                                                   .queues = queues,
                                                   .longest = XskSocket::kLongest,
                                                   .workers = options_.workers});
}

void XdpPath::LetGo(Watched& watched, Instant now) {
  if (watched.sockets.empty()) return;
  spdlog::info("{}: AF_XDP ends; the UDP sockets go on", watched.host.name);
  steer_->RemoveInterface(watched.host.index);
  leaving_.insert(leaving_.end(), watched.sockets.begin(), watched.sockets.end());
  watched.sockets.clear();
  watched.socket_refusal = "the interface changed";
  watched.next_bind = now + kLook;
  sockets_changed_ = true;
}

void XdpPath::FollowHops(Instant now) {
  if (!finder_) return;
  std::set<HopKey> fresh;
  for (const auto& box : boxes_) {
    for (const HopKey& key : box->TakeWanted()) fresh.insert(key);
  }
  if (wanted_.size() + fresh.size() > kMaxHops) wanted_.clear();
  // Each change of a neighbour is news; what peers there are is looked through once a second.
  const bool look_at_all = now - resolved_ >= kLook;
  if (fresh.empty() && !look_at_all && !sockets_changed_) return;
  finder_->Refresh(links_.Interfaces());
  std::map<HopKey, HopFinder::Found> found;
  if (!look_at_all) found = found_;
  if (look_at_all) fresh.merge(wanted_);
  for (const HopKey& key : fresh) {
    if (const auto hop = finder_->Find(key)) found.insert_or_assign(key, *hop);
  }
  wanted_.merge(fresh);
  if (look_at_all) {
    resolved_ = now;
    finder_->KeepNeighbours();
  }
  if (found == found_ && !sockets_changed_) return;
  found_ = std::move(found);
  Publish();
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

std::optional<XdpPath::State> XdpPath::DescribeSockets(const Watched& watched) {
  State out{.name = "afxdp:" + watched.host.name, .active = !watched.sockets.empty()};
  if (out.active) {
    out.reason = fmt::format("{}, {} of {} queues",
                             watched.sockets.front()->copies() ? "copied" : "zero-copy",
                             watched.sockets.size(), watched.host.rx_queues);
  } else if (watched.decision.sockets != SocketChoice::kNone) {
    out.reason = watched.socket_refusal;
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
      why_not = watched.host.name + ": " + watched.socket_refusal;
    }
  }
  if (!where.empty()) return {"afxdp", true, where};
  if (!no_steer_.empty()) return {"socket", true, no_steer_};
  if (!why_not.empty()) return {"socket", true, why_not};
  return {"socket", true, "no interface is to have AF_XDP, or none's driver binds it by itself"};
}

}  // namespace omni
