// SPDX-License-Identifier: Apache-2.0
#include "controller/dataplane_client/fake_dataplane.h"

#include <algorithm>
#include <set>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/encoding.h"

namespace omni {

namespace asio = boost::asio;
namespace dp = dataplane::v1;

void FakeWire::Attach(FakeDataplane* node) { nodes_.push_back(node); }

void FakeWire::Cut(const FakeDataplane& a, const FakeDataplane& b) {
  cut_.insert({{&a, &b}, {&b, &a}});
}

bool FakeWire::Joins(const FakeDataplane& a, const FakeDataplane& b) const {
  return !cut_.contains({&a, &b});
}

FakeDataplane* FakeWire::At(const dp::Endpoint& endpoint) const {
  for (FakeDataplane* node : nodes_) {
    if (node->address.address() == endpoint.address() && node->address.port() == endpoint.port()) {
      return node;
    }
  }
  return nullptr;
}

FakeDataplane::FakeDataplane(asio::io_context& loop, FakeWire& wire, const Endpoint& at)
    : loop_(loop), wire_(wire) {
  address.set_address(AsString(at.address.raw()));
  address.set_port(at.port);
  state.set_boot_id("boot-0");
  wire.Attach(this);
}

void FakeDataplane::Connect() {
  connected_ = true;
  asio::post(loop_, [this] { listener_->OnConnected(state.boot_id()); });
}

void FakeDataplane::Disconnect() {
  connected_ = false;
  asio::post(loop_, [this] { listener_->OnDisconnected(absl::UnavailableError("gone")); });
}

void FakeDataplane::Restart() {
  Disconnect();
  state.Clear();
  state.set_boot_id("boot-" + std::to_string(++boots_));
  sessions.clear();
}

void FakeDataplane::Emit(const dp::Event& event) {
  if (!connected_ || loses_events) return;
  asio::post(loop_, [this, event] { listener_->OnEvent(event); });
}

template <typename Response>
void FakeDataplane::Answer(const Callback<Response>& done, absl::StatusOr<Response> response) {
  if (!connected_) response = absl::UnavailableError("gone");
  asio::post(loop_, [this, done, response, client = client_] {
    if (client == client_) done(response);
  });
}

void FakeDataplane::GetInfo(Callback<dp::GetInfoResponse> done) {
  dp::GetInfoResponse info;
  info.set_version("fake");
  info.set_boot_id(state.boot_id());
  info.set_workers(2);
  for (const auto& cipher : ciphers) *info.add_ciphers() = cipher;
  info.set_path("socket");
  info.set_listen_port(listen_port);
  *info.mutable_paths() = paths;
  const bool in_kernel =
      paths.in_kernel() == dp::IN_KERNEL_AUTO || paths.in_kernel() == dp::IN_KERNEL_ON;
  info.set_control_channels(in_kernel ? 1 : 0);
  dp::Feature& feature = *info.add_features();
  feature.set_name("udp_gso");
  feature.set_active(!refuses_udp_gso);
  feature.set_refusals(refuses_udp_gso ? 3 : 0);
  Answer<dp::GetInfoResponse>(done, info);
}

void FakeDataplane::GetState(Callback<dp::GetStateResponse> done) {
  const auto answer = [this, done, state = state] { Answer<dp::GetStateResponse>(done, state); };
  if (hold_states) {
    held_states_.emplace_back(answer);
  } else {
    answer();
  }
}

void FakeDataplane::AnswerStates() {
  hold_states = false;
  for (const auto& answer : std::exchange(held_states_, {})) answer();
}

dp::PeerState* FakeDataplane::StateOf(const std::string& peer_id) {
  for (auto& peer : *state.mutable_peers()) {
    if (peer.peer_id() == peer_id) return &peer;
  }
  return nullptr;
}

void FakeDataplane::ApplyPeers(const dp::ApplyStateRequest& request) {
  std::set<std::string> gone;
  if (request.has_full()) {
    for (const auto& peer : state.peers()) gone.insert(peer.peer_id());
    for (const auto& peer : request.full().peers()) gone.erase(peer.peer_id());
  }
  for (const auto& id : request.delta().remove()) gone.insert(id);
  auto& peers = *state.mutable_peers();
  for (int i = peers.size() - 1; i >= 0; --i) {
    if (gone.contains(peers[i].peer_id())) peers.DeleteSubrange(i, 1);
  }
  std::erase_if(sessions, [&](const auto& s) { return gone.contains(s.second.peer_id()); });
  const auto& wanted = request.has_full() ? request.full().peers() : request.delta().upsert();
  for (const auto& peer : wanted) {
    dp::PeerState* known = StateOf(peer.peer_id());
    if (known == nullptr) known = state.add_peers();
    known->set_peer_id(peer.peer_id());
    if (peer.has_endpoint()) *known->mutable_endpoint() = peer.endpoint();
  }
}

void FakeDataplane::ApplyState(const dp::ApplyStateRequest& request,
                               Callback<dp::ApplyStateResponse> done) {
  absl::StatusOr<dp::ApplyStateResponse> response = dp::ApplyStateResponse();
  if (connected_) {
    if (request.generation() <= state.generation() ||
        (request.has_delta() && request.base_generation() != state.generation())) {
      response = absl::FailedPreconditionError("generation does not follow");
    } else {
      journal.emplace_back(request.has_full() ? "apply full" : "apply delta");
      applied.push_back(request);
      state.set_generation(request.generation());
      if (request.has_full()) paths = request.full().node().paths();
      if (request.delta().has_node()) paths = request.delta().node().paths();
      ApplyPeers(request);
    }
  }
  Answer<dp::ApplyStateResponse>(done, response);
}

void FakeDataplane::InstallSession(const dp::InstallSessionRequest& request,
                                   Callback<dp::InstallSessionResponse> done) {
  absl::StatusOr<dp::InstallSessionResponse> response = dp::InstallSessionResponse();
  dp::PeerState* peer = StateOf(request.peer_id());
  if (!refuse_install.ok()) {
    response = refuse_install;
  } else if (peer == nullptr) {
    response = absl::NotFoundError("no such peer");
  } else if (connected_) {
    const bool initiator = request.role() == dp::ROLE_INITIATOR;
    journal.emplace_back(initiator ? "install initiator" : "install responder");
    sessions[request.session_id()] = request;
    dp::SessionState& session = *peer->add_sessions();
    session.set_session_id(request.session_id());
    session.set_role(request.role());
    session.set_cipher(request.cipher());
    session.set_slot(initiator ? dp::SESSION_SLOT_CURRENT : dp::SESSION_SLOT_NEXT);
    for (const auto& channel : request.receive()) session.add_receive_channel_ids(channel.id());
    if (request.has_endpoint()) *peer->mutable_endpoint() = request.endpoint();
    for (FakeDataplane* other : wire_.nodes()) {
      const auto theirs = other->sessions.find(request.session_id());
      if (!initiator || other == this || theirs == other->sessions.end()) continue;
      dp::Event event;
      event.mutable_session_confirmed()->set_session_id(request.session_id());
      event.mutable_session_confirmed()->set_peer_id(theirs->second.peer_id());
      for (auto& s : *other->StateOf(theirs->second.peer_id())->mutable_sessions()) {
        if (s.session_id() == request.session_id()) s.set_slot(dp::SESSION_SLOT_CURRENT);
      }
      other->Emit(event);
    }
  }
  const auto answer = [this, done, response] {
    Answer<dp::InstallSessionResponse>(done, response);
  };
  if (hold_install_answers) {
    held_answers_.emplace_back(answer);
  } else {
    answer();
  }
}

void FakeDataplane::AnswerInstalls() {
  for (const auto& answer : std::exchange(held_answers_, {})) answer();
}

void FakeDataplane::EndSession(const std::string& session_id, dp::SessionEnded::Reason reason) {
  const auto node = sessions.extract(session_id);
  if (node.empty()) return;
  auto& list = *StateOf(node.mapped().peer_id())->mutable_sessions();
  for (int i = list.size() - 1; i >= 0; --i) {
    if (list[i].session_id() == session_id) list.DeleteSubrange(i, 1);
  }
  dp::Event event;
  event.mutable_session_ended()->set_session_id(session_id);
  event.mutable_session_ended()->set_peer_id(node.mapped().peer_id());
  event.mutable_session_ended()->set_reason(reason);
  Emit(event);
}

void FakeDataplane::RemoveSession(const dp::RemoveSessionRequest& request,
                                  Callback<dp::RemoveSessionResponse> done) {
  if (connected_) journal.emplace_back("remove session");
  const bool known = connected_ && sessions.erase(request.session_id()) > 0;
  if (known) {
    for (auto& peer : *state.mutable_peers()) {
      auto& list = *peer.mutable_sessions();
      for (int i = list.size() - 1; i >= 0; --i) {
        if (list[i].session_id() == request.session_id()) list.DeleteSubrange(i, 1);
      }
    }
    Answer<dp::RemoveSessionResponse>(done, dp::RemoveSessionResponse());
  } else {
    Answer<dp::RemoveSessionResponse>(done, absl::NotFoundError("no such session"));
  }
}

void FakeDataplane::GetCounters(Callback<dp::GetCountersResponse> done) {
  Answer<dp::GetCountersResponse>(done, counters);
}

void FakeDataplane::GetStats(Callback<dp::GetCountersResponse> done) {
  Answer<dp::GetCountersResponse>(done, counters);
}

void FakeDataplane::ExplainPacket(const dp::ExplainPacketRequest& request,
                                  Callback<dp::ExplainPacketResponse> done) {
  explained.push_back(request);
  Answer<dp::ExplainPacketResponse>(done, explanation);
}

void FakeDataplane::ReadTrace(const dp::ReadTraceRequest& request,
                              Callback<dp::ReadTraceResponse> done) {
  traced.push_back(request);
  dp::ReadTraceResponse response;
  if (!traces.empty()) {
    response = traces.front();
    traces.erase(traces.begin());
  }
  Answer<dp::ReadTraceResponse>(done, response);
}

bool FakeDataplane::CanSend(const std::string& peer_id) {
  const dp::PeerState* peer = StateOf(peer_id);
  return peer != nullptr && std::ranges::any_of(peer->sessions(), [](const auto& session) {
           return session.slot() == dp::SESSION_SLOT_CURRENT;
         });
}

void FakeDataplane::SendEcho(const dp::SendEchoRequest& request,
                             Callback<dp::SendEchoResponse> done) {
  if (!CanSend(request.peer_id())) {
    Answer<dp::SendEchoResponse>(done, absl::FailedPreconditionError("no session"));
    return;
  }
  Answer<dp::SendEchoResponse>(done, dp::SendEchoResponse());
  if (!answers_echoes) return;
  dp::Event event;
  event.mutable_echo_reply()->set_peer_id(request.peer_id());
  event.mutable_echo_reply()->set_token(request.token());
  event.mutable_echo_reply()->set_rtt_ns(1'500'000);
  Emit(event);
}

void FakeDataplane::TryPath(const dp::TryPathRequest& request, Callback<dp::TryPathResponse> done) {
  if (!CanSend(request.peer_id())) {
    Answer<dp::TryPathResponse>(done, absl::FailedPreconditionError("no session"));
    return;
  }
  ++tries;
  Answer<dp::TryPathResponse>(done, dp::TryPathResponse());
  const auto way = ways.find(request.to().SerializeAsString());
  if (way == ways.end()) return;
  dp::Event event;
  event.mutable_echo_reply()->set_peer_id(request.peer_id());
  event.mutable_echo_reply()->set_token(request.token());
  event.mutable_echo_reply()->set_rtt_ns(static_cast<uint64_t>(way->second));
  Emit(event);
}

void FakeDataplane::MovePeer(const dp::MovePeerRequest& request,
                             Callback<dp::MovePeerResponse> done) {
  if (!CanSend(request.peer_id())) {
    Answer<dp::MovePeerResponse>(done, absl::FailedPreconditionError("no session"));
    return;
  }
  journal.emplace_back("move");
  *StateOf(request.peer_id())->mutable_endpoint() = request.to();
  Answer<dp::MovePeerResponse>(done, dp::MovePeerResponse());
  dp::Event event;
  event.mutable_endpoint_changed()->set_peer_id(request.peer_id());
  *event.mutable_endpoint_changed()->mutable_endpoint() = request.to();
  Emit(event);
}

void FakeDataplane::OpenRelay(const dp::OpenRelayRequest& request,
                              Callback<dp::OpenRelayResponse> done) {
  journal.emplace_back("open relay");
  opened.push_back(request);
  Answer<dp::OpenRelayResponse>(done, dp::OpenRelayResponse());
}

void FakeDataplane::SendPacket(const dp::PacketOut& packet) {
  if (!connected_) return;
  journal.emplace_back("send " + std::to_string(packet.payload().front()));
  const std::string& target = packet.to().address();
  const auto first = static_cast<uint8_t>(target.front());
  const bool to_all = target.size() == 4 ? first == 224 : first == 0xff;
  if (to_all) {
    for (FakeDataplane* each : wire_.nodes()) {
      if (each->connected_ && each->address.port() == packet.to().port()) Arrive(*each, packet);
    }
    return;
  }
  FakeDataplane* to = wire_.At(packet.to());
  if (to != nullptr && to->connected_) Arrive(*to, packet);
}

void FakeDataplane::Arrive(FakeDataplane& at, const dp::PacketOut& packet) {
  if (!wire_.Joins(*this, at)) return;
  dp::PacketIn arrived;
  *arrived.mutable_from() = address;
  arrived.set_payload(packet.payload());
  asio::post(loop_, [&at, arrived] { at.listener_->OnPacketIn(arrived); });
}

}  // namespace omni
