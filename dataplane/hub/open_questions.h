// SPDX-License-Identifier: Apache-2.0
// OpenQuestions: what was asked of one peer and is not answered yet, by the random token of each
// question. Beyond a fixed number the oldest is forgotten. Owned by the hub, under its lock.
#pragma once

#include <sodium.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace omni {

template <typename Question, size_t kMost>
class OpenQuestions {
 public:
  // Gives the token that the answer must carry.
  uint64_t Ask(Question question) {
    if (open_.size() >= kMost) open_.erase(open_.begin());
    uint64_t token = 0;
    randombytes_buf(&token, sizeof(token));
    open_.push_back({token, std::move(question)});
    return token;
  }

  // The question that is answered with `token`; empty when there is none (any more).
  std::optional<Question> Answer(uint64_t token) {
    const auto found = std::ranges::find(open_, token, &Entry::token);
    if (found == open_.end()) return std::nullopt;
    std::optional<Question> question = std::move(found->question);
    open_.erase(found);
    return question;
  }

  void Clear() { open_.clear(); }

 private:
  struct Entry {
    uint64_t token = 0;
    Question question;
  };
  // In the order of asking. Most peers have none: a vector takes no memory then.
  std::vector<Entry> open_;
};

}  // namespace omni
