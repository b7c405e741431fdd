// SPDX-License-Identifier: Apache-2.0
#include "dataplane/hub/open_questions.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

using Questions = OpenQuestions<int, 8>;

TEST(OpenQuestions, EachAnswerCountsOnce) {
  Questions questions;
  const uint64_t one = questions.Ask(1);
  const uint64_t two = questions.Ask(2);
  EXPECT_EQ(questions.Answer(two), 2);
  EXPECT_EQ(questions.Answer(two), std::nullopt);
  EXPECT_EQ(questions.Answer(one), 1);
  questions.Clear();
  EXPECT_EQ(questions.Answer(one), std::nullopt);
}

// However many were lost before: the youngest ones can be answered, all of them.
TEST(OpenQuestions, TheOldestAreForgotten) {
  Questions questions;
  const uint64_t first = questions.Ask(0);
  for (int lost = 0; lost < 1000; ++lost) (void)questions.Ask(lost);
  std::vector<uint64_t> tokens;
  for (int i = 0; i < 8; ++i) tokens.push_back(questions.Ask(i));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(questions.Answer(tokens[static_cast<size_t>(i)]), i);
  EXPECT_EQ(questions.Answer(first), std::nullopt);
}

}  // namespace
}  // namespace omni
