// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/wire/impairment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace omni {
namespace {

constexpr size_t kEthernetHeader = 14;

std::optional<double> Number(std::string_view text, double largest) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  // Not the other way round: NaN is neither.
  return whole && value >= 0 && value <= largest ? std::optional(value) : std::nullopt;
}

Duration Milliseconds(double value) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(value));
}

bool Assign(Impairment& out, std::string_view name, std::string_view text) {
  struct Field {
    std::string_view name;
    double largest;
    void (*set)(Impairment&, double);
  };
  // LIMIT: a minute of delay, 100 Gbit/s, a million frames: beyond what any test means.
  static constexpr Field kFields[] = {
      {"loss", 1, [](Impairment& i, double v) { i.loss = v; }},
      {"duplicate", 1, [](Impairment& i, double v) { i.duplicate = v; }},
      {"reorder", 1, [](Impairment& i, double v) { i.reorder = v; }},
      {"corrupt", 1, [](Impairment& i, double v) { i.corrupt = v; }},
      {"delay_ms", 60e3, [](Impairment& i, double v) { i.delay = Milliseconds(v); }},
      {"jitter_ms", 60e3, [](Impairment& i, double v) { i.jitter = Milliseconds(v); }},
      {"rate_mbit", 1e5, [](Impairment& i, double v) { i.rate_mbit = v; }},
      {"queue", 1e6, [](Impairment& i, double v) { i.queue = static_cast<uint32_t>(v); }},
      {"mtu", 65535, [](Impairment& i, double v) { i.mtu = static_cast<uint32_t>(v); }},
  };
  const auto* field = std::ranges::find(kFields, name, &Field::name);
  if (field == std::end(kFields)) return false;
  const auto value = Number(text, field->largest);
  if (value) field->set(out, *value);
  return value.has_value();
}

}  // namespace

absl::StatusOr<Impairment> Impairment::Parse(std::string_view words) {
  Impairment out;
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos ||
        !Assign(out, word.substr(0, equals), word.substr(equals + 1))) {
      return absl::InvalidArgumentError(fmt::format("{}: not known, or out of range", word));
    }
  }
  return out;
}

void OneWay::Push(std::span<const uint8_t> frame, Instant now) {
  if (impairment_.mtu != 0 && frame.size() > impairment_.mtu + kEthernetHeader) return;
  if (Happens(impairment_.loss)) return;
  const int copies = Happens(impairment_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (waiting_.size() >= impairment_.queue) return;
    Frame copy(frame.begin(), frame.end());
    if (Happens(impairment_.corrupt)) Corrupt(copy);
    waiting_.emplace(Due(frame.size(), now), std::move(copy));
  }
}

std::optional<OneWay::Frame> OneWay::Pop(Instant now) {
  const auto first = waiting_.begin();
  if (first == waiting_.end() || first->first > now) return std::nullopt;
  Frame out = std::move(first->second);
  waiting_.erase(first);
  return out;
}

std::optional<Instant> OneWay::next() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.begin()->first;
}

bool OneWay::Happens(double probability) {
  return probability > 0 && std::uniform_real_distribution<>(0, 1)(random_) < probability;
}

Instant OneWay::Due(size_t bytes, Instant now) {
  Instant due = now;
  if (impairment_.rate_mbit > 0) {
    const std::chrono::duration<double, std::micro> serialising(static_cast<double>(bytes) * 8 /
                                                                impairment_.rate_mbit);
    busy_until_ = std::max(busy_until_, now) + std::chrono::duration_cast<Duration>(serialising);
    due = busy_until_;
  }
  if (Happens(impairment_.reorder)) return due;
  due += impairment_.delay;
  if (impairment_.jitter > Duration::zero()) {
    due += Duration(
        std::uniform_int_distribution<Duration::rep>(0, impairment_.jitter.count())(random_));
  }
  last_due_ = std::max(last_due_, due);
  return last_due_;
}

void OneWay::Corrupt(Frame& frame) {
  if (frame.size() <= kEthernetHeader) return;
  const size_t bit =
      std::uniform_int_distribution<size_t>(kEthernetHeader * 8, frame.size() * 8 - 1)(random_);
  frame[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
}

}  // namespace omni
