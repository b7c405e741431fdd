// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/payload.h"

#include <gtest/gtest.h>

#include <vector>

namespace omni::noise {
namespace {

InitiationPayload Sample() {
  InitiationPayload payload;
  payload.timestamp = 0x0102030405060708;
  payload.proof.fill(0xab);
  payload.offer = {.tag = 0x665544332211, .workers = 16, .ciphers = 0x03};
  return payload;
}

// The items one after the other, padded with zeros to the right size.
std::vector<uint8_t> Padded(std::initializer_list<std::vector<uint8_t>> items) {
  std::vector<uint8_t> out;
  for (const auto& item : items) out.insert(out.end(), item.begin(), item.end());
  out.resize(wire::kPayloadBytes);
  return out;
}

const std::vector<uint8_t> kTag = {2, 6, 1, 2, 3, 4, 5, 6};
const std::vector<uint8_t> kWorkers = {3, 1, 4};
const std::vector<uint8_t> kCiphers = {4, 1, 1};

TEST(Payload, StandsAsThePictureShows) {
  const PayloadBytes bytes = Encode(Sample());
  const std::vector<uint8_t> start(bytes.begin(), bytes.begin() + 26);
  EXPECT_EQ(start, (std::vector<uint8_t>{1,    8,    1,    2,    3,    4, 5, 6,  7, 8, 2, 6, 0x11,
                                         0x22, 0x33, 0x44, 0x55, 0x66, 3, 1, 16, 4, 1, 3, 5, 16}));
}

TEST(Payload, ParsesWhatItEncodes) {
  EXPECT_EQ(ParseInitiationPayload(Encode(Sample())), Sample());
  const ResponsePayload response{Sample().offer};
  EXPECT_EQ(ParseResponsePayload(Encode(response)), response);
}

TEST(Payload, OneKindIsNotTakenForTheOther) {
  EXPECT_FALSE(ParseResponsePayload(Encode(Sample())));
  EXPECT_FALSE(ParseInitiationPayload(Encode(ResponsePayload{Sample().offer})));
}

TEST(Payload, SkipsItemsOfUnknownType) {
  const auto parsed = ParseResponsePayload(
      Padded({{200, 3, 9, 9, 9}, kTag, kWorkers, {77, 0}, kCiphers, {255, 1, 0}}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->offer.tag, 0x060504030201U);
  EXPECT_EQ(parsed->offer.workers, 4);
}

TEST(Payload, TakesCiphersThatItDoesNotKnow) {
  const auto parsed = ParseResponsePayload(Padded({kTag, kWorkers, {4, 1, 0xff}}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(AgreedCipher(parsed->offer, {.ciphers = 0x03}), Cipher::kAes256Gcm);
  EXPECT_EQ(AgreedCipher(parsed->offer, {.ciphers = 0xfd}), Cipher::kChaCha20Poly1305);
}

TEST(Payload, SaysNothingOfControlChannelsThatAreNotThere) {
  EXPECT_EQ(ParseResponsePayload(Padded({kTag, kWorkers, kCiphers}))->offer.control_channels, 0);
  EXPECT_EQ(
      ParseResponsePayload(Padded({kTag, kWorkers, kCiphers, {6, 1, 0}}))->offer.control_channels,
      0);
  EXPECT_EQ(
      ParseResponsePayload(Padded({kTag, kWorkers, kCiphers, {6, 1, 1}}))->offer.control_channels,
      1);
  ResponsePayload payload{Sample().offer};
  payload.offer.control_channels = 1;
  EXPECT_EQ(ParseResponsePayload(Encode(payload)), payload);
  EXPECT_EQ(Encode(payload)[14], 6) << "behind tag, workers and ciphers";
}

TEST(Payload, AnUnknownItemMayFillItToTheLastByte) {
  auto bytes = Padded({kTag, kWorkers, kCiphers, {99, 80}});
  bytes.back() = 1;
  EXPECT_TRUE(ParseResponsePayload(bytes));
}

TEST(Payload, RefusesMissingRepeatedAndMisshapenItems) {
  const std::vector<std::vector<uint8_t>> bad = {
      Padded({}),
      Padded({kTag, kWorkers}),
      Padded({kTag, kCiphers}),
      Padded({kWorkers, kCiphers}),
      Padded({kTag, kWorkers, kCiphers, kTag}),
      Padded({kTag, kWorkers, kCiphers, {99, 0}, {99, 0}}),
      Padded({{2, 5, 1, 2, 3, 4, 5}, kWorkers, kCiphers}),
      Padded({{2, 7, 1, 2, 3, 4, 5, 6, 7}, kWorkers, kCiphers}),
      Padded({kTag, {3, 0}, kCiphers}),
      Padded({kTag, {3, 1, 0}, kCiphers}),
      Padded({kTag, {3, 1, 17}, kCiphers}),
      Padded({kTag, kWorkers, {4, 1, 0}}),
      Padded({kTag, kWorkers, {4, 1, 2}}),
      Padded({kTag, kWorkers, {4, 1, 0xfe}}),
      Padded({kTag, kWorkers, kCiphers, {6, 0}}),
      Padded({kTag, kWorkers, kCiphers, {6, 1, 2}}),
      Padded({kTag, kWorkers, kCiphers, {6, 2, 1, 1}}),
      Padded({kTag, kWorkers, kCiphers, {0, 1}}),
      Padded({kTag, kWorkers, kCiphers, {0, 0, 0, 99}}),
      Padded({kTag, kWorkers, kCiphers, {99, 81}}),
  };
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_FALSE(ParseResponsePayload(bad[i])) << i;
}

TEST(Payload, RefusesEveryOtherSize) {
  const PayloadBytes good = Encode(Sample());
  std::vector<uint8_t> bytes(good.begin(), good.end());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseInitiationPayload(std::span(bytes).first(size))) << size;
  }
  bytes.push_back(0);
  EXPECT_FALSE(ParseInitiationPayload(bytes));
}

}  // namespace
}  // namespace omni::noise
