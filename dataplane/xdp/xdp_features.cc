// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/xdp_features.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "common/status.h"

namespace omni {
namespace {

// Of linux/netdev.h, which Debian 12 does not have.
constexpr std::array<uint8_t, 7> kFamily = {'n', 'e', 't', 'd', 'e', 'v', 0};
constexpr uint8_t kGetDevice = 1;            // NETDEV_CMD_DEV_GET
constexpr uint16_t kInterface = 1;           // NETDEV_A_DEV_IFINDEX
constexpr uint16_t kFeatures = 3;            // NETDEV_A_DEV_XDP_FEATURES, 64 bits
constexpr uint64_t kTakesFrames = 1U << 2U;  // NETDEV_XDP_ACT_NDO_XMIT

// LIMIT: of the family, its description with all its operations and groups, some hundred bytes.
constexpr size_t kAnswerBytes = 8192;
// LIMIT: the kernel answers at once.
constexpr timeval kPatience = {.tv_sec = 0, .tv_usec = 100'000};
constexpr size_t kHead = NLMSG_LENGTH(GENL_HDRLEN);

// A number of two to eight bytes.
std::optional<uint64_t> ReadAttribute(std::span<const uint8_t> rest, uint16_t wanted) {
  while (rest.size() >= sizeof(nlattr)) {
    nlattr attribute;
    std::memcpy(&attribute, rest.data(), sizeof(attribute));
    if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > rest.size()) return std::nullopt;
    const auto value = rest.subspan(NLA_HDRLEN, attribute.nla_len - NLA_HDRLEN);
    if ((attribute.nla_type & NLA_TYPE_MASK) == wanted && value.size() <= sizeof(uint64_t)) {
      uint64_t out = 0;
      std::memcpy(&out, value.data(), value.size());
      return out;
    }
    rest = rest.subspan(std::min<size_t>(rest.size(), NLA_ALIGN(attribute.nla_len)));
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<XdpFeatures> XdpFeatures::Open() {
  FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket.is_open()) return ErrnoStatus("open generic netlink");
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0) {
    return ErrnoStatus("set up generic netlink");
  }
  return XdpFeatures(std::move(socket));
}

std::optional<bool> XdpFeatures::SendsFrames(uint32_t interface) {
  if (family_ == 0) {
    const auto family =
        Ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, kFamily, CTRL_ATTR_FAMILY_ID);
    if (!family) return std::nullopt;
    family_ = static_cast<uint16_t>(*family);
  }
  std::array<uint8_t, sizeof(interface)> index{};
  std::memcpy(index.data(), &interface, sizeof(interface));
  const auto features = Ask(family_, kGetDevice, kInterface, index, kFeatures);
  if (!features) return std::nullopt;
  return (*features & kTakesFrames) != 0;
}

// The attribute `wanted` of the answer to a question with one attribute.
std::optional<uint64_t> XdpFeatures::Ask(uint16_t family, uint8_t command, uint16_t attribute,
                                         std::span<const uint8_t> value, uint16_t wanted) {
  std::array<uint8_t, kHead + NLA_HDRLEN + 16> question{};
  const nlmsghdr header{
      .nlmsg_len = static_cast<uint32_t>(kHead + NLA_HDRLEN + NLA_ALIGN(value.size())),
      .nlmsg_type = family,
      .nlmsg_flags = NLM_F_REQUEST,
      .nlmsg_seq = ++sequence_};
  const genlmsghdr general{.cmd = command, .version = 1};
  const nlattr head{.nla_len = static_cast<uint16_t>(NLA_HDRLEN + value.size()),
                    .nla_type = attribute};
  std::memcpy(question.data(), &header, sizeof(header));
  std::memcpy(question.data() + NLMSG_HDRLEN, &general, sizeof(general));
  std::memcpy(question.data() + kHead, &head, sizeof(head));
  std::memcpy(question.data() + kHead + NLA_HDRLEN, value.data(), value.size());
  if (send(socket_.get(), question.data(), header.nlmsg_len, 0) < 0) return std::nullopt;
  std::array<uint8_t, kAnswerBytes> answer;
  for (;;) {
    const ssize_t bytes = recv(socket_.get(), answer.data(), answer.size(), 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < static_cast<ssize_t>(sizeof(nlmsghdr))) return std::nullopt;
    nlmsghdr got;
    std::memcpy(&got, answer.data(), sizeof(got));
    if (got.nlmsg_seq != sequence_) continue;  // too late for the question before
    if (got.nlmsg_type != family || got.nlmsg_len < kHead ||
        got.nlmsg_len > static_cast<size_t>(bytes)) {
      return std::nullopt;
    }
    return ReadAttribute(std::span(answer).subspan(kHead, got.nlmsg_len - kHead), wanted);
  }
}

}  // namespace omni
