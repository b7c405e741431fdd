// SPDX-License-Identifier: Apache-2.0
// Neither path allocates for a packet. Counted by replacing the global allocation functions of this
// test program.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "dataplane/core/receiver.h"
#include "dataplane/core/sender.h"
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

class NoEvents final : public WorkerEvents {
 public:
  void OnHandshakeWanted(PeerIndex) override {}
  void OnConfirmed(SessionHandle) override {}
  void OnRoamed(PeerIndex, SessionHandle, const UdpPath&) override {}
  void OnEchoRequest(PeerIndex, std::span<const uint8_t>) override {}
  void OnEchoReply(PeerIndex, std::span<const uint8_t>, Instant) override {}
  void OnControl(std::span<const uint8_t>, const UdpPath&, Instant) override {}
  void OnHandover(uint32_t, std::span<const uint8_t>, const ReceivedDatagram&) override {}
};

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
  constexpr ChannelId kId = 0xabcdefabcdef0004;
  for (const AeadBackend backend : AvailableAeadBackends()) {
    LoopPort port;
    NoEvents events;
    auto aead = *MakeAead(backend);
    WorkerTables tables;
    tables.routes = std::make_shared<RouteTable>(
        std::vector<RouteTable::Entry>{{*IpPrefix::Parse("10.77.0.0/24"), 0}});
    const Instant now = Instant(std::chrono::hours(1));
    auto in = std::make_shared<ReceiveChannel>();
    in->id = kId;
    in->peer = 0;
    in->reject_at = now + std::chrono::hours(1);
    auto out = std::make_shared<SendChannel>();
    out->id = kId;
    auto session = std::make_shared<SendSession>();
    session->reject_at = in->reject_at;
    session->channels = {out};
    tables.channels.emplace(kId, in);
    tables.peers.resize(1);
    tables.peers[0].activity = std::make_shared<PeerActivity>();
    tables.peers[0].path = {.remote = port.from_};
    tables.peers[0].session = session;
    Sender sender(tables, *aead, port, events);
    Receiver receiver(tables, *aead, port, events);
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
    EXPECT_EQ(allocations.load(), before) << aead->name();
    EXPECT_EQ(port.delivered_, 101U * 30U);
  }
}

}  // namespace
}  // namespace omni
