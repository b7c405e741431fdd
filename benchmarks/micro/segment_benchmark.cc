// SPDX-License-Identifier: Apache-2.0
// Cutting of a 64 KB super-packet, joining it again, and the checksum alone.
#include <benchmark/benchmark.h>

#include <span>
#include <vector>

#include "benchmarks/micro/super_packet.h"
#include "dataplane/core/checksum.h"
#include "dataplane/core/coalesce.h"
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

// The way back: the segments of one super-packet joined again. Joining changes the first header in
// place, which Restore() undoes for the next round.
void CoalesceSegments(benchmark::State& state, const SuperPacket& super) {
  const auto inner = ParseInner(super.bytes);
  auto made = Segmenter::Make(super.bytes, *inner, super.offload);
  const auto* segmenter = std::get_if<Segmenter>(&made);
  if (segmenter == nullptr) return state.SkipWithError("the super-packet was refused");
  std::vector<std::vector<uint8_t>> segments(segmenter->count());
  std::vector<std::span<uint8_t>> packets;
  packets.reserve(segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    segments[i].resize(segmenter->SegmentBytes(i));
    segmenter->Write(i, segments[i].data());
    packets.emplace_back(segments[i]);
  }
  Coalescer coalescer;
  for (auto _ : state) {
    const std::span<const Coalescer::Group> groups = coalescer.Coalesce(packets, {});
    if (groups.size() != 1) return state.SkipWithError("the segments were not joined");
    coalescer.Restore(groups[0]);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * packets.size()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * super.bytes.size()));
}
BENCHMARK_CAPTURE(CoalesceSegments, Tcp4, MakeTcpSuperPacket("10.77.0.1", "10.77.0.2"));
BENCHMARK_CAPTURE(CoalesceSegments, Tcp6, MakeTcpSuperPacket("fd77::1", "fd77::2"));
BENCHMARK_CAPTURE(CoalesceSegments, Udp4, MakeUdpSuperPacket(1300));

void Checksum(benchmark::State& state) {
  const auto bytes = omni::testing::MakePayload(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(ChecksumFinish(ChecksumAdd(bytes)));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Checksum)->Arg(20)->Arg(64)->Arg(1420)->Arg(64'000);

}  // namespace
}  // namespace omni
