// SPDX-License-Identifier: Apache-2.0
// Cutting of a 64 KB super-packet, and the checksum alone.
#include <benchmark/benchmark.h>

#include <vector>

#include "benchmarks/micro/super_packet.h"
#include "dataplane/core/checksum.h"
#include "dataplane/core/segment.h"
#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

void SegmentSuperPacket(benchmark::State& state, const SuperPacket& super) {
  const auto inner = ParseInner(super.bytes);
  std::vector<uint8_t> out(2 * kMaxInnerPacket);
  int64_t segments = 0;
  for (auto _ : state) {
    auto made = Segmenter::Make(super.bytes, *inner, super.offload);
    const auto* segmenter = std::get_if<Segmenter>(&made);
    if (segmenter == nullptr) return state.SkipWithError("the super-packet was refused");
    uint8_t* at = out.data();
    for (size_t i = 0; i < segmenter->count(); ++i) {
      segmenter->Write(i, at);
      at += segmenter->SegmentBytes(i);
    }
    segments += static_cast<int64_t>(segmenter->count());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(segments);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * super.bytes.size()));
}
BENCHMARK_CAPTURE(SegmentSuperPacket, Tcp4, MakeTcpSuperPacket("10.77.0.1", "10.77.0.2"));
BENCHMARK_CAPTURE(SegmentSuperPacket, Tcp6, MakeTcpSuperPacket("fd77::1", "fd77::2"));
BENCHMARK_CAPTURE(SegmentSuperPacket, Udp4, MakeUdpSuperPacket(1300));

void Checksum(benchmark::State& state) {
  const auto bytes = omni::testing::MakePayload(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(ChecksumFinish(ChecksumAdd(bytes)));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Checksum)->Arg(20)->Arg(64)->Arg(1420)->Arg(64'000);

}  // namespace
}  // namespace omni
