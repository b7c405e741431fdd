// SPDX-License-Identifier: Apache-2.0
// FakeDataplane: a dataplane in memory, for tests: keeps state and sessions as the contract says,
// and gives datagrams to whoever listens on its wire. FakeWire joins several of them. Everything
// runs on the test's event loop.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "common/ip.h"
#include "controller/dataplane_client/dataplane_client.h"

namespace omni {

class FakeDataplane;

// Carries datagrams by address and tells a responder that its session is confirmed.
class FakeWire {
 public:
  void Attach(FakeDataplane* node);
  void Detach(FakeDataplane* node) { std::erase(nodes_, node); }
  FakeDataplane* At(const dataplane::v1::Endpoint& endpoint) const;
  const std::vector<FakeDataplane*>& nodes() const { return nodes_; }
  // Neither hears the other any more.
  void Cut(const FakeDataplane& a, const FakeDataplane& b);
  bool Joins(const FakeDataplane& a, const FakeDataplane& b) const;

 private:
  std::vector<FakeDataplane*> nodes_;
  std::set<std::pair<const FakeDataplane*, const FakeDataplane*>> cut_;
};

class FakeDataplane : public DataplaneClient {
 public:
  FakeDataplane(boost::asio::io_context& loop, FakeWire& wire, const Endpoint& address);
  ~FakeDataplane() override { wire_.Detach(this); }
  FakeDataplane(const FakeDataplane&) = delete;
  FakeDataplane& operator=(const FakeDataplane&) = delete;

  // What a test does to it.
  void Connect();
  void Disconnect();
  // The controller has ended: what is still to be answered was for it.
  void ForgetClient() { ++client_; }
  void Restart();  // and disconnect: a new boot id, nothing left
  void Emit(const dataplane::v1::Event& event);
  void EndSession(const std::string& session_id, dataplane::v1::SessionEnded::Reason reason);
  void AnswerInstalls();  // those that hold_install_answers kept back
  void AnswerStates();    // likewise hold_states, with the states as they were
  size_t held_states() const { return held_states_.size(); }

  // What a test looks at.
  dataplane::v1::GetStateResponse state;
  std::vector<dataplane::v1::ApplyStateRequest> applied;
  std::map<std::string, dataplane::v1::InstallSessionRequest> sessions;
  std::vector<std::string> journal;  // "install responder", "send 6", ... in order
  dataplane::v1::GetCountersResponse counters;
  std::vector<dataplane::v1::CipherInfo> ciphers;  // that it has
  dataplane::v1::Paths paths;                      // in force
  dataplane::v1::ExplainPacketResponse explanation;
  std::vector<dataplane::v1::ExplainPacketRequest> explained;
  std::vector<dataplane::v1::ReadTraceResponse> traces;  // answers to come; then empty ones
  std::vector<dataplane::v1::ReadTraceRequest> traced;
  absl::Status refuse_install;
  bool hold_install_answers = false;
  bool hold_states = false;
  bool loses_events = false;
  bool answers_echoes = true;
  bool refuses_udp_gso = false;
  uint32_t listen_port = 0;             // that it tells
  std::map<std::string, int64_t> ways;  // that answer tries, serialized, and in how many ns
  int tries = 0;
  std::vector<dataplane::v1::OpenRelayRequest> opened;  // for others
  dataplane::v1::Endpoint address;

  void Start(DataplaneListener* listener) override { listener_ = listener; }
  void GetInfo(Callback<dataplane::v1::GetInfoResponse> done) override;
  void GetState(Callback<dataplane::v1::GetStateResponse> done) override;
  void ApplyState(const dataplane::v1::ApplyStateRequest& request,
                  Callback<dataplane::v1::ApplyStateResponse> done) override;
  void InstallSession(const dataplane::v1::InstallSessionRequest& request,
                      Callback<dataplane::v1::InstallSessionResponse> done) override;
  void RemoveSession(const dataplane::v1::RemoveSessionRequest& request,
                     Callback<dataplane::v1::RemoveSessionResponse> done) override;
  void GetCounters(Callback<dataplane::v1::GetCountersResponse> done) override;
  void GetStats(Callback<dataplane::v1::GetCountersResponse> done) override;
  void ExplainPacket(const dataplane::v1::ExplainPacketRequest& request,
                     Callback<dataplane::v1::ExplainPacketResponse> done) override;
  void ReadTrace(const dataplane::v1::ReadTraceRequest& request,
                 Callback<dataplane::v1::ReadTraceResponse> done) override;
  void SendEcho(const dataplane::v1::SendEchoRequest& request,
                Callback<dataplane::v1::SendEchoResponse> done) override;
  void TryPath(const dataplane::v1::TryPathRequest& request,
               Callback<dataplane::v1::TryPathResponse> done) override;
  void MovePeer(const dataplane::v1::MovePeerRequest& request,
                Callback<dataplane::v1::MovePeerResponse> done) override;
  void OpenRelay(const dataplane::v1::OpenRelayRequest& request,
                 Callback<dataplane::v1::OpenRelayResponse> done) override;
  void SendPacket(const dataplane::v1::PacketOut& packet) override;

 private:
  template <typename Response>
  void Answer(const Callback<Response>& done, absl::StatusOr<Response> response);
  void ApplyPeers(const dataplane::v1::ApplyStateRequest& request);
  dataplane::v1::PeerState* StateOf(const std::string& peer_id);
  bool CanSend(const std::string& peer_id);
  void Arrive(FakeDataplane& at, const dataplane::v1::PacketOut& packet);

  boost::asio::io_context& loop_;
  FakeWire& wire_;
  DataplaneListener* listener_ = nullptr;
  bool connected_ = false;
  int boots_ = 0;
  std::vector<std::function<void()>> held_answers_;
  std::vector<std::function<void()>> held_states_;
  uint64_t client_ = 0;
};

}  // namespace omni
