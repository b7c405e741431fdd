// SPDX-License-Identifier: Apache-2.0
#include "signal/quic/host.h"

#include <fmt/format.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <sodium.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "common/encoding.h"
#include "common/status.h"
#include "signal/quic/connection.h"
#include "signal/quic/tls.h"

namespace omni::quic {
namespace {

// LIMIT: how long a client may take to come back with the token of a Retry.
constexpr Duration kRetryLifetime = 10s;
// LIMIT: RFC 9000 section 14.1: a client's first datagram is padded to this, so that an answer is
// never larger.
constexpr size_t kMinInitialBytes = 1200;
// LIMIT: of knocks that are remembered; at the rate at which the dataplane lets them in, four
// minutes' worth, and only members can make them.
constexpr size_t kMaxKnocked = 8192;
// LIMIT: RFC 9000 section 10.3: a reset is smaller than what it answers, and not smaller than this.
constexpr size_t kMinResetBytes = 22;

std::string KeyOf(const ngtcp2_cid& cid) { return AsString({cid.data, cid.datalen}); }

}  // namespace

class Host::Impl {
 public:
  Impl(HostOptions options, Listener& listener)
      : options_(std::move(options)), listener_(listener) {
    auto credentials = MakeCredentials(*options_.identity, Connection::CheckCertificate);
    OMNI_CHECK(credentials.ok());  // a sound identity makes a certificate
    credentials_ = *std::move(credentials);
    randombytes_buf(retry_key_.mutable_data(), retry_key_.size());
  }

  absl::StatusOr<ConnectionId> Connect(const Endpoint& to, const std::optional<NodeId>& expected,
                                       Instant now, const std::optional<KnockKey>& knock);
  void OnDatagram(std::span<const uint8_t> datagram, const Route& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;
  absl::Status Send(ConnectionId id, std::string_view message, Instant now);
  void Close(ConnectionId id, uint64_t code, std::string_view reason, Instant now);
  void CloseAll(uint64_t code, std::string_view reason, Instant now);

  Connection* Find(ConnectionId id) const {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : found->second.get();
  }
  Connection* FindFor(std::span<const uint8_t> datagram) const;
  size_t size() const { return connections_.size(); }
  const HostCounters& counters() const { return counters_; }

 private:
  Connection::Hooks Hooks();
  void Accept(std::span<const uint8_t> datagram, const ngtcp2_pkt_hd& header, const Route& from,
              const std::optional<KnockKey>& knock, Instant now);
  bool PassesRetry(const ngtcp2_pkt_hd& header, const Route& from, Accepted& accepted, Instant now);
  void SendRetry(const ngtcp2_pkt_hd& header, const Route& from, Instant now);
  void SendVersions(const ngtcp2_version_cid& cids, const Route& from);
  void SendReset(std::span<const uint8_t> datagram, const Route& from);
  void TakeReset(std::span<const uint8_t> datagram, const Route& from, Instant now);
  void OnUnknown(std::span<const uint8_t> datagram, const Route& from,
                 const std::optional<KnockKey>& knock, Instant now);
  void Settle(ConnectionId id, std::optional<Closed> closed, Instant now);
  void Arm(Connection& connection);
  void Erase(ConnectionId id);
  void Add(std::unique_ptr<Connection> connection);
  bool IsFirstOfItsKind(const ngtcp2_cid& destination);

  HostOptions options_;
  Listener& listener_;
  Credentials credentials_;
  Key32 retry_key_;
  HostCounters counters_;
  uint64_t last_id_ = 0;
  size_t handshakes_ = 0;  // accepted ones under way
  absl::flat_hash_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  absl::flat_hash_map<std::string, ConnectionId> by_cid_;
  std::set<std::pair<Instant, ConnectionId>> deadlines_;
  // Of the clients that have knocked: the latest, and in which order.
  absl::flat_hash_set<std::string> knocked_;
  std::deque<std::string> knocked_order_;
};

Connection::Hooks Host::Impl::Hooks() {
  return {.add_cid = [this](const ngtcp2_cid& cid,
                            ConnectionId id) { by_cid_.insert_or_assign(KeyOf(cid), id); },
          .remove_cid = [this](const ngtcp2_cid& cid) { by_cid_.erase(KeyOf(cid)); }};
}

void Host::Impl::Add(std::unique_ptr<Connection> connection) {
  const ConnectionId id = connection->id();
  connections_.emplace(id, std::move(connection));
}

void Host::Impl::Erase(ConnectionId id) {
  Connection* connection = Find(id);
  for (const ngtcp2_cid& cid : connection->Cids()) by_cid_.erase(KeyOf(cid));
  if (connection->deadline) deadlines_.erase({*connection->deadline, id});
  if (connection->is_accepted() && !connection->is_connected()) --handshakes_;
  connections_.erase(id);
}

void Host::Impl::Arm(Connection& connection) {
  if (connection.deadline) deadlines_.erase({*connection.deadline, connection.id()});
  connection.deadline = connection.NextExpiry();
  if (connection.deadline) deadlines_.insert({*connection.deadline, connection.id()});
}

absl::StatusOr<ConnectionId> Host::Impl::Connect(const Endpoint& to,
                                                 const std::optional<NodeId>& expected, Instant now,
                                                 const std::optional<KnockKey>& knock) {
  const ConnectionId id{++last_id_};
  ASSIGN_OR_RETURN(auto connection, Connection::Begin(id, options_, credentials_, Hooks(),
                                                      {.remote = to}, expected, knock, now));
  Add(std::move(connection));
  Settle(id, std::nullopt, now);
  return id;
}

// The one way out of every event: what ngtcp2 left to do is done, then the listener hears of it.
void Host::Impl::Settle(ConnectionId id, std::optional<Closed> closed, Instant now) {
  Connection* connection = Find(id);
  if (!closed) closed = connection->Flush(now);
  Connection::Happened happened = connection->TakeHappened();
  const PublicKey peer = connection->peer();
  const Endpoint remote = connection->remote();
  if (happened.connected) {
    ++counters_.handshakes;
    if (connection->is_accepted()) --handshakes_;
  }
  const bool writable =
      connection->wants_writable && connection->queued_bytes() < options_.max_queued_bytes / 2;
  if (writable) connection->wants_writable = false;
  if (closed) {
    if (closed->cause == CloseCause::kHandshake) ++counters_.failures;
    Erase(id);
  } else {
    Arm(*connection);
  }
  // From here on the listener may have closed the connection.
  if (happened.connected) listener_.OnConnected(id, peer);
  for (const std::string& message : happened.messages) {
    if (!closed && Find(id) == nullptr) return;
    listener_.OnMessage(id, message);
  }
  if (closed) return listener_.OnClosed(id, *closed);
  if (happened.moved && Find(id) != nullptr) listener_.OnMoved(id, remote);
  if (writable && Find(id) != nullptr) listener_.OnWritable(id);
}

Connection* Host::Impl::FindFor(std::span<const uint8_t> datagram) const {
  ngtcp2_version_cid cids{};
  if (datagram.empty() ||
      ngtcp2_pkt_decode_version_cid(&cids, datagram.data(), datagram.size(), kQuicCidBytes) != 0) {
    return nullptr;
  }
  const auto found = by_cid_.find(AsString({cids.dcid, cids.dcidlen}));
  return found == by_cid_.end() ? nullptr : Find(found->second);
}

void Host::Impl::OnDatagram(std::span<const uint8_t> datagram, const Route& from, Instant now) {
  if (datagram.empty()) return;
  std::optional<KnockKey> knock;
  if (options_.knocks && IsLongQuic(datagram[0]) && !HasQuicCidOf(datagram, options_.cid_key)) {
    const auto key = std::ranges::find_if(
        *options_.knocks, [&](const KnockKey& own) { return HasKnock(datagram, own); });
    if (key == options_.knocks->end()) {
      ++counters_.unknown;
      return;
    }
    knock = *key;
    datagram = datagram.first(datagram.size() - kKnockBytes);
    if (datagram.empty()) return;
  }
  ngtcp2_version_cid cids{};
  const int result =
      ngtcp2_pkt_decode_version_cid(&cids, datagram.data(), datagram.size(), kQuicCidBytes);
  if (result == NGTCP2_ERR_VERSION_NEGOTIATION) {
    const bool answers = options_.max_accepted > 0 && !options_.knocks;
    if (answers && datagram.size() >= kMinInitialBytes) SendVersions(cids, from);
    return;
  }
  if (result != 0) {
    ++counters_.unknown;
    return;
  }
  const auto found = by_cid_.find(AsString({cids.dcid, cids.dcidlen}));
  if (found == by_cid_.end()) return OnUnknown(datagram, from, knock, now);
  const ConnectionId id = found->second;
  Settle(id, Find(id)->Read(datagram, from, now), now);
}

void Host::Impl::OnUnknown(std::span<const uint8_t> datagram, const Route& from,
                           const std::optional<KnockKey>& knock, Instant now) {
  ngtcp2_pkt_hd header{};
  const bool is_long = (datagram[0] & 0x80U) != 0;
  if (!is_long) {
    const bool answers = options_.max_accepted > 0 && !options_.knocks;
    return answers ? SendReset(datagram, from) : TakeReset(datagram, from, now);
  }
  const bool begins = options_.max_accepted > 0 && datagram.size() >= kMinInitialBytes &&
                      ngtcp2_accept(&header, datagram.data(), datagram.size()) == 0;
  if (!begins) {
    ++counters_.unknown;
  } else {
    Accept(datagram, header, from, knock, now);
  }
}

void Host::Impl::Accept(std::span<const uint8_t> datagram, const ngtcp2_pkt_hd& header,
                        const Route& from, const std::optional<KnockKey>& knock, Instant now) {
  Accepted accepted{.client_source = header.scid,
                    .destination = header.dcid,
                    .original = std::nullopt,
                    .version = header.version,
                    .token = {},
                    .knock = knock};
  if (!options_.knocks && !PassesRetry(header, from, accepted, now)) return;
  if (connections_.size() >= options_.max_accepted) {
    ++counters_.refused;
    return;
  }
  if (options_.knocks && !IsFirstOfItsKind(header.dcid)) {
    ++counters_.replayed;
    return;
  }
  const ConnectionId id{++last_id_};
  auto connection = Connection::Accept(id, options_, credentials_, Hooks(), from, accepted, now);
  if (!connection.ok()) {
    ++counters_.unknown;
    return;
  }
  ++handshakes_;
  Add(*std::move(connection));
  Settle(id, Find(id)->Read(datagram, from, now), now);
}

// A client chooses the destination of its first datagram at random. While the connection lives the
// same datagram finds it; afterwards it finds this.
bool Host::Impl::IsFirstOfItsKind(const ngtcp2_cid& destination) {
  const auto [place, is_new] = knocked_.insert(KeyOf(destination));
  if (!is_new) return false;
  knocked_order_.push_back(*place);
  if (knocked_order_.size() > kMaxKnocked) {
    knocked_.erase(knocked_order_.front());
    knocked_order_.pop_front();
  }
  return true;
}

// Whether the client may begin: it has a good token, or none is asked for.
bool Host::Impl::PassesRetry(const ngtcp2_pkt_hd& header, const Route& from, Accepted& accepted,
                             Instant now) {
  if (header.token.len == 0 && handshakes_ < options_.retry_from) return true;
  sockaddr_storage address{};
  const socklen_t length = from.remote.ToSockaddr(&address);
  ngtcp2_cid original{};
  const bool good =
      header.token.len > 0 &&
      ngtcp2_crypto_verify_retry_token(
          // SAFETY: sockaddr_storage holds the sockaddr that `length` bytes of it describe.
          &original, header.token.base, header.token.len, retry_key_.data(), retry_key_.size(),
          header.version, reinterpret_cast<const sockaddr*>(&address), length, &header.dcid,
          static_cast<uint64_t>(kRetryLifetime.count()), ToTimestamp(now)) == 0;
  if (!good) {
    SendRetry(header, from, now);
    return false;
  }
  accepted.original = original;
  accepted.token.assign(header.token.base, header.token.base + header.token.len);
  return true;
}

void Host::Impl::SendRetry(const ngtcp2_pkt_hd& header, const Route& from, Instant now) {
  sockaddr_storage address{};
  const socklen_t length = from.remote.ToSockaddr(&address);
  const ngtcp2_cid source = ToCid(NewCid(options_));
  std::array<uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN> token;
  const ngtcp2_ssize token_bytes = ngtcp2_crypto_generate_retry_token(
      token.data(), retry_key_.data(), retry_key_.size(), header.version,
      // SAFETY: as above.
      reinterpret_cast<const sockaddr*>(&address), length, &source, &header.dcid, ToTimestamp(now));
  if (token_bytes < 0) return;
  std::array<uint8_t, 512> packet;
  const ngtcp2_ssize size =
      ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &source,
                                &header.dcid, token.data(), static_cast<size_t>(token_bytes));
  if (size <= 0) return;
  ++counters_.retries;
  options_.send(from, std::span(packet).first(static_cast<size_t>(size)));
}

void Host::Impl::SendVersions(const ngtcp2_version_cid& cids, const Route& from) {
  const std::array<uint32_t, 1> versions = {NGTCP2_PROTO_VER_V1};
  std::array<uint8_t, 600> packet;  // two connection ids of 255 bytes at most
  const ngtcp2_ssize size = ngtcp2_pkt_write_version_negotiation(
      packet.data(), packet.size(), static_cast<uint8_t>(randombytes_uniform(256)), cids.scid,
      cids.scidlen, cids.dcid, cids.dcidlen, versions.data(), versions.size());
  if (size > 0) options_.send(from, std::span(packet).first(static_cast<size_t>(size)));
}

// A reset names no connection: those with its sender know their token (RFC 9000 section 10.3.1).
// Only for hosts that begin their connections themselves, and so have few.
void Host::Impl::TakeReset(std::span<const uint8_t> datagram, const Route& from, Instant now) {
  ++counters_.unknown;
  std::vector<ConnectionId> candidates;
  for (const auto& [id, connection] : connections_) {
    if (connection->remote() == from.remote) candidates.push_back(id);
  }
  for (const ConnectionId id : candidates) {
    if (Connection* connection = Find(id)) Settle(id, connection->Read(datagram, from, now), now);
  }
}

// Only for connection ids that this host has made, in this life or a former one.
void Host::Impl::SendReset(std::span<const uint8_t> datagram, const Route& from) {
  if (datagram.size() <= kMinResetBytes || !HasQuicCidOf(datagram, options_.cid_key)) {
    ++counters_.unknown;
    return;
  }
  const ngtcp2_cid cid = ToCid(datagram.subspan(1, kQuicCidBytes));
  std::array<uint8_t, NGTCP2_STATELESS_RESET_TOKENLEN> token;
  if (ngtcp2_crypto_generate_stateless_reset_token(token.data(), options_.reset_key.data(),
                                                   options_.reset_key.size(), &cid) != 0) {
    return;
  }
  std::array<uint8_t, 64> random;
  randombytes_buf(random.data(), random.size());
  // Always one byte less than what is answered, so that two hosts cannot answer each other forever.
  const size_t room = std::min(datagram.size() - 1, random.size());
  std::array<uint8_t, 128> packet;
  const ngtcp2_ssize size = ngtcp2_pkt_write_stateless_reset(
      packet.data(), room, token.data(), random.data(), room - NGTCP2_STATELESS_RESET_TOKENLEN);
  if (size <= 0) return;
  ++counters_.resets;
  options_.send(from, std::span(packet).first(static_cast<size_t>(size)));
}

void Host::Impl::OnTimer(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const ConnectionId id = deadlines_.begin()->second;
    Connection* connection = Find(id);
    deadlines_.erase(deadlines_.begin());
    connection->deadline.reset();
    Settle(id, connection->HandleExpiry(now), now);
    // ngtcp2 may ask for a time that has passed, when it waits for what only a datagram brings.
    Connection* still = Find(id);
    if (still != nullptr && still->deadline && *still->deadline <= now) {
      deadlines_.erase({*still->deadline, id});
      still->deadline = now + 1ms;
      deadlines_.insert({*still->deadline, id});
    }
  }
}

std::optional<Instant> Host::Impl::NextDeadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

absl::Status Host::Impl::Send(ConnectionId id, std::string_view message, Instant now) {
  Connection* connection = Find(id);
  if (connection == nullptr || !connection->is_connected()) {
    return absl::FailedPreconditionError("send: not connected");
  }
  if (connection->queued_bytes() >= options_.max_queued_bytes) {
    connection->wants_writable = true;
    return absl::ResourceExhaustedError("send: too much waits for the peer already");
  }
  connection->Queue(message);
  Settle(id, std::nullopt, now);
  return absl::OkStatus();
}

void Host::Impl::Close(ConnectionId id, uint64_t code, std::string_view reason, Instant now) {
  Connection* connection = Find(id);
  if (connection == nullptr) return;
  (void)connection->Flush(now);  // what was said before goes first
  connection->WriteClose(code, reason, now);
  Erase(id);
}

void Host::Impl::CloseAll(uint64_t code, std::string_view reason, Instant now) {
  std::vector<ConnectionId> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(id);
  for (const ConnectionId id : all) Close(id, code, reason, now);
}

// ------------------------------------------------------------------------------------ public faces

Host::Host(HostOptions options, Listener& listener)
    : impl_(std::make_unique<Impl>(std::move(options), listener)) {}
Host::~Host() = default;

absl::StatusOr<ConnectionId> Host::Connect(const Endpoint& to,
                                           const std::optional<NodeId>& expected, Instant now,
                                           const std::optional<KnockKey>& knock) {
  return impl_->Connect(to, expected, now, knock);
}
std::optional<KnockKey> Host::knock(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  return connection == nullptr ? std::nullopt : connection->knock();
}
void Host::OnDatagram(std::span<const uint8_t> datagram, const Route& from, Instant now) {
  impl_->OnDatagram(datagram, from, now);
}
void Host::OnTimer(Instant now) { impl_->OnTimer(now); }
std::optional<Instant> Host::NextDeadline() const { return impl_->NextDeadline(); }
absl::Status Host::Send(ConnectionId id, std::string_view message, Instant now) {
  return impl_->Send(id, message, now);
}
void Host::Close(ConnectionId id, uint64_t code, std::string_view reason, Instant now) {
  impl_->Close(id, code, reason, now);
}
void Host::CloseAll(uint64_t code, std::string_view reason, Instant now) {
  impl_->CloseAll(code, reason, now);
}

absl::StatusOr<std::array<uint8_t, 32>> Host::Export(ConnectionId id,
                                                     std::string_view label) const {
  const Connection* connection = impl_->Find(id);
  if (connection == nullptr || !connection->is_connected()) {
    return absl::FailedPreconditionError("export: not connected");
  }
  std::array<uint8_t, 32> out{};
  // SAFETY: GnuTLS takes bytes as char.
  const int result = gnutls_prf_rfc5705(connection->session(), label.size(), label.data(), 0,
                                        nullptr, out.size(), reinterpret_cast<char*>(out.data()));
  if (result < 0) return absl::InternalError(fmt::format("export: {}", gnutls_strerror(result)));
  return out;
}

Endpoint Host::remote(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  return connection == nullptr ? Endpoint() : connection->remote();
}
Route Host::route(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  return connection == nullptr ? Route() : connection->route();
}
std::string Host::original_cid(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  if (connection == nullptr) return "";
  const ngtcp2_cid& cid = connection->original();
  return HexEncode({cid.data, cid.datalen});
}
std::optional<Duration> Host::rtt(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  return connection == nullptr ? std::nullopt : connection->rtt();
}
bool Host::Owns(std::span<const uint8_t> datagram) const {
  return impl_->FindFor(datagram) != nullptr;
}
size_t Host::unacknowledged(ConnectionId id) const {
  const Connection* connection = impl_->Find(id);
  return connection == nullptr ? 0 : connection->queued_bytes();
}
size_t Host::connections() const { return impl_->size(); }
const HostCounters& Host::counters() const { return impl_->counters(); }

}  // namespace omni::quic
