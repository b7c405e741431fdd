// SPDX-License-Identifier: Apache-2.0
// What each packet is looked up in or judged by: inner parse, routes, channels, replay window. The
// keys come in a shuffled order, so that large tables pay for their cache misses.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "common/replay_window.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/tables.h"
#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::MakePacket;
using omni::testing::MakePayload;

// LIMIT: keys asked for in turn; more than fit in any cache together with their entries.
constexpr size_t kQuestions = 1 << 17;

void ParseInnerPacket(benchmark::State& state, std::string_view source,
                      std::string_view destination) {
  const auto packet =
      MakePacket({.source = source, .destination = destination, .protocol = 6}, MakePayload(64));
  for (auto _ : state) benchmark::DoNotOptimize(ParseInner(packet));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(ParseInnerPacket, IPv4, "10.77.0.1", "10.77.0.2");
BENCHMARK_CAPTURE(ParseInnerPacket, IPv6, "fd77::1", "fd77::2");

IpAddress HostAddress(uint32_t number) {
  const uint8_t raw[4] = {10, static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8),
                          static_cast<uint8_t>(number)};
  return *IpAddress::FromBytes(raw);
}

void RouteLookup(benchmark::State& state) {
  const auto peers = static_cast<uint32_t>(state.range(0));
  std::vector<RouteTable::Entry> entries;
  for (uint32_t i = 0; i < peers; ++i) {
    entries.push_back({{.address = HostAddress(i), .length = 32}, i});
  }
  const RouteTable routes(entries);
  std::mt19937 random(1);  // the same order in each run
  std::vector<IpAddress> questions;
  for (size_t i = 0; i < kQuestions; ++i) questions.push_back(HostAddress(random() % peers));
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(routes.Lookup(questions[next]));
    next = (next + 1) % kQuestions;
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(RouteLookup)->Arg(1)->Arg(1'000)->Arg(100'000);

void ChannelLookup(benchmark::State& state) {
  const auto channels = static_cast<size_t>(state.range(0));
  std::mt19937_64 random(1);
  std::vector<ChannelId> ids;
  WorkerTables tables;
  for (size_t i = 0; i < channels; ++i) {
    auto channel = std::make_shared<ReceiveChannel>();
    channel->id = (random() << 16) | OMNI_MSG_DATA;
    ids.push_back(channel->id);
    tables.channels.emplace(channel->id, std::move(channel));
  }
  std::vector<ChannelId> questions;
  for (size_t i = 0; i < kQuestions; ++i) questions.push_back(ids[random() % channels]);
  size_t next = 0;
  for (auto _ : state) {
    // The limit is read as well: the entry itself is what misses the cache.
    benchmark::DoNotOptimize(tables.channels.find(questions[next])->second->reject_at);
    next = (next + 1) % kQuestions;
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(ChannelLookup)->Arg(1)->Arg(1'000)->Arg(100'000);

void ReplayInOrder(benchmark::State& state) {
  ReplayWindow<OMNI_REPLAY_WINDOW> window;
  uint64_t counter = 0;
  for (auto _ : state) benchmark::DoNotOptimize(window.Accept(counter++));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(ReplayInOrder);

// Groups of 64 counters, each in a random order.
void ReplayReordered(benchmark::State& state) {
  std::vector<uint64_t> order(64);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(1);
  std::shuffle(order.begin(), order.end(), random);
  ReplayWindow<OMNI_REPLAY_WINDOW> window;
  uint64_t counter = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(window.Accept((counter & ~uint64_t{63}) | order[counter & 63]));
    ++counter;
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(ReplayReordered);

}  // namespace
}  // namespace omni
