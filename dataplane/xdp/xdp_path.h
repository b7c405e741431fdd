// SPDX-License-Identifier: Apache-2.0
// XdpPath: XDP on the interfaces of this machine, as they come and go: attaches the steering
// program where the operator or the driver's kind asks for it, tells it our addresses and channels,
// gives the workers' ports AF_XDP sockets and hops (path_plan.cc), and says what is on where, and
// why; has it send on what peers send each other through us (relay_table.h). Opened in the
// privileged minute; afterwards CAP_NET_ADMIN is enough. Maintain() belongs to the main thread,
// everything else may be called from any.
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
#include "dataplane/xdp/relay_table.h"
#include "dataplane/xdp/steer_object.h"
#include "dataplane/xdp/xdp_features.h"

namespace omni {

class XdpPath final : public ChannelWatch, public RelayWatch {
 public:
  struct Options {
    PathSettings settings;  // at the start
    uint16_t listen_port = 0;
    uint32_t workers = 1;
  };
  // Never fails for want of XDP: the reason is in Describe().
  static absl::StatusOr<std::unique_ptr<XdpPath>> Open(const Options& options);

  // Whether the steering program is loaded.
  bool has_program() const { return steer_ != nullptr; }
  // Has control channels opened at XDP, by a program of the in-kernel path.
  absl::Status SetOpener(int program) { return steer_->SetOpener(program); }
  // Interfaces where frames come to the program out of the driver, whole: natively, and no tag of a
  // VLAN can have been taken off by the device before. By index.
  std::set<uint32_t> NativeInterfaces() const;

  // The port of a worker over its sockets of the kernel: the same where no AF_XDP can come.
  struct Port {
    std::unique_ptr<UdpPort> port;
    std::vector<int> fds;
  };
  Port MakePort(uint32_t worker, Port kernel);

  // Follows settings, interfaces, addresses, routes and neighbours. A few times a second.
  void Maintain(Instant now);

  // From any thread: what Maintain() goes by from the next time on. No session ends by it; what
  // leaves AF_XDP is received to its end.
  void SetSettings(const PathSettings& settings);

  void ChannelAdded(ChannelId id, ChannelUse use) override;
  void ChannelRemoved(ChannelId id) override;
  void Expect(const IpAddress& address) override;
  void SetRelayLimits(const std::optional<RelayLimits>& limits) override;
  void RelayOpened(const Opening& opening) override;
  void RelayClosed(ChannelId id) override;
  void PeerMoved(PeerIndex peer, const UdpPath& path) override;
  RelayTraffic Relayed() const override;

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
  // The same, drops included, of each CPU.
  std::vector<std::vector<Counter>> CountersByCpu() const;
  // What workers sent and took by AF_XDP: datagrams and their payloads.
  struct Traffic {
    uint64_t tx_packets = 0;
    uint64_t tx_bytes = 0;
    uint64_t rx_packets = 0;
    uint64_t rx_bytes = 0;
  };
  Traffic AfxdpTraffic() const;

  // How bulk session data goes there now: "afxdp" or "socket", and why, for people.
  State WayTo(const UdpPath& path) const;

 private:
  // LIMIT: what was refused is tried again so often; what changes without a word is seen as soon.
  static constexpr Duration kLook = std::chrono::seconds(1);
  static constexpr Duration kRetry = std::chrono::seconds(5);
  // LIMIT: how long workers may take to receive what is in the rings of sockets that leave.
  static constexpr Duration kDrain = std::chrono::milliseconds(50);

  // LIMIT: a queue that another program has is asked for again after 5 s, then after twice as long.
  static constexpr Duration kLongestRetry = std::chrono::minutes(10);

  // LIMIT: AF_XDP sockets opened beforehand, because opening needs CAP_NET_RAW. One that was bound
  // cannot be bound again: 16 interfaces of 16 queues, or a queue that came and went 256 times.
  static constexpr size_t kSpareSockets = 256;
  // LIMIT: peers that may be sent to by AF_XDP; with more, those wanted afresh replace all others.
  static constexpr size_t kMaxHops = 65536;

  struct Watched {
    HostInterface host;
    XdpDecision decision;
    FileDescriptor link;
    XdpMode mode = XdpMode::kNative;  // of the link
    bool sends = false;               // natively: frames that XDP sends by it leave it
    std::optional<Instant> ends_at;   // of the sockets, which get no more frames
    std::string refusal;              // empty: none
    Instant next_try;
    std::vector<std::shared_ptr<XskSocket>> sockets;  // by queue
    std::string socket_refusal;
    Instant next_bind;
    Duration bind_pause = kRetry;  // before the next try
    uint32_t first_queue = 0;      // to be bound: the one that was refused the last time
    uint32_t place = 0;            // of the interface in the program's table of sockets
  };

  XdpPath(Options options, HostLinks links)
      : options_(std::move(options)), links_(std::move(links)), settings_(options_.settings) {}

  static constexpr std::string_view kNotLoaded = "switched off at the start";

  static std::string WhyNoSockets(const Watched& watched);
  static std::optional<State> DescribeSockets(const Watched& watched);
  void OpenSpareSockets();
  void Look(Instant now);
  // `wanted`: those of no interface.
  void FollowAddresses(const std::vector<HostInterface>& interfaces, std::set<IpAddress> wanted);
  void Decide(Watched& watched, Instant now);
  void Attach(Watched& watched, Instant now);
  // Takes off what is not wanted any more.
  void Conform(Watched& watched, Instant now);

  // Sockets of an interface: bound when it can have some, let go when it changes.
  void FollowSockets(Watched& watched, Instant now);
  absl::Status BindSockets(Watched& watched);
  void LetGo(Watched& watched, Instant now, std::string_view why);
  void FollowHops(Instant now);
  // Whether XDP can send by the interface, as far as it goes by what the kernel says.
  bool Sends(const Watched& watched);
  bool SendsAnywhere() const;
  void FollowRelays();
  std::optional<State> DescribeRelays() const;
  void Publish();

  const Options options_;
  HostLinks links_;
  std::unique_ptr<SteerObject> steer_;  // null: nobody wants XDP, or it could not be loaded
  std::string no_steer_;                // why
  std::unique_ptr<RelayTable> relays_;  // with the program
  Instant looked_;
  mutable std::mutex mutex_;  // of what follows
  PathSettings settings_;
  bool look_soon_ = false;  // settings changed, or something of the last look is unfinished
  std::map<uint32_t, Watched> watched_;  // by interface index
  std::set<IpAddress> addresses_;
  // Of AF_XDP, all the main thread's.
  std::optional<HopFinder> finder_;
  std::optional<XdpFeatures> features_;
  std::vector<std::unique_ptr<XskSocket>> spare_;
  std::string no_spare_;                         // why there are none
  std::vector<std::shared_ptr<PlanBox>> boxes_;  // by worker
  std::vector<std::weak_ptr<XskSocket>> leaving_;
  std::set<HopKey> wanted_;
  std::map<HopKey, HopFinder::Found> found_;
  Instant resolved_;
  std::shared_ptr<const HopTable> published_ = std::make_shared<HopTable>();  // under mutex_
  bool sockets_changed_ = false;
};

}  // namespace omni
