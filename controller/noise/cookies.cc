// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/cookies.h"

#include <sodium.h>

#include <algorithm>
#include <string_view>

#include "common/byte_order.h"
#include "common/encoding.h"
#include "controller/noise/session_keys.h"

namespace omni::noise {
namespace {

constexpr std::string_view kMac1Label = "omninervous mac1 v1";
constexpr std::string_view kCookieLabel = "omninervous cookie v1";

std::array<uint8_t, 32> LabelledHash(std::string_view label, const PublicKey& key) {
  std::array<uint8_t, 32> out{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, out.size());
  crypto_generichash_update(&state, AsBytes(label).data(), label.size());
  crypto_generichash_update(&state, key.data(), key.size());
  crypto_generichash_final(&state, out.data(), out.size());
  return out;
}

Mac MacOf(std::span<const uint8_t> key, std::span<const uint8_t> data) {
  Mac mac{};
  crypto_generichash(mac.data(), mac.size(), data.data(), data.size(), key.data(), key.size());
  return mac;
}

// Address and port; the length tells the family.
Mac CookieOf(const Key32& secret, const Endpoint& from) {
  std::array<uint8_t, 18> text{};
  const auto address = from.address.raw();
  std::copy(address.begin(), address.end(), text.begin());
  const Be16 port(from.port);
  std::memcpy(text.data() + address.size(), &port, sizeof(port));
  return MacOf(secret.bytes(), std::span(text).first(address.size() + sizeof(port)));
}

Mac Mac1Of(std::span<const uint8_t> message) {
  Mac mac1{};
  std::copy_n(message.end() - sizeof(wire::Macs), mac1.size(), mac1.begin());
  return mac1;
}

}  // namespace

std::array<uint8_t, 32> Mac1Key(const PublicKey& static_public) {
  return LabelledHash(kMac1Label, static_public);
}

std::array<uint8_t, 32> CookieReplyKey(const PublicKey& static_public) {
  return LabelledHash(kCookieLabel, static_public);
}

Mac FillMacs(std::span<uint8_t> message, const std::array<uint8_t, 32>& mac1_key,
             const std::optional<Mac>& cookie) {
  const size_t covered = message.size() - sizeof(wire::Macs);
  const Mac mac1 = MacOf(mac1_key, message.first(covered));
  std::copy(mac1.begin(), mac1.end(), message.begin() + static_cast<std::ptrdiff_t>(covered));
  if (cookie) {
    const Mac mac2 = MacOf(*cookie, message.first(covered + mac1.size()));
    std::copy(mac2.begin(), mac2.end(), message.end() - static_cast<std::ptrdiff_t>(mac2.size()));
  }
  return mac1;
}

CookieIssuer::CookieIssuer(const PublicKey& own_static, Environment* environment)
    : reply_key_(CookieReplyKey(own_static)), environment_(environment) {}

void CookieIssuer::RotateSecret(Instant now) {
  if (made_ && now - *made_ < kCookieLifetime) return;
  // The previous secret is honoured for one more lifetime, so that a cookie handed out just before
  // the change is good for as long as its holder believes.
  if (made_ && now - *made_ < 2 * kCookieLifetime) {
    previous_secret_ = std::move(secret_);
  } else {
    previous_secret_.reset();
  }
  environment_->Random({secret_.mutable_data(), secret_.size()});
  made_ = now;
}

bool CookieIssuer::Mac2IsValid(std::span<const uint8_t> message, const Endpoint& from,
                               Instant now) {
  RotateSecret(now);
  const auto covered = message.first(message.size() - wire::kMacBytes);
  const auto valid = [&](const Key32& secret) {
    const Mac expected = MacOf(CookieOf(secret, from), covered);
    return sodium_memcmp(expected.data(), message.data() + covered.size(), expected.size()) == 0;
  };
  return valid(secret_) || (previous_secret_ && valid(*previous_secret_));
}

wire::CookieReply CookieIssuer::MakeReply(std::span<const uint8_t> message, uint32_t sender_index,
                                          const Endpoint& from, Instant now) {
  RotateSecret(now);
  wire::CookieReply reply{};
  reply.type = kMessageCookieReply;
  reply.receiver_index.Set(sender_index);
  environment_->Random(reply.nonce);
  const Mac cookie = CookieOf(secret_, from);
  const Mac mac1 = Mac1Of(message);
  crypto_aead_xchacha20poly1305_ietf_encrypt(reply.encrypted_cookie.data(), nullptr, cookie.data(),
                                             cookie.size(), mac1.data(), mac1.size(), nullptr,
                                             reply.nonce.data(), reply_key_.data());
  return reply;
}

std::optional<Mac> OpenCookie(const wire::CookieReply& reply,
                              const std::array<uint8_t, 32>& reply_key, const Mac& mac1) {
  Mac cookie{};
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          cookie.data(), nullptr, nullptr, reply.encrypted_cookie.data(),
          reply.encrypted_cookie.size(), mac1.data(), mac1.size(), reply.nonce.data(),
          reply_key.data()) != 0) {
    return std::nullopt;
  }
  return cookie;
}

bool LoadLimiter::Take(Instant now) {
  const Instant full = full_ ? std::max(*full_, now) : now;
  if (full - now > (kBurst - 1) * kInterval) return false;
  full_ = full + kInterval;
  return true;
}

}  // namespace omni::noise
