// SPDX-License-Identifier: Apache-2.0
#include "cli/print.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <sstream>

namespace omni {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Table, AlignsColumnsAndNumbersToTheRight) {
  Table table({"NAME", "COUNT", "LAST"}, {"COUNT"});
  table.Add({"a", "1", ""});
  table.Add({"longer", "100000", "x"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "NAME     COUNT  LAST\n"
            "a            1  -\n"
            "longer  100000  x\n");
}

TEST(Table, WithoutRowsPrintsItsHeader) {
  std::ostringstream out;
  Table({"A", "B"}).Print(out);
  EXPECT_EQ(out.str(), "A  B\n");
}

TEST(PrintFields, LeavesEmptyValuesOut) {
  std::ostringstream out;
  PrintFields(out, {{"Name", "a"}, {"Error", ""}, {"Longer", "b"}});
  EXPECT_EQ(out.str(), "Name:    a\nLonger:  b\n");
}

TEST(HumanBytes, ChangesUnitsWhereTheDigitsWould) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(1536ULL * 1024 * 1024), "1.5 GiB");
  EXPECT_EQ(HumanBytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(HumanAge, ShowsTheTwoLargestUnits) {
  EXPECT_EQ(HumanAge(ToProto(milliseconds(900))), "0s");
  EXPECT_EQ(HumanAge(ToProto(seconds(59))), "59s");
  EXPECT_EQ(HumanAge(ToProto(seconds(192))), "3m 12s");
  EXPECT_EQ(HumanAge(ToProto(seconds(7260))), "2h 1m");
  EXPECT_EQ(HumanAge(ToProto(seconds(200000))), "2d 7h");
}

TEST(HumanTime, IsInUtcAndBounded) {
  EXPECT_EQ(HumanTime(1'769'879'100), "2026-01-31 17:05:00 UTC");
  EXPECT_EQ(HumanTime(std::numeric_limits<int64_t>::max()), "9999-12-31 23:59:59 UTC");
  EXPECT_EQ(HumanTime(-1), "1970-01-01 00:00:00 UTC");
}

TEST(HumanRtt, KeepsTwoDecimalsWhileSmall) {
  EXPECT_EQ(HumanRtt(ToProto(std::chrono::microseconds(143))), "0.14 ms");
  EXPECT_EQ(HumanRtt(ToProto(milliseconds(1234))), "1234.0 ms");
}

}  // namespace
}  // namespace omni
