// SPDX-License-Identifier: Apache-2.0
// Up and down: the node as a whole, by the administrator's word. A file in the state directory says
// "down" and outlives the process.
#include <unistd.h>

#include <filesystem>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"

namespace omni {

absl::Status Controller::LoadNodeState() {
  std::error_code error;
  const bool down = std::filesystem::exists(DownFile(), error);
  // Who asked for silence must not be heard because a disk has trouble.
  if (error) return absl::InternalError("look for " + DownFile() + ": " + error.message());
  if (!down) return absl::OkStatus();
  spdlog::info("the node is down, as somebody wanted: omnictl up");
  node_state_ = NodeState::kDown;
  handshakes_.Rest();
  sync_.HidePeers();
  return absl::OkStatus();
}

absl::Status Controller::SetNodeState(NodeState state) {
  if (state == node_state_) return absl::OkStatus();
  // On disk first: what the caller was told must survive a crash.
  if (state == NodeState::kDown) {
    RETURN_IF_ERROR(WriteFileAtomically(DownFile(), "The node is down; up again: omnictl up\n",
                                        0600, Overwrite::kYes));
  } else if (unlink(DownFile().c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus("remove " + DownFile());
  }
  spdlog::info("the node goes {}", state == NodeState::kUp ? "up" : "down");
  node_state_ = state;
  state == NodeState::kUp ? GoUp() : GoDown();
  // The whole state: what was not told of peers while it was down is in it.
  if (connected_ && adopted_) {
    sync_.Stop();
    Resync();
  }
  return absl::OkStatus();
}

// The Nucleus first, so that nobody is sent here any more; then what others have of us.
void Controller::GoDown() {
  if (discovery_) discovery_->Suspend();
  handshakes_.Rest();
  sync_.HidePeers();
  for (const auto& [name, peer] : peers_) {
    EndSessions(*peer);
    handshakes_.engine().OnConfirmed(peer->id());  // ends what is under way
    paths_.OnNoSession(peer->id());
    peer->cipher.reset();
    peer->trouble = Trouble::kNone;
    peer->last_error.clear();
    peer->waiting.clear();
  }
  call_when_applied_.clear();
  UpdateRelayPoints();
}

void Controller::GoUp() {
  handshakes_.Resume();
  sync_.ShowPeers();
}

}  // namespace omni
