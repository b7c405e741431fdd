// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace omni {
namespace {

ParsedOptions Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "omni-dataplane");
  std::vector<char*> argv;
  argv.reserve(arguments.size());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseOptions(static_cast<int>(argv.size()), argv.data());
}

TEST(Options, NoOffloadIsDisabledByDefault) {
  const ParsedOptions parsed = Parse({});
  EXPECT_FALSE(parsed.exit_code);
  EXPECT_TRUE(parsed.options.disabled_offloads.empty());
}

TEST(Options, OffloadsAreDisabledByNameOneOrSeveralAtATime) {
  using Set = std::set<KernelOffload>;
  EXPECT_EQ(Parse({"--disable-offload", "udp-gso,tun-uso"}).options.disabled_offloads,
            (Set{KernelOffload::kUdpGso, KernelOffload::kTunUso}));
  EXPECT_EQ(Parse({"--disable-offload", "udp_gro", "--disable-offload=tun-tcp-coalescing"})
                .options.disabled_offloads,
            (Set{KernelOffload::kUdpGro, KernelOffload::kTunTcpCoalescing}));
}

TEST(Options, AnOffloadThatDoesNotExistIsAUsageError) {
  for (const char* wrong : {"udp", "udp-gso;tun-tso", "UDP-GSO", "udp-gso,bogus"}) {
    EXPECT_EQ(Parse({"--disable-offload", wrong}).exit_code, 2) << wrong;
  }
  EXPECT_EQ(Parse({"--disable-offload"}).exit_code, 2);
  EXPECT_EQ(Parse({"--disable-offload", "udp-gso", "tun-tso"}).exit_code, 2);
}

}  // namespace
}  // namespace omni
