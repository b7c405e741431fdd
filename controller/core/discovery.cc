// SPDX-License-Identifier: Apache-2.0
#include "controller/core/discovery.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"
#include "controller/nat/private_address.h"
#include "signal/record/record.h"

namespace omni {
namespace {

// LIMIT: as Handshakes': a machine that slept looks at the clock again within a second.
constexpr Duration kLongestWait = 1s;

// LIMIT: collects the changes of a burst into one write.
constexpr std::chrono::seconds kSaveDelay{1};
// LIMIT: 100,000 records of 600 bytes.
constexpr size_t kMaxRecordsFile = size_t{64} << 20U;

// Nobody else can make it, and it is the same after a restart.
PcpNonce NonceOf(const Identity& identity) {
  const auto secret = identity.Sign("omninervous pcp nonce v1", {});
  PcpNonce nonce{};
  static_assert(nonce.size() < crypto_generichash_BYTES_MIN);
  std::array<uint8_t, crypto_generichash_BYTES_MIN> hash{};
  crypto_generichash(hash.data(), hash.size(), secret.data(), secret.size(), nullptr, 0);
  std::copy_n(hash.begin(), nonce.size(), nonce.begin());
  return nonce;
}

std::optional<RevocationList::Key> KeyOf(const RevocationList::Outcome& outcome) {
  if (outcome.entry == nullptr) return std::nullopt;
  const Revocation& revocation = outcome.entry->revocation;
  return RevocationList::Key{revocation.node, revocation.cluster};
}

// Keys that the dataplane knows our datagrams by.
template <typename Key>
Key RandomKey() {
  Key key{};
  randombytes_buf(key.data(), key.size());
  return key;
}

}  // namespace

Discovery::Discovery(boost::asio::io_context& loop, const Config& config, Options options)
    : options_(std::move(options)),
      nucleus_(config.nucleus),
      file_(config.state_dir + "/nucleus-records.bin"),
      cid_key_(RandomKey<QuicCidKey>()),
      stun_key_(RandomKey<StunKey>()),
      reflector_({.key = stun_key_, .send = options_.send, .done = [this] { OnReflected(); }}),
      loop_(loop),
      timer_(loop),
      save_timer_(loop),
      resolver_(loop),
      watcher_(loop, [this] { Describe(); }),
      name_(config.name),
      addresses_(config.addresses),
      relays_(config.relay.for_peers),
      wants_beacons_(config.WantsBeacons()) {
  client_ = std::make_unique<NucleusClient>(NucleusClient::Options{
      .identity = options_.identity,
      .cluster = options_.cluster,
      .nucleus = nucleus_.id,
      .cid_key = cid_key_,
      .send = options_.send,
      .resolve = [this] { Resolve(); },
      .wall_nanos = WallNanos,
      .random = [](uint32_t limit) { return randombytes_uniform(limit); },
      .called = options_.called,
      .records = {.changed =
                      [this](const NodeRecord& record) {
                        options_.records.changed(record);
                        SaveSoon();
                      },
                  .unlisted =
                      [this](const NodeId& id) {
                        options_.records.unlisted(id);
                        SaveSoon();
                      },
                  .revoked =
                      [this](const auto& message) {
                        return KeyOf(TakeRevocation(message, Teller::kNucleus));
                      },
                  .is_revoked = options_.records.is_revoked},
      .allocated = options_.allocated,
      .relay = options_.relay,
      .revocations = options_.revocations,
      .handshake = options_.handshake});
  MakeMesh();
  if (const absl::Status status = watcher_.Start(); !status.ok()) {
    spdlog::warn("{}; changes of this machine's addresses are noticed late", Message(status));
  }
}

void Discovery::Resolve() {
  std::vector<std::pair<std::string, uint16_t>> hosts;
  for (const HostPort& address : nucleus_.addresses) hosts.emplace_back(address.host, address.port);
  resolver_.Resolve(std::move(hosts), [this](absl::StatusOr<std::vector<Endpoint>> found) {
    if (found.ok()) reflector_.SetServers(*found, options_.clock());
    client_->OnResolved(found, options_.clock());
    ArmTimer();
  });
}

void Discovery::Load() {
  const auto content = ReadFile(file_, kMaxRecordsFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return;
  signal::v1::SavedRecords saved;
  if (!content.ok() || !saved.ParseFromString(*content)) {
    spdlog::warn("{}: left out: {}", file_,
                 content.ok() ? "it holds no records" : Message(content.status()));
    return;
  }
  loading_ = true;
  client_->RestoreRecords(saved, options_.clock());
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
      WriteFileAtomically(file_, client_->SaveRecords(options_.clock()), 0600, Overwrite::kYes);
  if (!written.ok()) spdlog::warn("{}; peers are not known after a restart", Message(written));
}

void Discovery::OnDataplane(const Config& config, const std::string& tun_name, uint16_t port) {
  if (std::exchange(online_, true) && tun_name == tun_name_ && port == port_) return;
  tun_name_ = tun_name;
  port_ = port;
  suspended_ = false;
  if (!nucleus_.addresses.empty()) {
    client_->SetOnline(options_.clock());
    reflector_.Start(options_.clock());
  }
  OnConfig(config);
}

void Discovery::OnDataplaneGone() {
  online_ = false;
  client_->SetOffline();
  signaling_->SetOffline();
  if (beacons_) beacons_->SetLinks({}, 0, options_.clock());
  reflector_.Stop();
  for (const auto& done : std::exchange(checks_, {})) done();
}

void Discovery::Suspend() {
  OnDataplaneGone();
  suspended_ = true;
  signaling_->Shutdown(options_.clock());
  client_->Suspend(options_.clock());
  port_mapper_.reset();  // and the router hears that the port is not needed
  own_.clear();          // or the port would not be asked for again
  ArmTimer();
}

void Discovery::OnConfig(const Config& config) {
  name_ = config.name;
  addresses_ = config.addresses;
  relays_ = config.relay.for_peers;
  Describe();
}

// What others should know of this node now.
void Discovery::Describe() {
  if (port_ == 0 || suspended_) return;
  NucleusClient::Self self{
      .name = name_, .addresses = {}, .routes = nucleus_.routes, .hosts = {}, .source = source_};
  for (const InterfaceAddress& own : addresses_) {
    if (self.addresses.size() < kMaxRecordAddresses) self.addresses.push_back(own.address);
  }
  for (const IpAddress& address : options_.interfaces(tun_name_)) {
    if (IsCandidateAddress(address)) self.hosts.push_back({.address = address, .port = port_});
  }
  if (own_ != self.hosts) {
    own_ = self.hosts;
    AskForPort();
    signaling_->OnNetworkChange();
    options_.network_changed();
  }
  if (beacons_ && online_) beacons_->SetLinks(options_.links(tun_name_), port_, options_.clock());
  reflector_.SetOwn(own_, options_.clock());
  if (port_mapper_ && port_mapper_->view().mapping) {
    self.reflexive.push_back(port_mapper_->view().mapping->outer);
  }
  for (const IpFamily family : {IpFamily::kV6, IpFamily::kV4}) {
    const auto seen = reflector_.view(family);
    if (seen && seen->mapped) self.reflexive.push_back(*seen->mapped);
  }
  if (relays_) self.capabilities.emplace_back(kRelayCapability);
  const auto v4 = reflector_.view(IpFamily::kV4);
  if (v4 && v4->mapping != stun::Mapping::kUnknown && !stun::IsPredictable(v4->mapping)) {
    self.capabilities.emplace_back(kHardNat);
  }
  client_->SetSelf(std::move(self), options_.clock());
  Publish();
  ArmTimer();
}

// The router behind which all our IPv4 addresses are, where that is so.
void Discovery::AskForPort() {
  bool is_private = false;
  for (const Endpoint& own : own_) {
    if (!own.address.is_v4()) continue;
    if (!IsPrivate(own.address)) return port_mapper_.reset();
    is_private = true;
  }
  if (!is_private || !nucleus_.port_mapping) return port_mapper_.reset();
  if (!port_mapper_) {
    const auto map = [nonce = NonceOf(*options_.identity)](uint16_t port,
                                                           std::chrono::seconds time) {
      return MapPort(port, time, nonce);
    };
    port_mapper_ = std::make_unique<PortMapper>(
        loop_, [this] { Describe(); }, PortMapper::Calls{.map = map});
  }
  port_mapper_->Request(port_);
}

NetworkView Discovery::network() const {
  NetworkView view{.own = own_,
                   .v4 = reflector_.view(IpFamily::kV4),
                   .v6 = reflector_.view(IpFamily::kV6),
                   .port_mapping = std::nullopt};
  if (port_mapper_) view.port_mapping = port_mapper_->view();
  return view;
}

void Discovery::CheckNetwork(std::function<void()> done) {
  if (online_) Describe();
  if (online_ && !nucleus_.addresses.empty()) reflector_.Start(options_.clock());
  if (!reflector_.is_busy()) return done();
  // LIMIT: of calls that wait at a time.
  constexpr size_t kMaxChecks = 64;
  if (checks_.size() >= kMaxChecks) return done();
  checks_.push_back(std::move(done));
  ArmTimer();
}

void Discovery::OnReflected() {
  Describe();
  for (const auto& done : std::exchange(checks_, {})) done();
}

std::optional<IpAddress> Discovery::InterfaceIn(const IpPrefix& network) const {
  for (const IpAddress& address : options_.interfaces(tun_name_)) {
    if (network.Contains(address)) return address;
  }
  return std::nullopt;
}

void Discovery::OpenRelay(const NodeId& peer, std::span<const uint64_t> channels,
                          uint32_t seconds) {
  client_->OpenRelay(peer, channels, seconds, options_.clock());
  ArmTimer();
}

void Discovery::SendHandshake(const NodeId& peer, std::span<const uint8_t> datagram) {
  client_->SendHandshake(peer, datagram, options_.clock());
  ArmTimer();
}

void Discovery::OpenRelay(const PeerSignaling::Relayed& to, std::span<const uint64_t> channels,
                          uint32_t seconds) {
  signaling_->OpenRelay(to, channels, seconds, options_.clock());
  ArmTimer();
}

void Discovery::SendHandshake(const PeerSignaling::Relayed& to, std::span<const uint8_t> datagram) {
  signaling_->SendHandshake(to, datagram, options_.clock());
  ArmTimer();
}

void Discovery::PassHandshake(const NodeId& from, const NodeId& to,
                              std::span<const uint8_t> datagram) {
  signaling_->PassHandshake(from, to, datagram, options_.clock());
  ArmTimer();
}

void Discovery::TellRelayClosed(const NodeId& to) {
  signaling_->TellRelayClosed(to, options_.clock());
  ArmTimer();
}

void Discovery::OnSecrets() {
  client_->OnSecrets(options_.clock());
  // Knocks and beacons are made, and taken, with what is held now.
  signaling_->Shutdown(options_.clock());
  beacons_.reset();
  MakeMesh();
  Describe();
  ArmTimer();
}

void Discovery::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from) {
  if (suspended_) return;
  const Instant now = options_.clock();
  if (IsStun(datagram)) {
    reflector_.OnDatagram(datagram, from, now);
  } else if (!IsQuic(datagram.front())) {
    if (beacons_) beacons_->OnDatagram(datagram, from, now);
  } else if (signaling_->Wants(datagram)) {
    signaling_->OnDatagram(datagram, from, now);
  } else {
    const Endpoint before = client_->view().observed;
    client_->OnDatagram(datagram, from, now);
    // The NAT has forgotten us, or is another one.
    const Endpoint observed = client_->view().observed;
    if (before.is_set() && observed != before) reflector_.Start(now);
  }
  Publish();
  ArmTimer();
}

void Discovery::Stop() {
  if (save_pending_) Save();
  client_->Shutdown(options_.clock());
  signaling_->Shutdown(options_.clock());
}

void Discovery::ArmTimer() {
  std::optional<Instant> deadline;
  for (const std::optional<Instant>& next :
       {client_->NextDeadline(), reflector_.NextDeadline(), signaling_->NextDeadline(),
        beacons_ ? beacons_->NextDeadline() : std::nullopt, publish_due_, spread_due_,
        compare_due_}) {
    if (next && (!deadline || *next < *deadline)) deadline = next;
  }
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(std::clamp<Duration>(*deadline - options_.clock(), 0ns, kLongestWait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    client_->OnTimer(options_.clock());
    reflector_.OnTimer(options_.clock());
    Publish();
    const Instant now = options_.clock();
    if (forget_from_ <= now) ForgetUnseen(now);
    if (publish_due_ && *publish_due_ <= now) PublishDue();
    if (spread_due_ && *spread_due_ <= now) SpreadDue();
    if (compare_due_ && *compare_due_ <= now) CompareDue();
    if (beacons_) beacons_->OnTimer(options_.clock());
    signaling_->OnTimer(options_.clock());
    ArmTimer();
  });
}

}  // namespace omni
