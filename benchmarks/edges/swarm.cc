// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/edges/swarm.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/status.h"

namespace omni {
namespace {

constexpr size_t kDatagramBytes = 1500;
constexpr size_t kBatch = 32;
// LIMIT: a machine that joins gets the whole list, up to a window of 256 KiB at once.
constexpr int kBufferBytes = 512 << 10;

absl::StatusOr<int> OpenSocket(const Endpoint& to, Endpoint& own) {
  sockaddr_storage address{};
  const socklen_t length = to.ToSockaddr(&address);
  const int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus("open a socket");
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof(kBufferBytes));
  sockaddr_storage bound{};
  socklen_t bound_length = sizeof(bound);
  // SAFETY: a sockaddr_storage holds every kind of sockaddr.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &bound_length) != 0) {
    const absl::Status status = ErrnoStatus("connect to " + to.ToString());
    close(fd);
    return status;
  }
  // SAFETY: as above.
  own = *Endpoint::FromSockaddr(reinterpret_cast<const sockaddr*>(&bound));
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Swarm>> Swarm::Make(Options options) {
  std::unique_ptr<Swarm> made(new Swarm(std::move(options)));
  made->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (made->epoll_ < 0) return ErrnoStatus("epoll");
  return made;
}

Swarm::~Swarm() {
  for (const Member& member : members_) close(member.fd);
  if (epoll_ >= 0) close(epoll_);
}

absl::Status Swarm::Add() {
  const size_t index = members_.size();
  auto identity = Identity::Create(fmt::format("{}/{}", options_.directory, index));
  if (!identity.ok()) return identity.status();
  Edge::Options edge{.cluster = options_.cluster,
                     .nucleus = options_.nucleus,
                     .name = fmt::format("swarm-{}", index),
                     .address = *IpAddress::Parse(fmt::format("fd77::1:{:x}", index)),
                     .own = {},
                     .send = {},
                     .told = [this, index](std::string_view m) { options_.told(index, m); }};
  ASSIGN_OR_RETURN(const int fd, OpenSocket(options_.nucleus, edge.own));
  edge.send = [fd](std::span<const uint8_t> datagram) {
    (void)send(fd, datagram.data(), datagram.size(), MSG_DONTWAIT);  // lost, as on any way
  };
  epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return ErrnoStatus("epoll");
  members_.push_back(
      {.edge = std::make_unique<Edge>(*std::move(identity), std::move(edge)), .fd = fd});
  return absl::OkStatus();
}

void Swarm::Join(size_t edge) {
  members_[edge].edge->Join(Now());
  Arm(edge);
}

void Swarm::Rename(size_t edge, std::string name) {
  members_[edge].edge->Rename(std::move(name), Now());
  Arm(edge);
}

void Swarm::Arm(size_t index) {
  Member& member = members_[index];
  if (member.due) due_.erase({*member.due, index});
  member.due = member.edge->NextDeadline();
  if (member.due) due_.insert({*member.due, index});
}

void Swarm::Turn(Instant end) {
  const Instant now = Now();
  while (!due_.empty() && due_.begin()->first <= now) {
    const size_t index = due_.begin()->second;
    members_[index].edge->OnTimer(now);
    Arm(index);
  }
  const Instant next = due_.empty() ? end : std::min(end, due_.begin()->first);
  const int64_t wait = std::max<int64_t>(0, (next - now).count());
  const timespec timeout{.tv_sec = wait / 1'000'000'000, .tv_nsec = wait % 1'000'000'000};
  std::array<epoll_event, 256> events;
  const int ready = epoll_pwait2(epoll_, events.data(), events.size(), &timeout, nullptr);
  for (int i = 0; i < ready; ++i) {
    const size_t index = events[static_cast<size_t>(i)].data.u64;
    Receive(index);
    Arm(index);
  }
}

void Swarm::Receive(size_t index) {
  Member& member = members_[index];
  std::array<std::array<uint8_t, kDatagramBytes>, kBatch> buffers;
  std::array<iovec, kBatch> vectors;
  std::array<mmsghdr, kBatch> messages{};
  for (size_t i = 0; i < kBatch; ++i) {
    vectors[i] = {.iov_base = buffers[i].data(), .iov_len = kDatagramBytes};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int count = recvmmsg(member.fd, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    member.bytes += messages[at].msg_len;
    member.edge->OnDatagram(std::span(buffers[at]).first(messages[at].msg_len), Now());
  }
}

}  // namespace omni
