// SPDX-License-Identifier: Apache-2.0
// The whole receiving path of an engine that has a handshake under way with a peer. The first byte
// of an input chooses how the rest is delivered: as it is, or completed with a right mac1, a right
// receiver index or a right encryption, so that the checks behind those are reached too.
#include <algorithm>
#include <map>

#include "common/encoding.h"
#include "common/status.h"
#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/engine.h"
#include "controller/noise/fake_environment.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/session_keys.h"

namespace omni::noise {
namespace {

const Instant kStart = Instant(1000s);

// The private keys differ in bits that X25519 does not ignore.
struct World {
  World() : environment(1) {
    HandshakeEngine::Options options;
    options.static_private = Key32(std::array<uint8_t, 32>{8});
    options.environment = &environment;
    engine = std::make_unique<HandshakeEngine>(std::move(options));
    peer.bytes[0] = 2;
    endpoint = *Endpoint::Parse("192.0.2.2:51900");
    OMNI_CHECK(engine->AddPeer(peer, {.static_public = peer_public, .endpoint = endpoint}).ok());
    const auto out = engine->Initiate(peer, kStart);
    std::copy_n(out.datagrams.at(0).bytes.begin() + 4, 4, our_index.begin());
  }
  FakeEnvironment environment;
  std::unique_ptr<HandshakeEngine> engine;
  NodeId peer;
  Endpoint endpoint;
  const PublicKey own_public = PublicOf(Key32(std::array<uint8_t, 32>{8}));
  const Key32 peer_private{std::array<uint8_t, 32>{16}};
  const PublicKey peer_public = PublicOf(peer_private);
  std::array<uint8_t, 4> our_index{};
};

// An authentic initiation of the peer whose payload is the input's.
std::vector<uint8_t> AuthenticInitiation(const World& world, std::span<const uint8_t> payload) {
  constexpr std::string_view kPrologue = "omninervous handshake v1";
  auto noise = Initiator::BeginInitiation(AsBytes(kPrologue), world.peer_public, world.own_public,
                                          *Dh(world.peer_private, world.own_public),
                                          Key32(std::array<uint8_t, 32>{24}));
  PayloadBytes padded{};
  std::copy_n(payload.begin(), std::min(payload.size(), padded.size()), padded.begin());
  // A payload that is well-formed but for its proof gets the right one.
  if (auto parsed = ParseInitiationPayload(padded)) {
    parsed->proof = MembershipProof(CombinePsk(Key32(), std::nullopt), noise->hash());
    padded = Encode(*parsed);
  }
  wire::Initiation message{};
  message.type = kMessageInitiation;
  message.ephemeral = noise->ephemeral();
  message.encrypted_static = noise->encrypted_static();
  const auto sealed = noise->EncryptPayload(padded);
  std::copy(sealed.begin(), sealed.end(), message.encrypted_payload.begin());
  std::vector<uint8_t> bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  return bytes;
}

void RunOne(std::span<const uint8_t> input) {
  if (input.empty()) return;
  World world;
  const uint8_t mode = input[0];
  input = input.subspan(1);
  std::vector<uint8_t> bytes(input.begin(), input.end());
  switch (mode % 4) {
    case 0:
      break;
    case 1:  // an initiation or a response of the right size
      bytes.resize((mode & 4U) != 0 ? sizeof(wire::Initiation) : sizeof(wire::Response));
      bytes[0] = (mode & 4U) != 0 ? kMessageInitiation : kMessageResponse;
      std::fill_n(bytes.begin() + 1, 3, uint8_t{0});
      break;
    case 2:  // an answer to what the engine has sent
      bytes.resize((mode & 4U) != 0 ? sizeof(wire::CookieReply) : sizeof(wire::Response));
      bytes[0] = (mode & 4U) != 0 ? kMessageCookieReply : kMessageResponse;
      std::fill_n(bytes.begin() + 1, 3, uint8_t{0});
      std::copy(world.our_index.begin(), world.our_index.end(),
                bytes.begin() + (bytes[0] == kMessageResponse ? 8 : 4));
      break;
    default:
      bytes = AuthenticInitiation(world, input);
  }
  if (mode % 4 != 0 && bytes[0] != kMessageCookieReply) {
    FillMacs(bytes, world.engine->mac1_key(), std::nullopt);
  }
  const Output out = world.engine->OnDatagram(bytes, world.endpoint, kStart + 1s);
  OMNI_CHECK(out.sessions.size() <= 1 && out.datagrams.size() <= 1);
  // A session only from an authentic initiation; and nothing is ever answered without one.
  OMNI_CHECK(out.sessions.size() == out.datagrams.size());
  OMNI_CHECK(mode % 4 == 3 || out.datagrams.empty());
  OMNI_CHECK(world.engine->IsConnecting(world.peer));
}

}  // namespace
}  // namespace omni::noise

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::noise::RunOne({data, size});
  return 0;
}
