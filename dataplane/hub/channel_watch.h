// SPDX-License-Identifier: Apache-2.0
// ChannelWatch: who else must know which channels are received here: XDP, which drops what belongs
// to none. Called with the hub's lock held, before a channel is told to any peer and after its last
// packet could be opened; nothing here waits.
#pragma once

#include "dataplane/core/channel.h"

namespace omni {

class ChannelWatch {
 public:
  virtual ~ChannelWatch() = default;
  virtual void ChannelAdded(ChannelId id) = 0;
  virtual void ChannelRemoved(ChannelId id) = 0;
};

}  // namespace omni
