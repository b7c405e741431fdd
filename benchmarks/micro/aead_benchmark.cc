// SPDX-License-Identifier: Apache-2.0
// Sealing and opening by cipher, backend and size, in batches of 64 as the pipelines do it. Time is
// per batch; items are packets, bytes are those of the inner packets.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "bpf/abi.h"
#include "dataplane/core/aead.h"
#include "dataplane/core/test_loop.h"

namespace omni {
namespace {

constexpr size_t kBatch = 64;
constexpr int64_t kSizes[] = {64, 256, 512, 1420};

// A batch of packets one behind the other in memory, as in the sender's arena.
struct Batch {
  Batch(Cipher cipher, uint32_t text_bytes) : memory(kBatch * (OMNI_DATA_OVERHEAD + text_bytes)) {
    for (size_t i = 0; i < key.size(); ++i) key.mutable_data()[i] = static_cast<uint8_t>(i);
    for (size_t i = 0; i < kBatch; ++i) {
      uint8_t* header = memory.data() + i * (OMNI_DATA_OVERHEAD + text_bytes);
      header[0] = OMNI_MSG_DATA;
      header[8] = static_cast<uint8_t>(i);
      jobs.push_back({.key = &key, .header = header, .text_bytes = text_bytes, .cipher = cipher});
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

void Seal(benchmark::State& state, Cipher cipher, AeadBackend backend) {
  auto engine = MakeCipherEngine(cipher, backend);
  if (!engine.ok()) return state.SkipWithError("backend does not start");
  Batch batch(cipher, static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    (*engine)->Seal(batch.jobs);
    benchmark::ClobberMemory();
  }
  CountPackets(state, state.range(0));
}

// Opening is in place, and a text can be opened only once: each round starts from a sealed copy.
// The copy is part of the figure; it is what the kernel does with each datagram anyway.
void Open(benchmark::State& state, Cipher cipher, AeadBackend backend) {
  auto engine = MakeCipherEngine(cipher, backend);
  if (!engine.ok()) return state.SkipWithError("backend does not start");
  Batch batch(cipher, static_cast<uint32_t>(state.range(0)));
  (*engine)->Seal(batch.jobs);
  const std::vector<uint8_t> sealed = batch.memory;
  for (auto _ : state) {
    std::copy(sealed.begin(), sealed.end(), batch.memory.begin());
    (*engine)->Open(batch.jobs);
    benchmark::ClobberMemory();
  }
  for (const AeadJob& job : batch.jobs) {
    if (!job.authentic) return state.SkipWithError("a good packet was refused");
  }
  CountPackets(state, state.range(0));
}

// A packet at a time on many channels: what a key that is not at hand costs.
void SealManyChannels(benchmark::State& state, Cipher cipher, AeadBackend backend) {
  auto engine = MakeCipherEngine(cipher, backend);
  if (!engine.ok()) return state.SkipWithError("backend does not start");
  constexpr uint32_t kBytes = 64;
  constexpr size_t kStride = OMNI_DATA_OVERHEAD + kBytes;
  const auto count = static_cast<size_t>(state.range(0));
  std::vector<Key32> keys(count);
  std::vector<uint8_t> memory(count * kStride);
  std::vector<AeadJob> jobs;
  for (size_t i = 0; i < count; ++i) {
    uint8_t* header = memory.data() + i * kStride;
    const uint64_t mixed = (i + 1) * 0x2545f4914f6cdd1d;  // ids look random
    std::memcpy(header, &mixed, sizeof(mixed));
    std::memcpy(keys[i].mutable_data(), &mixed, sizeof(mixed));
    jobs.push_back({.key = &keys[i], .header = header, .text_bytes = kBytes, .cipher = cipher});
  }
  for (auto _ : state) {
    for (AeadJob& job : jobs) (*engine)->Seal({&job, 1});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * count));
}

// Registered for what this build and this machine have.
const bool kRegistered = [] {
  for (const auto& [cipher, backend] : omni::testing::AllAeads()) {
    const auto name = [c = cipher, b = backend](std::string_view what) {
      return fmt::format("{}/{}/{}", what, CipherName(c), AeadBackendName(b));
    };
    for (const int64_t size : kSizes) {
      benchmark::RegisterBenchmark(name("Seal").c_str(), Seal, cipher, backend)->Arg(size);
      benchmark::RegisterBenchmark(name("Open").c_str(), Open, cipher, backend)->Arg(size);
    }
    benchmark::RegisterBenchmark(name("SealManyChannels").c_str(), SealManyChannels, cipher,
                                 backend)
        ->Arg(1)
        ->Arg(32)
        ->Arg(1024);
  }
  return true;
}();

}  // namespace
}  // namespace omni
