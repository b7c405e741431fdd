// SPDX-License-Identifier: Apache-2.0
// The whole of omnictl in one process, against a fake controller on a real unix socket.
#include "cli/app.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/test_omnictl.h"

namespace omni {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(Omnictl, StatusShowsNodeControllerAndDataplane) {
  StartController();
  const Result result = Run({"status"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "Node:       robot-1\n"
            "State:      up\n"
            "Node id:    000102030405060708090a0b0c0d0e0f\n"
            "Key:        omni1AAAA\n"
            "Addresses:  10.77.0.1/24, fd77::1/64\n"
            "Beacons:    off\n"
            "Peers:      2 (1 up)\n"
            "\n"
            "Controller:       version 0.1.0, pid 41, up 3m 12s\n"
            "  Configuration:  /etc/omni/controller.toml\n"
            "\n"
            "Dataplane:     version 0.1.0, pid 42, up 2h 1m\n"
            "  Socket:      /run/omni/dataplane.sock\n"
            "  Interface:   omni0\n"
            "  UDP port:    51900\n"
            "  Workers:     2\n"
            "  Path:        socket (the only one)\n"
            "  Generation:  3\n"
            "  Ciphers:\n"
            "    chacha20-poly1305:  libsodium, 300 ns for 64 bytes, 1400 ns for 1420, offered to "
            "peers\n"
            "  Offloads:\n"
            "    udp_gso:  off (not tested)\n");
}

TEST_F(Omnictl, PeersListIsAnAlignedTableWithErrorsBelow) {
  StartController();
  const Result result = Run({"peers", "list"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "PEER     FROM    STATE        PATH       ENDPOINT         CIPHER       HANDSHAKE      "
            " RTT      LOSS   MTU  RECEIVED     SENT  ALLOWED\n"
            "robot-2  config  up           direct v4  192.0.2.2:51900  aes-256-gcm  1m 15s ago  "
            "0.14 ms  3% of 32  1500     100 B  1.5 KiB  10.77.0.2/32,fd77::2/128\n"
            "robot-3  config  unreachable  -          -                -            -              "
            "   -         -     -       0 B      0 B  10.77.0.3/32\n"
            "robot-3: handshake timed out\n");
}

TEST_F(Omnictl, PeersShowTellsEverything) {
  StartController();
  const Result result = Run({"peers", "show", "robot-2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "Name:            robot-2\n"
            "State:           up\n"
            "Node id:         101112131415161718191a1b1c1d1e1f\n"
            "Key:             omni1BBBB\n"
            "Origin:          configuration file\n"
            "Allowed:         10.77.0.2/32, fd77::2/128\n"
            "Endpoint:        192.0.2.2:51900\n"
            "Path:            direct v4\n"
            "Pair PSK:        no\n"
            "Keepalive:       off\n"
            "Cipher:          aes-256-gcm\n"
            "Last handshake:  1m 15s ago\n"
            "Handshakes:      4 (1 failed)\n"
            "RTT:             0.14 ms\n"
            "Loss:            3% of 32 echoes\n"
            "Path MTU:        1500, 1440 inside (found)\n"
            "Received:        100 B in 2 packets\n"
            "Sent:            1.5 KiB in 3 packets\n");
}

TEST_F(Omnictl, SessionsListIsAnAlignedTable) {
  StartController();
  const Result result = Run({"sessions", "list"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "PEER     SLOT     ROLE       CIPHER             AGE    CHANNELS  RECEIVED  SENT  SESSION\n"
      "robot-2  current  initiator  chacha20-poly1305  1m 1s         2      1234     5  "
      "ff000000000000000000000000000001\n");
}

TEST_F(Omnictl, DropsShowsWhatHappenedAndAllOnDemand) {
  StartController();
  EXPECT_EQ(Run({"drops"}).out,
            "REASON      PACKETS  MEANING\n"
            "rx_bad_tag       17  authentication failed\n");
  EXPECT_THAT(Run({"drops", "--all"}).out, HasSubstr("rx_truncated        0  datagram"));
  EXPECT_THAT(Run({"drops", "--output", "json"}).out, HasSubstr("rx_truncated"));
}

TEST_F(Omnictl, JsonIsTheProtoMappingWithDefaultsAndOriginalNames) {
  StartController();
  const Result result = Run({"sessions", "list", "--output", "json"});
  EXPECT_EQ(result.out,
            "{\n \"sessions\": [\n  {\n"
            "   \"session_id\": \"ff000000000000000000000000000001\",\n"
            "   \"peer\": \"robot-2\",\n"
            "   \"role\": \"initiator\",\n"
            "   \"slot\": \"current\",\n"
            "   \"cipher\": \"chacha20-poly1305\",\n"
            "   \"channels\": 2,\n"
            "   \"tx_packets\": \"5\",\n"
            "   \"rx_packets\": \"1234\",\n"
            "   \"age\": \"61s\"\n"
            "  }\n ]\n}\n");
}

TEST_F(Omnictl, EveryJsonDocumentParsesBackIntoItsMessage) {
  StartController();
  const auto parses = [this](std::vector<std::string> arguments,
                             google::protobuf::Message&& message) {
    arguments.insert(arguments.end(), {"--output", "json"});
    return google::protobuf::util::JsonStringToMessage(Run(std::move(arguments)).out, &message)
        .ok();
  };
  EXPECT_TRUE(parses({"status"}, control::v1::GetStatusResponse()));
  EXPECT_TRUE(parses({"peers", "list"}, control::v1::ListPeersResponse()));
  EXPECT_TRUE(parses({"peers", "show", "robot-2"}, control::v1::Peer()));
  EXPECT_TRUE(parses({"peers", "remove", "robot-9"}, control::v1::RemovePeerResponse()));
  EXPECT_TRUE(parses({"drops"}, control::v1::GetDropsResponse()));
  EXPECT_TRUE(parses({"reload"}, control::v1::ReloadResponse()));
  EXPECT_TRUE(parses({"netcheck"}, control::v1::CheckNetworkResponse()));
}

TEST_F(Omnictl, GlobalOptionsAreTakenBeforeTheCommandToo) {
  StartController();
  EXPECT_THAT(RunAsIs({"--output", "json", "--socket", socket_, "peers", "list"}).out,
              StartsWith("{"));
}

TEST_F(Omnictl, PingPrintsEachAnswerAndASummary) {
  StartController();
  const Result result = Run({"ping", "robot-2", "--count", "2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "robot-2: sequence 1: 0.14 ms\n"
            "robot-2: sequence 2: 0.14 ms\n"
            "2 sent, 2 received, 0% lost; min 0.14 ms, median 0.14 ms, p99 0.14 ms, "
            "max 0.14 ms\n");
  EXPECT_THAT(Run({"ping", "robot-2", "--count", "2", "--output", "json"}).out,
              StartsWith("{\"sent\": 2, \"received\": 2, \"results\": [{"));
}

TEST_F(Omnictl, PingWithoutAnyAnswerFails) {
  StartController();
  const Result result = Run({"ping", "robot-3", "--count", "1"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("lost: no answer within the timeout"));
  EXPECT_THAT(result.out, HasSubstr("1 sent, 0 received, 100% lost\n"));
}

TEST_F(Omnictl, PeersAddSendsWhatTheOptionsSay) {
  StartController();
  const std::string psk = directory_ + "/psk";
  std::ofstream(psk) << std::string(64, '1') << "\n";
  ASSERT_EQ(chmod(psk.c_str(), 0600), 0);
  const Result result =
      Run({"peers", "add", "robot-9", "--key", "omni1CCCC", "--endpoint", "[2001:db8::9]:51900",
           "--allowed", "10.77.0.9/32,fd77::9/128", "--keepalive", "25", "--psk-file", psk});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Allowed:              10.77.0.9/32, fd77::9/128\n"));
  EXPECT_THAT(result.out, HasSubstr("Configured endpoint:  [2001:db8::9]:51900\n"));
  EXPECT_THAT(result.out, HasSubstr("Pair PSK:             yes\n"));
  EXPECT_THAT(result.out, HasSubstr("Keepalive:            25 s\n"));
}

TEST_F(Omnictl, RefusesAPskFileThatOthersCanRead) {
  StartController();
  const std::string psk = directory_ + "/psk";
  std::ofstream(psk) << std::string(64, '1');
  ASSERT_EQ(chmod(psk.c_str(), 0644), 0);
  const Result result =
      Run({"peers", "add", "a", "--key", "k", "--allowed", "10.0.0.1/32", "--psk-file", psk});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr(psk));
}

TEST_F(Omnictl, ExitCodesTellWhatTheControllerSaid) {
  StartController();
  const auto add = [this](const char* name, const char* key) {
    return Run({"peers", "add", name, "--key", key, "--allowed", "10.0.0.1/32"});
  };
  EXPECT_EQ(add("robot-9", "bad").code, 2);
  EXPECT_EQ(add("robot-9", "bad").err, "omnictl: key: malformed\n");
  EXPECT_EQ(add("robot-2", "omni1").code, 5);
  EXPECT_EQ(Run({"peers", "show", "nobody"}).code, 4);
  EXPECT_EQ(Run({"peers", "remove", "robot-2"}).code, 5);
  EXPECT_EQ(Run({"ping", "robot-4"}).code, 6);
}

TEST_F(Omnictl, AMissingSocketIsNamedWithItsLikelyCause) {
  const Result result = Run({"status"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr(socket_));
  EXPECT_THAT(result.err, HasSubstr("is omni-controller running?"));
}

TEST_F(Omnictl, ASocketThatNobodyServesIsNamedWithItsLikelyCause) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_.c_str(), sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  // SAFETY: sockaddr_un is one of the types behind sockaddr.
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  close(fd);
  const Result result = Run({"status"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("nothing serves the socket"));
}

TEST_F(Omnictl, AControllerThatDoesNotSpeakIsNotWaitedForLongerThanAsked) {
  auto listener = UnixListener::Open({.path = socket_});  // listens, never accepts
  ASSERT_TRUE(listener.ok());
  const Result result = Run({"status", "--timeout", "0.05"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("no answer within 0.05 s"));
}

TEST_F(Omnictl, WrongUsageIsExitCodeTwoWithoutAConnection) {
  EXPECT_EQ(Run({}).code, 2);
  EXPECT_EQ(Run({"nonsense"}).code, 2);
  EXPECT_EQ(Run({"peers"}).code, 2);
  EXPECT_EQ(Run({"peers", "show"}).code, 2);
  EXPECT_EQ(Run({"status", "--output", "yaml"}).code, 2);
  EXPECT_EQ(Run({"ping", "a", "--count", "0"}).code, 2);
  EXPECT_EQ(Run({"status", "--timeout", "-1"}).code, 2);
}

TEST_F(Omnictl, AnUnknownWordIsNamed) {
  EXPECT_THAT(Run({"bogus"}).err, HasSubstr("unknown command: bogus"));
  EXPECT_THAT(Run({"peers", "bogus"}).err, HasSubstr("unknown command: bogus"));
  EXPECT_THAT(Run({"--bogus"}).err, HasSubstr("unknown option: --bogus"));
  EXPECT_THAT(Run({"peers", "--bogus"}).err, HasSubstr("unknown option: --bogus"));
  EXPECT_THAT(Run({"bogus", "status"}).err, HasSubstr("bogus"));
  EXPECT_THAT(Run({"status", "bogus"}).err, HasSubstr("bogus"));
  EXPECT_THAT(Run({}).err, HasSubstr("A subcommand is required"));
  EXPECT_THAT(Run({"status", "--output", "yaml"}).err, HasSubstr("yaml"));
}

TEST_F(Omnictl, VersionWorksWithoutAController) {
  Result result = Run({"version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("omni-controller:  not reachable"));
  StartController();
  result = Run({"version"});
  EXPECT_THAT(result.out, HasSubstr("omni-controller:  0.1.0"));
}

TEST_F(Omnictl, HelpOnEveryLevelHasAnExample) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"status"},
                                             {"peers"},
                                             {"peers", "list"},
                                             {"peers", "show"},
                                             {"peers", "add"},
                                             {"peers", "remove"},
                                             {"peers", "watch"},
                                             {"wait"},
                                             {"wait", "online"},
                                             {"wait", "peer"},
                                             {"up"},
                                             {"down"},
                                             {"sessions"},
                                             {"sessions", "list"},
                                             {"drops"},
                                             {"ping"},
                                             {"reload"},
                                             {"version"},
                                             {"identity"},
                                             {"completion"},
                                             {"completion", "bash"}}) {
    std::vector<std::string> arguments = command;
    arguments.emplace_back("--help");
    const Result result = RunAsIs(arguments);
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.out, HasSubstr("Example"));
  }
  EXPECT_THAT(RunAsIs({"--help"}).out, HasSubstr("Exit codes:"));
}

TEST_F(Omnictl, CompletionKnowsEveryLevel) {
  const Result bash = RunAsIs({"completion", "bash"});
  EXPECT_EQ(bash.code, 0);
  EXPECT_THAT(bash.out, HasSubstr("'omnictl peers') words='list watch show add remove"));
  EXPECT_THAT(bash.out, HasSubstr("--psk-file"));
  EXPECT_THAT(RunAsIs({"completion", "zsh"}).out, StartsWith("#compdef omnictl\n"));
  EXPECT_THAT(RunAsIs({"completion", "fish"}).out, HasSubstr("__omnictl_path 'omnictl peers'"));
}

TEST_F(Omnictl, TheBashCompletionCompletes) {
  const std::string script = directory_ + "/completion.bash";
  std::ofstream(script) << RunAsIs({"completion", "bash"}).out
                        << "COMP_WORDS=(omnictl --output json peers sh) COMP_CWORD=4\n"
                           "_omnictl\n"
                           "[ \"${COMPREPLY[*]}\" = show ]\n";
  EXPECT_EQ(std::system(("bash " + script).c_str()), 0);
}

TEST_F(Omnictl, ClusterNewPrintsWhatEachSideNeedsAndShowAgrees) {
  const std::string file = directory_ + "/secret";
  const Result made = Run({"cluster", "new", "--secret-file", file});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("Cluster key:  omnic1"));
  struct stat st {};
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0600U);
  EXPECT_EQ(Run({"cluster", "show", "--secret-file", file}).out, made.out);
  // An existing secret is left alone.
  EXPECT_EQ(Run({"cluster", "new", "--secret-file", file}).code, 5);

  const Result printed = Run({"cluster", "new", "--output", "json"});
  EXPECT_EQ(printed.code, 0) << printed.err;
  google::protobuf::Struct json;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(printed.out, &json).ok());
  EXPECT_EQ(json.fields().at("secret").string_value().size(), 43U);
  EXPECT_EQ(json.fields().at("cluster_id").string_value().size(), 32U);
  EXPECT_THAT(json.fields().at("cluster_key").string_value(), StartsWith("omnic1"));
}

TEST_F(Omnictl, ClusterShowSaysWhyASecretCannotBeUsed) {
  const std::string file = directory_ + "/secret";
  EXPECT_EQ(Run({"cluster", "show", "--secret-file", file}).code, 2);
  std::ofstream(file) << "short\n";
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  const Result result = Run({"cluster", "show", "--secret-file", file});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("a cluster secret has 16 to 4096 bytes, this one 5"));
}

TEST_F(Omnictl, NucleusStatusSaysHowThingsAreAndWhatIsNotUsed) {
  StartController();
  EXPECT_THAT(Run({"nucleus", "status"}).out, StartsWith("no Nucleus is configured"));
  control_.nucleus.set_configured(true);
  control_.nucleus.add_addresses("nucleus.example.org:51900");
  control_.nucleus.set_state(control::v1::NUCLEUS_STATE_WAITING);
  control_.nucleus.mutable_next_try_in()->set_seconds(7);
  control_.nucleus.set_last_error("no answer");
  auto& problem = *control_.nucleus.add_problems();
  problem.set_node_id("000102030405060708090a0b0c0d0e0f");
  problem.set_name("robot-9");
  problem.set_problem("10.77.0.2/32 belongs to the peer \"robot-2\"");
  control_.nucleus.set_address_source(control::v1::ADDRESS_SOURCE_NUCLEUS);
  const Result result = Run({"nucleus", "status"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("not registered; next try in 7s"));
  EXPECT_THAT(result.out, HasSubstr("no answer"));
  EXPECT_THAT(result.out, HasSubstr("from the Nucleus"));
  EXPECT_THAT(result.out, HasSubstr("belongs to the peer \"robot-2\""));
  EXPECT_THAT(Run({"nucleus", "status", "--output", "json"}).out,
              HasSubstr("\"state\": \"NUCLEUS_STATE_WAITING\""));
  EXPECT_EQ(Run({"nucleus", "release"}).out, "released\n");
}

TEST_F(Omnictl, NetcheckSaysWhatTheNatDoes) {
  StartController();
  control_.network.add_families()->set_family("IPv4");
  EXPECT_THAT(Run({"netcheck"}).out, HasSubstr("not configured: nobody can be asked"));
  EXPECT_THAT(Run({"netcheck"}).out, HasSubstr("no address"));
  EXPECT_THAT(Run({"netcheck"}).out, HasSubstr("not needed, or turned off"));
  control_.network.mutable_port_mapping()->set_error("no default route");
  EXPECT_THAT(Run({"netcheck"}).out, HasSubstr("none: no default route"));
  control_.network.mutable_port_mapping()->set_protocol("UPnP");
  control_.network.mutable_port_mapping()->set_outer("203.0.113.7:51900");
  EXPECT_THAT(Run({"netcheck"}).out, HasSubstr("203.0.113.7:51900 by UPnP"));
  control_.network.set_nucleus_configured(true);
  control_.network.set_nucleus_state(control::v1::NUCLEUS_STATE_REGISTERED);
  control_.network.mutable_nucleus_rtt()->set_nanos(12'000'000);
  auto& v4 = *control_.network.mutable_families(0);
  v4.add_local("10.0.0.2");
  v4.set_mapped("203.0.113.7:40000");
  v4.set_mapping(control::v1::MAPPING_ADDRESS_AND_PORT_DEPENDENT);
  auto& v6 = *control_.network.add_families();
  v6.set_family("IPv6");
  v6.add_local("2001:db8::2");
  v6.set_error("no answer from [2001:db8::1]:51900");
  const Result result = Run({"netcheck"});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* part : {"registered", "12.0 ms", "203.0.113.7:40000", "hard: the port is mapped",
                           "2001:db8::2", "no answer from [2001:db8::1]:51900"}) {
    EXPECT_THAT(result.out, HasSubstr(part));
  }
  EXPECT_THAT(Run({"netcheck", "--output", "json"}).out,
              HasSubstr("\"mapping\": \"MAPPING_ADDRESS_AND_PORT_DEPENDENT\""));
}

}  // namespace
}  // namespace omni
