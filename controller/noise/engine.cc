// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/engine.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/encoding.h"
#include "common/status.h"
#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/payload.h"
#include "controller/noise/peer_table.h"
#include "controller/noise/session_keys.h"

namespace omni::noise {
namespace {

constexpr std::string_view kPrologue = "omninervous handshake v1";

// LIMIT: WireGuard whitepaper section 6.1: REKEY_TIMEOUT, its jitter, REKEY_ATTEMPT_TIME.
constexpr Duration kRetryInterval = 5s;
constexpr uint32_t kRetryJitterMs = 334;  // 0-333
constexpr Duration kGiveUpAfter = 90s;
// LIMIT: as in the kernel's WireGuard: at most 50 initiations a second from one peer.
constexpr Duration kMinInitiationGap = 20ms;

// The message as its layout, when size, type and reserved bytes are right.
template <typename Message>
std::optional<Message> As(std::span<const uint8_t> datagram, uint8_t type) {
  if (datagram.size() != sizeof(Message)) return std::nullopt;
  Message message;
  std::memcpy(&message, datagram.data(), sizeof(message));
  constexpr std::array<uint8_t, 3> kZero{};
  if (message.type != type || message.reserved != kZero) return std::nullopt;
  return message;
}

template <typename Message>
std::vector<uint8_t> ToBytes(const Message& message) {
  std::vector<uint8_t> bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  return bytes;
}

template <size_t N>
std::array<uint8_t, N> ToArray(std::span<const uint8_t> from) {
  OMNI_CHECK(from.size() == N);
  std::array<uint8_t, N> to{};
  std::copy(from.begin(), from.end(), to.begin());
  return to;
}

constexpr size_t kSealedPayloadBytes = wire::kPayloadBytes + wire::kTagBytes;

void Fail(Output& out, FailureReason reason, const Endpoint& from,
          std::optional<NodeId> peer = std::nullopt) {
  out.failures.push_back({reason, peer, from});
}

}  // namespace

class HandshakeEngine::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        own_static_(PublicOf(options_.static_private)),
        mac1_key_(Mac1Key(own_static_)),
        cookies_(own_static_, options_.environment) {
    environment().Random({boot_secret_.mutable_data(), boot_secret_.size()});
    SetWorkers(options_.workers);
  }

  absl::Status AddPeer(const NodeId& id, PeerOptions options);
  void RemovePeer(Peer& peer);
  void SetEndpoint(Peer& peer, const Endpoint& endpoint);
  void SetWorkers(int workers) { workers_ = std::clamp(workers, 1, kMaxWorkers); }
  void SetControlChannels(int channels) {
    control_channels_ = static_cast<uint8_t>(std::clamp(channels, 0, kMaxControlChannels));
  }
  void SetCiphers(std::span<const Cipher> ciphers) {
    const bool aes = std::ranges::find(ciphers, Cipher::kAes256Gcm) != ciphers.end();
    ciphers_ = kOffersChaCha20Poly1305 | (aes ? kOffersAes256Gcm : 0);
  }

  void Initiate(Output& out, Peer& peer, Instant now);
  void OnInitiation(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                    Instant now);
  void OnResponse(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                  Instant now);
  void OnCookieReply(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                     Instant now);
  void OnTimer(Output& out, Instant now);

  PeerTable& peers() { return peers_; }
  absl::flat_hash_set<uint64_t>& tags() { return tags_; }
  const std::array<uint8_t, 32>& mac1_key() const { return mac1_key_; }

 private:
  Environment& environment() { return *options_.environment; }
  bool PassesLoadCheck(Output& out, std::span<const uint8_t> datagram, uint32_t sender_index,
                       const Endpoint& from, Instant now);
  void SendInitiation(Output& out, Peer& peer, Instant now);
  void SendResponse(Output& out, Peer& peer, Responder& noise, const Offer& theirs,
                    uint32_t receiver_index, const Endpoint& from, Instant now);
  std::optional<InitiationPayload> CheckInitiation(Output& out, Peer& peer,
                                                   const wire::Initiation& message,
                                                   Responder& noise, const Endpoint& from,
                                                   Instant now);
  void FinishMessage(Output& out, Peer& peer, SentKind kind, std::vector<uint8_t> bytes,
                     const Endpoint& to, Instant now);
  void AbandonTry(Peer& peer);
  void EndHandshake(Peer& peer);
  Offer NewOffer(const Hash& hash);
  uint64_t NewTag(const Hash& hash);
  uint64_t NextTimestamp();
  Key32 NewEphemeral();

  Options options_;
  const PublicKey own_static_;
  const std::array<uint8_t, 32> mac1_key_;
  CookieIssuer cookies_;
  LoadLimiter load_;
  Key32 boot_secret_;
  PeerTable peers_;
  absl::flat_hash_set<uint64_t> tags_;
  int workers_ = 1;
  uint8_t control_channels_ = 0;
  uint8_t ciphers_ = kOffersChaCha20Poly1305;
  uint64_t last_timestamp_ = 0;
};

// ------------------------------------------------------------------------------------------- peers

absl::Status HandshakeEngine::Impl::AddPeer(const NodeId& id, PeerOptions options) {
  if (options.static_public == own_static_) {
    return absl::InvalidArgumentError(
        fmt::format("add peer {}: its static key is our own", id.ToString()));
  }
  auto static_static = Dh(options_.static_private, options.static_public);
  if (!static_static) {
    return absl::InvalidArgumentError(
        fmt::format("add peer {}: its static key is a point of low order", id.ToString()));
  }
  auto peer = std::make_unique<Peer>();
  peer->id = id;
  peer->static_public = options.static_public;
  peer->mac1_key = Mac1Key(options.static_public);
  peer->cookie_reply_key = CookieReplyKey(options.static_public);
  peer->static_static = *std::move(static_static);
  peer->psk = CombinePsk(options_.cluster_psk, options.pair_psk);
  peer->endpoint = options.endpoint;
  if (peers_.Add(std::move(peer)) == nullptr) {
    return absl::AlreadyExistsError(
        fmt::format("add peer {}: its id or static key belongs to a peer", id.ToString()));
  }
  return absl::OkStatus();
}

void HandshakeEngine::Impl::RemovePeer(Peer& peer) {
  EndHandshake(peer);
  peers_.Remove(peer);
}

void HandshakeEngine::Impl::SetEndpoint(Peer& peer, const Endpoint& endpoint) {
  peer.endpoint = endpoint;
  // Due at once: the caller's next OnTimer() starts what Initiate() could not. The clock's zero and
  // not Instant::min(), so that callers can subtract.
  if (peer.wanted) {
    peers_.SetDeadline(peer, endpoint.is_set() ? std::optional(Instant()) : std::nullopt);
  }
}

// --------------------------------------------------------------------------------------- initiator

void HandshakeEngine::Impl::Initiate(Output& out, Peer& peer, Instant now) {
  if (peer.started) return;
  if (!peer.endpoint.is_set()) {
    peer.wanted = true;
    return;
  }
  peer.wanted = false;
  peer.started = now;
  peer.tries = 0;
  SendInitiation(out, peer, now);
}

// One try: everything in it is fresh, so that a retry cannot be linked to the try before.
void HandshakeEngine::Impl::SendInitiation(Output& out, Peer& peer, Instant now) {
  AbandonTry(peer);
  uint32_t jitter = 0;
  environment().Random({reinterpret_cast<uint8_t*>(&jitter), sizeof(jitter)});  // SAFETY: bytes
  peers_.SetDeadline(peer,
                     std::min(now + kRetryInterval + (jitter % kRetryJitterMs) * Duration(1ms),
                              *peer.started + kGiveUpAfter));
  ++peer.tries;
  if (!peer.endpoint.is_set()) return;

  auto noise = Initiator::BeginInitiation(AsBytes(kPrologue), own_static_, peer.static_public,
                                          peer.static_static, NewEphemeral());
  OMNI_CHECK(noise.has_value());  // AddPeer() refused keys of low order
  const Hash hash = noise->hash();
  InitiationPayload payload;
  payload.timestamp = NextTimestamp();
  payload.proof = MembershipProof(peer.psk, hash);
  payload.offer = NewOffer(hash);

  wire::Initiation message{};
  message.type = kMessageInitiation;
  message.sender_index.Set(peers_.NewIndex(peer, SentKind::kInitiation, environment()));
  message.ephemeral = noise->ephemeral();
  message.encrypted_static = noise->encrypted_static();
  message.encrypted_payload = ToArray<kSealedPayloadBytes>(noise->EncryptPayload(Encode(payload)));
  peer.pending = Pending{*std::move(noise), payload.offer, now};
  FinishMessage(out, peer, SentKind::kInitiation, ToBytes(message), peer.endpoint, now);
}

void HandshakeEngine::Impl::OnResponse(Output& out, std::span<const uint8_t> datagram,
                                       const Endpoint& from, Instant now) {
  const auto message = As<wire::Response>(datagram, kMessageResponse);
  if (!message) return Fail(out, FailureReason::kMalformed, from);
  if (!wire::Mac1IsValid(datagram, mac1_key_)) return Fail(out, FailureReason::kMac1, from);
  const auto [peer, kind] = peers_.FindByIndex(message->receiver_index.value());
  if (peer == nullptr || kind != SentKind::kInitiation || !peer->pending) {
    return Fail(out, FailureReason::kUnexpected, from);
  }
  if (!PassesLoadCheck(out, datagram, message->sender_index.value(), from, now)) return;

  const Pending& pending = *peer->pending;
  const auto result = pending.state.ReadResponse(message->ephemeral, message->encrypted_payload,
                                                 options_.static_private, peer->psk);
  if (!result) return Fail(out, FailureReason::kDecrypt, from);
  const auto payload = ParseResponsePayload(result->payload);
  if (!payload) return Fail(out, FailureReason::kMalformed, from, peer->id);

  EstablishedSession session =
      MakeSession(result->keys, Role::kInitiator, pending.offer, payload->offer);
  session.peer = peer->id;
  session.endpoint = from;
  if (peer->tries == 1) session.rtt = now - pending.sent;
  out.sessions.push_back(std::move(session));

  peer->endpoint = from;
  peer->pending.reset();  // before EndHandshake(): the tag now belongs to the session
  EndHandshake(*peer);
}

void HandshakeEngine::Impl::OnTimer(Output& out, Instant now) {
  while (Peer* peer = peers_.NextDue(now)) {
    peers_.SetDeadline(*peer, std::nullopt);
    if (!peer->started) {
      Initiate(out, *peer, now);
    } else if (now - *peer->started >= kGiveUpAfter) {
      EndHandshake(*peer);
      Fail(out, FailureReason::kTimeout, peer->endpoint, peer->id);
    } else {
      SendInitiation(out, *peer, now);
    }
  }
}

// --------------------------------------------------------------------------------------- responder

// Cheap checks first: size, mac1, load (and address), then one DH, the peer, its payload.
void HandshakeEngine::Impl::OnInitiation(Output& out, std::span<const uint8_t> datagram,
                                         const Endpoint& from, Instant now) {
  const auto message = As<wire::Initiation>(datagram, kMessageInitiation);
  if (!message) return Fail(out, FailureReason::kMalformed, from);
  if (!wire::Mac1IsValid(datagram, mac1_key_)) return Fail(out, FailureReason::kMac1, from);
  if (!PassesLoadCheck(out, datagram, message->sender_index.value(), from, now)) return;

  auto noise = Responder::ReadInitiation(AsBytes(kPrologue), options_.static_private, own_static_,
                                         message->ephemeral, message->encrypted_static);
  if (!noise) return Fail(out, FailureReason::kDecrypt, from);
  Peer* peer = peers_.FindByStatic(noise->remote_static());
  if (peer == nullptr) return Fail(out, FailureReason::kUnknownPeer, from);
  const auto payload = CheckInitiation(out, *peer, *message, *noise, from, now);
  if (!payload) return;

  peer->newest_timestamp = payload->timestamp;
  peer->accepted_at = now;
  // An initiation from elsewhere moves nothing that is known: it may be an old one, replayed to an
  // engine that has just started. The first packet on the session does, through SetEndpoint().
  if (!peer->endpoint.is_set()) peer->endpoint = from;
  if (peer->wanted) {
    peer->wanted = false;
    peers_.SetDeadline(*peer, std::nullopt);
  }
  SendResponse(out, *peer, *noise, payload->offer, message->sender_index.value(), from, now);
}

// Whether the initiation is authentic, made with our PSK, well-formed, new, and not too soon.
std::optional<InitiationPayload> HandshakeEngine::Impl::CheckInitiation(
    Output& out, Peer& peer, const wire::Initiation& message, Responder& noise,
    const Endpoint& from, Instant now) {
  const auto refuse = [&](FailureReason reason) {
    Fail(out, reason, from, peer.id);
    return std::nullopt;
  };
  const Proof expected = MembershipProof(peer.psk, noise.hash());
  const auto plaintext = noise.ReadPayload(peer.static_static, message.encrypted_payload);
  if (!plaintext) {
    Fail(out, FailureReason::kDecrypt, from);  // anybody can claim a static key
    return std::nullopt;
  }
  const auto payload = ParseInitiationPayload(*plaintext);
  if (!payload) return refuse(FailureReason::kMalformed);
  if (sodium_memcmp(payload->proof.data(), expected.data(), expected.size()) != 0) {
    return refuse(FailureReason::kAuthentication);
  }
  if (payload->timestamp <= peer.newest_timestamp) return refuse(FailureReason::kReplay);
  if (peer.accepted_at && now - *peer.accepted_at < kMinInitiationGap) {
    return refuse(FailureReason::kTooFast);
  }
  return payload;
}

void HandshakeEngine::Impl::SendResponse(Output& out, Peer& peer, Responder& noise,
                                         const Offer& theirs, uint32_t receiver_index,
                                         const Endpoint& from, Instant now) {
  if (!noise.BeginResponse(NewEphemeral(), peer.psk)) {
    return Fail(out, FailureReason::kMalformed, from, peer.id);
  }
  ResponsePayload payload;
  payload.offer = NewOffer(noise.hash());

  wire::Response message{};
  message.type = kMessageResponse;
  message.sender_index.Set(peers_.NewIndex(peer, SentKind::kResponse, environment()));
  message.receiver_index.Set(receiver_index);
  message.ephemeral = noise.ephemeral();
  message.encrypted_payload = ToArray<kSealedPayloadBytes>(noise.EncryptPayload(Encode(payload)));
  const TransportKeys keys = noise.Finish();

  EstablishedSession session = MakeSession(keys, Role::kResponder, payload.offer, theirs);
  session.peer = peer.id;
  session.endpoint = from;
  out.sessions.push_back(std::move(session));
  FinishMessage(out, peer, SentKind::kResponse, ToBytes(message), from, now);
}

// ----------------------------------------------------------------------------------------- cookies

// Under load only a sender who shows that it receives where it sends from is worked for.
bool HandshakeEngine::Impl::PassesLoadCheck(Output& out, std::span<const uint8_t> datagram,
                                            uint32_t sender_index, const Endpoint& from,
                                            Instant now) {
  if (load_.Take(now) || cookies_.Mac2IsValid(datagram, from, now)) return true;
  out.datagrams.push_back({from, ToBytes(cookies_.MakeReply(datagram, sender_index, from, now))});
  return false;
}

// Changes nothing but the cookie that the next try will carry.
void HandshakeEngine::Impl::OnCookieReply(Output& out, std::span<const uint8_t> datagram,
                                          const Endpoint& from, Instant now) {
  const auto reply = As<wire::CookieReply>(datagram, kMessageCookieReply);
  if (!reply) return Fail(out, FailureReason::kMalformed, from);
  const auto [peer, kind] = peers_.FindByIndex(reply->receiver_index.value());
  if (peer == nullptr) return Fail(out, FailureReason::kUnexpected, from);
  auto& sent = peer->sent_of(kind);
  if (!sent || sent->cookie_taken) return Fail(out, FailureReason::kUnexpected, from);
  const auto cookie = OpenCookie(*reply, peer->cookie_reply_key, sent->mac1);
  if (!cookie) return Fail(out, FailureReason::kDecrypt, from);
  sent->cookie_taken = true;
  peer->cookie = HeldCookie{*cookie, now};
}

// ----------------------------------------------------------------------------------------- helpers

void HandshakeEngine::Impl::FinishMessage(Output& out, Peer& peer, SentKind kind,
                                          std::vector<uint8_t> bytes, const Endpoint& to,
                                          Instant now) {
  std::optional<Mac> cookie;
  if (peer.cookie && now - peer.cookie->received < kCookieLifetime) cookie = peer.cookie->value;
  peer.sent_of(kind)->mac1 = FillMacs(bytes, peer.mac1_key, cookie);
  out.datagrams.push_back({to, std::move(bytes)});
}

// Erases the latest try's keys, index and tag.
void HandshakeEngine::Impl::AbandonTry(Peer& peer) {
  if (peer.pending) tags_.erase(peer.pending->offer.tag);
  peer.pending.reset();
  peers_.ForgetSent(peer, SentKind::kInitiation);
}

void HandshakeEngine::Impl::EndHandshake(Peer& peer) {
  AbandonTry(peer);
  peer.started.reset();
  peers_.SetDeadline(peer, std::nullopt);
}

Offer HandshakeEngine::Impl::NewOffer(const Hash& hash) {
  return {.tag = NewTag(hash),
          .workers = static_cast<uint8_t>(workers_),
          .ciphers = ciphers_,
          .control_channels = control_channels_};
}

uint64_t HandshakeEngine::Impl::NewTag(const Hash& hash) {
  for (uint32_t attempt = 0;; ++attempt) {
    const uint64_t tag = DeriveTag(boot_secret_, hash, attempt);
    if (tags_.insert(tag).second) return tag;
  }
}

uint64_t HandshakeEngine::Impl::NextTimestamp() {
  last_timestamp_ = std::max(last_timestamp_ + 1, environment().WallNanos());
  return last_timestamp_;
}

Key32 HandshakeEngine::Impl::NewEphemeral() {
  Key32 key;
  environment().Random({key.mutable_data(), key.size()});
  return key;
}

// ------------------------------------------------------------------------------------ public faces

HandshakeEngine::HandshakeEngine(Options options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
HandshakeEngine::~HandshakeEngine() = default;

absl::Status HandshakeEngine::AddPeer(const NodeId& id, PeerOptions options) {
  return impl_->AddPeer(id, std::move(options));
}

void HandshakeEngine::RemovePeer(const NodeId& id) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->RemovePeer(*peer);
}

void HandshakeEngine::SetEndpoint(const NodeId& id, const Endpoint& endpoint) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->SetEndpoint(*peer, endpoint);
}

void HandshakeEngine::SetWorkers(int workers) { impl_->SetWorkers(workers); }

void HandshakeEngine::SetControlChannels(int channels) { impl_->SetControlChannels(channels); }

void HandshakeEngine::SetCiphers(std::span<const Cipher> ciphers) { impl_->SetCiphers(ciphers); }

Output HandshakeEngine::Initiate(const NodeId& id, Instant now) {
  Output out;
  if (Peer* peer = impl_->peers().Find(id)) impl_->Initiate(out, *peer, now);
  return out;
}

Output HandshakeEngine::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from,
                                   Instant now) {
  Output out;
  switch (datagram.empty() ? 0 : datagram[0]) {
    case kMessageInitiation:
      impl_->OnInitiation(out, datagram, from, now);
      break;
    case kMessageResponse:
      impl_->OnResponse(out, datagram, from, now);
      break;
    case kMessageCookieReply:
      impl_->OnCookieReply(out, datagram, from, now);
      break;
    default:
      Fail(out, FailureReason::kMalformed, from);
  }
  return out;
}

Output HandshakeEngine::OnTimer(Instant now) {
  Output out;
  impl_->OnTimer(out, now);
  return out;
}

std::optional<Instant> HandshakeEngine::NextDeadline() const {
  return impl_->peers().NextDeadline();
}

bool HandshakeEngine::IsConnecting(const NodeId& id) const {
  const Peer* peer = impl_->peers().Find(id);
  return peer != nullptr && peer->started.has_value();
}

void HandshakeEngine::ReserveTag(uint64_t tag) { impl_->tags().insert(tag); }
void HandshakeEngine::ReleaseTag(uint64_t tag) { impl_->tags().erase(tag); }
size_t HandshakeEngine::reserved_tags() const { return impl_->tags().size(); }

std::array<uint8_t, 32> HandshakeEngine::mac1_key() const { return impl_->mac1_key(); }

}  // namespace omni::noise
