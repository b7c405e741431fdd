// SPDX-License-Identifier: Apache-2.0
#include "common/identity/cluster.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/encoding.h"

namespace omni {
namespace {

TEST(ClusterKeys, DependOnEveryByteAndAreStable) {
  const auto a = ClusterKeys::Derive("correct horse battery staple");
  const auto b = ClusterKeys::Derive("correct horse battery staplf");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_FALSE(a->psk == b->psk);
  EXPECT_FALSE(a->key == b->key);
  EXPECT_NE(a->key.id(), b->key.id());
  // Every machine of a cluster must come to the same keys, whatever version it runs.
  EXPECT_EQ(HexEncode(a->psk.bytes()),
            "e7f5469c16f2e52a806606838b35fa1c8285a94e3f8dc4be5ec585bf487c367f");
  EXPECT_EQ(a->key.ToString(), "omnic1Njs0iKz-3r_RZ2wj3Vaaa74uWdPeFxE28K4bTJU2GDE");
  EXPECT_EQ(a->key.id().ToString(), "a48133bdb4303096421d8435b1ad08a1");
}

TEST(ClusterKeys, RefuseAShortAndAnAbsurdlyLongSecret) {
  EXPECT_FALSE(ClusterKeys::Derive("").ok());
  EXPECT_FALSE(ClusterKeys::Derive("fifteen bytes!!").ok());
  EXPECT_FALSE(ClusterKeys::Derive(std::string(4097, 'x')).ok());
}

TEST(ClusterKeys, SignForTheirOwnClusterAndPurposeAlone) {
  const auto ours = ClusterKeys::Derive("correct horse battery staple");
  const auto others = ClusterKeys::Derive("correct horse battery staplf");
  ASSERT_TRUE(ours.ok() && others.ok());
  const auto text = AsBytes("text");
  const auto signature = ours->Sign("purpose", text);
  EXPECT_TRUE(ours->key.Verifies("purpose", text, signature));
  EXPECT_FALSE(others->key.Verifies("purpose", text, signature));
  EXPECT_FALSE(ours->key.Verifies("another", text, signature));
  EXPECT_FALSE(ours->key.Verifies("purpose", AsBytes("texT"), signature));
}

TEST(ClusterKey, ComesBackFromItsTextAndNothingElseDoes) {
  const auto keys = ClusterKeys::Derive("correct horse battery staple");
  ASSERT_TRUE(keys.ok());
  const std::string text = keys->key.ToString();
  const auto parsed = ClusterKey::Parse(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, keys->key);
  EXPECT_EQ(parsed->id(), keys->key.id());
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(ClusterKey::Parse(text.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(ClusterKey::Parse(text + "A").ok());
  EXPECT_FALSE(ClusterKey::Parse("omni1" + text.substr(6)).ok());
  EXPECT_FALSE(ClusterKey::Parse("omnic1" + Base64Encode(std::vector<uint8_t>(32))).ok());
}

TEST(NewClusterSecret, IsNeverTheSame) {
  const std::string a = NewClusterSecret();
  EXPECT_EQ(a.size(), 43U);
  EXPECT_NE(a, NewClusterSecret());
}

TEST(ClusterKeyring, HoldsThePresentSecretAndOneMoreThatDiffers) {
  const std::vector<std::string> secrets = {"correct horse battery staple",
                                            "correct horse battery staplf"};
  const auto two = ClusterKeyring::Make(secrets);
  ASSERT_TRUE(two.ok()) << two.status();
  ASSERT_EQ(two->held().size(), 2U);
  EXPECT_EQ(two->present().key, ClusterKeys::Derive(secrets[0])->key);
  EXPECT_EQ(two->ids()[1], ClusterKeys::Derive(secrets[1])->key.id());
  // Made from another one, in another order: the same keys, whether they were derived or taken.
  const std::vector<std::string> swapped = {secrets[1], secrets[0]};
  const auto again = ClusterKeyring::Make(swapped, &*two);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->present().key, two->held()[1].key);
  EXPECT_EQ(again->held()[1].psk, two->present().psk);
  EXPECT_EQ(again->held()[1].Sign("use", AsBytes("text")),
            two->present().Sign("use", AsBytes("text")));
  EXPECT_FALSE(*again == *two);
  EXPECT_TRUE(two->Clone() == *two);
  const std::vector<std::string> same = {secrets[0], secrets[0]};
  EXPECT_FALSE(ClusterKeyring::Make(same).ok());
  EXPECT_FALSE(ClusterKeyring::Make(same, &*two).ok());
  const std::vector<std::string> one_short = {secrets[0], "short"};
  EXPECT_FALSE(ClusterKeyring::Make(one_short, &*two).ok());
}

}  // namespace
}  // namespace omni
