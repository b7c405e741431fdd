// SPDX-License-Identifier: Apache-2.0
// The whole way of a packet, from the host's super-packet to sealed trains and back, on ports that
// are memory: what is left when the kernel costs nothing. Per round four super-packets, which is
// what the sender gathers.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "benchmarks/micro/super_packet.h"
#include "dataplane/core/test_loop.h"
#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

constexpr size_t kSuperPackets = 4;
constexpr size_t kSmallPackets = 128;

// Counts what is sent and delivered; keeps a copy of the trains when told to.
class CountingPort final : public UdpPort, public TunPort {
 public:
  struct KeptTrain {
    std::vector<uint8_t> bytes;
    uint32_t segment_bytes = 0;
  };

  void Send(std::span<const Train> trains, DropCounters&) override {
    for (const Train& train : trains) {
      datagrams += train.segments;
      if (kept == nullptr) continue;
      kept->push_back({{train.data, train.data + train.bytes}, train.segment_bytes});
    }
  }
  size_t Receive(std::span<ReceivedDatagram>, DropCounters&) override { return 0; }
  std::optional<HostPacket> Read() override { return std::nullopt; }
  void Write(std::span<const std::span<uint8_t>> packets, DropCounters&) override {
    delivered += packets.size();
  }

  std::vector<KeptTrain>* kept = nullptr;
  size_t datagrams = 0;
  size_t delivered = 0;
};

using Loop = omni::testing::Loop<CountingPort>;

// What the host sends in one round.
struct Workload {
  SuperPacket packet;
  size_t count;
};

Workload Bulk() { return {MakeTcpSuperPacket("10.77.0.1", "10.77.0.2"), kSuperPackets}; }
Workload Small() {
  return {{.bytes = omni::testing::MakePacket({}, omni::testing::MakePayload(64)), .offload = {}},
          kSmallPackets};
}

void SendRound(Loop& loop, Workload& load) {
  for (size_t i = 0; i < load.count; ++i) {
    loop.sender.Send({.bytes = load.packet.bytes, .offload = load.packet.offload}, loop.now);
  }
  loop.sender.Flush();
}

void SetCounts(benchmark::State& state, const Workload& load, size_t packets) {
  state.SetItemsProcessed(static_cast<int64_t>(packets));
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * load.count * load.packet.bytes.size()));
}

void SendPath(benchmark::State& state, Cipher cipher, AeadBackend backend, Workload (*make)()) {
  auto aead = MakeAead(backend);
  if (!aead.ok()) return state.SkipWithError("backend does not start");
  Loop loop(*std::move(aead), cipher);
  Workload load = make();
  for (auto _ : state) SendRound(loop, load);
  if (loop.port.datagrams == 0) return state.SkipWithError("nothing was sent");
  SetCounts(state, load, loop.port.datagrams);
}

// Datagrams are opened in place and only once: each round starts from sealed copies, as the kernel
// copies each datagram to us, and from an empty replay window (1 KiB, 0.1 % of the round).
void ReceivePath(benchmark::State& state, Cipher cipher, AeadBackend backend, Workload (*make)()) {
  auto aead = MakeAead(backend);
  if (!aead.ok()) return state.SkipWithError("backend does not start");
  Loop loop(*std::move(aead), cipher);
  Workload load = make();
  std::vector<CountingPort::KeptTrain> sealed;
  loop.port.kept = &sealed;
  SendRound(loop, load);
  std::vector<CountingPort::KeptTrain> trains = sealed;
  std::vector<ReceivedDatagram> batch;
  batch.reserve(trains.size());
  for (CountingPort::KeptTrain& train : trains) {
    batch.push_back({.bytes = train.bytes,
                     .segment_bytes = train.segment_bytes,
                     .path = {.remote = loop.from}});
  }
  for (auto _ : state) {
    for (size_t i = 0; i < sealed.size(); ++i) {
      std::copy(sealed[i].bytes.begin(), sealed[i].bytes.end(), trains[i].bytes.begin());
    }
    loop.receive_channel->replay = {};
    loop.receiver.Receive(batch, loop.now);
  }
  if (loop.port.delivered != loop.port.datagrams * state.iterations()) {
    return state.SkipWithError("not every packet was delivered");
  }
  SetCounts(state, load, loop.port.delivered);
}

const bool kRegistered = [] {
  for (const auto& [cipher, backend] : omni::testing::AllAeads()) {
    const auto add = [c = cipher, b = backend](std::string_view what, auto path, auto make) {
      const auto name = fmt::format("{}/{}/{}", what, CipherName(c), AeadBackendName(b));
      benchmark::RegisterBenchmark(name.c_str(), path, c, b, make);
    };
    add("SendPath/bulk", SendPath, Bulk);
    add("SendPath/small", SendPath, Small);
    add("ReceivePath/bulk", ReceivePath, Bulk);
    add("ReceivePath/small", ReceivePath, Small);
  }
  return true;
}();

}  // namespace
}  // namespace omni
