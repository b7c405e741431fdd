// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/afxdp_port.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "bpf/abi.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: hops asked for and not found; more than a node has peers that move at once.
constexpr size_t kMaxAsked = 4096;

void Watch(int epoll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  OMNI_CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

}  // namespace

AfxdpPort::AfxdpPort(std::unique_ptr<UdpPort> sockets, std::vector<int> fds,
                     std::shared_ptr<PlanBox> box)
    : kernel_(std::move(sockets)),
      kernel_fds_(std::move(fds)),
      box_(std::move(box)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  OMNI_CHECK(epoll_.is_open());
  Watch(epoll_.get(), box_->fd());
}

std::vector<int> AfxdpPort::fds() const {
  std::vector<int> out = kernel_fds_;
  out.push_back(epoll_.get());
  return out;
}

void AfxdpPort::TakePlan() {
  for (const auto& socket : plan_.sockets) {
    (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket->fd(), nullptr);
  }
  plan_ = box_->Take();
  for (const auto& socket : plan_.sockets) Watch(epoll_.get(), socket->fd());
  asked_.clear();
}

void AfxdpPort::Send(std::span<const Train> trains, DropCounters& drops) {
  if (box_->is_new()) TakePlan();
  if (plan_.sockets.empty()) return kernel_->Send(trains, drops);
  rest_.clear();
  for (const Train& train : trains) {
    const Route route = FindRoute(train);
    if (route.socket == nullptr) {
      rest_.push_back(train);
    } else {
      SendTrain(train, route, drops);
    }
  }
  for (const auto& socket : plan_.sockets) socket->Flush();
  if (!rest_.empty()) kernel_->Send(rest_, drops);
}

HopKey AfxdpPort::KeyOf(const UdpPath& path) {
  return {path.remote, path.local.value_or(IpAddress())};
}

XskSocket* AfxdpPort::SocketOf(const Hop& hop) const {
  for (const auto& socket : plan_.sockets) {
    if (socket->where().interface == hop.interface && !socket->is_broken()) return socket.get();
  }
  return nullptr;
}

Way AfxdpPort::WayTo(const UdpPath& path) const {
  const auto found = plan_.hops->find(KeyOf(path));
  const bool goes = found != plan_.hops->end() && SocketOf(found->second) != nullptr;
  return goes ? Way::kAfxdp : Way::kSocket;
}

AfxdpPort::Route AfxdpPort::FindRoute(const Train& train) {
  // Others are few, and may go to anybody: they are not worth a hop.
  if (train.data[0] != OMNI_MSG_DATA) return {};
  const HopKey key = KeyOf(train.path);
  const auto found = plan_.hops->find(key);
  if (found == plan_.hops->end()) {
    if (asked_.size() < kMaxAsked && asked_.insert(key).second) box_->Want(key);
    return {};
  }
  const Hop& hop = found->second;
  if (hop.head.PacketBytes(train.segment_bytes) > hop.mtu ||
      hop.head.bytes() + train.segment_bytes > XskSocket::kLongest) {
    return {};
  }
  return {.socket = SocketOf(hop), .hop = &hop};
}

void AfxdpPort::SendTrain(const Train& train, const Route& route, DropCounters& drops) {
  const size_t head = route.hop->head.bytes();
  for (uint32_t at = 0; at < train.bytes; at += train.segment_bytes) {
    const uint32_t bytes = std::min(train.segment_bytes, train.bytes - at);
    const std::span<uint8_t> frame = route.socket->Reserve();
    if (frame.empty()) {
      drops.Count(DropReason::tx_socket_full);
      continue;
    }
    const std::span<uint8_t> payload = frame.subspan(head, bytes);
    std::memcpy(payload.data(), train.data + at, bytes);
    route.hop->head.Write(payload, train.traffic_class);
    route.socket->Commit(static_cast<uint32_t>(head) + bytes);
    box_->traffic.tx_packets.Add(1);
    box_->traffic.tx_bytes.Add(bytes);
  }
}

size_t AfxdpPort::Receive(std::span<ReceivedDatagram> out, DropCounters& drops) {
  if (box_->is_new()) TakePlan();
  // Whoever had something is asked last the next time: a flood over one must not keep the others
  // from being read.
  const size_t sources = plan_.sockets.size() + 1;
  for (size_t i = 0; i < sources; ++i) {
    const size_t source = (turn_ + i) % sources;
    const size_t count = source + 1 == sources ? kernel_->Receive(out, drops)
                                               : ReceiveFrames(*plan_.sockets[source], out, drops);
    if (count == 0) continue;
    if (source + 1 < sources) {
      box_->traffic.rx_packets.Add(count);
      for (const ReceivedDatagram& datagram : out.first(count)) {
        box_->traffic.rx_bytes.Add(datagram.bytes.size());
      }
    }
    turn_ = source + 1;
    return count;
  }
  return 0;
}

size_t AfxdpPort::ReceiveFrames(XskSocket& socket, std::span<ReceivedDatagram> out,
                                DropCounters& drops) {
  std::array<std::span<uint8_t>, kBatch> frames;
  // Those that are no datagrams, should there be any, must not look like an empty socket.
  for (;;) {
    const size_t received =
        socket.Receive(std::span(frames).first(std::min(out.size(), frames.size())));
    size_t count = 0;
    for (size_t i = 0; i < received; ++i) {
      const auto view = ParseFrame(frames[i], socket.where().interface);
      if (!view || view->payload.empty()) {
        drops.Count(DropReason::rx_truncated);
        continue;
      }
      out[count++] = {.bytes = view->payload,
                      .segment_bytes = static_cast<uint32_t>(view->payload.size()),
                      .traffic_class = view->traffic_class,
                      .way = Way::kAfxdp,
                      .path = view->path};
    }
    if (count > 0 || received == 0) return count;
  }
}

}  // namespace omni
