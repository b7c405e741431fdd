// SPDX-License-Identifier: Apache-2.0
#include "nucleus/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace omni {
namespace {

using ::testing::HasSubstr;

constexpr char kCluster[] =
    "[[clusters]]\n"
    "name = \"factory\"\n"
    "key = \"omnic1Njs0iKz-3r_RZ2wj3Vaaa74uWdPeFxE28K4bTJU2GDE\"\n";

std::string ErrorOf(const std::string& text) {
  return ParseNucleusConfig(text, "f.toml").status().ToString();
}

TEST(NucleusConfig, AClusterIsEnough) {
  const auto config = ParseNucleusConfig(kCluster, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->clusters.size(), 1U);
  EXPECT_EQ(config->clusters[0].name, "factory");
  EXPECT_EQ(config->clusters[0].key.id().ToString(), "a48133bdb4303096421d8435b1ad08a1");
  EXPECT_EQ(config->listen.size(), 2U);
  EXPECT_EQ(config->registry_file(), "/var/lib/omni-nucleus/registry.db");
}

TEST(NucleusConfig, TheExampleIsRight) {
  const auto config = LoadNucleusConfig("deploy/nucleus.example.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->retention, std::chrono::hours(30 * 24));
}

TEST(NucleusConfig, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("clusters"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[nucleus]\nlisten = [\"nowhere\"]\n"),
              HasSubstr("f.toml:5: nucleus.listen"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[nucleus]\nretention_days = 0\n"),
              HasSubstr("f.toml:5: nucleus.retention_days"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[nucleus]\ncolour = 1\n"),
              HasSubstr("nucleus.colour"));
  EXPECT_THAT(ErrorOf("[[clusters]]\nname = \"a\"\nkey = \"omni1\"\n"),
              HasSubstr("f.toml:3: clusters.key"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + kCluster), HasSubstr("another cluster"));
}

}  // namespace
}  // namespace omni
