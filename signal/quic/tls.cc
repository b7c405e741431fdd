// SPDX-License-Identifier: Apache-2.0
#include "signal/quic/tls.h"

#include <fmt/format.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni::quic {
namespace {

// One key exchange, one kind of signature: nothing to negotiate down to.
constexpr char kPriority[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:-SIGN-ALL:+SIGN-EDDSA-ED25519:%DISABLE_TLS13_COMPAT_MODE";
// LIMIT: a certificate as we make it has some 250 bytes.
constexpr unsigned kMaxCertificateBytes = 2048;

absl::Status Check(int result, std::string_view operation) {
  if (result >= 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("{}: {}", operation, gnutls_strerror(result)));
}

gnutls_datum_t Datum(std::span<const uint8_t> bytes) {
  // SAFETY: GnuTLS takes a datum for input as a pointer to mutable and does not write.
  return {const_cast<uint8_t*>(bytes.data()), static_cast<unsigned>(bytes.size())};
}

absl::Status FillCertificate(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key,
                             const NodeId& id) {
  const std::string name = id.ToString();
  const std::array<uint8_t, 1> serial = {1};
  RETURN_IF_ERROR(Check(gnutls_x509_crt_set_version(certificate, 3), "certificate version"));
  RETURN_IF_ERROR(Check(gnutls_x509_crt_set_serial(certificate, serial.data(), serial.size()),
                        "certificate serial"));
  RETURN_IF_ERROR(
      Check(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name.data(),
                                          static_cast<unsigned>(name.size())),
            "certificate name"));
  RETURN_IF_ERROR(Check(gnutls_x509_crt_set_activation_time(certificate, 0), "certificate dates"));
  RETURN_IF_ERROR(Check(
      gnutls_x509_crt_set_expiration_time(certificate, GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION),
      "certificate dates"));
  RETURN_IF_ERROR(Check(gnutls_x509_crt_set_key(certificate, key), "certificate key"));
  return Check(gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_UNKNOWN, 0),
               "sign certificate");
}

}  // namespace

absl::StatusOr<Credentials> MakeCredentials(const Identity& identity,
                                            gnutls_certificate_verify_function* check) {
  gnutls_certificate_credentials_t raw = nullptr;
  RETURN_IF_ERROR(Check(gnutls_certificate_allocate_credentials(&raw), "TLS credentials"));
  Credentials credentials;
  credentials.certificate.reset(raw);
  gnutls_priority_t priorities = nullptr;
  RETURN_IF_ERROR(Check(gnutls_priority_init(&priorities, kPriority, nullptr), "TLS priorities"));
  credentials.priorities.reset(priorities);

  gnutls_x509_privkey_t key = nullptr;
  RETURN_IF_ERROR(Check(gnutls_x509_privkey_init(&key), "TLS key"));
  const absl::Cleanup free_key = [key] { gnutls_x509_privkey_deinit(key); };
  const gnutls_datum_t x = Datum(identity.public_key().identity_public());
  const gnutls_datum_t k = Datum(identity.identity_seed());
  RETURN_IF_ERROR(
      Check(gnutls_x509_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &x, nullptr, &k),
            "TLS key"));

  gnutls_x509_crt_t certificate = nullptr;
  RETURN_IF_ERROR(Check(gnutls_x509_crt_init(&certificate), "certificate"));
  const absl::Cleanup free_certificate = [certificate] { gnutls_x509_crt_deinit(certificate); };
  RETURN_IF_ERROR(FillCertificate(certificate, key, identity.node_id()));
  RETURN_IF_ERROR(
      Check(gnutls_certificate_set_x509_key(raw, &certificate, 1, key), "TLS certificate"));
  gnutls_certificate_set_verify_function(raw, check);
  return credentials;
}

absl::StatusOr<Session> MakeSession(Side side, const Credentials& credentials,
                                    const std::string& protocol) {
  gnutls_session_t raw = nullptr;
  const unsigned flags = (side == Side::kClient ? GNUTLS_CLIENT : GNUTLS_SERVER) |
                         GNUTLS_NO_TICKETS | GNUTLS_NO_END_OF_EARLY_DATA;
  RETURN_IF_ERROR(Check(gnutls_init(&raw, flags), "TLS session"));
  Session session(raw);
  RETURN_IF_ERROR(Check(gnutls_priority_set(raw, credentials.priorities.get()), "TLS priorities"));
  if (side == Side::kClient) {
    RETURN_IF_ERROR(Check(ngtcp2_crypto_gnutls_configure_client_session(raw), "TLS for QUIC"));
  } else {
    RETURN_IF_ERROR(Check(ngtcp2_crypto_gnutls_configure_server_session(raw), "TLS for QUIC"));
    gnutls_certificate_server_set_request(raw, GNUTLS_CERT_REQUIRE);
  }
  RETURN_IF_ERROR(Check(
      gnutls_credentials_set(raw, GNUTLS_CRD_CERTIFICATE, credentials.certificate.get()), "TLS"));
  const gnutls_datum_t name = Datum(AsBytes(protocol));
  RETURN_IF_ERROR(
      Check(gnutls_alpn_set_protocols(raw, &name, 1, GNUTLS_ALPN_MANDATORY), "TLS protocol"));
  return session;
}

std::optional<PublicKey> PeerKeyOf(gnutls_session_t session) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(session, &count);
  if (chain == nullptr || count != 1 || chain->size > kMaxCertificateBytes ||
      gnutls_certificate_type_get(session) != GNUTLS_CRT_X509) {
    return std::nullopt;
  }
  gnutls_x509_crt_t certificate = nullptr;
  if (gnutls_x509_crt_init(&certificate) < 0) return std::nullopt;
  const absl::Cleanup free_certificate = [certificate] { gnutls_x509_crt_deinit(certificate); };
  if (gnutls_x509_crt_import(certificate, chain, GNUTLS_X509_FMT_DER) < 0) return std::nullopt;
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
  gnutls_datum_t x{};
  gnutls_datum_t y{};
  if (gnutls_x509_crt_get_pk_ecc_raw(certificate, &curve, &x, &y) < 0) return std::nullopt;
  const absl::Cleanup free_point = [&x, &y] {
    gnutls_free(x.data);
    gnutls_free(y.data);
  };
  PublicKey key{};
  if (curve != GNUTLS_ECC_CURVE_ED25519 || x.size != key.size()) return std::nullopt;
  std::copy_n(x.data, key.size(), key.begin());
  return key;
}

}  // namespace omni::quic
