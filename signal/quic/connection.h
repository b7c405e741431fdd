// SPDX-License-Identifier: Apache-2.0
// Connection: one QUIC connection, ngtcp2 and GnuTLS held together. Its callbacks only note what
// happened; the Host looks at the notes when ngtcp2 has returned, so that nothing is freed under
// it. Sent bytes are kept until they are acknowledged. Owned by a Host.
#pragma once

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "signal/quic/framing.h"
#include "signal/quic/host.h"
#include "signal/quic/tls.h"

namespace omni::quic {

struct DeleteConn {
  void operator()(ngtcp2_conn* conn) const { ngtcp2_conn_del(conn); }
};

// A server's first datagram of a client, as ngtcp2 wants it back.
struct Accepted {
  ngtcp2_cid client_source{};
  ngtcp2_cid destination{};            // of the first Initial; of the Retry after one
  std::optional<ngtcp2_cid> original;  // destination before the Retry
  uint32_t version = NGTCP2_PROTO_VER_V1;
  std::vector<uint8_t> token;
  std::optional<KnockKey> knock;
};

uint64_t ToTimestamp(Instant now);
ngtcp2_cid ToCid(std::span<const uint8_t> bytes);
QuicCid NewCid(const HostOptions& options);

class Connection {
 public:
  // What the host does with connection ids.
  struct Hooks {
    std::function<void(const ngtcp2_cid&, ConnectionId)> add_cid;
    std::function<void(const ngtcp2_cid&)> remove_cid;
  };
  struct Happened {
    bool connected = false;
    bool moved = false;
    std::vector<std::string> messages;
  };

  static absl::StatusOr<std::unique_ptr<Connection>> Begin(
      ConnectionId id, const HostOptions& options, const Credentials& credentials, Hooks hooks,
      const Route& route, const std::optional<NodeId>& expected,
      const std::optional<KnockKey>& knock, Instant now);
  static absl::StatusOr<std::unique_ptr<Connection>> Accept(ConnectionId id,
                                                            const HostOptions& options,
                                                            const Credentials& credentials,
                                                            Hooks hooks, const Route& route,
                                                            const Accepted& accepted, Instant now);

  ConnectionId id() const { return id_; }
  bool is_connected() const { return connected_; }
  bool is_accepted() const { return side_ == Side::kServer; }
  const PublicKey& peer() const { return peer_; }
  const Endpoint& remote() const { return route_.remote; }
  const Route& route() const { return route_; }
  const ngtcp2_cid& original() const { return original_; }
  const std::optional<KnockKey>& knock() const { return knock_; }
  gnutls_session_t session() const { return session_.get(); }
  size_t queued_bytes() const { return queued_bytes_; }
  bool wants_writable = false;      // a Send() was refused
  std::optional<Instant> deadline;  // as the host has it in its order
  std::optional<Duration> rtt() const;

  // Each gives why the connection is over, or nothing. Flush() is due afterwards.
  std::optional<Closed> Read(std::span<const uint8_t> datagram, const Route& from, Instant now);
  std::optional<Closed> HandleExpiry(Instant now);
  std::optional<Closed> Flush(Instant now);
  std::optional<Instant> NextExpiry() const;
  void Queue(std::string_view message);
  // What happened since the last call.
  Happened TakeHappened();
  // Tells the peer; the connection is good for nothing afterwards.
  void WriteClose(const ngtcp2_connection_close_error& why, Instant now);
  void WriteClose(uint64_t code, std::string_view reason, Instant now);
  std::vector<ngtcp2_cid> Cids() const;

  // For GnuTLS: 0 when the certificate that the peer shows will do.
  static int CheckCertificate(gnutls_session_t session);

 private:
  // LIMIT: RFC 9000 section 14: what every path carries; with a knock still less than IPv6's 1,280.
  // Path MTU discovery would gain little here.
  static constexpr size_t kMaxDatagramBytes = 1200;

  Connection(ConnectionId id, const HostOptions& options, Hooks hooks, const Route& route);
  absl::Status Start(Side side, const Credentials& credentials, const Accepted* accepted,
                     Instant now);
  ngtcp2_callbacks Callbacks(Side side) const;
  ngtcp2_settings Settings(const Accepted* accepted, Instant now) const;
  ngtcp2_transport_params Parameters(Side side, const Accepted* accepted,
                                     const ngtcp2_cid& source) const;
  std::optional<Closed> Explain(int error, Instant now);
  std::optional<Closed> WriteOne(Instant now, bool& wrote);
  ngtcp2_vec NextBytes() const;
  void OpenStream();
  // Sends the first `size` bytes of the buffer, with a knock behind them where one is due.
  using Buffer = std::array<uint8_t, kMaxDatagramBytes + kKnockBytes>;
  void Emit(const Route& to, Buffer& buffer, size_t size) const;

  static Connection& Of(void* user_data) { return *static_cast<Connection*>(user_data); }
  bool TakeCertificate();
  int OnHandshakeCompleted();
  int OnStreamData(int64_t stream, std::span<const uint8_t> bytes, uint32_t flags);
  void OnAcknowledged(uint64_t end);
  int OnNewCid(ngtcp2_cid* cid, uint8_t* token, size_t length);

  const ConnectionId id_;
  const HostOptions& options_;
  const Hooks hooks_;
  ngtcp2_crypto_conn_ref reference_{};
  Session session_;
  std::unique_ptr<ngtcp2_conn, DeleteConn> conn_;
  Side side_ = Side::kClient;
  std::optional<NodeId> expected_;
  std::optional<KnockKey> knock_;  // by which it began: the peer's, or one of ours
  Route route_;
  PublicKey peer_{};
  bool has_peer_ = false;
  bool connected_ = false;
  ngtcp2_cid original_{};  // the destination of the client's very first datagram
  std::optional<ngtcp2_cid> initial_destination_;  // a server's, chosen by the client

  int64_t stream_ = -1;
  bool stream_blocked_ = false;
  MessageReader reader_;
  std::deque<std::string> queue_;  // messages from the first that is not wholly acknowledged
  uint64_t queue_begin_ = 0;       // stream offset of the queue's first byte
  uint64_t sent_end_ = 0;          // stream offset of the first byte that was not sent
  size_t queued_bytes_ = 0;

  Happened happened_;
  std::string broken_;  // which rule of ours the peer broke
};

}  // namespace omni::quic
