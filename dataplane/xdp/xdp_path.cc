// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/xdp_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace omni {

absl::StatusOr<std::unique_ptr<XdpPath>> XdpPath::Open(const Options& options) {
  ASSIGN_OR_RETURN(HostLinks links, HostLinks::Open());
  std::unique_ptr<XdpPath> out(new XdpPath(options, std::move(links)));
  if (!WantsXdp(out->links_.Interfaces(), options.choices)) return out;
  auto steer = SteerObject::Load(options.listen_port);
  if (!steer.ok()) {
    out->no_steer_ = Message(steer.status());
    spdlog::error("no XDP: {}", out->no_steer_);
    return out;
  }
  out->steer_ = *std::move(steer);
  out->OpenSpareSockets();
  out->Look(Now());
  return out;
}

void XdpPath::Maintain(Instant now) {
  if (steer_ == nullptr) return;
  if (links_.TakeChange() || now - looked_ >= kLook) Look(now);
  FollowHops(now);
}

void XdpPath::Look(Instant now) {
  looked_ = now;
  const std::vector<HostInterface> interfaces = links_.Interfaces();
  const std::lock_guard lock(mutex_);
  FollowAddresses(interfaces);
  for (auto entry = watched_.begin(); entry != watched_.end();) {
    const uint32_t index = entry->first;
    const bool is_there =
        std::ranges::find(interfaces, index, &HostInterface::index) != interfaces.end();
    if (!is_there) LetGo(entry->second, now);
    entry = is_there ? std::next(entry) : watched_.erase(entry);
  }
  for (const HostInterface& interface : interfaces) {
    Watched& watched = watched_[interface.index];
    if (watched.host.rx_queues != interface.rx_queues) LetGo(watched, now);
    watched.host = interface;
    watched.decision = DecideXdp(interface, options_.choices);
    if (watched.link.is_open() && !SteerObject::IsAttached(watched.link)) {
      spdlog::warn("{}: XDP was taken off", interface.name);
      watched.link = {};
      watched.next_try = now + kRetry;
    }
    if (watched.decision.mode && interface.up && !watched.link.is_open() &&
        now >= watched.next_try) {
      Attach(watched, now);
    }
    FollowSockets(watched, now);
  }
}

void XdpPath::FollowAddresses(const std::vector<HostInterface>& interfaces) {
  std::set<IpAddress> wanted;
  for (const HostInterface& interface : interfaces) {
    wanted.insert(interface.addresses.begin(), interface.addresses.end());
  }
  for (const IpAddress& address : addresses_) {
    if (!wanted.contains(address)) steer_->RemoveAddress(address);
  }
  for (const IpAddress& address : wanted) {
    if (addresses_.contains(address)) continue;
    if (const absl::Status status = steer_->AddAddress(address); !status.ok()) {
      spdlog::warn("{}", Message(status));
    }
  }
  addresses_ = std::move(wanted);
}

void XdpPath::Attach(Watched& watched, Instant now) {
  auto link = steer_->Attach(static_cast<int>(watched.host.index), *watched.decision.mode);
  watched.next_try = now + kRetry;
  const std::string refusal(link.ok() ? "" : Message(link.status()));
  if (link.ok()) {
    watched.link = *std::move(link);
    spdlog::info("{}: {} XDP: {}", watched.host.name,
                 watched.decision.mode == XdpMode::kNative ? "native" : "generic",
                 watched.decision.reason);
  } else if (refusal != watched.refusal) {
    spdlog::warn("{}: no XDP: {}", watched.host.name, refusal);
  }
  watched.refusal = refusal;
}

void XdpPath::ChannelAdded(ChannelId id) {
  if (steer_ == nullptr || steer_->AddChannel(id).ok()) return;
  // From now on what the table does not have passes: no session dies of it.
  steer_->SetIncomplete();
}

void XdpPath::ChannelRemoved(ChannelId id) {
  if (steer_ != nullptr) steer_->RemoveChannel(id);
}

std::vector<XdpPath::State> XdpPath::Describe() const {
  if (!no_steer_.empty()) return {{"xdp", false, no_steer_}};
  const std::lock_guard lock(mutex_);
  std::vector<State> out;
  for (const auto& [index, watched] : watched_) {
    if (!watched.link.is_open() && watched.refusal.empty() && !watched.decision.named) continue;
    const char* mode = watched.decision.mode == XdpMode::kGeneric ? "generic: " : "native: ";
    const bool active = watched.link.is_open();
    out.push_back({"xdp:" + watched.host.name, active,
                   active                    ? mode + watched.decision.reason
                   : watched.refusal.empty() ? watched.decision.reason
                                             : watched.refusal});
    if (const auto sockets = DescribeSockets(watched)) out.push_back(*sockets);
  }
  return out;
}

std::vector<uint64_t> XdpPath::Drops() const {
  return steer_ == nullptr ? std::vector<uint64_t>() : steer_->Drops();
}

std::vector<XdpPath::Counter> XdpPath::Counters() const {
  if (steer_ == nullptr) return {};
  const std::vector<uint64_t> values = steer_->Counters();
  const auto sum = [this](Counter64 PlanBox::*counter) {
    uint64_t out = 0;
    for (const auto& box : boxes_) out += ((*box).*counter).value();
    return out;
  };
  return {
      {"afxdp_rx_frames", "frames that workers took from AF_XDP sockets", sum(&PlanBox::received)},
      {"afxdp_tx_frames", "frames that workers sent by AF_XDP sockets", sum(&PlanBox::sent)},
#define OMNI_STEER_INFO(name, text) {#name, text, values[OMNI_STEER_##name]},
      OMNI_STEER_COUNTERS(OMNI_STEER_INFO)
#undef OMNI_STEER_INFO
  };
}

}  // namespace omni
