// SPDX-License-Identifier: Apache-2.0
// What strangers send to a host that takes connections: any datagrams, from a few addresses; and
// any bytes on the stream of a connection.
#include <unistd.h>

#include <cstdint>
#include <filesystem>

#include "common/status.h"
#include "signal/quic/framing.h"
#include "signal/quic/host.h"

namespace omni::quic {
namespace {

class Nobody : public Listener {
 public:
  void OnConnected(ConnectionId, const PublicKey&) override { OMNI_CHECK(false); }
  void OnMessage(ConnectionId, std::string_view) override { OMNI_CHECK(false); }
  void OnWritable(ConnectionId) override {}
  void OnMoved(ConnectionId, const Endpoint&) override {}
  void OnClosed(ConnectionId, const Closed&) override {}
};

const Identity& SomeIdentity() {
  static const Identity identity = [] {
    const std::string path =
        std::filesystem::temp_directory_path() / ("omni-fuzz-" + std::to_string(getpid()));
    auto made = *Identity::Create(path);
    std::filesystem::remove_all(path);
    return made;
  }();
  return identity;
}

void Feed(std::span<const uint8_t> input) {
  Nobody nobody;
  size_t got = 0;
  size_t answered = 0;
  HostOptions options;
  options.identity = &SomeIdentity();
  options.protocol = "test/1";
  options.max_accepted = 8;
  options.retry_from = 2;
  options.send = [&](const Route&, std::span<const uint8_t> bytes) { answered += bytes.size(); };
  Host host(std::move(options), nobody);
  Instant now{1000s};
  const Route from{.remote = *Endpoint::Parse("192.0.2.1:1")};
  while (input.size() > 2) {
    const size_t size = std::min<size_t>(input.size() - 2, input[0] * 8U);
    // An Initial must be padded to 1,200 bytes before it is looked at.
    std::vector<uint8_t> datagram(input.begin() + 2,
                                  input.begin() + 2 + static_cast<ptrdiff_t>(size));
    if (input[1] % 2 == 0) datagram.resize(1200);
    input = input.subspan(2 + size);
    got += datagram.size();
    host.OnDatagram(datagram, from, now);
    now += 1ms * input.size();
    host.OnTimer(now);
  }
  OMNI_CHECK(answered <= 3 * got);  // no amplification
}

}  // namespace
}  // namespace omni::quic

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::quic::Feed({data, size});
  omni::quic::MessageReader reader(1000);
  (void)reader.Append({data, size}, [](const std::string& message) {
    OMNI_CHECK(!message.empty() && message.size() <= 1000);
  });
  return 0;
}
