// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 of QUIC by GnuTLS: a self-signed Ed25519 certificate made of our identity, and sessions
// that learn the other side's identity key from its certificate. There is no authority: what a key
// may do is decided by who knows it. Dates are not looked at, so clocks may be off by any amount.
// Owned by a Host.
#pragma once

#include <gnutls/gnutls.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/identity/identity.h"
#include "signal/quic/host.h"

namespace omni::quic {

enum class Side : uint8_t { kClient, kServer };

struct DeleteCredentials {
  void operator()(gnutls_certificate_credentials_st* credentials) const {
    gnutls_certificate_free_credentials(credentials);
  }
};
struct DeletePriorities {
  void operator()(gnutls_priority_st* priorities) const { gnutls_priority_deinit(priorities); }
};
// What all sessions of a host share. One session's own priorities would be 8 KiB of its memory.
struct Credentials {
  std::unique_ptr<gnutls_certificate_credentials_st, DeleteCredentials> certificate;
  std::unique_ptr<gnutls_priority_st, DeletePriorities> priorities;
};

struct DeleteSession {
  void operator()(gnutls_session_int* session) const { gnutls_deinit(session); }
};
using Session = std::unique_ptr<gnutls_session_int, DeleteSession>;

// Our certificate. `check` is asked about each peer's before the handshake goes on.
absl::StatusOr<Credentials> MakeCredentials(const Identity& identity,
                                            gnutls_certificate_verify_function* check);
absl::StatusOr<Session> MakeSession(Side side, const Credentials& credentials,
                                    const std::string& protocol);
// The Ed25519 key of the certificate that the peer showed; empty when it showed another kind.
std::optional<PublicKey> PeerKeyOf(gnutls_session_t session);

}  // namespace omni::quic
