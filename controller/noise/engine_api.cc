// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "controller/noise/engine_impl.h"
#include "controller/noise/session_keys.h"

namespace omni::noise {

HandshakeEngine::HandshakeEngine(Options options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
HandshakeEngine::~HandshakeEngine() = default;

absl::Status HandshakeEngine::AddPeer(const NodeId& id, PeerOptions options) {
  return impl_->AddPeer(id, std::move(options));
}

void HandshakeEngine::RemovePeer(const NodeId& id) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->RemovePeer(*peer);
}

void HandshakeEngine::SetSecrets(std::vector<ClusterSecret> secrets) {
  impl_->SetSecrets(std::move(secrets));
}

void HandshakeEngine::SetPeerSecret(const NodeId& id, const SecretTag& tag) {
  if (Peer* peer = impl_->peers().Find(id)) peer->holds = tag;
}

std::optional<SecretTag> HandshakeEngine::SecretOf(const NodeId& id) const {
  const Peer* peer = impl_->peers().Find(id);
  return peer == nullptr ? std::nullopt : peer->present;
}

void HandshakeEngine::RefuseNobody() { impl_->refused().clear(); }

void HandshakeEngine::Refuse(const std::array<uint8_t, 32>& static_public) {
  impl_->refused().insert(static_public);
}

void HandshakeEngine::SetEndpoint(const NodeId& id, const Endpoint& endpoint) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->SetEndpoint(*peer, endpoint);
}

void HandshakeEngine::SetCandidates(const NodeId& id, std::vector<Endpoint> candidates) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->SetCandidates(*peer, std::move(candidates));
}

void HandshakeEngine::SetRelay(const NodeId& id, const Endpoint& relay) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->SetRelay(*peer, relay);
}

bool HandshakeEngine::CanCall(const NodeId& id) const {
  const Peer* peer = impl_->peers().Find(id);
  return peer != nullptr && peer->CanBeCalled();
}

std::vector<uint64_t> HandshakeEngine::ChannelsOf(uint64_t tag) {
  std::vector<uint64_t> channels;
  for (uint8_t number = 0; number < kMaxWorkers; ++number) {
    channels.push_back(ChannelId(tag, kKindL3Bulk << kChannelKindShift | number));
  }
  channels.push_back(ChannelId(tag, kKindL3Control << kChannelKindShift));
  return channels;
}

void HandshakeEngine::SetWorkers(int workers) { impl_->SetWorkers(workers); }

void HandshakeEngine::SetControlChannels(int channels) { impl_->SetControlChannels(channels); }

void HandshakeEngine::SetCiphers(std::span<const Cipher> ciphers) { impl_->SetCiphers(ciphers); }

Output HandshakeEngine::Initiate(const NodeId& id, Instant now) {
  Output out;
  if (Peer* peer = impl_->peers().Find(id)) impl_->Initiate(out, *peer, now);
  return out;
}

Output HandshakeEngine::Punch(const NodeId& id, Instant now) {
  Output out;
  if (Peer* peer = impl_->peers().Find(id)) impl_->Punch(out, *peer, now);
  return out;
}

void HandshakeEngine::OnConfirmed(const NodeId& id) {
  if (Peer* peer = impl_->peers().Find(id)) impl_->EndHandshake(*peer);
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
      out.failures.push_back({FailureReason::kMalformed, std::nullopt, from});
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
