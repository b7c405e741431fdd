// SPDX-License-Identifier: Apache-2.0
#include "nucleus/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace omni {
namespace {

using ::testing::HasSubstr;

constexpr char kKey[] = "omnic1Njs0iKz-3r_RZ2wj3Vaaa74uWdPeFxE28K4bTJU2GDE";
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
  EXPECT_EQ(config->clusters[0].keys.at(0).id().ToString(), "a48133bdb4303096421d8435b1ad08a1");
  EXPECT_EQ(config->listen.size(), 2U);
  EXPECT_EQ(config->registry_file(), "/var/lib/omni-nucleus/registry.db");
}

TEST(NucleusConfig, AClusterMayHaveTwoKeysThatDiffer) {
  const std::string other = ClusterKeys::Derive("correct horse battery staplf")->key.ToString();
  const auto config =
      ParseNucleusConfig(std::string(kCluster) + "accepted_key = \"" + other + "\"\n", "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->clusters[0].keys.size(), 2U);
  EXPECT_EQ(config->clusters[0].keys[1].ToString(), other);
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "accepted_key = \"" + kKey + "\"\n"),
              HasSubstr("f.toml:4: clusters.accepted_key: is also the cluster's key"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[[clusters]]\nname = \"b\"\nkey = \"" + other +
                      "\"\naccepted_key = \"" + kKey + "\"\n"),
              HasSubstr("f.toml:7: clusters.accepted_key: is also a key of another cluster"));
}

TEST(NucleusConfig, ReadsThePools) {
  const auto config = ParseNucleusConfig(
      std::string(kCluster) + "pools = [\"10.77.0.0/16\", \"fd77::/64\"]\n", "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->clusters[0].pools.size(), 2U);
  EXPECT_EQ(config->clusters[0].pools[1].ToString(), "fd77::/64");
}

TEST(NucleusConfig, TheExampleIsRight) {
  const auto config = LoadNucleusConfig("deploy/nucleus.example.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->retention, std::chrono::hours(30 * 24));
  EXPECT_EQ(config->second_port, 51901);
  EXPECT_EQ(config->relay_pair_bytes, 12'500'000U);
  EXPECT_EQ(config->relay_total_bytes, 125'000'000U);
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
  for (const char* bad : {"10.77.0.1/16", "8.8.8.0/24", "10.0.0.0/7", "10.77.0.0/31", "fd77::/121",
                          "fd00::/8", "nothing"}) {
    EXPECT_THAT(ErrorOf(std::string(kCluster) + "pools = [\"" + bad + "\"]\n"),
                HasSubstr("f.toml:4: clusters.pools"))
        << bad;
  }
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "pools = [\"10.77.0.0/16\", \"10.78.0.0/16\"]\n"),
              HasSubstr("second pool of its family"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[nucleus]\nsecond_port = 51900\n"),
              HasSubstr("f.toml:5: nucleus.second_port"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + "[relay]\npair_mbit = -1\n"),
              HasSubstr("f.toml:5: relay.pair_mbit"));
  EXPECT_THAT(ErrorOf(std::string(kCluster) + kCluster), HasSubstr("another cluster"));
}

}  // namespace
}  // namespace omni
