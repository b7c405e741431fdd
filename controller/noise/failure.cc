// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/engine.h"

namespace omni::noise {

std::string Describe(FailureReason reason) {
  switch (reason) {
    case FailureReason::kMalformed:
      return "the message is malformed";
    case FailureReason::kMac1:
      return "mac1 is wrong: the sender does not know our key";
    case FailureReason::kUnknownPeer:
      return "the sender's key belongs to no configured peer";
    case FailureReason::kDecrypt:
      return "the message does not decrypt: forged, or made for another key";
    case FailureReason::kAuthentication:
      return "authentication fails: the peer's cluster secret or pair PSK differs from ours";
    case FailureReason::kReplay:
      return "the initiation is a replay, or the peer's clock was set back";
    case FailureReason::kDuplicate:
      return "the newest initiation once more";
    case FailureReason::kTooFast:
      return "the peer sends initiations too fast";
    case FailureReason::kUnexpected:
      return "an answer to nothing that was sent";
    case FailureReason::kTimeout:
      return "no answer for 90 s";
    case FailureReason::kRevoked:
      return "the sender is revoked";
  }
  return "unknown";
}

}  // namespace omni::noise
