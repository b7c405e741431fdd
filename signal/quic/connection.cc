// SPDX-License-Identifier: Apache-2.0
#include "signal/quic/connection.h"

#include <fmt/format.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "common/encoding.h"
#include "common/status.h"

namespace omni::quic {
namespace {

// LIMIT: a migration takes one, and gives it back when the new path is proven and the old one
// forgotten (three PTOs, some 3 s): so many may follow each other at once.
constexpr uint64_t kMaxCids = 8;
// LIMIT: what a peer may send before we have taken it; taken at once, so it bounds bursts only.
constexpr uint64_t kWindowBytes = uint64_t{256} << 10U;

// A path in the form of ngtcp2, for as long as this lives.
class Path {
 public:
  explicit Path(const Route& route) {
    const socklen_t local_length = Endpoint{.address = route.local}.ToSockaddr(&local_);
    const socklen_t length = route.remote.ToSockaddr(&remote_);
    // SAFETY: a sockaddr of either family is looked at through its common beginning.
    path_.local = {reinterpret_cast<sockaddr*>(&local_), local_length};
    path_.remote = {reinterpret_cast<sockaddr*>(&remote_), length};
  }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  const ngtcp2_path* get() const { return &path_; }

 private:
  sockaddr_storage local_{};
  sockaddr_storage remote_{};
  ngtcp2_path path_{};
};

std::optional<Route> RouteOf(const ngtcp2_path& path) {
  const auto remote = Endpoint::FromSockaddr(path.remote.addr);
  const auto local = Endpoint::FromSockaddr(path.local.addr);
  if (!remote || !local) return std::nullopt;
  return Route{.remote = *remote, .local = local->address};
}

void Random(uint8_t* out, size_t length, const ngtcp2_rand_ctx* /*context*/) {
  randombytes_buf(out, length);
  // ngtcp2 0.12 cannot be told to leave the fixed bit of its packets alone (RFC 9287), by which a
  // datagram is known as QUIC's on the one port. It tosses a coin per connection: the only single
  // byte that it asks for. Tests see to it that each datagram has the bit.
  if (length == 1) *out = 0;
}

std::string TextOf(const uint8_t* reason, size_t length) {
  std::string text = AsString({reason, length});
  // The peer's words go to logs and screens.
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

}  // namespace

uint64_t ToTimestamp(Instant now) { return static_cast<uint64_t>(now.time_since_epoch().count()); }

ngtcp2_cid ToCid(std::span<const uint8_t> bytes) {
  ngtcp2_cid cid;
  ngtcp2_cid_init(&cid, bytes.data(), bytes.size());
  return cid;
}

QuicCid NewCid(const HostOptions& options) { return NewQuicCid(options.cid_key); }

Connection::Connection(ConnectionId id, const HostOptions& options, Hooks hooks, const Route& route)
    : id_(id),
      options_(options),
      hooks_(std::move(hooks)),
      route_(route),
      reader_(options.max_message_bytes) {}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Begin(
    ConnectionId id, const HostOptions& options, const Credentials& credentials, Hooks hooks,
    const Route& route, const std::optional<NodeId>& expected, const std::optional<KnockKey>& knock,
    Instant now) {
  if (options.knocks && !(expected && knock))
    return absl::InvalidArgumentError("connect: to whom?");
  std::unique_ptr<Connection> made(new Connection(id, options, std::move(hooks), route));
  made->expected_ = expected;
  made->knock_ = knock;
  RETURN_IF_ERROR(made->Start(Side::kClient, credentials, nullptr, now));
  return made;
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Accept(
    ConnectionId id, const HostOptions& options, const Credentials& credentials, Hooks hooks,
    const Route& route, const Accepted& accepted, Instant now) {
  std::unique_ptr<Connection> made(new Connection(id, options, std::move(hooks), route));
  made->knock_ = accepted.knock;
  RETURN_IF_ERROR(made->Start(Side::kServer, credentials, &accepted, now));
  return made;
}

absl::Status Connection::Start(Side side, const Credentials& credentials, const Accepted* accepted,
                               Instant now) {
  side_ = side;
  ASSIGN_OR_RETURN(session_, MakeSession(side, credentials, options_.protocol));
  const ngtcp2_cid source = ToCid(NewCid(options_));
  const Path path(route_);
  const ngtcp2_callbacks callbacks = Callbacks(side);
  const ngtcp2_settings settings = Settings(accepted, now);
  const ngtcp2_transport_params parameters = Parameters(side, accepted, source);
  ngtcp2_conn* conn = nullptr;
  int result = 0;
  if (side == Side::kClient) {
    std::array<uint8_t, kQuicCidBytes> random{};
    randombytes_buf(random.data(), random.size());
    original_ = ToCid(random);
    result = ngtcp2_conn_client_new(&conn, &original_, &source, path.get(), NGTCP2_PROTO_VER_V1,
                                    &callbacks, &settings, &parameters, nullptr, this);
  } else {
    original_ = accepted->original.value_or(accepted->destination);
    result = ngtcp2_conn_server_new(&conn, &accepted->client_source, &source, path.get(),
                                    accepted->version, &callbacks, &settings, &parameters, nullptr,
                                    this);
  }
  if (result != 0) return absl::InternalError(fmt::format("QUIC: {}", ngtcp2_strerror(result)));
  conn_.reset(conn);
  ngtcp2_conn_set_tls_native_handle(conn, session_.get());
  if (options_.keepalive > 0ns) {
    ngtcp2_conn_set_keep_alive_timeout(conn, static_cast<uint64_t>(options_.keepalive.count()));
  }
  reference_ = {.get_conn = [](ngtcp2_crypto_conn_ref* r) { return Of(r->user_data).conn_.get(); },
                .user_data = this};
  gnutls_session_set_ptr(session_.get(), &reference_);
  hooks_.add_cid(source, id_);
  if (accepted != nullptr) {
    initial_destination_ = accepted->destination;
    hooks_.add_cid(accepted->destination, id_);
  }
  return absl::OkStatus();
}

ngtcp2_callbacks Connection::Callbacks(Side side) const {
  ngtcp2_callbacks c{};
  if (side == Side::kClient) {
    c.client_initial = ngtcp2_crypto_client_initial_cb;
    c.recv_retry = ngtcp2_crypto_recv_retry_cb;
  } else {
    c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  }
  c.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  c.encrypt = ngtcp2_crypto_encrypt_cb;
  c.decrypt = ngtcp2_crypto_decrypt_cb;
  c.hp_mask = ngtcp2_crypto_hp_mask_cb;
  c.update_key = ngtcp2_crypto_update_key_cb;
  c.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  c.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  c.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
  c.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  c.rand = Random;
  c.handshake_completed = [](ngtcp2_conn*, void* self) { return Of(self).OnHandshakeCompleted(); };
  c.recv_stream_data = [](ngtcp2_conn*, uint32_t flags, int64_t stream, uint64_t,
                          const uint8_t* data, size_t length, void* self, void*) {
    return Of(self).OnStreamData(stream, {data, length}, flags);
  };
  c.acked_stream_data_offset = [](ngtcp2_conn*, int64_t, uint64_t offset, uint64_t length,
                                  void* self, void*) {
    Of(self).OnAcknowledged(offset + length);
    return 0;
  };
  c.stream_open = [](ngtcp2_conn*, int64_t stream, void* self) {
    Of(self).stream_ = stream;
    return 0;
  };
  c.stream_close = [](ngtcp2_conn*, uint32_t, int64_t, uint64_t, void* self, void*) {
    Of(self).broken_ = "the stream ended";
    return 0;
  };
  c.extend_max_stream_data = [](ngtcp2_conn*, int64_t, uint64_t, void* self, void*) {
    Of(self).stream_blocked_ = false;
    return 0;
  };
  c.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* cid, uint8_t* token, size_t length,
                               void* self) { return Of(self).OnNewCid(cid, token, length); };
  c.remove_connection_id = [](ngtcp2_conn*, const ngtcp2_cid* cid, void* self) {
    Of(self).hooks_.remove_cid(*cid);
    return 0;
  };
  c.path_validation = [](ngtcp2_conn*, uint32_t, const ngtcp2_path*,
                         ngtcp2_path_validation_result result, void* self) {
    if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS) Of(self).happened_.moved = true;
    return 0;
  };
  return c;
}

ngtcp2_settings Connection::Settings(const Accepted* accepted, Instant now) const {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = ToTimestamp(now);
  settings.handshake_timeout = static_cast<uint64_t>(options_.handshake_timeout.count());
  settings.max_tx_udp_payload_size = kMaxDatagramBytes;
  settings.no_pmtud = 1;
  if (accepted != nullptr) {
    // SAFETY: ngtcp2 reads the token and does not write.
    settings.token = {.base = const_cast<uint8_t*>(accepted->token.data()),
                      .len = accepted->token.size()};
  }
  return settings;
}

ngtcp2_transport_params Connection::Parameters(Side side, const Accepted* accepted,
                                               const ngtcp2_cid& source) const {
  ngtcp2_transport_params parameters;
  ngtcp2_transport_params_default(&parameters);
  parameters.initial_max_stream_data_bidi_local = kWindowBytes;
  parameters.initial_max_stream_data_bidi_remote = kWindowBytes;
  parameters.initial_max_data = kWindowBytes;
  parameters.initial_max_streams_bidi = side == Side::kServer ? 1 : 0;
  parameters.initial_max_streams_uni = 0;
  parameters.max_idle_timeout = static_cast<uint64_t>(options_.idle_timeout.count());
  parameters.max_udp_payload_size = kMaxDatagramBytes;
  parameters.active_connection_id_limit = kMaxCids;
  if (accepted == nullptr) return parameters;
  parameters.original_dcid = accepted->original.value_or(accepted->destination);
  if (accepted->original) {
    parameters.retry_scid = accepted->destination;
    parameters.retry_scid_present = 1;
  }
  parameters.stateless_reset_token_present = 1;
  ngtcp2_crypto_generate_stateless_reset_token(parameters.stateless_reset_token,
                                               options_.reset_key.data(), options_.reset_key.size(),
                                               &source);
  return parameters;
}

// ------------------------------------------------------------------------------ called by
// libraries

int Connection::CheckCertificate(gnutls_session_t session) {
  const auto* reference = static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session));
  return Of(reference->user_data).TakeCertificate() ? 0 : -1;
}

bool Connection::TakeCertificate() {
  const auto key = PeerKeyOf(session_.get());
  if (!key) {
    broken_ = "its certificate holds no Ed25519 key";
    return false;
  }
  const NodeId id = NodeId::FromIdentityKey(*key);
  if (expected_ && id != *expected_) {
    broken_ = fmt::format("it is {}, and {} is wanted", id.ToString(), expected_->ToString());
    return false;
  }
  peer_ = *key;
  has_peer_ = true;
  return true;
}

int Connection::OnHandshakeCompleted() {
  if (!has_peer_) return NGTCP2_ERR_CALLBACK_FAILURE;
  connected_ = true;
  happened_.connected = true;
  return 0;
}

int Connection::OnStreamData(int64_t stream, std::span<const uint8_t> bytes, uint32_t flags) {
  ngtcp2_conn_extend_max_stream_offset(conn_.get(), stream, bytes.size());
  ngtcp2_conn_extend_max_offset(conn_.get(), bytes.size());
  const absl::Status taken = reader_.Append(
      bytes, [this](std::string message) { happened_.messages.push_back(std::move(message)); });
  if (!taken.ok()) {
    broken_ = std::string(Message(taken));
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  if ((flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0) broken_ = "the stream ended";
  return 0;
}

void Connection::OnAcknowledged(uint64_t end) {
  while (!queue_.empty() && queue_begin_ + queue_.front().size() <= end) {
    queue_begin_ += queue_.front().size();
    queued_bytes_ -= queue_.front().size();
    queue_.pop_front();
  }
}

int Connection::OnNewCid(ngtcp2_cid* cid, uint8_t* token, size_t length) {
  if (length != kQuicCidBytes) return NGTCP2_ERR_CALLBACK_FAILURE;
  *cid = ToCid(NewCid(options_));
  if (ngtcp2_crypto_generate_stateless_reset_token(token, options_.reset_key.data(),
                                                   options_.reset_key.size(), cid) != 0) {
    return NGTCP2_ERR_CALLBACK_FAILURE;
  }
  hooks_.add_cid(*cid, id_);
  return 0;
}

// -------------------------------------------------------------------------------- datagrams,
// timers

std::optional<Closed> Connection::Read(std::span<const uint8_t> datagram, const Route& from,
                                       Instant now) {
  const Path path(from);
  const ngtcp2_pkt_info info{};
  const int result = ngtcp2_conn_read_pkt(conn_.get(), path.get(), &info, datagram.data(),
                                          datagram.size(), ToTimestamp(now));
  if (result != 0) return Explain(result, now);
  if (!broken_.empty()) {
    WriteClose(0, broken_, now);
    return Closed{.cause = CloseCause::kProtocol, .code = 0, .text = broken_};
  }
  return std::nullopt;
}

std::optional<Closed> Connection::HandleExpiry(Instant now) {
  const int result = ngtcp2_conn_handle_expiry(conn_.get(), ToTimestamp(now));
  return result == 0 ? std::nullopt : Explain(result, now);
}

// What an error of ngtcp2 means, and the peer is told where that makes sense.
std::optional<Closed> Connection::Explain(int error, Instant now) {
  switch (error) {
    case NGTCP2_ERR_DRAINING: {
      ngtcp2_connection_close_error why;
      ngtcp2_conn_get_connection_close_error(conn_.get(), &why);
      const std::string text = TextOf(why.reason, why.reasonlen);
      if (why.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION) {
        return Closed{.cause = CloseCause::kPeer, .code = why.error_code, .text = text};
      }
      if (!connected_) {
        return Closed{.cause = CloseCause::kHandshake,
                      .code = 0,
                      .text = fmt::format("refused (error 0x{:x}) {}", why.error_code, text)};
      }
      return Closed{.cause = CloseCause::kReset, .code = 0, .text = "it has forgotten us"};
    }
    case NGTCP2_ERR_IDLE_CLOSE:
      return Closed{.cause = CloseCause::kIdle, .code = 0, .text = "nothing is heard of it"};
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      return Closed{.cause = CloseCause::kHandshake, .code = 0, .text = "no answer"};
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
      return Closed{.cause = CloseCause::kHandshake, .code = 0, .text = "nothing to begin with"};
    default:
      break;
  }
  const std::string text = broken_.empty() ? ngtcp2_strerror(error) : broken_;
  ngtcp2_connection_close_error why;
  ngtcp2_connection_close_error_default(&why);
  if (error == NGTCP2_ERR_CRYPTO) {
    ngtcp2_connection_close_error_set_transport_error_tls_alert(
        &why, ngtcp2_conn_get_tls_alert(conn_.get()), nullptr, 0);
  } else {
    ngtcp2_connection_close_error_set_transport_error_liberr(&why, error, nullptr, 0);
  }
  WriteClose(why, now);
  return Closed{.cause = connected_ ? CloseCause::kProtocol : CloseCause::kHandshake,
                .code = 0,
                .text = text};
}

std::optional<Closed> Connection::Flush(Instant now) {
  OpenStream();
  bool wrote = true;
  while (wrote) {
    if (auto closed = WriteOne(now, wrote)) return closed;
  }
  ngtcp2_conn_update_pkt_tx_time(conn_.get(), ToTimestamp(now));
  return std::nullopt;
}

// The client opens the one stream there is.
void Connection::OpenStream() {
  if (side_ != Side::kClient || !connected_ || stream_ >= 0) return;
  int64_t stream = -1;
  if (ngtcp2_conn_open_bidi_stream(conn_.get(), &stream, nullptr) == 0) stream_ = stream;
}

ngtcp2_vec Connection::NextBytes() const {
  uint64_t begin = queue_begin_;
  for (const std::string& message : queue_) {
    if (sent_end_ < begin + message.size()) {
      const size_t skip = sent_end_ - begin;
      // SAFETY: ngtcp2 reads through this pointer and does not write.
      auto* base = const_cast<uint8_t*>(AsBytes(message).data() + skip);
      return {.base = base, .len = message.size() - skip};
    }
    begin += message.size();
  }
  return {.base = nullptr, .len = 0};
}

// One datagram, when there is anything to send.
std::optional<Closed> Connection::WriteOne(Instant now, bool& wrote) {
  Buffer buffer;
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  ngtcp2_vec bytes{};
  int64_t stream = -1;
  if (stream_ >= 0 && !stream_blocked_) bytes = NextBytes();
  if (bytes.len > 0) stream = stream_;
  ngtcp2_ssize taken = -1;
  const ngtcp2_ssize size = ngtcp2_conn_writev_stream(
      conn_.get(), &path.path, &info, buffer.data(), kMaxDatagramBytes, &taken,
      NGTCP2_WRITE_STREAM_FLAG_NONE, stream, &bytes, bytes.len > 0 ? 1 : 0, ToTimestamp(now));
  if (size == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
    stream_blocked_ = true;  // until the peer gives more
    return std::nullopt;
  }
  if (size < 0) {
    wrote = false;
    return Explain(static_cast<int>(size), now);
  }
  if (taken > 0) sent_end_ += static_cast<uint64_t>(taken);
  wrote = size > 0;
  if (!wrote) return std::nullopt;
  if (const auto to = RouteOf(path.path)) Emit(*to, buffer, static_cast<size_t>(size));
  return std::nullopt;
}

void Connection::Queue(std::string_view message) {
  queue_.push_back(Frame(message));
  queued_bytes_ += queue_.back().size();
}

Connection::Happened Connection::TakeHappened() {
  if (happened_.moved) {
    const auto route = RouteOf(*ngtcp2_conn_get_path(conn_.get()));
    happened_.moved = route && *route != route_;
    if (happened_.moved) route_ = *route;
  }
  return std::exchange(happened_, {});
}

void Connection::WriteClose(uint64_t code, std::string_view reason, Instant now) {
  ngtcp2_connection_close_error why;
  ngtcp2_connection_close_error_default(&why);
  ngtcp2_connection_close_error_set_application_error(&why, code, AsBytes(reason).data(),
                                                      reason.size());
  WriteClose(why, now);
}

void Connection::WriteClose(const ngtcp2_connection_close_error& why, Instant now) {
  Buffer buffer;
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  const ngtcp2_ssize size = ngtcp2_conn_write_connection_close(
      conn_.get(), &path.path, &info, buffer.data(), kMaxDatagramBytes, &why, ToTimestamp(now));
  if (size <= 0) return;
  if (const auto to = RouteOf(path.path)) Emit(*to, buffer, static_cast<size_t>(size));
}

void Connection::Emit(const Route& to, Buffer& buffer, size_t size) const {
  const std::span<const uint8_t> datagram = std::span(buffer).first(size);
  constexpr size_t kDestinationAt = 6;  // RFC 8999 section 5.1
  const bool is_first = options_.knocks && side_ == Side::kClient && IsLongQuic(buffer[0]) &&
                        size >= kDestinationAt + original_.datalen &&
                        std::ranges::equal(datagram.subspan(kDestinationAt, original_.datalen),
                                           std::span(original_.data, original_.datalen));
  if (!is_first) return options_.send(to, datagram);
  const Knock knock = KnockOn(datagram, *knock_);
  std::ranges::copy(knock, buffer.begin() + static_cast<ptrdiff_t>(size));
  options_.send(to, std::span(buffer).first(size + kKnockBytes));
}

std::optional<Instant> Connection::NextExpiry() const {
  const ngtcp2_tstamp expiry = ngtcp2_conn_get_expiry(conn_.get());
  if (expiry == UINT64_MAX) return std::nullopt;
  return Instant(Duration(static_cast<int64_t>(expiry)));
}

std::vector<ngtcp2_cid> Connection::Cids() const {
  std::vector<ngtcp2_cid> cids(ngtcp2_conn_get_num_scid(conn_.get()));
  if (!cids.empty()) ngtcp2_conn_get_scid(conn_.get(), cids.data());
  if (initial_destination_) cids.push_back(*initial_destination_);
  return cids;
}

std::optional<Duration> Connection::rtt() const {
  if (!connected_) return std::nullopt;
  ngtcp2_conn_stat stat;
  ngtcp2_conn_get_conn_stat(conn_.get(), &stat);
  return Duration(static_cast<int64_t>(stat.smoothed_rtt));
}

}  // namespace omni::quic
