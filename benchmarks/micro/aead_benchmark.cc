// SPDX-License-Identifier: Apache-2.0
// Sealing and opening by size and backend, in batches of 64 as the pipelines do it. Time is per
// batch; items are packets, bytes are those of the inner packets.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bpf/abi.h"
#include "dataplane/core/aead.h"

namespace omni {
namespace {

constexpr size_t kBatch = 64;
constexpr int64_t kSizes[] = {64, 256, 512, 1420};

// A batch of packets one behind the other in memory, as in the sender's arena.
struct Batch {
  explicit Batch(uint32_t text_bytes) : memory(kBatch * (OMNI_DATA_OVERHEAD + text_bytes)) {
    for (size_t i = 0; i < key.size(); ++i) key.mutable_data()[i] = static_cast<uint8_t>(i);
    for (size_t i = 0; i < kBatch; ++i) {
      uint8_t* header = memory.data() + i * (OMNI_DATA_OVERHEAD + text_bytes);
      header[0] = OMNI_MSG_DATA;
      header[8] = static_cast<uint8_t>(i);
      jobs.push_back({.key = &key, .header = header, .text_bytes = text_bytes});
    }
  }

  Key32 key;
  std::vector<uint8_t> memory;
  std::vector<AeadJob> jobs;
};

void CountPackets(benchmark::State& state, int64_t text_bytes) {
  const auto packets = static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(kBatch);
  state.SetItemsProcessed(packets);
  state.SetBytesProcessed(packets * text_bytes);
}

void Seal(benchmark::State& state, AeadBackend backend) {
  auto aead = MakeAead(backend);
  if (!aead.ok()) return state.SkipWithError("backend does not start");
  Batch batch(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    (*aead)->Seal(batch.jobs);
    benchmark::ClobberMemory();
  }
  CountPackets(state, state.range(0));
}

// Opening is in place, and a text can be opened only once: each round starts from a sealed copy.
// The copy is part of the figure; it is what the kernel does with each datagram anyway.
void Open(benchmark::State& state, AeadBackend backend) {
  auto aead = MakeAead(backend);
  if (!aead.ok()) return state.SkipWithError("backend does not start");
  Batch batch(static_cast<uint32_t>(state.range(0)));
  (*aead)->Seal(batch.jobs);
  const std::vector<uint8_t> sealed = batch.memory;
  for (auto _ : state) {
    std::copy(sealed.begin(), sealed.end(), batch.memory.begin());
    (*aead)->Open(batch.jobs);
    benchmark::ClobberMemory();
  }
  for (const AeadJob& job : batch.jobs) {
    if (!job.authentic) return state.SkipWithError("a good packet was refused");
  }
  CountPackets(state, state.range(0));
}

// Registered for the backends that this build and this machine have.
const bool kRegistered = [] {
  for (const AeadBackend backend : AvailableAeadBackends()) {
    const std::string name(AeadBackendName(backend));
    for (const int64_t size : kSizes) {
      benchmark::RegisterBenchmark(("Seal/" + name).c_str(), Seal, backend)->Arg(size);
      benchmark::RegisterBenchmark(("Open/" + name).c_str(), Open, backend)->Arg(size);
    }
  }
  return true;
}();

}  // namespace
}  // namespace omni
