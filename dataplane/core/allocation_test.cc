// SPDX-License-Identifier: Apache-2.0
// Neither path allocates for a packet. Counted by replacing the global allocation functions of this
// test program.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "dataplane/core/test_loop.h"
#include "dataplane/core/test_packets.h"

namespace {
std::atomic<uint64_t> allocations = 0;
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1);
  if (void* at = std::malloc(size)) return at;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t alignment) {
  allocations.fetch_add(1);
  const auto align = static_cast<size_t>(alignment);
  if (void* at = std::aligned_alloc(align, (size + align - 1) / align * align)) return at;
  throw std::bad_alloc();
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { std::free(at); }

namespace omni {
namespace {

// Takes what the sender sends to where the receiver reads, without allocating.
class LoopPort final : public UdpPort, public TunPort {
 public:
  void Send(std::span<const Train> trains, DropCounters&) override {
    for (const Train& train : trains) {
      std::memcpy(buffer_.data(), train.data, train.bytes);
      received_ = {.bytes = {buffer_.data(), train.bytes},
                   .segment_bytes = train.segment_bytes,
                   .path = {.remote = from_}};
      ++trains_;
    }
  }
  size_t Receive(std::span<ReceivedDatagram>, DropCounters&) override { return 0; }
  std::optional<HostPacket> Read() override { return std::nullopt; }
  void Write(std::span<const std::span<uint8_t>> packets, DropCounters&) override {
    delivered_ += packets.size();
  }

  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(70'000);
  ReceivedDatagram received_;
  Endpoint from_ = *Endpoint::Parse("192.0.2.1:1");
  size_t trains_ = 0;
  size_t delivered_ = 0;
};

TEST(PacketPath, AllocatesNothingPerPacket) {
  for (const auto& [cipher, backend] : omni::testing::AllAeads()) {
    omni::testing::Loop<LoopPort> loop(*MakeAead(backend), cipher);
    LoopPort& port = loop.port;
    Sender& sender = loop.sender;
    Receiver& receiver = loop.receiver;
    const Instant now = loop.now;
    auto small = omni::testing::MakePacket({}, omni::testing::MakePayload(64));
    auto large = omni::testing::MakePacket({.protocol = 6}, omni::testing::MakePayload(40'000));
    const Offload tso{.kind = Offload::Kind::kTcp4,
                      .needs_checksum = true,
                      .segment_bytes = 1380,
                      .checksum_start = 20,
                      .checksum_offset = 16};
    const auto once = [&] {
      sender.Send({.bytes = small}, now);
      sender.Flush();
      receiver.Receive({&port.received_, 1}, now);
      sender.Send({.bytes = large, .offload = tso}, now);
      sender.Flush();
      receiver.Receive({&port.received_, 1}, now);
    };
    once();  // first use may size scratch space
    const uint64_t before = allocations.load();
    for (int i = 0; i < 100; ++i) once();
    EXPECT_EQ(allocations.load(), before)
        << CipherName(cipher) << " by " << AeadBackendName(backend);
    EXPECT_EQ(port.delivered_, 101U * 30U);

    // A packet in pieces.
    loop.tables.peers[0].mtu.whole = 1220;
    auto whole = omni::testing::MakePacket({}, omni::testing::MakePayload(40'000));
    const uint64_t before_pieces = allocations.load();
    for (int i = 0; i < 100; ++i) {
      sender.Send({.bytes = whole}, now);
      sender.Flush();
      receiver.Receive({&port.received_, 1}, now);
    }
    EXPECT_EQ(allocations.load(), before_pieces)
        << CipherName(cipher) << " by " << AeadBackendName(backend);
    EXPECT_EQ(port.delivered_, 101U * 30U + 100U);
  }
}

TEST(PacketPath, AllocatesNothingForWhatItRelays) {
  omni::testing::Loop<LoopPort> loop(*MakeAead(AeadBackend::kLibsodium), Cipher::kChaCha20Poly1305);
  constexpr ChannelId kRelayed = 0x1234123412340004;
  loop.tables.peers.resize(2);
  loop.tables.peers[1].activity = std::make_shared<PeerActivity>();
  loop.tables.peers[1].path = {.remote = *Endpoint::Parse("192.0.2.2:2")};
  auto channel = std::make_shared<RelayedChannel>();
  channel->pair = std::make_shared<RelayQuota>(1'000'000'000);
  loop.forwarder.Open(kRelayed, {.from = 0,
                                 .to = 1,
                                 .expires = loop.now + std::chrono::hours(1),
                                 .total = std::make_shared<RelayQuota>(1'000'000'000),
                                 .channel = channel});
  std::vector<uint8_t> bytes(1000);
  std::memcpy(bytes.data(), &kRelayed, sizeof(kRelayed));
  const uint64_t before = allocations.load();
  for (uint8_t i = 0; i < 100; ++i) {
    bytes[8] = i;
    const ReceivedDatagram datagram{
        .bytes = bytes, .segment_bytes = 1000, .path = {.remote = loop.from}};
    loop.receiver.Receive({&datagram, 1}, loop.now);
  }
  EXPECT_EQ(allocations.load(), before);
  EXPECT_EQ(loop.port.trains_, 100U);
}

}  // namespace
}  // namespace omni
