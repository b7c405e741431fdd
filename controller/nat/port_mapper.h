// SPDX-License-Identifier: Apache-2.0
// PortMapper: keeps a port of the router leading to ours: asks for it, renews it, asks again when
// the network changed or nobody granted one, gives it back at the end. The asking blocks, so it has
// a thread of its own; results come back on the event loop. Owned by Discovery.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>

#include "absl/status/statusor.h"
#include "controller/nat/port_mapping.h"

namespace omni {

class PortMapper {
 public:
  struct Calls {
    std::function<absl::StatusOr<PortMapping>(uint16_t, std::chrono::seconds)> map;
    std::function<void(uint16_t, const PortMapping&)> unmap = UnmapPort;
  };
  struct View {
    std::optional<PortMapping> mapping;
    std::string error;      // why there is none
    bool is_asking = true;  // nothing is known yet
  };

  // `changed` is called on the loop when view() is another.
  PortMapper(boost::asio::io_context& loop, std::function<void()> changed, Calls calls);
  // Gives the port back; waits until what is under way has ended, which takes up to some seconds.
  ~PortMapper();
  PortMapper(const PortMapper&) = delete;
  PortMapper& operator=(const PortMapper&) = delete;

  // Asks for a way to `port`, now, even when there is one: the network may be another.
  void Request(uint16_t port);
  const View& view() const { return view_; }

 private:
  void Run();
  void Publish(View view);

  boost::asio::io_context& loop_;
  const std::function<void()> changed_;
  const Calls calls_;
  View view_;                          // of the loop's thread
  const std::shared_ptr<bool> alive_;  // likewise
  std::mutex mutex_;
  std::condition_variable wake_;
  uint16_t port_ = 0;       // under the mutex: wanted; 0: none yet
  bool requested_ = false;  // likewise
  bool stop_ = false;       // likewise
  std::thread thread_;
};

}  // namespace omni
