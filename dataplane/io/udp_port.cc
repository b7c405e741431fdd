// SPDX-License-Identifier: Apache-2.0
#include "dataplane/io/udp_port.h"

#include <poll.h>

#include <algorithm>
#include <cstring>

#include "common/status.h"
#include "dataplane/io/virtio_net.h"

namespace omni {
namespace {

// LIMIT: how long a worker waits for room in a full socket buffer before it drops: backpressure
// reaches the TUN ring, where dropping is free. Once a batch where it is in vain: a dead link stops
// nobody for long.
constexpr int kSendWaitMs = 5;

// Appends one control message to a buffer.
class ControlWriter {
 public:
  explicit ControlWriter(std::span<uint8_t> buffer) : buffer_(buffer) {}

  template <typename T>
  void Add(int level, int type, const T& value) {
    OMNI_CHECK(used_ + CMSG_SPACE(sizeof(T)) <= buffer_.size());
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof(T));
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(&buffer_[used_], &header, sizeof(header));
    std::memcpy(&buffer_[used_ + CMSG_LEN(0)], &value, sizeof(T));
    used_ += CMSG_SPACE(sizeof(T));
  }
  size_t used() const { return used_; }

 private:
  std::span<uint8_t> buffer_;
  size_t used_ = 0;
};

void AddSource(ControlWriter& writer, const IpAddress& local) {
  if (local.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, local.bytes.data(), 4);
    writer.Add(SOL_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, local.bytes.data(), 16);
    writer.Add(SOL_IPV6, IPV6_PKTINFO, info);
  }
}

template <typename T>
T ControlValue(const cmsghdr* header) {
  T value;
  std::memcpy(&value, CMSG_DATA(header), sizeof(value));
  return value;
}

// Reads what the kernel says beside a message.
void ReadControl(msghdr& message, ReceivedDatagram& out) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      out.segment_bytes = static_cast<uint32_t>(ControlValue<int>(c));
    } else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_TOS) {
      out.traffic_class = ControlValue<uint8_t>(c);
    } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      out.traffic_class = static_cast<uint8_t>(ControlValue<int>(c));
    } else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO) {
      const auto info = ControlValue<in_pktinfo>(c);
      IpAddress& local = out.path.local.emplace();
      std::memcpy(local.bytes.data(), &info.ipi_addr, 4);
    } else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      const auto info = ControlValue<in6_pktinfo>(c);
      IpAddress& local = out.path.local.emplace();
      local.family = IpFamily::kV6;
      std::memcpy(local.bytes.data(), &info.ipi6_addr, 16);
    }
  }
}

// Ends early when half of the buffer is free; a train may find room long before.
void WaitForRoom(int fd) {
  pollfd poller = {fd, POLLOUT, 0};
  (void)poll(&poller, 1, kSendWaitMs);
}

// One datagram of a train, the one that begins at a byte of it.
Train SegmentAt(const Train& train, uint32_t at) {
  Train out = train;
  out.data += at;
  out.bytes = std::min(train.segment_bytes, train.bytes - at);
  out.segment_bytes = out.bytes;
  out.segments = 1;
  return out;
}

DropReason ReasonOf(int error) {
  if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) return DropReason::tx_socket_full;
  if (error == EMSGSIZE) return DropReason::tx_too_big;
  return DropReason::tx_socket_error;
}

}  // namespace

void KernelUdpPort::SendSlot::Fill(const Train& train, msghdr& header) {
  header = {};
  header.msg_name = &address;
  header.msg_namelen = train.path.remote.ToSockaddr(&address);
  vector = {train.data, train.bytes};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  ControlWriter writer(control);
  if (train.segments > 1) {
    writer.Add(SOL_UDP, UDP_SEGMENT, static_cast<uint16_t>(train.segment_bytes));
  }
  const bool v4 = train.path.remote.address.is_v4();
  if (train.traffic_class != 0) {
    writer.Add(v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, int{train.traffic_class});
  }
  if (train.path.local) AddSource(writer, *train.path.local);
  header.msg_control = writer.used() > 0 ? control.data() : nullptr;
  header.msg_controllen = writer.used();
}

KernelUdpPort::KernelUdpPort(Sockets sockets, Gso gso)
    : sockets_(std::move(sockets)), buffers_(kMessages * kBufferBytes), use_gso_(gso) {}

std::vector<int> KernelUdpPort::fds() const {
  std::vector<int> out = {sockets_.v4.get()};
  if (sockets_.v6.is_open()) out.push_back(sockets_.v6.get());
  return out;
}

void KernelUdpPort::Send(std::span<const Train> trains, DropCounters& drops) {
  waiting_helps_ = true;
  for (const Train& train : trains) {
    traffic_.tx_packets.Add(train.segments);
    traffic_.tx_bytes.Add(train.bytes);
  }
  if (use_gso_ == Gso::kOn && gso_.MayTry()) return SendTrains(trains, drops);
  singles_.clear();
  for (const Train& train : trains) {
    for (uint32_t at = 0; at < train.bytes; at += train.segment_bytes) {
      singles_.push_back(SegmentAt(train, at));
    }
  }
  SendTrains(singles_, drops);
}

void KernelUdpPort::SendTrains(std::span<const Train> trains, DropCounters& drops) {
  // In one call per family and run of trains; a worker rarely speaks both in one batch.
  std::array<const Train*, 64> run;
  size_t length = 0;
  int fd = -1;
  const auto flush = [&] {
    if (length > 0) SendFamily(fd, {run.data(), length}, drops);
    length = 0;
  };
  for (const Train& train : trains) {
    const int wanted = train.path.remote.address.is_v4() ? sockets_.v4.get() : sockets_.v6.get();
    if (wanted != fd || length == run.size()) flush();
    fd = wanted;
    run[length++] = &train;
  }
  flush();
}

void KernelUdpPort::SendFamily(int fd, std::span<const Train* const> trains, DropCounters& drops) {
  if (fd < 0) {
    for (const Train* train : trains) drops.Count(DropReason::tx_socket_error, train->segments);
    return;
  }
  send_slots_.resize(std::max(send_slots_.size(), trains.size()));
  send_headers_.resize(std::max(send_headers_.size(), trains.size()));
  for (size_t i = 0; i < trains.size(); ++i) {
    send_slots_[i].Fill(*trains[i], send_headers_[i].msg_hdr);
  }
  size_t sent = 0;
  while (sent < trains.size()) {
    const int n =
        sendmmsg(fd, &send_headers_[sent], static_cast<unsigned>(trains.size() - sent), 0);
    if (n > 0) {
      const auto first = trains.subspan(sent, static_cast<size_t>(n));
      if (std::ranges::any_of(first, [](const Train* t) { return t->segments > 1; })) {
        gso_.OnTaken();
      }
      sent += first.size();
    } else if (errno != EINTR) {
      SendOne(fd, *trains[sent], drops);
      ++sent;
    }
  }
}

void KernelUdpPort::SendOne(int fd, const Train& train, DropCounters& drops) {
  SendSlot slot;
  msghdr header;
  const auto try_send = [&](const Train& what) {
    slot.Fill(what, header);
    if (sendmsg(fd, &header, 0) >= 0) return 0;
    return errno;
  };
  int error = try_send(train);
  if (error == EAGAIN && waiting_helps_) {
    WaitForRoom(fd);
    error = try_send(train);
    waiting_helps_ = error != EAGAIN;
  }
  if (error == 0) return;
  if (ReasonOf(error) == DropReason::tx_socket_full) {
    return drops.Count(DropReason::tx_socket_full, train.segments);
  }
  // What remains is a train that cannot go as a whole (EMSGSIZE, EIO, EINVAL) or a source address
  // that is ours no more (EINVAL, ENETUNREACH, EADDRNOTAVAIL): once more in the plainest way.
  const int refusal = error;
  uint32_t sent_as_they_are = 0;
  bool too_large = refusal == EMSGSIZE;
  for (uint32_t at = 0; at < train.bytes; at += train.segment_bytes) {
    Train single = SegmentAt(train, at);
    error = try_send(single);
    if (error == 0) ++sent_as_they_are;
    too_large |= error == EMSGSIZE;
    if (error != 0 && error != EMSGSIZE) {
      single.path.local.reset();
      error = try_send(single);
    }
    if (error != 0) drops.Count(ReasonOf(error));
  }
  // Too large for the interface is no refusal of trains. Of a train, older kernels say EINVAL then.
  if (train.segments > 1 && sent_as_they_are > 0 && !too_large) gso_.OnRefused(refusal);
}

size_t KernelUdpPort::Receive(std::span<ReceivedDatagram> out, DropCounters& drops) {
  // The family that had nothing last time is asked second, and so is one that had more than a
  // batch: a flood over one must not keep the other from being read.
  const std::array<int, 2> order = v6_next_ ? std::array{sockets_.v6.get(), sockets_.v4.get()}
                                            : std::array{sockets_.v4.get(), sockets_.v6.get()};
  size_t count = order[0] >= 0 ? ReceiveFamily(order[0], out, drops) : 0;
  if (count == 0 || count == std::min(out.size(), kMessages)) v6_next_ = !v6_next_;
  if (count == 0) {
    count = order[1] >= 0 ? ReceiveFamily(order[1], out, drops) : 0;
  }
  for (const ReceivedDatagram& message : out.first(count)) {
    const uint32_t each = std::max(1U, message.segment_bytes);
    traffic_.rx_packets.Add((message.bytes.size() + each - 1) / each);
    traffic_.rx_bytes.Add(message.bytes.size());
  }
  return count;
}

size_t KernelUdpPort::ReceiveFamily(int fd, std::span<ReceivedDatagram> out, DropCounters& drops) {
  std::array<mmsghdr, kMessages> headers{};
  std::array<iovec, kMessages> vectors;
  std::array<sockaddr_storage, kMessages> sources;
  const size_t wanted = std::min(out.size(), kMessages);
  for (size_t i = 0; i < wanted; ++i) {
    vectors[i] = {&buffers_[i * kBufferBytes], kBufferBytes};
    msghdr& m = headers[i].msg_hdr;
    m.msg_name = &sources[i];
    m.msg_namelen = sizeof(sources[i]);
    m.msg_iov = &vectors[i];
    m.msg_iovlen = 1;
    m.msg_control = controls_[i].data();
    m.msg_controllen = controls_[i].size();
  }
  const int received = recvmmsg(fd, headers.data(), static_cast<unsigned>(wanted), 0, nullptr);
  size_t count = 0;
  for (int i = 0; i < received; ++i) {
    mmsghdr& message = headers[static_cast<size_t>(i)];
    // SAFETY: the kernel wrote a sockaddr of the socket's family.
    const auto source =
        Endpoint::FromSockaddr(reinterpret_cast<const sockaddr*>(message.msg_hdr.msg_name));
    if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0 || !source) {
      drops.Count(DropReason::rx_oversized);
      continue;
    }
    ReceivedDatagram& datagram = out[count++];
    datagram = {
        .bytes = {static_cast<uint8_t*>(message.msg_hdr.msg_iov->iov_base), message.msg_len},
        .segment_bytes = message.msg_len,
        .path = {.remote = *source}};
    ReadControl(message.msg_hdr, datagram);
  }
  return count;
}

}  // namespace omni
