// SPDX-License-Identifier: Apache-2.0
// Discovery: what the NucleusClient, the Reflector, the Beacons and the PeerSignaling need of the
// world: the clock, names resolved, the machine's addresses as they change, the way through the
// dataplane's UDP port; and who of them does what while there is no Nucleus (discovery_mesh.cc).
// Owned by the Controller, on the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/clock.h"
#include "common/stun_id.h"
#include "controller/config/config.h"
#include "controller/mesh/beacons.h"
#include "controller/mesh/signaling.h"
#include "controller/nat/port_mapper.h"
#include "controller/nat/reflector.h"
#include "controller/net/interfaces.h"
#include "controller/net/resolver.h"
#include "controller/nucleus/client.h"

namespace omni {

// How this machine is connected.
struct NetworkView {
  std::vector<Endpoint> own;  // of its interfaces, with the one UDP port; the best first
  std::optional<Reflection> v4;
  std::optional<Reflection> v6;
  // Unset: the router is not asked: there is no need, or it is off.
  std::optional<PortMapper::View> port_mapping;
};

// What nodes tell each other.
struct MeshView {
  bool beacons_wanted = false;
  uint64_t record_sequence = 0;  // of our own record; 0: there is none yet
  BeaconsView beacons;
  std::vector<Beacons::Neighbour> neighbours;
  PeerSignalingView signaling;
};

class Discovery {
 public:
  struct Options {
    const Identity* identity = nullptr;       // not owned
    const ClusterKeyring* cluster = nullptr;  // not owned
    std::function<Instant()> clock;
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    std::function<void(const Endpoint& to, const IpAddress& from, std::span<const uint8_t>)>
        send_from;
    // Of records; those of revocations are the next one's.
    KnownRecords::Hooks records;
    // Somebody has told of a revocation, hostile until proven otherwise.
    std::function<RevocationList::Outcome(const signal::v1::SignedRevocation&)> revoked;
    const RevocationList* revocations = nullptr;  // not owned
    // Of a peer, as of PeerSignaling.
    std::function<std::optional<ClusterId>(const NodeId&)> secret_of = [](const NodeId&) {
      return std::nullopt;
    };
    // A node is at another place on our links than before, or at none any more.
    std::function<void(const NodeId&)> relocated = [](const NodeId&) {};
    // Peers with a session in use, and where they are reached directly.
    std::function<std::vector<std::pair<NodeId, Endpoint>>()> sessions = [] {
      return std::vector<std::pair<NodeId, Endpoint>>();
    };
    std::function<Endpoint(const NodeId&)> reach = [](const NodeId&) { return Endpoint(); };
    // The machine's addresses are others than before.
    std::function<void()> network_changed = [] {};
    // A node is calling us, says the Nucleus.
    std::function<void(const NodeId&)> called = [](const NodeId&) {};
    // Of NucleusClient.
    std::function<absl::Status(const std::vector<InterfaceAddress>&)> allocated;
    std::function<void(const Endpoint&)> relay;
    std::function<void(const NodeId& from, std::span<const uint8_t> datagram)> handshake;
    // Of PeerSignaling.
    struct Relaying {
      std::function<void(const NodeId& from, const NodeId& to, std::span<const uint8_t>)> pass;
      std::function<void(const NodeId& from, const NodeId& to, const signal::v1::OpenRelay&)> open;
      std::function<void(const NodeId& via, const NodeId& from, std::span<const uint8_t>)>
          handshake;
      std::function<void(const NodeId& via)> relay_closed;
    };
    Relaying relaying;
    // Of this machine, but for those of the interface named.
    std::function<std::vector<IpAddress>(const std::string&)> interfaces = InterfaceAddresses;
    std::function<std::vector<NetworkLink>(const std::string&)> links = NetworkLinks;
  };
  Discovery(boost::asio::io_context& loop, const Config& config, Options options);

  // What an earlier process knew of others; the hooks hear of it. Trouble is logged: it is not
  // worth a refusal to start.
  void Load();

  const QuicCidKey& cid_key() const { return cid_key_; }
  const StunKey& stun_key() const { return stun_key_; }
  // Of the dataplane's filter: one for each secret that we hold.
  std::vector<Key32> beacon_keys() const;
  std::vector<KnockKey> knock_keys() const;
  // Asks a node, through the Nucleus or common peers, to open its NAT for us.
  void Call(const NodeId& id);
  NucleusView view() const { return client_->view(); }
  NetworkView network() const;
  MeshView mesh() const;
  // A session with the peer has come into use.
  void OnSession(const NodeId& peer);
  // Where the node is on our links.
  std::vector<Endpoint> PlacesOf(const NodeId& id) const;
  // Whether other nodes, and no Nucleus, told of it.
  bool IsToldByNodes(const NodeId& id) const;
  // Looks at the network anew, and calls `done` when network() is what was seen; at once when there
  // is nothing to ask or no way to.
  void CheckNetwork(std::function<void()> done);

  // The dataplane is there: datagrams can leave.
  void OnDataplane(const Config& config, const std::string& tun_name, uint16_t port);
  void OnDataplaneGone();
  // The node is nowhere to be found, until OnDataplane().
  void Suspend();
  // Name, addresses or where they come from have changed.
  void OnConfig(const Config& config);
  void SetAddressSource(AddressSource source) { source_ = source; }
  // An address of the machine, beside those of the tunnel, that lies in the network.
  std::optional<IpAddress> InterfaceIn(const IpPrefix& network) const;
  void OpenRelay(const NodeId& peer, std::span<const uint64_t> channels, uint32_t seconds);
  void SendHandshake(const NodeId& peer, std::span<const uint8_t> datagram);
  // The same through a node that relays.
  void OpenRelay(const PeerSignaling::Relayed& to, std::span<const uint64_t> channels,
                 uint32_t seconds);
  void SendHandshake(const PeerSignaling::Relayed& to, std::span<const uint8_t> datagram);
  // As one.
  void PassHandshake(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram);
  void TellRelayClosed(const NodeId& to);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from);
  // What `cluster` holds has changed.
  void OnSecrets();
  // This node has revoked another one.
  void OnRevoked(const RevocationList::Entry& entry) { Spread(entry, Teller::kUs); }
  // Tells the Nucleus that this node ends.
  void Stop();

 private:
  // Revocations (discovery_revocations.cc)
  enum class Teller : uint8_t { kUs, kNucleus, kNode };
  RevocationList::Outcome TakeRevocation(const signal::v1::SignedRevocation& message,
                                         Teller teller);
  void Spread(const RevocationList::Entry& entry, Teller teller);
  void SpreadDue();
  void CompareSoon(const NodeId& peer);
  void CompareDue();

  bool IsRegistered() const { return client_->view().state == NucleusState::kRegistered; }
  void MakeMesh();
  void OnHeard(const Beacons::Neighbour& neighbour);
  void Publish();
  void PublishDue();
  void ForgetUnseen(Instant now);
  PeerSignaling::Options::Known OwnRecord() const;
  std::optional<ClusterId> SecretOf(const NodeId& id) const;
  void Describe();
  void OnReflected();
  void AskForPort();
  void Resolve();
  void ArmTimer();
  void SaveSoon();
  void Save();

  const Options options_;
  const DiscoveryConfig nucleus_;
  const std::string file_;
  QuicCidKey cid_key_{};
  StunKey stun_key_{};
  std::unique_ptr<NucleusClient> client_;
  std::unique_ptr<PeerSignaling> signaling_;
  std::unique_ptr<Beacons> beacons_;       // null: off
  std::optional<Instant> publish_due_;     // our record, to peers
  uint64_t looked_at_ = 0;                 // its number, when that was last planned
  uint64_t nucleus_has_ = 0;               // likewise, as the Nucleus last took it
  std::map<NodeId, uint64_t> told_;        // likewise, by peers; LIMIT: kMaxTold
  std::map<NodeId, Instant> called_last_;  // LIMIT: kMaxCalls
  std::optional<Instant> spread_due_;      // revocations, to peers with a session
  std::optional<Instant> compare_due_;     // what we know of them with what a peer does
  std::set<NodeId> compared_;              // peers, since we were registered. LIMIT: kMaxCompared
  std::set<NodeId> to_compare_;            // peers with a new session; likewise
  NodeId compared_last_;
  Reflector reflector_;
  std::vector<std::function<void()>> checks_;  // that wait for the reflector
  std::vector<Endpoint> own_;
  boost::asio::io_context& loop_;
  std::unique_ptr<PortMapper> port_mapper_;  // from the first time that it is needed
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer save_timer_;
  bool save_pending_ = false;
  Instant forget_from_;  // when to look for nodes that were not seen for too long
  bool loading_ = false;
  Resolver resolver_;
  AddressWatcher watcher_;

  std::string name_;
  std::vector<InterfaceAddress> addresses_;
  bool relays_;
  AddressSource source_ = AddressSource::kConfigured;
  std::string tun_name_;
  uint16_t port_ = 0;  // 0: not known yet
  bool online_ = false;
  bool suspended_ = false;
  const bool wants_beacons_;
};

}  // namespace omni
