// SPDX-License-Identifier: Apache-2.0
// omni-lab-wire NAMESPACE/DEVICE NAMESPACE/DEVICE CONTROL [WORDS]: a cable between two new devices
// that does to frames what WORDS say (impairment.h), both ways. CONTROL is a FIFO: each line
// written to it replaces the words. Prints "ready"; runs until it is told to end.
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/lab/wire/impairment.h"
#include "tests/lab/wire/tap.h"

namespace omni {
namespace {

volatile std::sig_atomic_t stopped = 0;

// LIMIT: frames taken from one side before the other has its turn.
constexpr int kBatch = 64;

class Wire {
 public:
  Wire(Tap a, Tap b, int control)
      : taps_{std::move(a), std::move(b)},
        ways_{OneWay(std::random_device{}()), OneWay(std::random_device{}())},
        control_(control),
        buffer_(Tap::kMaxFrame) {}

  void Set(const Impairment& impairment) {
    for (OneWay& way : ways_) way.Set(impairment);
  }

  void Run() {
    while (stopped == 0) {
      Wait();
      for (size_t from = 0; from < 2; ++from) Carry(from);
      ReadControl();
    }
  }

 private:
  void Wait() {
    std::array<pollfd, 3> fds = {
        {{taps_[0].fd(), POLLIN, 0}, {taps_[1].fd(), POLLIN, 0}, {control_, POLLIN, 0}}};
    // LIMIT: a second at most, so that a signal between the check and the wait is noticed.
    Duration wait = 1s;
    for (const OneWay& way : ways_) {
      if (const auto next = way.next()) wait = std::min(wait, *next - Now());
    }
    wait = std::max(wait, Duration::zero());
    const timespec timeout = {.tv_sec = wait / 1s, .tv_nsec = (wait % 1s).count()};
    ppoll(fds.data(), fds.size(), &timeout, nullptr);
  }

  void Carry(size_t from) {
    OneWay& way = ways_[from];
    for (int i = 0; i < kBatch; ++i) {
      const auto frame = taps_[from].Read(buffer_);
      if (frame.empty()) break;
      way.Push(frame, Now());
    }
    while (const auto frame = way.Pop(Now())) taps_[1 - from].Write(*frame);
  }

  void ReadControl() {
    std::array<char, 512> bytes;
    const ssize_t n = read(control_, bytes.data(), bytes.size());
    if (n <= 0) return;
    line_.append(bytes.data(), static_cast<size_t>(n));
    for (size_t end; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1)) {
      const auto wanted = Impairment::Parse(line_.substr(0, end));
      if (wanted.ok()) {
        Set(*wanted);
      } else {
        fmt::print(stderr, "omni-lab-wire: {}\n", Message(wanted.status()));
      }
    }
  }

  std::array<Tap, 2> taps_;
  std::array<OneWay, 2> ways_;  // by the end that a frame comes from
  int control_;
  std::string line_;
  std::vector<uint8_t> buffer_;
};

absl::Status Run(const std::vector<std::string>& words) {
  if (words.size() < 3) {
    return absl::InvalidArgumentError(
        "usage: omni-lab-wire NAMESPACE/DEVICE NAMESPACE/DEVICE CONTROL [WORDS]");
  }
  std::string impairments;
  for (size_t i = 3; i < words.size(); ++i) impairments += words[i] + " ";
  ASSIGN_OR_RETURN(const Impairment impairment, Impairment::Parse(impairments));
  // For writing, too: a FIFO that nobody writes to is at its end otherwise.
  const int control = open(words[2].c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (control < 0) return ErrnoStatus("open " + words[2]);
  ASSIGN_OR_RETURN(Tap a, Tap::Open(words[0]));
  ASSIGN_OR_RETURN(Tap b, Tap::Open(words[1]));
  Wire wire(std::move(a), std::move(b), control);
  wire.Set(impairment);
  for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, [](int) { stopped = 1; });
  fmt::print("ready\n");
  std::fflush(stdout);
  wire.Run();
  return absl::OkStatus();
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  const absl::Status status = omni::Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  fmt::print(stderr, "omni-lab-wire: {}\n", omni::Message(status));
  return 1;
}
