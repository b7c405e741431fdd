// SPDX-License-Identifier: Apache-2.0
// XdpPath: XDP on the interfaces of this machine, as they come and go: attaches the steering
// program where the operator or the driver's kind asks for it, tells it our addresses and channels,
// gives the workers' ports AF_XDP sockets and hops (path_plan.cc), and says what is on where, and
// why. Opened in the privileged minute; afterwards CAP_NET_ADMIN is enough. Maintain() belongs to
// the main thread, everything else may be called from any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "dataplane/hub/channel_watch.h"
#include "dataplane/xdp/afxdp_port.h"
#include "dataplane/xdp/hop_finder.h"
#include "dataplane/xdp/host_links.h"
#include "dataplane/xdp/policy.h"
#include "dataplane/xdp/steer_object.h"

namespace omni {

class XdpPath final : public ChannelWatch {
 public:
  struct Options {
    XdpOptions choices;
    uint16_t listen_port = 0;
    uint32_t workers = 1;
  };
  // Never fails for want of XDP: the reason is in Describe().
  static absl::StatusOr<std::unique_ptr<XdpPath>> Open(const Options& options);

  // The port of a worker over its sockets of the kernel: the same where no AF_XDP can come.
  struct Port {
    std::unique_ptr<UdpPort> port;
    std::vector<int> fds;
  };
  Port MakePort(uint32_t worker, Port kernel);

  // Follows interfaces, addresses, routes and neighbours. A few times a second.
  void Maintain(Instant now);

  void ChannelAdded(ChannelId id) override;
  void ChannelRemoved(ChannelId id) override;

  struct State {
    std::string name;  // "xdp:eth0"
    bool active = false;
    std::string reason;
  };
  // Of every interface that has XDP or was to have it.
  std::vector<State> Describe() const;

  // The path of session data: "socket" or "afxdp".
  State DescribePath() const;

  // Of packets that ended at XDP, by omni_drop_reason; empty without XDP.
  std::vector<uint64_t> Drops() const;
  struct Counter {
    std::string_view name;
    std::string_view help;
    uint64_t value = 0;
  };
  std::vector<Counter> Counters() const;

 private:
  // LIMIT: what was refused is tried again so often; what changes without a word is seen as soon.
  static constexpr Duration kLook = std::chrono::seconds(1);
  static constexpr Duration kRetry = std::chrono::seconds(5);

  // LIMIT: AF_XDP sockets opened beforehand, because opening needs CAP_NET_RAW. Each bind uses one
  // up: 16 interfaces of 16 queues, or a queue that came and went 256 times.
  static constexpr size_t kSpareSockets = 256;
  // LIMIT: peers that may be sent to by AF_XDP; with more, those wanted afresh replace all others.
  static constexpr size_t kMaxHops = 65536;

  struct Watched {
    HostInterface host;
    XdpDecision decision;
    FileDescriptor link;
    std::string refusal;  // empty: none
    Instant next_try;
    std::vector<std::shared_ptr<XskSocket>> sockets;  // by queue
    std::string socket_refusal;
    Instant next_bind;
    uint32_t place = 0;  // of the interface in the program's table of sockets
  };

  XdpPath(Options options, HostLinks links)
      : options_(std::move(options)), links_(std::move(links)) {}

  static std::optional<State> DescribeSockets(const Watched& watched);
  void OpenSpareSockets();
  void Look(Instant now);
  void FollowAddresses(const std::vector<HostInterface>& interfaces);
  void Attach(Watched& watched, Instant now);

  // Sockets of an interface: bound when it can have some, let go when it changes.
  void FollowSockets(Watched& watched, Instant now);
  absl::Status BindSockets(Watched& watched);
  void LetGo(Watched& watched, Instant now);
  void FollowHops(Instant now);
  void Publish();

  const Options options_;
  HostLinks links_;
  std::unique_ptr<SteerObject> steer_;  // null: nobody wants XDP, or it could not be loaded
  std::string no_steer_;                // why
  Instant looked_;
  mutable std::mutex mutex_;             // of what follows
  std::map<uint32_t, Watched> watched_;  // by interface index
  std::set<IpAddress> addresses_;
  // Of AF_XDP, all the main thread's.
  std::optional<HopFinder> finder_;
  std::vector<FileDescriptor> spare_;
  std::string no_spare_;                         // why there are none
  std::vector<std::shared_ptr<PlanBox>> boxes_;  // by worker
  std::vector<std::weak_ptr<XskSocket>> leaving_;
  std::set<HopKey> wanted_;
  std::map<HopKey, HopFinder::Found> found_;
  Instant resolved_;
  bool sockets_changed_ = false;
};

}  // namespace omni
