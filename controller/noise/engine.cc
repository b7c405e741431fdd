// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/encoding.h"
#include "common/status.h"
#include "controller/noise/engine_impl.h"
#include "controller/noise/session_keys.h"
#include "controller/noise/wire_bytes.h"

namespace omni::noise {
namespace {

constexpr std::string_view kPrologue = "omninervous handshake v1";

// LIMIT: WireGuard whitepaper section 6.1: REKEY_TIMEOUT, its jitter, REKEY_ATTEMPT_TIME.
constexpr Duration kRetryInterval = 5s;
constexpr uint32_t kRetryJitterMs = 334;  // 0-333
constexpr Duration kGiveUpAfter = 90s;
// LIMIT: the second try of a peer that is looked for at several addresses: by then a call (Punch())
// has opened its NAT. Longer than almost every way: an answer to an abandoned try is lost.
constexpr Duration kSearchRetryInterval = 1s;
// LIMIT: RFC 8305 section 5: so long the direct ways have for themselves; an answer over them takes
// less than that almost anywhere.
constexpr Duration kRelayDelay = 250ms;
// LIMIT: as in the kernel's WireGuard: at most 50 initiations a second from one peer.
constexpr Duration kMinInitiationGap = 20ms;
// LIMIT: whoever asks for it as often as it likes gets our initiations sent once a second.
constexpr Duration kMinPunchGap = 1s;

constexpr size_t kSealedPayloadBytes = wire::kPayloadBytes + wire::kTagBytes;

void Fail(Output& out, FailureReason reason, const Endpoint& from,
          std::optional<NodeId> peer = std::nullopt) {
  out.failures.push_back({reason, peer, from});
}

}  // namespace

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
  peer->pair_psk = std::move(options.pair_psk);
  peer->psks = PsksOf(*peer);
  peer->endpoint = options.endpoint;
  if (peers_.Add(std::move(peer)) == nullptr) {
    return absl::AlreadyExistsError(
        fmt::format("add peer {}: its id or static key belongs to a peer", id.ToString()));
  }
  return absl::OkStatus();
}

std::vector<Key32> HandshakeEngine::Impl::PsksOf(const Peer& peer) const {
  std::vector<Key32> psks;
  for (const ClusterSecret& secret : secrets_) {
    psks.push_back(CombinePsk(secret.psk, peer.pair_psk));
  }
  return psks;
}

// What was sent and can still be answered was made with a secret that may not be ours any more.
void HandshakeEngine::Impl::SetSecrets(std::vector<ClusterSecret> secrets) {
  OMNI_CHECK(!secrets.empty());
  secrets_ = std::move(secrets);
  peers_.ForEach([this](Peer& peer) {
    peer.psks = PsksOf(peer);
    if (!peer.pending) return;
    AbandonTry(peer);
    peers_.SetDeadline(peer, Instant());  // as CallIfWanted()
  });
}

std::optional<size_t> HandshakeEngine::Impl::IndexOf(const std::optional<SecretTag>& tag) const {
  const auto found = std::ranges::find_if(
      secrets_, [&](const ClusterSecret& secret) { return tag && secret.tag == *tag; });
  if (found == secrets_.end()) return std::nullopt;
  return static_cast<size_t>(found - secrets_.begin());
}

// For the next try. Who holds another secret than we think is reached by the one after it.
size_t HandshakeEngine::Impl::SecretFor(const Peer& peer) const {
  const size_t first = IndexOf(peer.holds).value_or(IndexOf(peer.present).value_or(0));
  return (first + static_cast<size_t>(std::max(peer.tries, 1)) - 1) % secrets_.size();
}

// None while there is only one that nobody named.
std::optional<SecretTag> HandshakeEngine::Impl::OwnTag() const {
  const SecretTag& tag = secrets_.front().tag;
  const bool is_set = std::ranges::any_of(tag, [](uint8_t byte) { return byte != 0; });
  return is_set ? std::optional(tag) : std::nullopt;
}

void HandshakeEngine::Impl::RemovePeer(Peer& peer) {
  EndHandshake(peer);
  peers_.Remove(peer);
}

void HandshakeEngine::Impl::SetEndpoint(Peer& peer, const Endpoint& endpoint) {
  peer.endpoint = endpoint;
  CallIfWanted(peer);
}

void HandshakeEngine::Impl::SetCandidates(Peer& peer, std::vector<Endpoint> candidates) {
  peer.candidates = std::move(candidates);
  CallIfWanted(peer);
}

void HandshakeEngine::Impl::SetRelay(Peer& peer, const Endpoint& relay) {
  const bool is_new = relay.is_set() && peer.relay != relay;
  peer.relay = relay;
  CallIfWanted(peer);
  if (!is_new || !peer.pending || peer.is_punch || peer.next_try) return;
  // The try under way has its time for the direct ways, unless it is over.
  peer.next_try = peer.deadline;
  peers_.SetDeadline(peer, std::min(peer.pending->sent + kRelayDelay, *peer.deadline));
}

// Due at once: the caller's next OnTimer() starts what Initiate() could not. The clock's zero and
// not Instant::min(), so that callers can subtract.
void HandshakeEngine::Impl::CallIfWanted(Peer& peer) {
  if (!peer.wanted) return;
  peers_.SetDeadline(peer, peer.CanBeCalled() ? std::optional(Instant()) : std::nullopt);
}

// --------------------------------------------------------------------------------------- initiator

void HandshakeEngine::Impl::Initiate(Output& out, Peer& peer, Instant now) {
  if (std::exchange(peer.is_punch, false)) return RelayLater(peer, now);  // it is wanted now
  if (peer.started) return;
  if (!peer.CanBeCalled()) {
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
  const bool is_search = peer.tries == 0 && peer.Targets().size() > 1;
  const Duration interval = is_search ? kSearchRetryInterval : kRetryInterval;
  peers_.SetDeadline(peer, std::min(now + interval + (jitter % kRetryJitterMs) * Duration(1ms),
                                    *peer.started + kGiveUpAfter));
  ++peer.tries;
  if (!peer.CanBeCalled()) return;
  peer.last_sent = now;
  out.calls.push_back({peer.id, peer.tries});

  auto noise = Initiator::BeginInitiation(AsBytes(kPrologue), own_static_, peer.static_public,
                                          peer.static_static, NewEphemeral());
  OMNI_CHECK(noise.has_value());  // AddPeer() refused keys of low order
  const Hash hash = noise->hash();
  InitiationPayload payload;
  payload.timestamp = NextTimestamp();
  const size_t secret = SecretFor(peer);
  payload.proof = MembershipProof(peer.psks[secret], hash);
  payload.offer = NewOffer(hash);
  payload.secret = OwnTag();

  wire::Initiation message{};
  message.type = kMessageInitiation;
  message.sender_index.Set(peers_.NewIndex(peer, SentKind::kInitiation, environment()));
  message.ephemeral = noise->ephemeral();
  message.encrypted_static = noise->encrypted_static();
  message.encrypted_payload = ToArray<kSealedPayloadBytes>(noise->EncryptPayload(Encode(payload)));
  std::vector<uint8_t> bytes = FinishMessage(peer, SentKind::kInitiation, ToBytes(message), now);
  // The same message everywhere: the peer takes the first one that arrives and its answer tells
  // which way that was.
  const std::vector<Endpoint> targets = peer.Targets();
  for (const Endpoint& target : targets)
    out.datagrams.push_back({target, bytes, peer.id, payload.offer.tag});
  peer.pending = std::make_unique<Pending>(
      Pending{*std::move(noise), payload.offer, secret, now, std::move(bytes)});
  if (peer.is_punch) return;
  targets.empty() ? SendByRelay(out, peer) : RelayLater(peer, now);
}

void HandshakeEngine::Impl::RelayLater(Peer& peer, Instant now) {
  if (!peer.relay.is_set()) return;
  peer.next_try = peer.deadline;
  peers_.SetDeadline(peer, std::min(now + kRelayDelay, *peer.deadline));
}

void HandshakeEngine::Impl::SendByRelay(Output& out, Peer& peer) {
  if (!peer.relay.is_set() || !peer.pending) return;
  out.datagrams.push_back({peer.relay, peer.pending->bytes, peer.id, peer.pending->offer.tag});
}

// What leaves now opens our NAT for what the peer sends; what comes of it besides is as good a
// handshake as the peer's own. When messages of ours have just left, or an answer to the peer's,
// that has been done already.
void HandshakeEngine::Impl::Punch(Output& out, Peer& peer, Instant now) {
  const auto is_recent = [&](const std::optional<Instant>& at) {
    return at && now - *at < kMinPunchGap;
  };
  if (is_recent(peer.last_sent) || is_recent(peer.accepted_at) || peer.Targets().empty()) return;
  if (!peer.started) {
    peer.started = now;
    peer.tries = 0;
    peer.is_punch = !std::exchange(peer.wanted, false);
  }
  SendInitiation(out, peer, now);
  out.calls.clear();  // the peer knows
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
  const auto result =
      pending.state.ReadResponse(message->ephemeral, message->encrypted_payload,
                                 options_.static_private, peer->psks[pending.secret]);
  if (!result) return Fail(out, FailureReason::kDecrypt, from);
  const auto payload = ParseResponsePayload(result->payload);
  if (!payload) return Fail(out, FailureReason::kMalformed, from, peer->id);

  EstablishedSession session =
      MakeSession(result->keys, Role::kInitiator, pending.offer, payload->offer);
  session.peer = peer->id;
  session.endpoint = from;
  if (peer->tries == 1 && from != peer->relay) session.rtt = now - pending.sent;
  out.sessions.push_back(std::move(session));

  if (payload->secret) peer->present = payload->secret;
  peer->endpoint = from;
  peer->pending.reset();  // before EndHandshake(): the tag now belongs to the session
  EndHandshake(*peer);
}

void HandshakeEngine::Impl::OnTimer(Output& out, Instant now) {
  while (Peer* peer = peers_.NextDue(now)) {
    peers_.SetDeadline(*peer, std::nullopt);
    if (!peer->started) {
      Initiate(out, *peer, now);
    } else if (peer->is_punch) {
      EndHandshake(*peer);  // nobody here waits for it
    } else if (now - *peer->started >= kGiveUpAfter) {
      EndHandshake(*peer);
      Fail(out, FailureReason::kTimeout, peer->endpoint, peer->id);
    } else if (const auto next = std::exchange(peer->next_try, std::nullopt)) {
      peers_.SetDeadline(*peer, *next);
      SendByRelay(out, *peer);
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
  if (peer == nullptr) {
    const bool refused = refused_.contains(noise->remote_static());
    return Fail(out, refused ? FailureReason::kRevoked : FailureReason::kUnknownPeer, from);
  }
  const auto initiation = CheckInitiation(out, *peer, *message, *noise, from, now);
  if (!initiation) return;

  peer->newest_timestamp = initiation->payload.timestamp;
  peer->newest_ephemeral = message->ephemeral;
  peer->accepted_at = now;
  if (initiation->payload.secret) peer->present = initiation->payload.secret;
  // An initiation from elsewhere moves nothing that is known: it may be an old one, replayed to an
  // engine that has just started. The first packet on the session does, through SetEndpoint().
  if (!peer->endpoint.is_set()) peer->endpoint = from;
  if (peer->wanted) {
    peer->wanted = false;
    peers_.SetDeadline(*peer, std::nullopt);
  }
  SendResponse(out, *peer, *noise, *initiation, message->sender_index.value(), from, now);
}

// Whether the initiation is authentic, made with a PSK of ours, well-formed, new, and not too soon.
std::optional<HandshakeEngine::Impl::Checked> HandshakeEngine::Impl::CheckInitiation(
    Output& out, Peer& peer, const wire::Initiation& message, Responder& noise,
    const Endpoint& from, Instant now) {
  const auto refuse = [&](FailureReason reason) {
    Fail(out, reason, from, peer.id);
    return std::nullopt;
  };
  const Hash hash = noise.hash();
  const auto plaintext = noise.ReadPayload(peer.static_static, message.encrypted_payload);
  if (!plaintext) {
    Fail(out, FailureReason::kDecrypt, from);  // anybody can claim a static key
    return std::nullopt;
  }
  const auto payload = ParseInitiationPayload(*plaintext);
  if (!payload) return refuse(FailureReason::kMalformed);
  std::optional<size_t> secret;
  for (size_t i = 0; i < peer.psks.size(); ++i) {
    const Proof expected = MembershipProof(peer.psks[i], hash);
    if (sodium_memcmp(payload->proof.data(), expected.data(), expected.size()) == 0) secret = i;
  }
  if (!secret) return refuse(FailureReason::kAuthentication);
  if (payload->timestamp <= peer.newest_timestamp) {
    // A peer sends one initiation to all addresses that we may have, and later by the relay.
    const bool is_newest = message.ephemeral == peer.newest_ephemeral;
    return refuse(is_newest ? FailureReason::kDuplicate : FailureReason::kReplay);
  }
  if (peer.accepted_at && now - *peer.accepted_at < kMinInitiationGap) {
    return refuse(FailureReason::kTooFast);
  }
  return Checked{*payload, *secret};
}

void HandshakeEngine::Impl::SendResponse(Output& out, Peer& peer, Responder& noise,
                                         const Checked& initiation, uint32_t receiver_index,
                                         const Endpoint& from, Instant now) {
  if (!noise.BeginResponse(NewEphemeral(), peer.psks[initiation.secret])) {
    return Fail(out, FailureReason::kMalformed, from, peer.id);
  }
  ResponsePayload payload;
  payload.offer = NewOffer(noise.hash());
  payload.secret = OwnTag();

  wire::Response message{};
  message.type = kMessageResponse;
  message.sender_index.Set(peers_.NewIndex(peer, SentKind::kResponse, environment()));
  message.receiver_index.Set(receiver_index);
  message.ephemeral = noise.ephemeral();
  message.encrypted_payload = ToArray<kSealedPayloadBytes>(noise.EncryptPayload(Encode(payload)));
  const TransportKeys keys = noise.Finish();

  EstablishedSession session =
      MakeSession(keys, Role::kResponder, payload.offer, initiation.payload.offer);
  session.peer = peer.id;
  session.endpoint = from;
  out.sessions.push_back(std::move(session));
  out.datagrams.push_back(
      {from, FinishMessage(peer, SentKind::kResponse, ToBytes(message), now), peer.id});
}

// ----------------------------------------------------------------------------------------- cookies

// Under load only a sender who shows that it receives where it sends from is worked for.
bool HandshakeEngine::Impl::PassesLoadCheck(Output& out, std::span<const uint8_t> datagram,
                                            uint32_t sender_index, const Endpoint& from,
                                            Instant now) {
  if (load_.Take(now) || cookies_.Mac2IsValid(datagram, from, now)) return true;
  out.datagrams.push_back(
      {from, ToBytes(cookies_.MakeReply(datagram, sender_index, from, now)), std::nullopt});
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

std::vector<uint8_t> HandshakeEngine::Impl::FinishMessage(Peer& peer, SentKind kind,
                                                          std::vector<uint8_t> bytes, Instant now) {
  std::optional<Mac> cookie;
  if (peer.cookie && now - peer.cookie->received < kCookieLifetime) cookie = peer.cookie->value;
  peer.sent_of(kind)->mac1 = FillMacs(bytes, peer.mac1_key, cookie);
  return bytes;
}

// Erases the latest try's keys, index and tag.
void HandshakeEngine::Impl::AbandonTry(Peer& peer) {
  if (peer.pending) tags_.erase(peer.pending->offer.tag);
  peer.pending.reset();
  peer.next_try.reset();
  peers_.ForgetSent(peer, SentKind::kInitiation);
}

void HandshakeEngine::Impl::EndHandshake(Peer& peer) {
  AbandonTry(peer);
  peer.started.reset();
  peer.is_punch = false;
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

}  // namespace omni::noise
