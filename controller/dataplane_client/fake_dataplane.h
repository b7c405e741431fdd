// SPDX-License-Identifier: Apache-2.0
// FakeDataplane: a dataplane in memory, for tests: keeps state and sessions as the contract says,
// and gives datagrams to whoever listens on its wire. FakeWire joins several of them. Everything
// runs on the test's event loop.
#pragma once

#include <functional>
#include <map>
#include <string>
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
  FakeDataplane* At(const dataplane::v1::Endpoint& endpoint) const;
  const std::vector<FakeDataplane*>& nodes() const { return nodes_; }

 private:
  std::vector<FakeDataplane*> nodes_;
};

class FakeDataplane : public DataplaneClient {
 public:
  FakeDataplane(boost::asio::io_context& loop, FakeWire& wire, const Endpoint& address);

  // What a test does to it.
  void Connect();
  void Disconnect();
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
  absl::Status refuse_install;
  bool hold_install_answers = false;
  bool hold_states = false;
  bool loses_events = false;
  bool answers_echoes = true;
  bool refuses_udp_gso = false;
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
  void SendEcho(const dataplane::v1::SendEchoRequest& request,
                Callback<dataplane::v1::SendEchoResponse> done) override;
  void SendPacket(const dataplane::v1::PacketOut& packet) override;

 private:
  template <typename Response>
  void Answer(const Callback<Response>& done, absl::StatusOr<Response> response);
  void ApplyPeers(const dataplane::v1::ApplyStateRequest& request);
  dataplane::v1::PeerState* StateOf(const std::string& peer_id);
  bool CanSend(const std::string& peer_id);

  boost::asio::io_context& loop_;
  FakeWire& wire_;
  DataplaneListener* listener_ = nullptr;
  bool connected_ = false;
  int boots_ = 0;
  std::vector<std::function<void()>> held_answers_;
  std::vector<std::function<void()>> held_states_;
};

}  // namespace omni
