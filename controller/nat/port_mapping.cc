// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/port_mapping.h"

#include <fmt/format.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <natpmp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// LIMIT: RFC 6886 section 3.1 waits 64 s in all; a router beside us that is silent for 2 s (four
// requests) does not speak it, and nobody is to wait for more.
constexpr milliseconds kNatPmpPatience{2000};
// LIMIT: a router must not make us ask it all the time.
constexpr std::chrono::seconds kMinLifetime{60};
// LIMIT: RFC 6887 section 8.1.1 asks again after 3 s, and on and on. NAT-PMP comes next, at the
// same port: a router beside us answers one of these, or is asked in another way.
constexpr std::array<milliseconds, 2> kPcpPatience = {milliseconds(250), milliseconds(500)};
constexpr int kUpnpDiscoverMs = 1000;
// LIMIT: a port that somebody else holds: so many other ones are tried.
constexpr int kUpnpTries = 4;
constexpr int kUpnpConflict = 718;
constexpr int kUpnpOnlyPermanent = 725;
constexpr unsigned char kOneHop = 2;  // as miniupnpc's own client has it
constexpr const char* kDescription = "OmniNervous";

// --------------------------------------------------------------------------------------------- PCP

// UNIMPLEMENTED where nobody answers.
absl::StatusOr<PcpGrant> AskPcp(const IpAddress& router, uint16_t port,
                                std::chrono::seconds lifetime, const PcpNonce& nonce) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus("PCP: socket");
  const absl::Cleanup close_fd = [fd] { close(fd); };
  sockaddr_storage to{};
  const socklen_t length = Endpoint{.address = router, .port = kPcpPort}.ToSockaddr(&to);
  // SAFETY: a sockaddr of either family is looked at through its common beginning.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), length) != 0) {
    return ErrnoStatus("PCP: " + router.ToString());
  }
  sockaddr_storage own{};
  socklen_t own_length = sizeof(own);
  // SAFETY: as above.
  auto* const own_address = reinterpret_cast<sockaddr*>(&own);
  if (getsockname(fd, own_address, &own_length) != 0) return ErrnoStatus("PCP: own address");
  const auto client = Endpoint::FromSockaddr(own_address);
  if (!client) return absl::InternalError("PCP: own address");
  const auto request = PcpMapRequest(client->address, port, lifetime, nonce);
  for (const milliseconds patience : kPcpPatience) {
    if (send(fd, request.data(), request.size(), 0) < 0) return ErrnoStatus("PCP: send");
    const auto end = Clock::now() + patience;
    for (auto left = patience; left > milliseconds(0);
         left = std::chrono::ceil<milliseconds>(end - Clock::now())) {
      pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
      if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
      std::array<uint8_t, kMaxPcpBytes> answer{};
      const ssize_t size = recv(fd, answer.data(), answer.size(), 0);
      if (size < 0) return ErrnoStatus("PCP: receive");  // such as: nobody listens there
      auto grant =
          ReadPcpMapResponse(std::span(answer).first(static_cast<size_t>(size)), port, nonce);
      if (!absl::IsInvalidArgument(grant.status())) return grant;
    }
  }
  return absl::UnimplementedError("the router does not answer PCP");
}

std::optional<PortMapping> MapByPcp(const IpAddress& router, uint16_t port,
                                    std::chrono::seconds lifetime, const PcpNonce& nonce) {
  const auto grant = AskPcp(router, port, lifetime, nonce);
  if (!grant.ok()) {
    spdlog::debug("port mapping: {}", Message(grant.status()));
    return std::nullopt;
  }
  PortMapping mapping;
  mapping.protocol = MappingProtocol::kPcp;
  mapping.outer = grant->outer;
  mapping.lifetime = std::max(grant->lifetime, kMinLifetime);
  mapping.nonce = nonce;
  return mapping;
}

// ----------------------------------------------------------------------------------------- NAT-PMP

class NatPmp {
 public:
  // Empty, or why there is nobody to ask.
  std::string Open() {
    const int result = initnatpmp(&state_, 0, 0);
    open_ = result == 0;
    if (open_) return "";
    return result == NATPMP_ERR_CANNOTGETGATEWAY ? "no default route" : "no socket";
  }
  ~NatPmp() {
    if (open_) closenatpmp(&state_);
  }
  NatPmp() = default;
  NatPmp(const NatPmp&) = delete;
  NatPmp& operator=(const NatPmp&) = delete;

  IpAddress router() const {
    // SAFETY: an in_addr_t is its four bytes, in network order.
    const auto* const raw = reinterpret_cast<const uint8_t*>(&state_.gateway);
    return IpAddress::FromBytes({raw, 4}).value_or(IpAddress());
  }
  std::optional<IpAddress> PublicAddress() {
    if (sendpublicaddressrequest(&state_) < 0) return std::nullopt;
    const auto response = Await();
    if (!response || response->type != NATPMP_RESPTYPE_PUBLICADDRESS) return std::nullopt;
    const in_addr& raw = response->pnu.publicaddress.addr;
    // SAFETY: an in_addr is its four bytes.
    return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(&raw), 4});
  }
  std::optional<natpmpresp_t> Map(uint16_t port, std::chrono::seconds lifetime) {
    const auto seconds = static_cast<uint32_t>(lifetime.count());
    if (sendnewportmappingrequest(&state_, NATPMP_PROTOCOL_UDP, port,
                                  lifetime.count() > 0 ? port : 0, seconds) < 0) {
      return std::nullopt;
    }
    const auto response = Await();
    if (!response || response->type != NATPMP_RESPTYPE_UDPPORTMAPPING) return std::nullopt;
    return response;
  }

 private:
  std::optional<natpmpresp_t> Await() {
    const auto end = Clock::now() + kNatPmpPatience;
    natpmpresp_t response{};
    while (Clock::now() < end) {
      timeval wait{};
      if (getnatpmprequesttimeout(&state_, &wait) != 0) return std::nullopt;
      pollfd waiting{.fd = state_.s, .events = POLLIN, .revents = 0};
      const auto ms = static_cast<int64_t>(wait.tv_sec) * 1000 + wait.tv_usec / 1000 + 1;
      poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(ms, 1, kNatPmpPatience.count())));
      const int result = readnatpmpresponseorretry(&state_, &response);
      if (result == 0) return response;
      if (result != NATPMP_TRYAGAIN) return std::nullopt;
    }
    return std::nullopt;
  }

  natpmp_t state_{};
  bool open_ = false;
};

std::optional<PortMapping> MapByNatPmp(NatPmp& router, uint16_t port,
                                       std::chrono::seconds lifetime) {
  const auto address = router.PublicAddress();
  if (!address) return std::nullopt;
  const auto granted = router.Map(port, lifetime);
  if (!granted || granted->pnu.newportmapping.mappedpublicport == 0) return std::nullopt;
  PortMapping mapping;
  mapping.protocol = MappingProtocol::kNatPmp;
  mapping.outer = {.address = *address, .port = granted->pnu.newportmapping.mappedpublicport};
  mapping.lifetime =
      std::max(std::chrono::seconds(granted->pnu.newportmapping.lifetime), kMinLifetime);
  return mapping;
}

// -------------------------------------------------------------------------------------------- UPnP

absl::Status UpnpError(const char* what, int code) {
  const char* text = strupnperror(code);
  return absl::UnavailableError(
      fmt::format("UPnP: {}: {}", what, text != nullptr ? text : std::to_string(code)));
}

absl::StatusOr<PortMapping> AskIgd(const UPNPUrls& urls, const IGDdatas& data, const char* inside,
                                   uint16_t port, std::chrono::seconds lifetime) {
  std::array<char, 64> address{};
  const int found =
      UPNP_GetExternalIPAddress(urls.controlURL, data.first.servicetype, address.data());
  if (found != UPNPCOMMAND_SUCCESS) return UpnpError("external address", found);
  const auto outer = IpAddress::Parse(address.data());
  if (!outer) return absl::UnavailableError("UPnP: the router has no external address");
  const std::string inner_port = std::to_string(port);
  std::chrono::seconds lease = lifetime;
  uint16_t wanted = port;
  int result = 0;
  for (int i = 0; i < kUpnpTries; ++i) {
    result = UPNP_AddPortMapping(
        urls.controlURL, data.first.servicetype, std::to_string(wanted).c_str(), inner_port.c_str(),
        inside, kDescription, "UDP", nullptr, std::to_string(lease.count()).c_str());
    if (result == UPNPCOMMAND_SUCCESS) {
      return PortMapping{.protocol = MappingProtocol::kUpnp,
                         .outer = {.address = *outer, .port = wanted},
                         .lifetime = lease,
                         .control_url = urls.controlURL,
                         .service = data.first.servicetype};
    }
    if (result == kUpnpOnlyPermanent) {
      lease = std::chrono::seconds(0);
    } else if (result == kUpnpConflict) {
      wanted = static_cast<uint16_t>(20'000 + randombytes_uniform(40'000));
    } else {
      break;
    }
  }
  return UpnpError("add port mapping", result);
}

absl::StatusOr<PortMapping> MapByUpnp(uint16_t port, std::chrono::seconds lifetime) {
  int error = 0;
  UPNPDev* devices =
      upnpDiscover(kUpnpDiscoverMs, nullptr, nullptr, UPNP_LOCAL_PORT_ANY, 0, kOneHop, &error);
  if (devices == nullptr)
    return absl::UnavailableError("the router speaks neither PCP nor NAT-PMP nor UPnP");
  const absl::Cleanup free_devices = [devices] { freeUPNPDevlist(devices); };
  UPNPUrls urls{};
  IGDdatas data{};
  std::array<char, 64> inside{};
  const int found =
      UPNP_GetValidIGD(devices, &urls, &data, inside.data(), static_cast<int>(inside.size()));
  if (found == 0) return absl::UnavailableError("UPnP: no router among the devices");
  const absl::Cleanup free_urls = [&urls] { FreeUPNPUrls(&urls); };
  if (found != 1) return absl::UnavailableError("UPnP: the router is not connected");
  return AskIgd(urls, data, inside.data(), port, lifetime);
}

}  // namespace

std::string_view Name(MappingProtocol protocol) {
  switch (protocol) {
    case MappingProtocol::kPcp:
      return "PCP";
    case MappingProtocol::kNatPmp:
      return "NAT-PMP";
    case MappingProtocol::kUpnp:
      return "UPnP";
  }
  return "unknown";
}

absl::StatusOr<PortMapping> MapPort(uint16_t port, std::chrono::seconds lifetime,
                                    const PcpNonce& nonce) {
  NatPmp router;
  if (const std::string why = router.Open(); !why.empty()) return absl::UnavailableError(why);
  if (auto mapping = MapByPcp(router.router(), port, lifetime, nonce)) return *std::move(mapping);
  if (auto mapping = MapByNatPmp(router, port, lifetime)) return *std::move(mapping);
  return MapByUpnp(port, lifetime);
}

void UnmapPort(uint16_t port, const PortMapping& mapping) {
  if (mapping.protocol == MappingProtocol::kUpnp) {
    (void)UPNP_DeletePortMapping(mapping.control_url.c_str(), mapping.service.c_str(),
                                 std::to_string(mapping.outer.port).c_str(), "UDP", nullptr);
    return;
  }
  NatPmp router;
  if (!router.Open().empty()) return;
  if (mapping.protocol == MappingProtocol::kPcp) {
    (void)AskPcp(router.router(), port, std::chrono::seconds(0), mapping.nonce);
  } else {
    (void)router.Map(port, std::chrono::seconds(0));
  }
}

}  // namespace omni
