// SPDX-License-Identifier: Apache-2.0
// One packet through the programs, as the kernel times it, beside libsodium on the same bytes. The
// minimum of the repetitions is the figure to look at: a program that runs once is timed once.
#include <benchmark/benchmark.h>
#include <net/if.h>
#include <sodium.h>
#include <unistd.h>

#include "dataplane/xdp/steer_object.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

class Programs : public BpfTest {
 public:
  Programs() { SetUp(); }
  void TestBody() override {}

  Duration Open(KernelProgram program, size_t bytes, uint8_t damage) {
    Bytes datagram = Sealed(counter_++, InnerV4(bytes));
    datagram[20] ^= damage;
    return Time(program, MakeFrame({}, datagram));
  }

  Duration Seal(size_t bytes) {
    Bytes packet = InnerV4(bytes, 2, 2);
    packet[12] = 8;  // see seal_test.cc
    packet[13] = 0;
    return Time(KernelProgram::kSealTun, packet);
  }

 private:
  Duration Time(KernelProgram program, const Bytes& frame) {
    const auto verdict = object_->Run(program, frame, out_);
    return verdict ? verdict->duration : Duration::zero();
  }
  uint64_t counter_ = 0;
  std::array<uint8_t, 4096> out_;
};

template <typename Call>
void Report(benchmark::State& state, Call call) {
  Duration best = Duration::max();
  for (auto _ : state) {
    const Duration time = call();
    best = std::min(best, time);
    state.SetIterationTime(std::chrono::duration<double>(time).count());
  }
  state.counters["best_ns"] = static_cast<double>(best.count());
}

void KernelOpen(benchmark::State& state) {
  Programs programs;
  Report(state, [&] {
    return programs.Open(KernelProgram::kOpenWire, static_cast<size_t>(state.range(0)), 0);
  });
}
void KernelOpenAtXdp(benchmark::State& state) {
  Programs programs;
  Report(state, [&] {
    return programs.Open(KernelProgram::kOpenFrame, static_cast<size_t>(state.range(0)), 0);
  });
}
void KernelRefuse(benchmark::State& state) {
  Programs programs;
  Report(state, [&] {
    return programs.Open(KernelProgram::kOpenWire, static_cast<size_t>(state.range(0)), 1);
  });
}
void KernelSeal(benchmark::State& state) {
  Programs programs;
  Report(state, [&] { return programs.Seal(static_cast<size_t>(state.range(0))); });
}
// As the programs are timed: one packet between two looks at the clock, nothing allocated between.
void SodiumOpen(benchmark::State& state) {
  const std::array<uint8_t, 32> key{};
  const Bytes datagram = Seal(key, kRxId, 1, InnerV4(static_cast<size_t>(state.range(0))));
  const std::array<uint8_t, 12> nonce = {0, 0, 0, 0, 1};
  Bytes out(datagram.size() - OMNI_DATA_OVERHEAD);
  bool good = true;
  Report(state, [&] {
    const Instant begin = Now();
    good &= crypto_aead_chacha20poly1305_ietf_decrypt_detached(
                out.data(), nullptr, datagram.data() + OMNI_DATA_OVERHEAD, out.size(),
                datagram.data() + OMNI_DATA_AAD_BYTES, datagram.data(), OMNI_DATA_AAD_BYTES,
                nonce.data(), key.data()) == 0;
    benchmark::DoNotOptimize(out.data());
    return Now() - begin;
  });
  if (!good) state.SkipWithError("libsodium refused");
}

// Both objects, verified and with their maps, as a dataplane does it at its start.
void KernelLoad(benchmark::State& state) {
  for (auto _ : state) {
    const auto steer = SteerObject::Load(kPort);
    const auto object = KernelObject::Load({.listen_port = kPort,
                                            .tun_index = if_nametoindex("lo"),
                                            .threshold = 512,
                                            .guard = std::chrono::milliseconds(10),
                                            .pace = std::chrono::milliseconds(2),
                                            .xdp = KernelXdp::kYes});
    if (!steer.ok() || !object.ok()) state.SkipWithError("the kernel refused");
  }
}

void RegisterAll() {
  // Without root no program can be loaded, and there is nothing to measure.
  if (geteuid() != 0) return;
  const auto add = [](const char* name, void (*run)(benchmark::State&)) {
    for (const int64_t bytes : {64, 128, 256, 512, 1400}) {
      benchmark::RegisterBenchmark(name, run)->Arg(bytes)->UseManualTime();
    }
  };
  add("KernelOpen", KernelOpen);
  add("KernelOpenAtXdp", KernelOpenAtXdp);
  add("KernelRefuse", KernelRefuse);
  add("KernelSeal", KernelSeal);
  add("SodiumOpen", SodiumOpen);
  benchmark::RegisterBenchmark("KernelLoad", KernelLoad)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

const bool kRegistered = (RegisterAll(), true);

}  // namespace
}  // namespace omni::bpf_testing
