// SPDX-License-Identifier: Apache-2.0
#include "controller/config/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/status.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() { std::filesystem::create_directories(directory_); }
  ~ConfigTest() override { std::filesystem::remove_all(directory_); }

  static std::string NewKey() {
    static int number = 0;
    const std::string directory =
        fmt::format("{}/omni-config-key-{}-{}", std::filesystem::temp_directory_path().string(),
                    getpid(), number++);
    const auto identity = Identity::Create(directory);
    std::filesystem::remove_all(directory);
    EXPECT_TRUE(identity.ok()) << identity.status();
    return identity.ok() ? identity->public_key().ToString() : "";
  }
  static const std::string& KeyA() {
    static const std::string key = NewKey();
    return key;
  }
  static const std::string& KeyB() {
    static const std::string key = NewKey();
    return key;
  }

  static std::string Errors(const std::string& text) {
    const auto config = ParseConfig(text, "c.toml");
    return config.ok() ? "" : std::string(Message(config.status()));
  }

  // Seven lines: what follows stands in line 8.
  static std::string Node() {
    return "[node]\n"
           "name = \"a\"\n"
           "cluster_secret_file = \"/etc/omni/secret\"\n"
           "addresses = [\n"
           "  \"10.77.0.1/24\",\n"
           "  \"fd77::1/64\",\n"
           "]\n";
  }
  static std::string PeerText(const std::string& name, const std::string& key,
                              const std::string& prefix) {
    return fmt::format("[[peers]]\nname = \"{}\"\nkey = \"{}\"\nallowed = [\"{}\"]\n", name, key,
                       prefix);
  }

  const std::string directory_ =
      std::filesystem::temp_directory_path() / ("omni-config-" + std::to_string(getpid()));
};

TEST_F(ConfigTest, TakesDefaultsForWhatIsNotThere) {
  const auto config = ParseConfig(Node(), "c.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "a");
  EXPECT_EQ(config->mtu, 0U);
  EXPECT_EQ(config->addresses[1].ToString(), "fd77::1/64");
  EXPECT_EQ(config->metrics_listen, "127.0.0.1:9477");
  EXPECT_EQ(config->session.reject_after, std::chrono::seconds(180));
  EXPECT_TRUE(config->peers.empty());
}

TEST_F(ConfigTest, ReadsEveryKey) {
  const auto config = ParseConfig(
      Node() +
          "mtu = 1280\nidentity_dir = \"/i\"\nstate_dir = \"/s\"\n[dataplane]\nsocket = \"/d\"\n"
          "[api]\nsocket = \"/a\"\ngroup = \"adm\"\n[metrics]\nlisten = \"\"\n[log]\nlevel = "
          "\"debug\"\n[session]\nrekey_after_s = 5\nreject_after_s = 15\ncipher = "
          "\"aes-256-gcm\"\n[paths]\npath = \"afxdp,eth1=socket\"\nxdp = \"native\"\n"
          "in_kernel = \"off\"\nin_kernel_threshold = 0\npolling = \"busy\"\n" +
          PeerText("b", KeyB(), "10.77.0.2/32") +
          "endpoint = \"[2001:db8::7]:51900\"\npsk_file = \"/p\"\nkeepalive = 25\n",
      "c.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->identity_dir, "/i");
  EXPECT_EQ(config->dataplane_socket, "/d");
  EXPECT_EQ(config->api_group, "adm");
  EXPECT_EQ(config->metrics_listen, "");
  EXPECT_EQ(config->log_level, "debug");
  EXPECT_EQ(config->session.rekey_after, std::chrono::seconds(5));
  EXPECT_EQ(config->session.cipher, CipherPolicy::kAes256Gcm);
  EXPECT_EQ(ToText(*config->paths.path), "afxdp,eth1=socket");
  EXPECT_EQ(ToText(*config->paths.xdp), "native");
  EXPECT_EQ(config->paths.in_kernel, InKernel::kOff);
  EXPECT_EQ(config->paths.in_kernel_threshold, 0U);
  EXPECT_EQ(config->paths.polling, Polling::kBusy);
  ASSERT_EQ(config->peers.size(), 1U);
  EXPECT_EQ(config->peers[0].spec.key.ToString(), KeyB());
  EXPECT_EQ(config->peers[0].spec.endpoint.ToString(), "[2001:db8::7]:51900");
  EXPECT_EQ(config->peers[0].spec.keepalive_s, 25);
  EXPECT_EQ(config->peers[0].psk_file, "/p");
}

TEST_F(ConfigTest, NamesFileLineKeyAndCause) {
  struct Case {
    std::string text;
    std::string error;
  };
  const std::string peer = PeerText("b", KeyB(), "10.77.0.2/32");
  const std::vector<Case> cases = {
      {"", "c.toml:1: node: is required"},
      {"node = 3\n", "c.toml:1: node: must be a table, written [node]; is an integer"},
      {"[node]\n", "c.toml:1: node.name: is required"},
      {"[node]\n", "c.toml:1: node.cluster_secret_file: is required"},
      {"[node]\n", "c.toml:1: node.addresses: is required"},
      {"[node]\nname = \"a\"\nname = \"b\"\n", "c.toml:3: syntax: "},
      {"[node\n", "c.toml:1: syntax: "},
      {Node() + "mtu = \"big\"\n",
       "c.toml:8: node.mtu: must be an integer or \"auto\"; is \"big\""},
      {Node() + "mtu = 1279\n", "c.toml:8: node.mtu: 1279 is not within 1280-65475"},
      {Node() + "mto = 1420\n", "c.toml:8: node.mto: unknown key"},
      {Node() + "identity_dir = \"id\"\n",
       "c.toml:8: node.identity_dir: \"id\" is not an absolute"},
      {Node() + "[nodes]\n", "c.toml:8: nodes: unknown key"},
      {Node() + "[api]\ngroups = 1\n", "c.toml:9: api.groups: unknown key"},
      {Node() + "[api]\nsocket = \"/" + std::string(107, 'x') + "\"\n",
       "c.toml:9: api.socket: a socket path has at most 107"},
      {Node() + "[metrics]\nlisten = \"9477\"\n",
       "c.toml:9: metrics.listen: \"9477\" is not IP:PORT"},
      {Node() + "[log]\nlevel = \"loud\"\n", "c.toml:9: log.level: \"loud\" is not one of"},
      {Node() + "[session]\nrekey_after_s = 4\n",
       "c.toml:9: session.rekey_after_s: 4 is not within"},
      {Node() + "[session]\ncipher = \"AES\"\n",
       "c.toml:9: session.cipher: \"AES\" is not one of auto, chacha20-poly1305, aes-256-gcm"},
      {Node() + "[session]\nreject_after_s = 20\n", "c.toml:9: session.reject_after_s: must be at"},
      {Node() + "[paths]\npath = \"auto,eth0=fast\"\n",
       "c.toml:9: paths.path: \"fast\" is none of auto, socket, afxdp"},
      {Node() + "[paths]\nin_kernel_threshold = 1201\n",
       "c.toml:9: paths.in_kernel_threshold: 1201 is not within"},
      {Node() + "[paths]\nin_kernel = true\n", "c.toml:9: paths.in_kernel: must be a string"},
      {Node() + "[paths]\nway = \"socket\"\n", "c.toml:9: paths.way: unknown key"},
      {Node() + "peers = 1\n", "c.toml:8: node.peers: unknown key"},
      {"peers = 1\n" + Node(), "c.toml:1: peers: must be an array of tables"},
      {Node() + peer + "color = 1\n", "c.toml:12: peers.color: unknown key"},
      {Node() + peer + "keepalive = 65536\n", "c.toml:12: peers.keepalive: 65536 is not within"},
      {Node() + peer + "endpoint = \"host:1\"\n", "c.toml:12: peers.endpoint: \"host:1\" is not"},
      {Node() + peer + "endpoint = \"224.0.0.1:1\"\n",
       "c.toml:12: peers.endpoint: 224.0.0.1 is not"},
      {Node() + "[[peers]]\nname = \"b\"\n", "c.toml:8: peers.key: is required"},
      {Node() + "[[peers]]\nname = \"b\"\n", "c.toml:8: peers.allowed: is required"},
      {Node() + PeerText("B", KeyB(), "10.77.0.2/32"), "c.toml:9: peers.name: \"B\" is not 1-63"},
      {Node() + PeerText("b", "omni1x", "10.77.0.2/32"), "c.toml:10: peers.key: "},
      {Node() + PeerText("b", KeyB(), "10.77.0.2/24"),
       "c.toml:11: peers.allowed[0]: \"10.77.0.2/24\""},
      {Node() + PeerText("b", KeyB(), "10.77.0.1/32"),
       "c.toml:11: peers.allowed[0]: 10.77.0.1/32 is an address of this node"},
      {Node() + peer + PeerText("b", KeyA(), "10.77.0.3/32"),
       "c.toml:12: peers.name: \"b\" is also the name of the peer in line 8"},
      {Node() + peer + PeerText("c", KeyB(), "10.77.0.3/32"),
       "c.toml:12: peers.key: is also the key of the peer in line 8"},
      {Node() + peer + PeerText("c", KeyA(), "10.77.0.2/32"),
       "c.toml:12: peers.allowed: 10.77.0.2/32 also belongs to the peer in line 8"},
  };
  for (const Case& c : cases) EXPECT_THAT(Errors(c.text), HasSubstr(c.error)) << c.text;
}

TEST_F(ConfigTest, RefusesBadAddressesEachInItsLine) {
  const std::string text =
      "[node]\nname = \"a\"\ncluster_secret_file = \"/s\"\naddresses = [\n\"10.0.0.1\",\n3,\n"
      "\"224.0.0.1/4\",\n\"10.0.0.1/8\",\n\"10.0.0.1/8\"]\n";
  EXPECT_THAT(Errors(text), HasSubstr("c.toml:5: node.addresses[0]: \"10.0.0.1\" is not"));
  EXPECT_THAT(Errors(text), HasSubstr("c.toml:6: node.addresses[1]: must be a string"));
  EXPECT_THAT(Errors(text), HasSubstr("c.toml:7: node.addresses[2]: is not an address"));
  EXPECT_THAT(Errors(text), HasSubstr("c.toml:9: node.addresses[4]: 10.0.0.1 is listed twice"));
}

TEST_F(ConfigTest, ListsAllErrorsInTheOrderOfTheirLines) {
  const std::string errors =
      Errors(Node() + "mtu = 1\nx = 1\n[log]\nlevel = 1\n[[peers]]\nname = \"b\"\n");
  EXPECT_EQ(std::ranges::count(errors, '\n'), 4) << errors;
  EXPECT_LT(errors.find("c.toml:8: "), errors.find("c.toml:9: "));
  EXPECT_LT(errors.find("c.toml:9: "), errors.find("c.toml:11: "));
}

TEST_F(ConfigTest, ReadsPairSecretsInBothForms) {
  const std::string hex = directory_ + "/hex";
  const std::string base64 = directory_ + "/base64";
  ASSERT_TRUE(WriteFileAtomically(hex, std::string(64, 'a') + "\n", 0600, Overwrite::kNo).ok());
  ASSERT_TRUE(WriteFileAtomically(base64, std::string(42, 'A') + "E", 0600, Overwrite::kNo).ok());
  for (const std::string& file : {hex, base64}) {
    auto config = ParseConfig(
        Node() + PeerText("b", KeyB(), "10.77.0.2/32") + "psk_file = \"" + file + "\"\n", "c.toml");
    ASSERT_TRUE(config.ok());
    EXPECT_TRUE(ReadPairSecrets(*config).ok()) << file;
    EXPECT_TRUE(config->peers[0].spec.psk.has_value());
  }
}

TEST_F(ConfigTest, RefusesSecretFilesThatAreOpenShortOrMissing) {
  const std::string file = directory_ + "/secret";
  auto config = ParseConfig(
      Node() + PeerText("b", KeyB(), "10.77.0.2/32") + "psk_file = \"" + file + "\"\n", "c.toml");
  ASSERT_TRUE(config.ok());
  config->cluster_secret_file = file;
  EXPECT_THAT(Message(ReadPairSecrets(*config)), HasSubstr("c.toml:12: peers.psk_file: open "));
  EXPECT_THAT(Message(ReadClusterSecrets(*config).status()),
              HasSubstr("c.toml:3: node.cluster_secret_file: open "));
  ASSERT_TRUE(WriteFileAtomically(file, "short\n", 0644, Overwrite::kNo).ok());
  EXPECT_THAT(Message(ReadPairSecrets(*config)), HasSubstr("chmod 600"));
  ASSERT_TRUE(WriteFileAtomically(file, "short\n", 0600, Overwrite::kYes).ok());
  EXPECT_THAT(Message(ReadPairSecrets(*config)), HasSubstr("must hold 32 bytes"));
  EXPECT_THAT(Message(ReadClusterSecrets(*config).status()), HasSubstr("holds 5 bytes"));
  ASSERT_TRUE(WriteFileAtomically(file, "sixteen bytes ok\n", 0600, Overwrite::kYes).ok());
  const auto one = ReadClusterSecrets(*config);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->present().key, ClusterKeys::Derive("sixteen bytes ok")->key);
  // A second one must be another.
  config->accepted_secret_file = directory_ + "/accepted";
  EXPECT_THAT(Message(ReadClusterSecrets(*config, &*one).status()),
              HasSubstr("node.accepted_secret_file: open "));
  ASSERT_TRUE(
      WriteFileAtomically(config->accepted_secret_file, "sixteen bytes ok", 0600, Overwrite::kNo)
          .ok());
  EXPECT_THAT(Message(ReadClusterSecrets(*config, &*one).status()),
              HasSubstr("node.accepted_secret_file: the accepted secret is the present one"));
  ASSERT_TRUE(
      WriteFileAtomically(config->accepted_secret_file, "sixteen bytes too", 0600, Overwrite::kYes)
          .ok());
  const auto two = ReadClusterSecrets(*config, &*one);
  ASSERT_TRUE(two.ok()) << two.status();
  ASSERT_EQ(two->held().size(), 2U);
  EXPECT_EQ(two->present().key, one->present().key);
  EXPECT_EQ(two->present().psk, one->present().psk);
  EXPECT_EQ(two->held()[1].key, ClusterKeys::Derive("sixteen bytes too")->key);
}

TEST_F(ConfigTest, SaysWhichKeysNeedARestart) {
  const auto running = ParseConfig(Node(), "c.toml");
  const auto wanted = ParseConfig(
      Node() + "mtu = 1300\n[metrics]\nlisten = \"\"\n[api]\ngroup = \"g\"\n", "c.toml");
  ASSERT_TRUE(running.ok() && wanted.ok());
  const absl::Status status = CheckReloadable(*running, *wanted);
  EXPECT_THAT(Message(status), HasSubstr("c.toml:10: metrics.listen: cannot change at run time"));
  EXPECT_THAT(Message(status), HasSubstr("c.toml:12: api.group: cannot change at run time"));
  EXPECT_THAT(Message(status), HasSubstr("restart"));
  EXPECT_TRUE(CheckReloadable(*running, *running).ok());
}

TEST_F(ConfigTest, RefusesThisNodeAsAPeer) {
  const auto config = ParseConfig(Node() + PeerText("b", KeyB(), "10.77.0.2/32"), "c.toml");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(Message(CheckAgainstIdentity(*config, PeerKey::Parse(KeyB())->node_id())),
              HasSubstr("c.toml:8: peers.key: peer \"b\" is this node itself"));
  EXPECT_TRUE(CheckAgainstIdentity(*config, PeerKey::Parse(KeyA())->node_id()).ok());
}

TEST_F(ConfigTest, TheExampleFileIsRight) {
  const auto config = LoadConfig("deploy/controller.example.toml");
  ASSERT_TRUE(config.ok()) << Message(config.status());
  EXPECT_FALSE(config->peers.empty());
}

TEST_F(ConfigTest, ReadsWhereTheNucleusIs) {
  const auto config = ParseConfig(
      Node() +
          "[nucleus]\naddresses = [\"nucleus.example.org:51900\", \"[2001:db8::1]:7\"]\n"
          "id = \"000102030405060708090a0b0c0d0e0f\"\n"
          "routes = [\"192.168.7.0/24\"]\naccept_routes = [\"192.168.0.0/16\"]\n"
          "port_mapping = \"off\"\nport_search = \"on\"\n",
      "c.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->nucleus.addresses.size(), 2U);
  EXPECT_EQ(config->nucleus.addresses[0].ToString(), "nucleus.example.org:51900");
  EXPECT_EQ(config->nucleus.addresses[1].ToString(), "[2001:db8::1]:7");
  EXPECT_TRUE(config->nucleus.id.has_value());
  EXPECT_EQ(config->nucleus.routes.size(), 1U);
  EXPECT_EQ(config->nucleus.accept_routes.size(), 1U);
  EXPECT_FALSE(config->nucleus.port_mapping);
  EXPECT_TRUE(config->nucleus.port_search);
}

TEST_F(ConfigTest, AddressesMayBeTheNucleusToGive) {
  const std::string node = "[node]\nname = \"a\"\ncluster_secret_file = \"/s\"\n";
  const std::string nucleus = "[nucleus]\naddresses = [\"a:1\"]\n";
  const auto config = ParseConfig(node + "addresses = [\"auto\"]\n" + nucleus, "c.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->auto_addresses);
  EXPECT_TRUE(config->addresses.empty());
  EXPECT_THAT(Errors(node + "addresses = [\"auto\"]\n"),
              HasSubstr("c.toml:4: node.addresses: \"auto\" needs a Nucleus"));
  for (const char* both :
       {"\"auto\", \"10.77.0.1/24\"", "\"10.77.0.1/24\", \"auto\"", "\"auto\", \"auto\""}) {
    EXPECT_THAT(Errors(node + "addresses = [" + both + "]\n" + nucleus),
                HasSubstr("c.toml:4: node.addresses"))
        << both;
  }
}

TEST_F(ConfigTest, BeaconsAreOnWhereThereIsANucleusOrSomebodyWantsThem) {
  const std::string nucleus = "[nucleus]\naddresses = [\"a:1\"]\n";
  const auto wants = [&](const std::string& more) {
    const auto config = ParseConfig(Node() + more, "c.toml");
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() && config->WantsBeacons();
  };
  EXPECT_FALSE(wants(""));
  EXPECT_TRUE(wants(nucleus));
  EXPECT_TRUE(wants("[discovery]\nbeacons = \"on\"\n"));
  EXPECT_FALSE(wants(nucleus + "[discovery]\nbeacons = \"off\"\n"));
  EXPECT_THAT(Errors(Node() + "[discovery]\nbeacons = \"maybe\"\n"),
              HasSubstr("c.toml:9: discovery.beacons: must be"));
  EXPECT_THAT(Errors(Node() + "[discovery]\nbeacon = \"on\"\n"), HasSubstr("discovery.beacon"));
}

TEST_F(ConfigTest, AddressesThatANucleusOnceGaveNeedNoneAnyMoreWhereThereAreBeacons) {
  const auto config = ParseConfig(
      "[node]\nname = \"a\"\ncluster_secret_file = \"/s\"\naddresses = [\"auto\"]\n"
      "[discovery]\nbeacons = \"on\"\n",
      "c.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->auto_addresses);
}

TEST_F(ConfigTest, NamesWhatIsWrongWithTheNucleus) {
  for (const char* bad : {"nowhere", "host:0", "host:65536", ":51900", "a b:1", "2001:db8::1:x"}) {
    EXPECT_THAT(Errors(Node() + fmt::format("[nucleus]\naddresses = [\"{}\"]\n", bad)),
                HasSubstr("c.toml:9: nucleus.addresses"))
        << bad;
  }
  EXPECT_THAT(Errors(Node() + "[nucleus]\n"), HasSubstr("nucleus.addresses"));
  EXPECT_THAT(Errors(Node() + "[nucleus]\naddresses = [\"a:1\"]\nid = \"7\"\n"),
              HasSubstr("c.toml:10: nucleus.id"));
  EXPECT_THAT(Errors(Node() + "[nucleus]\naddresses = [\"a:1\"]\nroutes = [\"10.0.0.1/8\"]\n"),
              HasSubstr("c.toml:10: nucleus.routes"));
  EXPECT_THAT(Errors(Node() + "[nucleus]\naddresses = [\"a:1\"]\nport_mapping = \"yes\"\n"),
              HasSubstr("c.toml:10: nucleus.port_mapping"));
  EXPECT_THAT(Errors(Node() + "[nucleus]\naddresses = [\"a:1\"]\nport_search = \"yes\"\n"),
              HasSubstr("c.toml:10: nucleus.port_search"));
}

TEST_F(ConfigTest, ANodeRelaysForItsPeersWhereItIsSaidAndOthersCanAsk) {
  const std::string mesh = "[discovery]\nbeacons = \"on\"\n[relay]\n";
  const auto off = ParseConfig(Node(), "c.toml");
  ASSERT_TRUE(off.ok());
  EXPECT_FALSE(off->relay.for_peers);
  const auto on =
      ParseConfig(Node() + mesh + "for_peers = \"on\"\npair_mbit = 8\ntotal_mbit = 80\n", "c.toml");
  ASSERT_TRUE(on.ok()) << on.status();
  EXPECT_TRUE(on->relay.for_peers);
  EXPECT_EQ(on->relay.limits.pair_bytes_per_s, 1'000'000U);
  EXPECT_EQ(on->relay.limits.total_bytes_per_s, 10'000'000U);
  EXPECT_THAT(Errors(Node() + mesh + "for_peers = \"yes\"\n"),
              HasSubstr("c.toml:11: relay.for_peers: must be"));
  EXPECT_THAT(Errors(Node() + mesh + "pair_mbit = 0\n"), HasSubstr("c.toml:11: relay.pair_mbit"));
  EXPECT_THAT(Errors(Node() + mesh + "total_mbit = 1000001\n"),
              HasSubstr("c.toml:11: relay.total_mbit"));
  EXPECT_THAT(Errors(Node() + mesh + "always = 1\n"), HasSubstr("relay.always"));
  EXPECT_THAT(Errors(Node() + "[relay]\nfor_peers = \"on\"\n"),
              HasSubstr("c.toml:9: relay.for_peers: \"on\" needs others"));
}

}  // namespace
}  // namespace omni
