// SPDX-License-Identifier: Apache-2.0
// Peers come, go and change: by the configuration file and by the API. Everything is checked before
// anything is touched.
#include <fmt/format.h>

#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "common/toml/table_reader.h"
#include "controller/core/controller.h"
#include "controller/core/convert.h"
#include "controller/core/peer_request.h"

namespace omni {
namespace {

noise::PeerOptions EngineOptions(const PeerSpec& spec) {
  noise::PeerOptions options{.static_public = spec.key.static_public(),
                             .pair_psk = std::nullopt,
                             .endpoint = spec.endpoint};
  if (spec.psk) options.pair_psk = spec.psk->Clone();
  return options;
}

bool IsRekeyed(const PeerSpec& a, const PeerSpec& b) {
  return a.psk != b.psk || a.key.static_public() != b.key.static_public();
}

}  // namespace

absl::Status Controller::LoadPeers() {
  RETURN_IF_ERROR(CheckAgainstIdentity(config_, self_.node_id()));
  RETURN_IF_ERROR(LoadNodeState());
  RETURN_IF_ERROR(revocations_.Load());
  LoadAddresses();
  for (const PeerConfig& peer : config_.peers) TakePeer(peer.spec.Clone(), PeerOrigin::kConfig);
  const std::string file = ApiPeersFile();
  ASSIGN_OR_RETURN(const auto requests, ReadPeersFile(file));
  for (const auto& request : requests) {
    auto spec = CheckPeerRequest(request, config_.addresses);
    absl::Status status = spec.status();
    if (status.ok() && spec->key.node_id() == self_.node_id()) {
      status = absl::InvalidArgumentError("key: is this node itself");
    }
    if (status.ok()) status = peers_.CheckFree(*spec);
    if (!status.ok()) return Annotate(status, fmt::format("{}: peer \"{}\"", file, request.name()));
    TakePeer(*std::move(spec), PeerOrigin::kApi);
  }
  if (discovery_) discovery_->Load();
  return LoadPaths();
}

absl::StatusOr<const Peer*> Controller::AddPeer(PeerSpec spec) {
  if (spec.key.node_id() == self_.node_id()) {
    return absl::InvalidArgumentError("key: is this node itself");
  }
  const Peer* same = peers_.Find(spec.key.node_id());
  if (same != nullptr && same->origin == PeerOrigin::kApi && same->spec == spec) return same;
  if (const auto* revoked = revocations_.Find(spec.key.node_id())) {
    return absl::FailedPreconditionError(
        fmt::format("key: this node is revoked: {}", revoked->revocation.reason));
  }
  RETURN_IF_ERROR(CheckFreeOfConfigured(spec));
  // On disk first: what the caller was told must survive a crash.
  RETURN_IF_ERROR(SaveApiPeers(nullptr, &spec));
  const NodeId id = spec.key.node_id();
  spdlog::info("peer {}: added by the API", spec.name);
  YieldTo(spec);
  TakePeer(std::move(spec), PeerOrigin::kApi);
  ReconcileAll();
  Push();
  return peers_.Find(id);
}

absl::Status Controller::RemovePeer(std::string_view name_or_id) {
  Peer* peer = peers_.Find(name_or_id);
  if (peer == nullptr) {
    return absl::NotFoundError(fmt::format("peer: there is no peer \"{}\"", name_or_id));
  }
  if (peer->origin == PeerOrigin::kConfig) {
    return absl::FailedPreconditionError(fmt::format(
        "peer: \"{}\" stands in {}; remove it there and reload", peer->spec.name, config_.file));
  }
  if (peer->origin == PeerOrigin::kNucleus) {
    return absl::FailedPreconditionError(fmt::format(
        "peer: \"{}\" is known from the Nucleus; it goes when it leaves there", peer->spec.name));
  }
  RETURN_IF_ERROR(SaveApiPeers(peer, nullptr));
  spdlog::info("peer {}: removed by the API", peer->spec.name);
  DropPeer(*peer);
  ReconcileAll();
  Push();
  return absl::OkStatus();
}

absl::Status Controller::SaveApiPeers(const Peer* without, const PeerSpec* with) const {
  std::vector<control::v1::AddPeerRequest> requests;
  for (const auto& [name, peer] : peers_) {
    if (peer->origin == PeerOrigin::kApi && peer.get() != without) {
      requests.push_back(ToRequest(peer->spec));
    }
  }
  if (with != nullptr) requests.push_back(ToRequest(*with));
  return WritePeersFile(ApiPeersFile(), requests);
}

absl::StatusOr<ReloadResult> Controller::Reload() {
  const auto refuse = [this](const absl::Status& status) {
    last_reload_error_ = std::string(Message(status));
    spdlog::error("reload: nothing changed: {}", last_reload_error_);
    return absl::InvalidArgumentError(last_reload_error_);
  };
  auto wanted = LoadConfig(config_.file);
  if (!wanted.ok()) return refuse(wanted.status());
  if (wanted->auto_addresses) wanted->addresses = config_.addresses;
  for (const absl::Status& status :
       {CheckReloadable(config_, *wanted), ReadPairSecrets(*wanted),
        CheckAgainstIdentity(*wanted, self_.node_id()), CheckPeersOf(*wanted)}) {
    if (!status.ok()) return refuse(status);
  }
  // A secret that is new takes a tenth of a second, a few times in the life of a cluster.
  auto secrets = keyring_ ? ReadClusterSecrets(*wanted, &*keyring_)
                          : absl::StatusOr<ClusterKeyring>(absl::UnknownError("none was given"));
  if (keyring_ && !secrets.ok()) return refuse(secrets.status());
  last_reload_error_.clear();
  const ReloadResult result = ApplyConfig(*std::move(wanted));
  if (secrets.ok()) TakeSecrets(*std::move(secrets));
  spdlog::info("reload: {} peers added, {} removed, {} changed", result.added, result.removed,
               result.changed);
  return result;
}

// What a Nucleus told of is no obstacle: it yields.
absl::Status Controller::CheckFreeOfConfigured(const PeerSpec& spec) const {
  if (peers_.CheckFree(spec).ok()) return absl::OkStatus();
  PeerTable configured;
  for (const auto& [name, peer] : peers_) {
    if (peer->origin != PeerOrigin::kNucleus) configured.Add(peer->spec.Clone(), peer->origin);
  }
  return configured.CheckFree(spec);
}

// The peers of the file against those of the API; among themselves the parser has compared them.
absl::Status Controller::CheckPeersOf(const Config& wanted) const {
  Problems problems(wanted.file);
  PeerTable api;
  for (const auto& [name, peer] : peers_) {
    if (peer->origin != PeerOrigin::kApi) continue;
    api.Add(peer->spec.Clone(), PeerOrigin::kApi);
    for (const IpPrefix& prefix : peer->spec.allowed) {
      if (!CheckAllowed(prefix, wanted.addresses).empty()) {
        problems.Add(
            1, "node.addresses",
            fmt::format("{} belongs to the peer \"{}\" of the API", prefix.ToString(), name));
      }
    }
  }
  for (const PeerConfig& peer : wanted.peers) {
    if (const absl::Status status = api.CheckFree(peer.spec); !status.ok()) {
      problems.Add(peer.line, "peers", fmt::format("{} (of the API)", Message(status)));
    }
  }
  return problems.ToStatus();
}

ReloadResult Controller::ApplyConfig(Config wanted) {
  ReloadResult result;
  std::set<NodeId> wanted_ids;
  for (const PeerConfig& peer : wanted.peers) wanted_ids.insert(peer.spec.key.node_id());
  std::vector<Peer*> gone;
  for (const auto& [name, peer] : peers_) {
    if (peer->origin == PeerOrigin::kConfig && !wanted_ids.contains(peer->id())) {
      gone.push_back(peer.get());
    }
  }
  for (Peer* peer : gone) DropPeer(*peer);
  result.removed = static_cast<uint32_t>(gone.size());

  const bool node_changed = wanted.addresses != config_.addresses || wanted.mtu != config_.mtu ||
                            wanted.paths != config_.paths || wanted.relay != config_.relay;
  const bool stops_relaying = config_.relay.for_peers && !wanted.relay.for_peers;
  if (node_changed) sync_.MarkNode();
  spdlog::set_level(spdlog::level::from_str(wanted.log_level));
  handshakes_.SetLimits(ToLimits(wanted.session));
  config_ = std::move(wanted);
  if (config_.auto_addresses) SetAddressSource(AddressSource::kAllocated);
  OfferCiphers();

  for (const PeerConfig& peer : config_.peers) YieldTo(peer.spec);
  std::vector<std::pair<Peer*, PeerSpec>> changes;
  std::vector<std::pair<Peer*, PeerSpec>> before;
  std::vector<const PeerSpec*> added;
  for (const PeerConfig& peer : config_.peers) {
    Peer* known = peers_.Find(peer.spec.key.node_id());
    if (known == nullptr) {
      added.push_back(&peer.spec);
    } else if (!(known->spec == peer.spec)) {
      before.emplace_back(known, known->spec.Clone());
      changes.emplace_back(known, peer.spec.Clone());
    }
  }
  result.changed = static_cast<uint32_t>(changes.size());
  result.added = static_cast<uint32_t>(added.size());
  for (const auto& [peer, spec] : changes) {
    if (!IsRekeyed(peer->spec, spec)) continue;
    // What was agreed under the old secret must not be used any longer. All leave the engine before
    // any comes back: keys may have changed hands.
    EndSessions(*peer);
    handshakes_.engine().RemovePeer(peer->id());
  }
  peers_.Replace(std::move(changes));  // before additions, which may take names that became free
  for (const auto& [peer, spec] : before) AfterChange(*peer, spec);
  for (const PeerSpec* spec : added) TakePeer(spec->Clone(), PeerOrigin::kConfig);
  ReconcileAll();
  if (discovery_) discovery_->OnConfig(config_);
  if (stops_relaying) LoseRelayed();
  Push();
  return result;
}

void Controller::TakePeer(PeerSpec spec, PeerOrigin origin) {
  const NodeId id = spec.key.node_id();
  if (const auto* revoked = revocations_.Find(id)) {
    return Disable(peers_.Add(std::move(spec), origin), revoked->revocation);
  }
  Enable(peers_.Add(std::move(spec), origin));
}

void Controller::Enable(Peer& peer) {
  const NodeId id = peer.id();
  // The peer table is as strict as the engine: PeerTable::CheckFree() came first.
  OMNI_CHECK(handshakes_.engine().AddPeer(id, EngineOptions(peer.spec)).ok());
  peer.revoked = false;
  peer.last_error.clear();
  peer.epoch = ++epochs_;
  sync_.MarkPeer(id, PushEndpoint::kYes);
  if (peer.spec.keepalive_s > 0 && peer.endpoint.is_set()) call_when_applied_.insert(id);
}

void Controller::DropPeer(Peer& peer) {
  const NodeId id = peer.id();
  EndSessions(peer);
  handshakes_.engine().RemovePeer(id);
  paths_.Remove(id);
  sync_.MarkRemoved(id);
  untold_endpoints_.erase(id);
  call_when_applied_.erase(id);
  relayed_for_.erase(id);
  lost_relayed_.erase(id);
  peers_.Remove(id);
  OnRelayPeer(id);
}

void Controller::AfterChange(Peer& peer, const PeerSpec& before) {
  noise::HandshakeEngine& engine = handshakes_.engine();
  const NodeId id = peer.id();
  if (const auto* revoked = revocations_.Find(id)) return Disable(peer, revoked->revocation);
  const bool moved = peer.spec.endpoint != before.endpoint && peer.spec.endpoint.is_set();
  if (moved) untold_endpoints_.insert(id);
  if (IsRekeyed(peer.spec, before)) {
    OMNI_CHECK(engine.AddPeer(id, EngineOptions(peer.spec)).ok());
  }
  const Endpoint at = moved ? peer.spec.endpoint : peer.endpoint;
  if (at.is_set()) MovePeer(peer, at);
  peer.trouble = Trouble::kNone;
  peer.last_error.clear();
  sync_.MarkPeer(id, moved ? PushEndpoint::kYes : PushEndpoint::kNo);
  if (peer.spec.keepalive_s > 0 && peer.sessions.empty() && peer.endpoint.is_set()) {
    call_when_applied_.insert(id);
  }
}

void Controller::EndSessions(Peer& peer) {
  peer.epoch = ++epochs_;                          // for those that are being installed
  if (!adopted_) not_to_adopt_.insert(peer.id());  // for those that we do not know of
  for (const LiveSession& session : std::exchange(peer.sessions, {})) {
    handshakes_.engine().ReleaseTag(session.tag);
    RemoveSession(peer.id(), session.id);
  }
}

void Controller::RemoveSession(const NodeId& peer, const SessionId& id) {
  dataplane::v1::RemoveSessionRequest request;
  request.set_session_id(AsString(id));
  dataplane_.RemoveSession(request, [this, peer](const auto& response) {
    // One that has ended by itself is as good.
    if (response.ok() || absl::IsNotFound(response.status())) return;
    not_to_adopt_.insert(peer);
  });
}

uint64_t Controller::EpochOf(const NodeId& id) const {
  const Peer* peer = peers_.Find(id);
  return peer == nullptr ? 0 : peer->epoch;
}

void Controller::Push() {
  if (!connected_) return;
  if (sync_.stuck()) {
    Resync();
  } else {
    sync_.Flush();
  }
}

}  // namespace omni
