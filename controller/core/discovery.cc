// SPDX-License-Identifier: Apache-2.0
#include "controller/core/discovery.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"
#include "signal/record/record.h"

namespace omni {
namespace {

// LIMIT: as Handshakes': a machine that slept looks at the clock again within a second.
constexpr Duration kLongestWait = 1s;

// LIMIT: collects the changes of a burst into one write.
constexpr std::chrono::seconds kSaveDelay{1};
// LIMIT: 100,000 records of 600 bytes.
constexpr size_t kMaxRecordsFile = size_t{64} << 20U;

uint64_t WallNanos() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

Discovery::Discovery(boost::asio::io_context& loop, const Config& config, Options options)
    : options_(std::move(options)),
      nucleus_(config.nucleus),
      file_(config.state_dir + "/nucleus-records.bin"),
      timer_(loop),
      save_timer_(loop),
      resolver_(loop),
      watcher_(loop, [this] { Describe(); }),
      name_(config.name),
      addresses_(config.addresses) {
  randombytes_buf(cid_key_.data(), cid_key_.size());
  client_ = std::make_unique<NucleusClient>(
      NucleusClient::Options{.identity = options_.identity,
                             .cluster = options_.cluster,
                             .nucleus = nucleus_.id,
                             .cid_key = cid_key_,
                             .send = options_.send,
                             .resolve = [this] { Resolve(); },
                             .wall_nanos = WallNanos,
                             .random = [](uint32_t limit) { return randombytes_uniform(limit); },
                             .records = {.changed =
                                             [this](const NodeRecord& record) {
                                               options_.records.changed(record);
                                               SaveSoon();
                                             },
                                         .unlisted =
                                             [this](const NodeId& id) {
                                               options_.records.unlisted(id);
                                               SaveSoon();
                                             }}});
  if (const absl::Status status = watcher_.Start(); !status.ok()) {
    spdlog::warn("{}; changes of this machine's addresses are noticed late", Message(status));
  }
}

void Discovery::Resolve() {
  std::vector<std::pair<std::string, uint16_t>> hosts;
  for (const HostPort& address : nucleus_.addresses) hosts.emplace_back(address.host, address.port);
  resolver_.Resolve(std::move(hosts), [this](absl::StatusOr<std::vector<Endpoint>> found) {
    client_->OnResolved(found, options_.clock());
    ArmTimer();
  });
}

void Discovery::Load() {
  const auto content = ReadFile(file_, kMaxRecordsFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return;
  signal::v1::Delta saved;
  if (!content.ok() || !saved.ParseFromString(*content)) {
    spdlog::warn("{}: left out: {}", file_,
                 content.ok() ? "it holds no records" : Message(content.status()));
    return;
  }
  loading_ = true;
  client_->RestoreRecords(saved);
  loading_ = false;
}

void Discovery::SaveSoon() {
  if (loading_ || std::exchange(save_pending_, true)) return;
  save_timer_.expires_after(kSaveDelay);
  save_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Save();
  });
}

void Discovery::Save() {
  save_pending_ = false;
  const absl::Status written =
      WriteFileAtomically(file_, client_->SaveRecords().SerializeAsString(), 0600, Overwrite::kYes);
  if (!written.ok()) spdlog::warn("{}; peers are not known after a restart", Message(written));
}

void Discovery::OnDataplane(const Config& config, const std::string& tun_name, uint16_t port) {
  if (std::exchange(online_, true) && tun_name == tun_name_ && port == port_) return;
  tun_name_ = tun_name;
  port_ = port;
  client_->SetOnline(options_.clock());
  OnConfig(config);
}

void Discovery::OnDataplaneGone() {
  online_ = false;
  client_->SetOffline();
}

void Discovery::OnConfig(const Config& config) {
  name_ = config.name;
  addresses_ = config.addresses;
  Describe();
}

// What others should know of this node now.
void Discovery::Describe() {
  if (port_ == 0) return;
  NucleusClient::Self self{.name = name_, .addresses = {}, .routes = nucleus_.routes, .hosts = {}};
  for (const InterfaceAddress& own : addresses_) {
    if (self.addresses.size() < kMaxRecordAddresses) self.addresses.push_back(own.address);
  }
  for (const IpAddress& address : options_.interfaces(tun_name_)) {
    if (IsCandidateAddress(address)) self.hosts.push_back({.address = address, .port = port_});
  }
  client_->SetSelf(std::move(self), options_.clock());
  ArmTimer();
}

void Discovery::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from) {
  client_->OnDatagram(datagram, from, options_.clock());
  ArmTimer();
}

void Discovery::Stop() {
  if (save_pending_) Save();
  client_->Shutdown(options_.clock());
}

void Discovery::ArmTimer() {
  const auto deadline = client_->NextDeadline();
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(std::clamp<Duration>(*deadline - options_.clock(), 0ns, kLongestWait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    client_->OnTimer(options_.clock());
    ArmTimer();
  });
}

}  // namespace omni
