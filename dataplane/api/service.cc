// SPDX-License-Identifier: Apache-2.0
#include "dataplane/api/service.h"

#include <sodium.h>
#include <unistd.h>

#include <thread>

#include "common/encoding.h"
#include "common/status.h"
#include "dataplane/api/convert.h"
#include "dataplane/api/event_queue.h"
#include "generated/version.h"

namespace omni {
DataplaneService::DataplaneService(Hub& hub, std::vector<Worker*> workers, DataplaneInfo info)
    : hub_(hub), workers_(std::move(workers)), info_(std::move(info)) {
  randombytes_buf(boot_id_.data(), boot_id_.size());
}

void DataplaneService::Shutdown() {
  const std::lock_guard lock(mutex_);
  shut_down_ = true;
  if (queue_) queue_->Close();
}

grpc::Status DataplaneService::GetInfo(grpc::ServerContext*, const v1::GetInfoRequest*,
                                       v1::GetInfoResponse* response) {
  response->set_version(kVersion);
  response->set_boot_id(AsString(boot_id_));
  response->set_pid(static_cast<uint32_t>(getpid()));
  response->set_uptime_ms(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Now() - started_).count()));
  response->set_tun_name(info_.tun_name);
  response->set_listen_port(info_.listen_port);
  response->set_workers(static_cast<uint32_t>(workers_.size()));
  const DataplaneInfo::Path path = info_.path();
  response->set_path(path.name);
  response->set_path_reason(path.reason);
  response->set_control_channels(info_.control_channels());
  *response->mutable_paths() = WritePaths(info_.settings());
  for (const CipherSpeed& speed : info_.ciphers) {
    v1::CipherInfo* cipher = response->add_ciphers();
    cipher->set_cipher(WriteCipher(speed.cipher));
    cipher->set_backend(std::string(AeadBackendName(speed.backend)));
    cipher->set_ns_64(speed.ns_64);
    cipher->set_ns_1420(speed.ns_1420);
  }
  v1::Limits* limits = response->mutable_limits();
  limits->set_peers(HubLimits::kPeers);
  limits->set_sessions_per_peer(HubLimits::kSessionsPerPeer);
  limits->set_allowed_per_peer(HubLimits::kAllowedPerPeer);
  limits->set_channels_per_session(HubLimits::kChannelsPerSession);
  for (const OffloadReport::Line& from : info_.features()) {
    v1::Feature* feature = response->add_features();
    feature->set_name(std::string(from.name));
    feature->set_active(from.active);
    feature->set_reason(from.reason);
    feature->set_refusals(from.refusals);
  }
  if (const auto relayed = hub_.GetRelay()) {
    v1::Relayed* out = response->mutable_relayed();
    out->set_pairs(static_cast<uint32_t>(relayed->pairs));
    out->set_channels(static_cast<uint32_t>(relayed->channels));
    out->set_packets(relayed->packets);
    out->set_bytes(relayed->bytes);
  }
  return grpc::Status::OK;
}

grpc::Status DataplaneService::ApplyState(grpc::ServerContext*,
                                          const v1::ApplyStateRequest* request,
                                          v1::ApplyStateResponse* response) {
  const auto change = ReadStateChange(*request);
  if (!change.ok()) return ToGrpc(change.status());
  const auto generation = hub_.ApplyState(*change);
  if (!generation.ok()) return ToGrpc(generation.status());
  response->set_generation(*generation);
  return grpc::Status::OK;
}

grpc::Status DataplaneService::GetState(grpc::ServerContext*, const v1::GetStateRequest*,
                                        v1::GetStateResponse* response) {
  *response = WriteState(hub_.GetState(Now()));
  response->set_boot_id(AsString(boot_id_));
  return grpc::Status::OK;
}

grpc::Status DataplaneService::InstallSession(grpc::ServerContext*,
                                              const v1::InstallSessionRequest* request,
                                              v1::InstallSessionResponse*) {
  auto spec = ReadSession(*request);
  if (!spec.ok()) return ToGrpc(spec.status());
  return ToGrpc(hub_.InstallSession(*std::move(spec), Now()));
}

grpc::Status DataplaneService::RemoveSession(grpc::ServerContext*,
                                             const v1::RemoveSessionRequest* request,
                                             v1::RemoveSessionResponse*) {
  const auto id = ReadSessionId(request->session_id(), "session_id");
  if (!id.ok()) return ToGrpc(id.status());
  return ToGrpc(hub_.RemoveSession(*id));
}

grpc::Status DataplaneService::SendEcho(grpc::ServerContext*, const v1::SendEchoRequest* request,
                                        v1::SendEchoResponse*) {
  const auto peer = ReadNodeId(request->peer_id(), "peer_id");
  if (!peer.ok()) return ToGrpc(peer.status());
  if (request->token() == 0) return {grpc::StatusCode::INVALID_ARGUMENT, "token: is 0"};
  if (request->padding() > 64900) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "padding: is above 64900"};
  }
  return ToGrpc(hub_.SendEcho(*peer, request->token(), request->padding(), Now()));
}

grpc::Status DataplaneService::TryPath(grpc::ServerContext*, const v1::TryPathRequest* request,
                                       v1::TryPathResponse*) {
  const auto peer = ReadNodeId(request->peer_id(), "peer_id");
  if (!peer.ok()) return ToGrpc(peer.status());
  if (request->token() == 0) return {grpc::StatusCode::INVALID_ARGUMENT, "token: is 0"};
  const auto to = ReadEndpoint(request->to(), "to");
  if (!to.ok()) return ToGrpc(to.status());
  return ToGrpc(hub_.TryPath(*peer, request->token(), *to, Now()));
}

grpc::Status DataplaneService::MovePeer(grpc::ServerContext*, const v1::MovePeerRequest* request,
                                        v1::MovePeerResponse*) {
  const auto peer = ReadNodeId(request->peer_id(), "peer_id");
  if (!peer.ok()) return ToGrpc(peer.status());
  const auto to = ReadEndpoint(request->to(), "to");
  if (!to.ok()) return ToGrpc(to.status());
  return ToGrpc(hub_.MovePeer(*peer, *to, Now()));
}

grpc::Status DataplaneService::OpenRelay(grpc::ServerContext*, const v1::OpenRelayRequest* request,
                                         v1::OpenRelayResponse*) {
  const auto spec = ReadRelay(*request);
  if (!spec.ok()) return ToGrpc(spec.status());
  return ToGrpc(hub_.OpenRelay(*spec, Now()));
}

grpc::Status DataplaneService::Stream(grpc::ServerContext* context, ControlStream* stream) {
  const auto queue = std::make_shared<EventQueue>();
  {
    const std::lock_guard lock(mutex_);
    if (shut_down_) return {grpc::StatusCode::UNAVAILABLE, "the dataplane is stopping"};
    if (queue_) queue_->Close();
    queue_ = queue;
  }
  const uint64_t sink =
      hub_.SetSink([queue](ControllerEvent e) { return queue->Push(std::move(e)); });
  v1::StreamResponse hello;
  hello.mutable_hello()->set_boot_id(AsString(boot_id_));
  stream->Write(hello);
  std::thread reader([&] { ReadPackets(*stream, *queue); });
  while (auto event = queue->Pop()) {
    if (!stream->Write(WriteEvent(*std::move(event)))) break;
  }
  hub_.ClearSink(sink);
  context->TryCancel();  // ends a Read() under way
  reader.join();
  const std::lock_guard lock(mutex_);
  if (queue_ != queue) return {grpc::StatusCode::ABORTED, "another controller took over"};
  queue_ = nullptr;
  return grpc::Status::OK;
}

void DataplaneService::ReadPackets(ControlStream& stream, EventQueue& queue) {
  v1::StreamRequest request;
  while (stream.Read(&request)) {
    const v1::PacketOut& packet = request.packet_out();
    const auto path = ReadControlPath(packet);
    const auto& payload = packet.payload();
    const bool sane = path.ok() && !payload.empty() && payload.size() <= 1500 &&
                      static_cast<uint8_t>(payload[0]) != OMNI_MSG_DATA;
    if (!sane) {
      hub_.CountIgnoredPacketOut();
      continue;
    }
    const auto bytes = AsBytes(payload);
    hub_.SendControl(*path, {bytes.begin(), bytes.end()});
  }
  queue.Close();
}

}  // namespace omni
