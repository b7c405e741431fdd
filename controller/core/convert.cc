// SPDX-License-Identifier: Apache-2.0
#include "controller/core/convert.h"

#include <chrono>

namespace omni {
namespace {

namespace dp = dataplane::v1;

void ToProto(const noise::SessionChannel& channel, dp::Channel& out) {
  out.set_id(channel.id);
  out.set_key(channel.key.data(), Key32::size());
}

}  // namespace

void ToProto(const Endpoint& endpoint, dp::Endpoint& out) {
  out.set_address(AsString(endpoint.address.raw()));
  out.set_port(endpoint.port);
  out.set_scope_id(endpoint.scope_id);
}

std::optional<Endpoint> FromProto(const dp::Endpoint& endpoint) {
  const auto address = IpAddress::FromBytes(AsBytes(endpoint.address()));
  if (!address || endpoint.port() < 1 || endpoint.port() > 65535) return std::nullopt;
  return Endpoint{.address = *address,
                  .port = static_cast<uint16_t>(endpoint.port()),
                  .scope_id = endpoint.scope_id()};
}

std::string AddressText(const std::string& raw) {
  const auto address = IpAddress::FromBytes(AsBytes(raw));
  return address ? address->ToString() : "";
}

void ToProto(const IpPrefix& prefix, dp::Prefix& out) {
  out.set_address(AsString(prefix.address.raw()));
  out.set_length(prefix.length);
}

dp::SessionLimits ToLimits(const SessionConfig& session) {
  const auto reject_ms = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(session.reject_after).count());
  const auto rekey_ms = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(session.rekey_after).count());
  dp::SessionLimits limits;
  limits.set_rekey_after_ms(rekey_ms);
  limits.set_reject_after_ms(reject_ms);
  limits.set_keepalive_ms(reject_ms / 18);                // 10 s of 180
  limits.set_rekey_on_receive_ms(reject_ms / 180 * 165);  // 165 s
  limits.set_no_reply_ms(reject_ms / 12);                 // 15 s
  return limits;
}

dp::Cipher ToProto(Cipher cipher) {
  return cipher == Cipher::kAes256Gcm ? dp::CIPHER_AES_256_GCM : dp::CIPHER_CHACHA20_POLY1305;
}

std::optional<Cipher> FromProto(dp::Cipher cipher) {
  for (const Cipher known : kAllCiphers) {
    if (cipher == ToProto(known)) return known;
  }
  return std::nullopt;
}

std::vector<Cipher> CiphersToOffer(CipherPolicy policy, const dp::GetInfoResponse& info) {
  // A full packet and a small one, as data and its acknowledgement.
  const auto cost = [&info](Cipher cipher) -> std::optional<uint64_t> {
    for (const dp::CipherInfo& has : info.ciphers()) {
      if (has.cipher() == ToProto(cipher)) return uint64_t{has.ns_64()} + has.ns_1420();
    }
    return std::nullopt;
  };
  std::vector<Cipher> out = {Cipher::kChaCha20Poly1305};
  const auto aes = cost(Cipher::kAes256Gcm);
  if (!aes || policy == CipherPolicy::kChaCha20Poly1305) return out;
  const auto chacha = cost(Cipher::kChaCha20Poly1305);
  if (policy == CipherPolicy::kAes256Gcm || (chacha && *aes < *chacha)) {
    out.push_back(Cipher::kAes256Gcm);
  }
  return out;
}

dp::InstallSessionRequest ToProto(const noise::EstablishedSession& session,
                                  const dp::SessionLimits& limits) {
  dp::InstallSessionRequest request;
  request.set_session_id(AsString(session.session_id));
  request.set_peer_id(session.peer.ToBytes());
  request.set_role(session.role == noise::Role::kInitiator ? dp::ROLE_INITIATOR
                                                           : dp::ROLE_RESPONDER);
  request.set_cipher(ToProto(session.cipher));
  for (const auto& channel : session.receive) ToProto(channel, *request.add_receive());
  for (const auto& channel : session.send) ToProto(channel, *request.add_send());
  if (session.control_receive) {
    ToProto(*session.control_receive, *request.mutable_control_receive());
  }
  if (session.control_send) ToProto(*session.control_send, *request.mutable_control_send());
  if (session.endpoint.is_set()) ToProto(session.endpoint, *request.mutable_endpoint());
  *request.mutable_limits() = limits;
  return request;
}

}  // namespace omni
