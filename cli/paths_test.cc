// SPDX-License-Identifier: Apache-2.0
// omnictl path, stats, drops and trace.
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include "cli/test_omnictl.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

TEST_F(Omnictl, PathShowTellsWhoSaidWhat) {
  StartController();
  const Result result = Run({"path", "show"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "Session data goes by:  afxdp (eth0)\n"
            "\n"
            "SETTING              IN FORCE  BY API  BY FILE\n"
            "path                 afxdp     afxdp   socket\n"
            "xdp                  -         -       -\n"
            "in-kernel            auto      -       -\n"
            "in-kernel-threshold  512       -       -\n"
            "polling              -         -       -\n"
            "\n"
            "xdp:eth0:  on (native: by choice)\n");
}

TEST_F(Omnictl, PathSetSaysOnlyWhatWasAskedFor) {
  StartController();
  const Result set = Run({"path", "set", "--path", "afxdp,eth1=socket", "--in-kernel-threshold",
                          "0", "--output", "json"});
  EXPECT_EQ(set.code, 0) << set.err;
  control::v1::Paths paths;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(set.out, &paths).ok()) << set.out;
  EXPECT_EQ(paths.path(), "set");
  EXPECT_EQ(paths.api().path(), "afxdp,eth1=socket");
  EXPECT_TRUE(paths.api().has_in_kernel_threshold());
  EXPECT_EQ(paths.api().xdp(), "");
  EXPECT_THAT(Run({"path", "reset"}).out, HasSubstr("goes by:  reset"));
  EXPECT_EQ(Run({"path", "set", "--path", "fast"}).code, 2);
  EXPECT_EQ(Run({"path", "set"}).code, 2);
  EXPECT_EQ(Run({"path"}).code, 2);
}

TEST_F(Omnictl, StatsShowsPathsAndWhatWasCounted) {
  StartController();
  const Result result = Run({"stats", "--groups"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "PATH    PACKETS SENT     SENT  PACKETS RECEIVED  RECEIVED\n"
            "kernel            10  2.0 KiB                 0       0 B\n"
            "\n"
            "COUNTER  VALUE  MEANING\n"
            "wakeups      1  times a worker was woken\n"
            "\n"
            "WHERE     COUNTER  VALUE\n"
            "worker 0  wakeups      1\n");
  EXPECT_THAT(Run({"stats", "--all"}).out, HasSubstr("drop rx_bad_tag      0"));
}

TEST_F(Omnictl, WatchingShowsRates) {
  StartController();
  const Result result = Run({"stats", "--watch", "--interval", "0.01", "--count", "2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("wakeups      1  times"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex(R"(wakeups  2 \(\+[0-9]+/s\)  times)"));
  EXPECT_THAT(Run({"drops", "--watch", "--interval", "0.01", "--count", "2"}).out,
              HasSubstr("17 (+0/s)"));
  EXPECT_EQ(Run({"stats", "--count", "2"}).code, 2) << "without --watch";
}

TEST_F(Omnictl, TraceExplainsAPacketAndShowsTheNext) {
  StartController();
  const Result explained = Run({"trace", "--to", "10.77.0.2", "--size", "100", "--proto", "udp"});
  EXPECT_EQ(explained.out,
            "Packet:   100 bytes of udp to 10.77.0.2\n"
            "Peer:     robot-2\n"
            "Goes by:  kernel\n"
            "\n"
            "  route:  10.77.0.2/32\n");
  const Result next = Run({"trace", "--next", "2", "--drops"});
  EXPECT_EQ(next.code, 0) << next.err;
  const std::string line =
      "  0.001500 in  w0 socket peer robot-2 udp 10.77.0.2:1000 > 10.77.0.1:2000, 128 bytes: "
      "DROPPED rx_replayed\n";
  EXPECT_EQ(next.out, line + line +
                          "not told: 3 packets that the kernel sealed and 0 that it opened by "
                          "itself\n");
  const Result silent = Run({"trace", "--next", "1", "--peer", "robot-3", "--wait", "0.2"});
  EXPECT_EQ(silent.code, 7);
  EXPECT_THAT(silent.err, HasSubstr("0 of 1 packets within 0.2 s"));
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"trace"},
                                                {"trace", "--to", "::1", "--next", "1"},
                                                {"trace", "--next", "0"},
                                                {"trace", "--drops"}}) {
    EXPECT_EQ(Run(wrong).code, 2);
  }
}

}  // namespace
}  // namespace omni
