// SPDX-License-Identifier: Apache-2.0
// PeerTimers: what time asks of a peer, from four timestamps of its traffic. WireGuard's timers
// (whitepaper section 6), evaluated by the hub a few times a second instead of armed per packet.
// Pure: time is an argument.
#pragma once

#include <optional>

#include "common/clock.h"
#include "dataplane/hub/state.h"

namespace omni {

// The latest of all workers. Zero instants: never.
struct PeerTraffic {
  Instant last_tx;
  Instant last_data_tx;
  Instant last_large_tx;
  Instant last_rx;
  Instant last_data_rx;
};

struct CurrentSession {
  SessionRole role = SessionRole::kInitiator;
  Instant created;
  SessionTimers timers;
  bool messages_used_up = false;  // a counter passed RekeyAfterMessages()
};

struct TimerVerdict {
  bool send_keepalive = false;
  std::optional<HandshakeReason> handshake;
};

class PeerTimers {
 public:
  // `session` is null when the peer has none that may send.
  TimerVerdict Tick(const PeerTraffic& traffic, const CurrentSession* session,
                    Duration persistent_keepalive, Instant now);

 private:
  // Since when something stands open; cleared by an event at or after it.
  class Pending {
   public:
    // `opened` starts it, `closed` ends it. Gives for how long it has stood open.
    Duration Update(Instant opened, Instant closed, Instant now) {
      if (since_ != Instant{} && closed >= since_) since_ = {};
      if (since_ == Instant{} && opened > closed) since_ = opened;
      return since_ == Instant{} ? Duration::zero() : now - since_;
    }

   private:
    Instant since_;
  };

  Pending unanswered_;  // data received and nothing sent since
  Pending unheard_;     // data sent and nothing received since
};

}  // namespace omni
