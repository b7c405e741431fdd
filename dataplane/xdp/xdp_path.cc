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
  if (ExcludesXdp(options.settings)) return out;
  // Also where nobody wants it today: loading it later would take capabilities that are gone then.
  auto steer = SteerObject::Load(options.listen_port);
  if (!steer.ok()) {
    out->no_steer_ = Message(steer.status());
    const bool is_wanted = WantsXdp(out->links_.Interfaces(), options.settings);
    spdlog::log(is_wanted ? spdlog::level::err : spdlog::level::info, "no XDP: {}", out->no_steer_);
    return out;
  }
  out->steer_ = *std::move(steer);
  out->relays_ = std::make_unique<RelayTable>(*out->steer_);
  if (auto features = XdpFeatures::Open(); features.ok()) out->features_ = *std::move(features);
  out->OpenSpareSockets();
  out->Look(Now());
  return out;
}

void XdpPath::Maintain(Instant now) {
  if (steer_ == nullptr) return;
  const bool changed = links_.TakeChange();
  std::unique_lock lock(mutex_);
  const bool look = changed || look_soon_ || now - looked_ >= kLook;
  lock.unlock();
  if (look) Look(now);
  FollowHops(now);
  if (look) FollowRelays();
}

void XdpPath::SetSettings(const PathSettings& settings) {
  const std::lock_guard lock(mutex_);
  if (settings.polling != settings_.polling) {
    for (const auto& [index, watched] : watched_) {
      for (const auto& socket : watched.sockets) socket->SetPolling(settings.polling);
    }
  }
  settings_ = settings;
  look_soon_ = true;
}

void XdpPath::Look(Instant now) {
  looked_ = now;
  HostLinks::View host = links_.Look();
  const std::vector<HostInterface>& interfaces = host.interfaces;
  const std::lock_guard lock(mutex_);
  look_soon_ = false;
  FollowAddresses(interfaces, std::move(host.loopback));
  for (auto entry = watched_.begin(); entry != watched_.end();) {
    const uint32_t index = entry->first;
    const bool is_there =
        std::ranges::find(interfaces, index, &HostInterface::index) != interfaces.end();
    if (!is_there) LetGo(entry->second, now, "the interface went away");
    entry = is_there ? std::next(entry) : watched_.erase(entry);
  }
  for (const HostInterface& interface : interfaces) {
    Watched& watched = watched_[interface.index];
    if (watched.host.rx_queues != interface.rx_queues) {
      LetGo(watched, now, "its number of queues changed");
    }
    watched.host = interface;
    Decide(watched, now);
    if (watched.link.is_open() && !SteerObject::IsAttached(watched.link)) {
      spdlog::warn("{}: XDP was taken off", interface.name);
      watched.link = {};
      watched.next_try = now + kRetry;
    }
    Conform(watched, now);
    if (watched.decision.mode && interface.up && !watched.link.is_open() &&
        now >= watched.next_try) {
      Attach(watched, now);
    }
    watched.sends = Sends(watched);
    FollowSockets(watched, now);
  }
}

// What was refused before is tried anew when something else is wanted.
void XdpPath::Decide(Watched& watched, Instant now) {
  XdpDecision decision = DecideXdp(watched.host, settings_);
  if (decision.mode != watched.decision.mode) {
    watched.next_try = now;
    watched.refusal.clear();
  }
  if (decision.sockets != watched.decision.sockets) {
    watched.next_bind = now;
    watched.bind_pause = kRetry;
    watched.socket_refusal.clear();
  }
  watched.decision = std::move(decision);
}

// Sockets first get no more frames, then workers take what is there, then they go, and only then
// the program that fed them: nothing is lost on the way.
void XdpPath::Conform(Watched& watched, Instant now) {
  const bool other_mode = watched.link.is_open() && watched.decision.mode != watched.mode;
  const SocketChoice wanted = watched.decision.sockets;
  const bool has_sockets = !watched.sockets.empty();
  const bool other_sockets =
      has_sockets && (wanted == SocketChoice::kNone ||
                      (wanted == SocketChoice::kZeroCopy && watched.sockets.front()->copies()));
  if (has_sockets && (other_mode || other_sockets || watched.ends_at)) {
    look_soon_ = true;
    if (!watched.ends_at) {
      steer_->RemoveInterface(watched.host.index);
      watched.ends_at = now + kDrain;
      return;
    }
    if (now < *watched.ends_at) return;
    LetGo(watched, now, "the path was changed");
    watched.next_bind = now;
    return;  // the program stays until the workers have let go as well
  }
  if (!other_mode) return;
  spdlog::info("{}: XDP is taken off: {}", watched.host.name, watched.decision.reason);
  SteerObject::Detach(std::move(watched.link));
  watched.link = {};
}

// Those of the loopback interface are this machine's, too, whatever link they are asked for on.
void XdpPath::FollowAddresses(const std::vector<HostInterface>& interfaces,
                              std::set<IpAddress> wanted) {
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
    watched.mode = *watched.decision.mode;
    spdlog::info("{}: {} XDP: {}", watched.host.name,
                 watched.decision.mode == XdpMode::kNative ? "native" : "generic",
                 watched.decision.reason);
  } else if (refusal != watched.refusal) {
    spdlog::warn("{}: no XDP: {}", watched.host.name, refusal);
  }
  watched.refusal = refusal;
}

void XdpPath::ChannelAdded(ChannelId id, ChannelUse use) {
  if (steer_ != nullptr) steer_->AddChannel(id, use);
}

void XdpPath::ChannelRemoved(ChannelId id) {
  if (steer_ != nullptr) steer_->RemoveChannel(id);
}

void XdpPath::Expect(const IpAddress& address) {
  if (steer_ != nullptr) steer_->Expect(address);
}

std::vector<XdpPath::State> XdpPath::Describe() const {
  const std::lock_guard lock(mutex_);
  if (steer_ == nullptr) {
    if (!WantsXdp(links_.Interfaces(), settings_)) return {};
    return {{"xdp", false, no_steer_.empty() ? std::string(kNotLoaded) : no_steer_}};
  }
  std::vector<State> out;
  for (const auto& [index, watched] : watched_) {
    if (!watched.link.is_open() && watched.refusal.empty() && !watched.decision.named) continue;
    const char* mode = watched.mode == XdpMode::kGeneric ? "generic: " : "native: ";
    const bool active = watched.link.is_open();
    out.push_back({"xdp:" + watched.host.name, active,
                   active                    ? mode + watched.decision.reason
                   : watched.refusal.empty() ? watched.decision.reason
                                             : watched.refusal});
    if (const auto sockets = DescribeSockets(watched)) out.push_back(*sockets);
  }
  if (const auto relays = DescribeRelays()) out.push_back(*relays);
  return out;
}

std::set<uint32_t> XdpPath::NativeInterfaces() const {
  const std::lock_guard lock(mutex_);
  std::set<uint32_t> out;
  for (const auto& [index, watched] : watched_) {
    if (watched.link.is_open() && watched.mode == XdpMode::kNative) out.insert(index);
  }
  for (const auto& [index, watched] : watched_) {
    if (watched.host.vlan) out.erase(watched.host.vlan->below);
  }
  return out;
}

std::vector<uint64_t> XdpPath::Drops() const {
  return steer_ == nullptr ? std::vector<uint64_t>() : steer_->Drops();
}

namespace {

constexpr std::pair<std::string_view, std::string_view> kSteerCounters[] = {
#define OMNI_STEER_INFO(name, text) {#name, text},
    OMNI_STEER_COUNTERS(OMNI_STEER_INFO)
#undef OMNI_STEER_INFO
};

}  // namespace

XdpPath::Traffic XdpPath::AfxdpTraffic() const {
  Traffic out;
  for (const auto& box : boxes_) {
    out.tx_packets += box->traffic.tx_packets.value();
    out.tx_bytes += box->traffic.tx_bytes.value();
    out.rx_packets += box->traffic.rx_packets.value();
    out.rx_bytes += box->traffic.rx_bytes.value();
  }
  return out;
}

std::vector<XdpPath::Counter> XdpPath::Counters() const {
  if (steer_ == nullptr) return {};
  const Traffic traffic = AfxdpTraffic();
  std::vector<Counter> out = {
      {"afxdp_rx_frames", "frames that workers took from AF_XDP sockets", traffic.rx_packets},
      {"afxdp_tx_frames", "frames that workers sent by AF_XDP sockets", traffic.tx_packets}};
  const std::vector<uint64_t> values = steer_->Counters();
  for (size_t i = 0; i < values.size(); ++i) {
    out.push_back({kSteerCounters[i].first, kSteerCounters[i].second, values[i]});
  }
  return out;
}

std::vector<std::vector<XdpPath::Counter>> XdpPath::CountersByCpu() const {
  if (steer_ == nullptr) return {};
  const auto counters = steer_->CountersByCpu();
  const auto drops = steer_->DropsByCpu();
  std::vector<std::vector<Counter>> out(counters.size());
  for (size_t cpu = 0; cpu < out.size(); ++cpu) {
    for (size_t i = 0; i < counters[cpu].size(); ++i) {
      out[cpu].push_back({kSteerCounters[i].first, "", counters[cpu][i]});
    }
    for (size_t i = 0; i < drops[cpu].size(); ++i) {
      out[cpu].push_back({kDropReasonInfo[i].name, "", drops[cpu][i]});
    }
  }
  return out;
}

}  // namespace omni
