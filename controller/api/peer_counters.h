// SPDX-License-Identifier: Apache-2.0
// The dataplane's counters of peers, by peer. Views of an answer: they live as long as it.
#pragma once

#include <map>
#include <string>

#include "controller/core/peer_table.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

using CountersById = std::map<std::string, const dataplane::v1::PeerCounters*>;

inline CountersById ById(const dataplane::v1::GetCountersResponse& counters) {
  CountersById out;
  for (const dataplane::v1::PeerCounters& peer : counters.peers()) {
    out.emplace(peer.peer_id(), &peer);
  }
  return out;
}

// nullptr: there are none.
inline const dataplane::v1::PeerCounters* CountersOf(const CountersById& counters,
                                                     const Peer& peer) {
  const auto found = counters.find(peer.id().ToBytes());
  return found == counters.end() ? nullptr : found->second;
}

}  // namespace omni
