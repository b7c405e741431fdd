// SPDX-License-Identifier: Apache-2.0
#include "signal/quic/framing.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/encoding.h"

namespace omni::quic {
namespace {

TEST(MessageReader, GivesTheSameMessagesHoweverTheStreamIsCut) {
  const std::vector<std::string> sent = {"a", "bc", std::string(300, 'x'), "d"};
  std::string stream;
  for (const std::string& message : sent) stream += Frame(message);
  for (size_t step = 1; step <= stream.size(); ++step) {
    MessageReader reader(300);
    std::vector<std::string> got;
    for (size_t at = 0; at < stream.size(); at += step) {
      ASSERT_TRUE(reader
                      .Append(AsBytes(std::string_view(stream).substr(at, step)),
                              [&](std::string message) { got.push_back(std::move(message)); })
                      .ok());
    }
    EXPECT_EQ(got, sent) << step;
  }
}

TEST(MessageReader, RefusesALengthOfZeroOrBeyondTheLimitBeforeItTakesMemory) {
  const auto never = [](const std::string&) { FAIL(); };
  EXPECT_FALSE(MessageReader(300).Append(AsBytes(std::string(4, '\0')), never).ok());
  EXPECT_FALSE(
      MessageReader(300).Append(AsBytes(Frame(std::string(301, 'x')).substr(0, 4)), never).ok());
  EXPECT_FALSE(MessageReader(300).Append(AsBytes("\xff\xff\xff\xff"), never).ok());
}

}  // namespace
}  // namespace omni::quic
