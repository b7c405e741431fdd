// SPDX-License-Identifier: Apache-2.0
// The node's own virtual addresses where a Nucleus gives them: kept over restarts, so that a node
// that starts without its Nucleus has the address that others know; changed while the tunnel runs.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"
#include "signal/record/allocation.h"

namespace omni {
namespace {

// LIMIT: two addresses take some sixty bytes.
constexpr size_t kMaxAddressesFile = 4096;

std::string ListOf(const std::vector<InterfaceAddress>& addresses) {
  std::string text;
  for (const InterfaceAddress& address : addresses) {
    text += (text.empty() ? "" : ", ") + address.ToString();
  }
  return text;
}

}  // namespace

// Before the dataplane is told anything. A node whose addresses were made static since gives back
// what it had.
void Controller::LoadAddresses() {
  if (discovery_ == nullptr) return;
  const auto content = ReadFile(AddressesFile(), kMaxAddressesFile, FileAccess::kOwnerOnly);
  if (!config_.auto_addresses) {
    if (content.ok()) SetAddressSource(AddressSource::kReleasing);
    return;
  }
  SetAddressSource(AddressSource::kAllocated);
  if (absl::IsNotFound(content.status())) {
    if (config_.nucleus.addresses.empty()) spdlog::error("node.addresses: {}", AddressTrouble());
    return;
  }
  absl::Status status = content.status();
  if (status.ok()) {
    signal::v1::Allocated message;
    auto addresses = message.ParseFromString(*content)
                         ? ReadAllocated(message)
                         : absl::InvalidArgumentError("it holds no addresses");
    status = addresses.status();
    if (status.ok()) config_.addresses = *std::move(addresses);
  }
  if (!status.ok()) {
    spdlog::warn("{}: left out, the Nucleus is asked: {}", AddressesFile(), Message(status));
  }
}

void Controller::SetAddressSource(AddressSource source) {
  address_source_ = source;
  if (discovery_) discovery_->SetAddressSource(source);
}

absl::Status Controller::CheckAllocated(const InterfaceAddress& own) const {
  const IpPrefix network{MaskTo(own.address, own.length), own.length};
  if (const auto address = discovery_->InterfaceIn(network)) {
    return absl::FailedPreconditionError(fmt::format("{}: this machine's {} lies in that network",
                                                     own.ToString(), address->ToString()));
  }
  const Peer* holder = peers_.HolderOf({own.address, static_cast<uint8_t>(own.address.bits())});
  if (holder != nullptr && holder->origin != PeerOrigin::kNucleus) {
    return absl::FailedPreconditionError(
        fmt::format("{} belongs to the peer \"{}\"", own.ToString(), holder->spec.name));
  }
  return absl::OkStatus();
}

absl::Status Controller::OnAllocated(const std::vector<InterfaceAddress>& addresses) {
  if (addresses.empty()) {
    if (unlink(AddressesFile().c_str()) != 0 && errno != ENOENT) {
      spdlog::warn("{}", Message(ErrnoStatus("remove " + AddressesFile())));
    }
    if (address_source_ == AddressSource::kReleasing) {
      SetAddressSource(AddressSource::kConfigured);
      discovery_->OnConfig(config_);
    } else if (config_.auto_addresses) {
      spdlog::warn("nucleus: {} belongs to another node now: asking for other addresses",
                   ListOf(config_.addresses));
      TakeAddresses({});
    }
    return absl::OkStatus();
  }
  if (address_source_ != AddressSource::kAllocated || addresses == config_.addresses) {
    return absl::OkStatus();
  }
  for (const InterfaceAddress& own : addresses) RETURN_IF_ERROR(CheckAllocated(own));
  spdlog::info("nucleus: this node is {}", ListOf(addresses));
  const absl::Status written = WriteFileAtomically(
      AddressesFile(), AllocatedMessage(addresses).SerializeAsString(), 0600, Overwrite::kYes);
  if (!written.ok()) {
    spdlog::warn("{}; without the Nucleus this node has no address after a restart",
                 Message(written));
  }
  TakeAddresses(addresses);
  return absl::OkStatus();
}

// Which peers can be used, and by which of their addresses, depends on our own networks.
void Controller::TakeAddresses(std::vector<InterfaceAddress> addresses) {
  config_.addresses = std::move(addresses);
  sync_.MarkNode();
  ReconcileAll();
  discovery_->OnConfig(config_);
  Push();
}

absl::Status Controller::ReleaseAddresses() {
  if (!config_.auto_addresses) {
    return absl::FailedPreconditionError(
        fmt::format("the addresses of this node stand in {} (node.addresses)", config_.file));
  }
  if (address_source_ != AddressSource::kAllocated) return absl::OkStatus();
  spdlog::info("nucleus: releasing {}", ListOf(config_.addresses));
  SetAddressSource(AddressSource::kReleasing);
  TakeAddresses({});
  return absl::OkStatus();
}

std::string Controller::AddressTrouble() const {
  if (!config_.addresses.empty() || !config_.auto_addresses) return "";
  if (address_source_ != AddressSource::kAllocated) return "released";
  if (!config_.nucleus.addresses.empty()) return "none was given by the Nucleus yet";
  return "none was ever given to this node: it needs a Nucleus ([nucleus]) or an address of its "
         "own "
         "(node.addresses)";
}

}  // namespace omni
