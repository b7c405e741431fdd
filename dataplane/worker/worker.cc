// SPDX-License-Identifier: Apache-2.0
#include "dataplane/worker/worker.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "common/byte_order.h"
#include "dataplane/core/too_big.h"

namespace omni {

Worker::Worker(Parts parts)
    : parts_(std::move(parts)),
      sender_(tables_, *parts_.aead, *parts_.udp, *this),
      forwarder_(tables_, *parts_.udp),
      receiver_(tables_, *parts_.aead, *parts_.tun, forwarder_, *this),
      inbound_(parts_.workers) {
  tables_.worker = parts_.index;
  tables_.workers = parts_.workers;
  if (parts_.control != nullptr) {
    opened_.resize(TunPort::kHeadroom + ControlOpener::kScratchBytes);
  }
  echo_.reserve(kTooBigBytes);
  icmp_.reserve(TunPort::kHeadroom + kTooBigBytes);
}

void Worker::Run() {
  const FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  const auto add = [&](int fd, Source source) {
    epoll_event event{.events = EPOLLIN, .data = {.u32 = source}};
    OMNI_CHECK(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  };
  for (const int fd : parts_.udp_fds) add(fd, kUdp);
  add(parts_.tun_fd, kTun);
  add(mailbox_.fd(), kMailbox);
  // ORDER: relaxed; Stop() wakes the loop through the mailbox, whose lock orders the two.
  while (!stop_.load(std::memory_order_relaxed)) {
    unsigned ready = Wait(epoll.get());
    if (ready == 0) continue;
    counters_.wakeups.Add(1);
    now_ = Now();
    if ((ready & kMailbox) != 0) mailbox_.Empty(*this);
    for (int round = 0; ready != 0 && round < kMaxRounds; ++round) {
      ready = Round(ready, now_);
      now_ = Now();
    }
  }
}

unsigned Worker::Wait(int epoll) {
  std::array<epoll_event, 8> events;
  // ORDER: relaxed; SetPolling() wakes a loop that sleeps.
  const bool is_busy = polling_.load(std::memory_order_relaxed) == Polling::kBusy;
  const int count =
      epoll_wait(epoll, events.data(), static_cast<int>(events.size()), is_busy ? 0 : -1);
  unsigned ready = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    ready |= event.data.u32;
    if (event.data.u32 == kTun && (event.events & (EPOLLERR | EPOLLHUP)) != 0) {
      parts_.reports->Failed("the TUN device was removed");
      stop_.store(true, std::memory_order_relaxed);
    }
  }
  return ready;
}

void Worker::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  mailbox_.Wake();
}

void Worker::SetPolling(Polling polling) {
  polling_.store(polling, std::memory_order_relaxed);
  mailbox_.Wake();
}

void Worker::RunOnce(Instant now) {
  now_ = now;
  mailbox_.Empty(*this);
  for (unsigned ready = kUdp | kTun | kMailbox; ready != 0;) ready = Round(ready, now);
}

unsigned Worker::Round(unsigned ready, Instant now) {
  unsigned still = 0;
  LookAtTrace();
  if ((ready & kMailbox) != 0) TakeHandovers(now);
  if ((ready & kUdp) != 0 && ReceiveTurn(now)) {
    still |= kUdp;
    // The host may have answered already what it was just given: looking costs less than being
    // woken for it.
    ready |= kTun;
  }
  if ((ready & kTun) != 0 && SendTurn(now)) still |= kTun;
  sender_.Flush();
  WakeSiblings();
  return still;
}

void Worker::LookAtTrace() {
  PacketTrace* wanted = trace_.is_on() ? &trace_ : nullptr;
  if (wanted == tables_.trace) return;
  tables_.trace = wanted;
  tables_.drops.Observe(wanted);
}

bool Worker::ReceiveTurn(Instant now) {
  std::array<ReceivedDatagram, kReceiveBatch> batch;
  const size_t count = parts_.udp->Receive(batch, tables_.drops);
  counters_.rx_messages.Add(count);
  // A session's channels are posted here before its first packet leaves on a sibling: looking now,
  // when the answers are in hand, no answer finds its channel missing.
  if (count > 0) mailbox_.EmptyIfPosted(*this);
  receiver_.Receive({batch.data(), count}, now);
  return count > 0;
}

bool Worker::SendTurn(Instant now) {
  for (int i = 0; i < kTunBatch; ++i) {
    const auto packet = parts_.tun->Read();
    if (!packet) return false;
    counters_.tun_reads.Add(1);
    sender_.Send(*packet, now);
  }
  return true;
}

void Worker::TakeHandovers(Instant now) {
  for (HandoverRing& ring : inbound_) {
    while (const auto record = ring.Front()) {
      mailbox_.EmptyIfPosted(*this);
      const ReceivedDatagram datagram{.bytes = record->bytes,
                                      .segment_bytes = record->size,
                                      .traffic_class = record->traffic_class,
                                      .path = record->path};
      receiver_.Receive({&datagram, 1}, now);
      ring.Pop();
    }
  }
}

void Worker::WakeSiblings() {
  for (size_t i = 0; handed_over_ != 0; ++i, handed_over_ >>= 1) {
    if ((handed_over_ & 1) != 0) siblings_[i]->mailbox_.Wake();
  }
}

void Worker::AddPeer(PeerIndex index, std::shared_ptr<PeerActivity> activity) {
  if (tables_.peers.size() <= index) tables_.peers.resize(index + 1);
  tables_.peers[index] = {};
  tables_.peers[index].activity = std::move(activity);
}

void Worker::RemovePeer(PeerIndex index) {
  sender_.DropWaiting(index);
  sender_.SetSession(index, nullptr, now_);
  tables_.peers[index] = {};
}

void Worker::SetPath(PeerIndex index, const UdpPath& path) {
  PeerSlot* slot = tables_.FindPeer(index);
  if (slot == nullptr) return;
  if (!IsSameWay(slot->path, path)) slot->mtu.whole = PathMtu().whole;
  slot->path = path;
}

void Worker::SetPathMtu(PeerIndex index, const UdpPath& path, const PathMtu& mtu) {
  PeerSlot* slot = tables_.FindPeer(index);
  if (slot == nullptr || !IsSameWay(slot->path, path)) return;
  slot->mtu = mtu;
  slot->mtu.whole = std::min(mtu.whole, Train::kMaxBytes - OMNI_DATA_OVERHEAD);
}

void Worker::AddChannel(std::shared_ptr<ReceiveChannel> channel) {
  const ChannelId id = channel->id;
  tables_.channels.insert_or_assign(id, std::move(channel));
}

void Worker::RemoveChannel(ChannelId id) {
  tables_.channels.erase(id);
  parts_.aead->Forget(id);
}

void Worker::SetSession(PeerIndex index, std::shared_ptr<const SendSession> session) {
  sender_.SetSession(index, std::move(session), now_);
}

void Worker::SendKeepalive(PeerIndex index) {
  sender_.SendMessage(index, {}, now_);
  sender_.Flush();
}

void Worker::WriteEcho(uint8_t type, uint64_t token, size_t bytes) {
  omni_inner_echo echo{};
  echo.type = type;
  const Le64 wire_token(token);
  const Le64 stamp(static_cast<uint64_t>(now_.time_since_epoch().count()));
  std::memcpy(echo.token, &wire_token, sizeof(wire_token));
  std::memcpy(echo.stamp, &stamp, sizeof(stamp));
  echo_.assign(bytes, 0);
  std::memcpy(echo_.data(), &echo, sizeof(echo));
}

void Worker::SendEcho(PeerIndex index, uint64_t token, uint32_t padding) {
  WriteEcho(OMNI_INNER_ECHO_REQUEST, token, sizeof(omni_inner_echo) + padding);
  sender_.SendMessage(index, echo_, now_);
  sender_.Flush();
}

void Worker::SendProbe(PeerIndex index, uint64_t token, uint32_t bytes) {
  WriteEcho(OMNI_INNER_PROBE, token, std::max<size_t>(bytes, sizeof(omni_inner_echo)));
  sender_.SendProbe(index, echo_, now_);
  sender_.Flush();
}

void Worker::SendTry(PeerIndex index, uint64_t token, const Endpoint& to) {
  WriteEcho(OMNI_INNER_TRY, token, sizeof(omni_inner_echo));
  sender_.SendTry(index, echo_, {.remote = to}, now_);
  sender_.Flush();
}

void Worker::SendControl(const UdpPath& path, std::span<const uint8_t> datagram) {
  echo_.assign(datagram.begin(), datagram.end());
  const Train train{.path = path,
                    .data = echo_.data(),
                    .bytes = static_cast<uint32_t>(echo_.size()),
                    .segment_bytes = static_cast<uint32_t>(echo_.size()),
                    .segments = 1};
  parts_.udp->Send({&train, 1}, tables_.drops);
}

void Worker::OnRoamed(PeerIndex peer, SessionHandle session, const UdpPath& path) {
  parts_.reports->Roamed(parts_.index, peer, session, path);
}

void Worker::OnEchoRequest(PeerIndex peer, std::span<const uint8_t> message) {
  if (message[0] == OMNI_INNER_PROBE) message = message.first(sizeof(omni_inner_echo));
  echo_.assign(message.begin(), message.end());
  echo_[0] = OMNI_INNER_ECHO_REPLY;
  sender_.SendMessage(peer, echo_, now_);
}

void Worker::OnTry(PeerIndex peer, std::span<const uint8_t> message, const UdpPath& path) {
  echo_.assign(message.begin(), message.end());
  echo_[0] = OMNI_INNER_TRY_REPLY;
  sender_.SendTry(peer, echo_, path, now_);
}

void Worker::OnEchoReply(PeerIndex peer, std::span<const uint8_t> message, Instant now) {
  omni_inner_echo echo;
  Le64 token;
  Le64 stamp;
  std::memcpy(&echo, message.data(), sizeof(echo));
  std::memcpy(&token, echo.token, sizeof(token));
  std::memcpy(&stamp, echo.stamp, sizeof(stamp));
  const auto now_ns = static_cast<uint64_t>(now.time_since_epoch().count());
  if (stamp.value() > now_ns) return;  // not one of ours; the hub would not know the token either
  parts_.reports->EchoReplied(peer, token.value(), Duration(now_ns - stamp.value()), now);
}

void Worker::OnTooBig(std::span<const uint8_t> packet, uint32_t mtu) {
  WriteTooBig(packet, mtu, echo_);
  icmp_.resize(TunPort::kHeadroom + echo_.size());
  std::copy(echo_.begin(), echo_.end(), icmp_.begin() + TunPort::kHeadroom);
  const std::span<uint8_t> message = std::span(icmp_).subspan(TunPort::kHeadroom);
  parts_.tun->Write({&message, 1}, tables_.drops);
}

void Worker::OnControl(std::span<const uint8_t> datagram, const UdpPath& path, Instant now) {
  counters_.control_datagrams.Add(1);
  auto reason = filter_.Check(datagram, path.remote.address, now);
  if (!reason) reason = parts_.reports->PacketIn(datagram, path.remote);
  if (reason) tables_.drops.Count(*reason);
}

void Worker::OnControlChannel(std::span<const uint8_t> datagram, const ReceivedDatagram& origin) {
  ControlOpener::Result result;
  if (parts_.control != nullptr) {
    result = parts_.control->Open(datagram, origin, std::span(opened_).subspan(TunPort::kHeadroom));
  }
  switch (result.kind) {
    case ControlOpener::Result::Kind::kPacket:
      return parts_.tun->Write({&result.inner, 1}, tables_.drops);
    case ControlOpener::Result::Kind::kEnded:
      return;
    case ControlOpener::Result::Kind::kUnknown:
      break;
  }
  // Merged by GRO with one of another kind, it may have come past the worker that relays it.
  const uint32_t owner = ChannelNumber(RelayedChannelId(datagram)) % tables_.workers;
  if (owner != tables_.worker) return OnHandover(owner, datagram, origin);
  tables_.drops.Count(DropReason::rx_unknown_channel);
}

void Worker::OnHandover(uint32_t worker, std::span<const uint8_t> datagram,
                        const ReceivedDatagram& origin) {
  HandoverRing& ring = siblings_[worker]->inbound_[parts_.index];
  if (!ring.Push(datagram, origin.path, origin.traffic_class)) {
    return tables_.drops.Count(DropReason::rx_handover_full);
  }
  counters_.handovers.Add(1);
  handed_over_ |= uint64_t{1} << worker;
}

}  // namespace omni
