// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/peer_text.h"
#include "cli/print.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/status.h"

namespace omni {
namespace {

std::string PathMtuStateName(api::PathMtuState state) {
  switch (state) {
    case api::PATH_MTU_STATE_BASE:
      return "assumed";
    case api::PATH_MTU_STATE_SEARCHING:
      return "searching";
    case api::PATH_MTU_STATE_COMPLETE:
      return "found";
    case api::PATH_MTU_STATE_ERROR:
      return "below 1280";
    default:
      return "unknown";
  }
}

std::string OriginName(api::PeerOrigin origin) {
  switch (origin) {
    case api::PEER_ORIGIN_CONFIG:
      return "configuration file";
    case api::PEER_ORIGIN_API:
      return "added at run time";
    case api::PEER_ORIGIN_NUCLEUS:
      return "Nucleus";
    case api::PEER_ORIGIN_NODES:
      return "other nodes, no Nucleus";
    default:
      return "unknown";
  }
}

// The same in one word, for the table.
std::string OriginWord(api::PeerOrigin origin) {
  switch (origin) {
    case api::PEER_ORIGIN_CONFIG:
      return "config";
    case api::PEER_ORIGIN_API:
      return "api";
    case api::PEER_ORIGIN_NUCLEUS:
      return "nucleus";
    case api::PEER_ORIGIN_NODES:
      return "nodes";
    default:
      return "unknown";
  }
}

std::string LastHandshake(const api::Peer& peer) {
  return peer.has_last_handshake_age() ? HumanAge(peer.last_handshake_age()) + " ago" : "";
}

std::string Rtt(const api::Peer& peer) { return peer.has_rtt() ? HumanRtt(peer.rtt()) : ""; }

// "3% of 32"
std::string Loss(const api::Peer& peer) {
  if (peer.loss_samples() == 0) return "";
  return fmt::format("{:.0f}% of {}", peer.loss_percent(), peer.loss_samples());
}

// "1500, 1440 inside (found)"
std::string PathMtu(const api::Peer& peer) {
  if (peer.path_mtu() == 0) return "";
  return fmt::format("{}, {} inside ({})", peer.path_mtu(), peer.inner_mtu(),
                     PathMtuStateName(peer.path_mtu_state()));
}

void PrintPeer(const Context& context, const api::Peer& peer) {
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, peer);
  PrintFields(
      *context.out,
      {{"Name", peer.name()},
       {"State", StateName(peer.state())},
       {"Last error", peer.last_error()},
       {"Node id", peer.node_id()},
       {"Key", peer.key()},
       {"Origin", OriginName(peer.origin())},
       {"Allowed", fmt::format("{}", fmt::join(peer.allowed(), ", "))},
       {"Endpoint", peer.endpoint().empty() ? "unknown" : PathTo(peer)},
       {"Path", peer.path_kind()},
       {"Relayed because", peer.path_reason()},
       {"Configured endpoint", peer.configured_endpoint()},
       {"Pair PSK", peer.has_psk() ? "yes" : "no"},
       {"Keepalive", peer.persistent_keepalive_s() == 0
                         ? "off"
                         : fmt::format("{} s", peer.persistent_keepalive_s())},
       {"Cipher", peer.cipher()},
       {"Last handshake", peer.has_last_handshake_age() ? LastHandshake(peer) : "never"},
       {"Handshakes", fmt::format("{} ({} failed)", peer.handshakes(), peer.handshake_failures())},
       {"RTT", Rtt(peer)},
       {"Loss", Loss(peer).empty() ? "" : Loss(peer) + " echoes"},
       {"Path MTU", PathMtu(peer)},
       {"Received",
        fmt::format("{} in {} packets", HumanBytes(peer.rx_bytes()), peer.rx_packets())},
       {"Sent", fmt::format("{} in {} packets", HumanBytes(peer.tx_bytes()), peer.tx_packets())}});
}

void List(const Context& context) {
  Client client(context);
  const auto response = client.Call(&Stub::ListPeers, api::ListPeersRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  Table table({"PEER", "FROM", "STATE", "PATH", "ENDPOINT", "CIPHER", "HANDSHAKE", "RTT", "LOSS",
               "MTU", "RECEIVED", "SENT", "ALLOWED"},
              {"RTT", "LOSS", "MTU", "RECEIVED", "SENT"});
  for (const auto& peer : response.peers()) {
    table.Add({peer.name(), OriginWord(peer.origin()), StateName(peer.state()), peer.path_kind(),
               PathTo(peer), peer.cipher(), LastHandshake(peer), Rtt(peer), Loss(peer),
               peer.path_mtu() == 0 ? "" : fmt::format("{}", peer.path_mtu()),
               HumanBytes(peer.rx_bytes()), HumanBytes(peer.tx_bytes()),
               fmt::format("{}", fmt::join(peer.allowed(), ","))});
  }
  table.Print(*context.out);
  for (const auto& peer : response.peers()) {
    if (peer.path() == api::PEER_PATH_RELAY) {
      *context.out << fmt::format("{}: relayed: {}\n", peer.name(), peer.path_reason());
    }
    if (!peer.last_error().empty()) {
      *context.out << fmt::format("{}: {}\n", peer.name(), peer.last_error());
    }
  }
}

// The file holds 32 bytes as base64url without padding or as 64 hex digits, as in the
// configuration.
std::string ReadPsk(const std::string& path) {
  // LIMIT: 128 bytes hold either notation with a newline.
  auto content = ReadFile(path, 128, FileAccess::kOwnerOnly);
  if (!content.ok()) {
    throw CommandError(ExitCode::kUsage,
                       fmt::format("--psk-file {}: {}", path, Message(content.status())));
  }
  std::string_view text = *content;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const auto bytes = text.size() == 64 ? HexDecode(text) : Base64Decode(text);
  if (!bytes.has_value() || bytes->size() != 32) {
    throw CommandError(
        ExitCode::kUsage,
        fmt::format("--psk-file {}: must hold 32 bytes as base64url or 64 hex digits", path));
  }
  return AsString(*bytes);
}

struct AddOptions {
  api::AddPeerRequest request;
  std::string name;
  std::string key;
  std::string endpoint;
  std::vector<std::string> allowed;
  std::string psk_file;
  uint32_t keepalive_s = 0;
};

void AddPeer(const Context& context, const AddOptions& options) {
  api::AddPeerRequest request;
  request.set_name(options.name);
  request.set_key(options.key);
  request.set_endpoint(options.endpoint);
  for (const std::string& prefix : options.allowed) request.add_allowed(prefix);
  if (!options.psk_file.empty()) request.set_psk(ReadPsk(options.psk_file));
  request.set_persistent_keepalive_s(options.keepalive_s);
  Client client(context);
  PrintPeer(context, client.Call(&Stub::AddPeer, request));
}

void AddAddCommand(CLI::App& peers, const Context& context) {
  auto options = std::make_shared<AddOptions>();
  auto* command =
      peers.add_subcommand("add", "Adds a peer; it is kept over restarts until it is removed");
  command->add_option("name", options->name, "1-63 of [a-z0-9-]")->required()->option_text("NAME");
  command->add_option("--key", options->key, "The peer's key: `omnictl identity export` there")
      ->required()
      ->option_text("omni1... REQUIRED");
  command->add_option("--allowed", options->allowed, "Prefixes whose addresses belong to the peer")
      ->required()
      ->delimiter(',')
      ->option_text("PREFIX,... REQUIRED");
  command->add_option("--endpoint", options->endpoint, "Where the peer listens, when known")
      ->option_text("IP:PORT");
  command->add_option("--psk-file", options->psk_file, "An extra secret of this pair (mode 0600)")
      ->option_text("FILE");
  command->add_option("--keepalive", options->keepalive_s, "Seconds between keepalives; 0 is off")
      ->check(CLI::Range(0, 65535))
      ->option_text("SECONDS");
  command->footer(
      "Example:\n"
      "  omnictl peers add robot-7 --key omni1... --endpoint 192.0.2.7:51900 "
      "--allowed 10.77.0.7/32,fd77::7/128");
  command->callback([&context, options] { AddPeer(context, *options); });
}

void AddShowCommand(CLI::App& peers, const Context& context) {
  auto name = std::make_shared<std::string>();
  auto* command = peers.add_subcommand("show", "Everything about one peer");
  command->add_option("peer", *name, "Name or node id")->required()->option_text("PEER");
  command->footer("Example:\n  omnictl peers show robot-7");
  command->callback([&context, name] {
    api::GetPeerRequest request;
    request.set_peer(*name);
    Client client(context);
    PrintPeer(context, client.Call(&Stub::GetPeer, request));
  });
}

void AddRemoveCommand(CLI::App& peers, const Context& context) {
  auto name = std::make_shared<std::string>();
  auto* command = peers.add_subcommand("remove", "Removes a peer that was added at run time");
  command->add_option("peer", *name, "Name or node id")->required()->option_text("PEER");
  command->footer("Example:\n  omnictl peers remove robot-7");
  command->callback([&context, name] {
    api::RemovePeerRequest request;
    request.set_peer(*name);
    Client client(context);
    const auto response = client.Call(&Stub::RemovePeer, request);
    if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
    *context.out << fmt::format("removed {}\n", *name);
  });
}

}  // namespace

void AddPeersCommand(CLI::App& app, const Context& context) {
  auto* peers = app.add_subcommand("peers", "The machines that this node knows");
  peers->footer("Examples:\n  omnictl peers list\n  omnictl peers show robot-7");
  peers->require_subcommand(1);
  auto* list = peers->add_subcommand("list", "All peers, with state and traffic");
  list->footer("Example:\n  omnictl peers list --output json");
  list->callback([&context] { List(context); });
  AddPeersWatchCommand(*peers, context);
  AddShowCommand(*peers, context);
  AddAddCommand(*peers, context);
  AddRemoveCommand(*peers, context);
}

}  // namespace omni
