// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

struct TraceOptions {
  std::string to;
  uint32_t size = 84;
  std::string protocol = "icmp";
  uint32_t next = 0;
  std::string peer;
  bool drops = false;
  double wait_s = 60;
};

void Explain(const Context& context, const TraceOptions& options) {
  api::ExplainPacketRequest request;
  request.set_destination(options.to);
  request.set_size(options.size);
  request.set_protocol(options.protocol);
  Client client(context);
  const auto response = client.Call(&Stub::ExplainPacket, request);
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Packet", fmt::format("{} bytes of {} to {}", options.size, options.protocol, options.to)}};
  if (!response.peer().empty()) fields.emplace_back("Peer", response.peer());
  fields.emplace_back("Goes by", response.path().empty() ? "nothing now" : response.path());
  PrintFields(*context.out, fields);
  *context.out << '\n';
  fields.clear();
  for (const auto& step : response.steps()) fields.emplace_back("  " + step.name(), step.text());
  PrintFields(*context.out, fields);
}

std::string Line(const api::TracedPacket& packet) {
  const double at = std::chrono::duration<double>(FromProto(packet.at())).count();
  std::string out = fmt::format("{:10.6f} {:3}", at, packet.direction());
  const bool is_kernels = packet.path() == "kernel" || packet.path() == "xdp";
  if (!is_kernels) out += fmt::format(" w{}", packet.worker());
  if (!packet.path().empty()) out += " " + packet.path();
  if (!packet.peer().empty()) out += " peer " + packet.peer();
  if (!packet.protocol().empty()) out += " " + packet.protocol();
  if (!packet.source().empty() || !packet.destination().empty()) {
    out += fmt::format(" {} > {}", packet.source().empty() ? "?" : packet.source(),
                       packet.destination().empty() ? "?" : packet.destination());
  }
  if (packet.bytes() > 0) out += fmt::format(", {} bytes", packet.bytes());
  if (packet.packets() > 1) out += fmt::format(" ({} packets)", packet.packets());
  if (!packet.channel_id().empty()) {
    out += fmt::format(", channel {} counter {}", packet.channel_id(), packet.counter());
  }
  return out + (packet.dropped() ? ": DROPPED " : ": ") + packet.verdict();
}

// Each packet as it comes, or all at the end as one JSON document.
void Next(const Context& context, const TraceOptions& options) {
  api::TraceRequest request;
  request.set_packets(options.next);
  request.set_peer(options.peer);
  request.set_drops_only(options.drops);
  Client client(context);
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        std::chrono::duration<double>(options.wait_s)));
  const auto reader = client.stub().Trace(&call, request);
  api::TraceResult result;
  std::string json;
  uint32_t told = 0;
  while (reader->Read(&result)) {
    if (!result.has_packet()) continue;
    ++told;
    if (context.format == OutputFormat::kJson) {
      json += (json.empty() ? "" : ",") + ToJson(result.packet());
    } else {
      *context.out << Line(result.packet()) << '\n' << std::flush;
    }
  }
  const grpc::Status status = reader->Finish();
  if (context.format == OutputFormat::kJson) {
    *context.out << fmt::format(
        "{{\"packets\": [{}], \"missed\": \"{}\", \"kernel_tx\": \"{}\", \"kernel_rx\": \"{}\"}}\n",
        json, result.missed(), result.kernel_tx(), result.kernel_rx());
  } else {
    if (result.missed() > 0) {
      *context.out << fmt::format("{} more came too fast to be told\n", result.missed());
    }
    if (result.kernel_tx() + result.kernel_rx() > 0) {
      *context.out << fmt::format(
          "not told: {} packets that the kernel sealed and {} that it opened by itself\n",
          result.kernel_tx(), result.kernel_rx());
    }
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    throw CommandError(ExitCode::kTimeout, fmt::format("trace: {} of {} packets within {} s", told,
                                                       options.next, options.wait_s));
  }
  client.Check(status);
}

}  // namespace

void AddTraceCommand(CLI::App& app, const Context& context) {
  auto options = std::make_shared<TraceOptions>();
  auto* command = app.add_subcommand(
      "trace", "Explains a packet: one that is thought of (--to), or the next ones (--next)");
  auto* to = command->add_option("--to", options->to, "What would become of a packet to it")
                 ->option_text("ADDRESS");
  command->add_option("--size", options->size, "Of that packet, IP header included")
      ->check(CLI::Range(20, 65535))
      ->needs(to)
      ->option_text("BYTES [84]");
  command->add_option("--proto", options->protocol, "icmp, udp, tcp or a number")
      ->needs(to)
      ->option_text("PROTOCOL [icmp]");
  auto* next =
      command->add_option("--next", options->next, "Shows what becomes of the next packets")
          ->check(CLI::Range(1, 100'000))
          ->excludes(to)
          ->option_text("N");
  command->add_option("--peer", options->peer, "Only those from and for it; name or node id")
      ->needs(next)
      ->option_text("PEER");
  command->add_flag("--drops", options->drops, "Only those that are dropped")->needs(next);
  command->add_option("--wait", options->wait_s, "How long, in seconds")
      ->check(CLI::Range(0.1, 86400.0))
      ->needs(next)
      ->option_text("SECONDS [60]");
  command->footer(
      "Packets that the kernel seals and opens by itself wake no worker, and are counted only; of\n"
      "those that it drops, the reason and the number are told.\n"
      "Examples:\n"
      "  omnictl trace --to 10.77.0.2 --size 1400 --proto udp\n"
      "  omnictl trace --next 20 --peer robot-7\n"
      "  omnictl trace --next 5 --drops");
  command->callback([&context, options, to, next] {
    if (to->count() + next->count() == 0) {
      throw CommandError(ExitCode::kUsage, "trace: --to ADDRESS or --next N is required");
    }
    to->count() > 0 ? Explain(context, *options) : Next(context, *options);
  });
}

}  // namespace omni
