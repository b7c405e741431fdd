// SPDX-License-Identifier: Apache-2.0
#include "common/identity/key_file.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr std::string_view kIdentityHeader = "omninervous identity key v1";
constexpr std::string_view kStaticHeader = "omninervous static key v1";

// Against accidents, not against an attacker: whoever can write the file can also write its
// checksum.
std::string Checksum(std::string_view covered) {
  std::array<uint8_t, 16> hash{};
  crypto_generichash(hash.data(), hash.size(), AsBytes(covered).data(), covered.size(), nullptr, 0);
  return HexEncode(hash);
}

void AppendLine(std::string& text, std::string_view name, std::span<const uint8_t> value) {
  std::string encoded = Base64Encode(value);
  const absl::Cleanup erase = [&encoded] { EraseText(encoded); };
  text.append(name).append(" ").append(encoded).append("\n");
}

void AppendChecksum(std::string& text) {
  text.append(fmt::format("checksum {}\n", Checksum(text)));
}

// Text with room for the whole file: a growing string would leave copies of the key behind.
std::string StartText(std::string_view header) {
  std::string text;
  text.reserve(kMaxKeyFileBytes);
  text.append(header).append("\n");
  return text;
}

// Reads the lines of a key file in their order.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  std::optional<std::string_view> Line() {
    const size_t end = rest_.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

  // The value of the next line, which must be "NAME VALUE" with exactly out.size() bytes.
  absl::Status Value(std::string_view name, std::span<uint8_t> out) {
    const auto line = Line();
    if (!line || line->size() <= name.size() || line->substr(0, name.size()) != name ||
        (*line)[name.size()] != ' ') {
      return absl::InvalidArgumentError(fmt::format("the line \"{} ...\" is missing", name));
    }
    auto value = Base64Decode(line->substr(name.size() + 1));
    const absl::Cleanup erase = [&value] {
      if (value) sodium_memzero(value->data(), value->size());
    };
    if (!value || value->size() != out.size()) {
      return absl::InvalidArgumentError(fmt::format("the line \"{} ...\" is malformed", name));
    }
    std::copy(value->begin(), value->end(), out.begin());
    return absl::OkStatus();
  }

  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

absl::Status CheckFrame(std::string_view text, std::string_view header) {
  if (text.empty()) return absl::InvalidArgumentError("the file is empty");
  const std::string_view first = text.substr(0, text.find('\n'));
  if (first != header) {
    return absl::InvalidArgumentError(fmt::format("the first line is not \"{}\"", header));
  }
  constexpr size_t kChecksumLine = sizeof("checksum ") - 1 + 32 + 1;
  if (text.size() <= kChecksumLine) return absl::InvalidArgumentError("the file is cut short");
  const std::string_view covered = text.substr(0, text.size() - kChecksumLine);
  if (text.substr(covered.size()) != fmt::format("checksum {}\n", Checksum(covered))) {
    return absl::InvalidArgumentError("the checksum is wrong: the file was cut short or edited");
  }
  return absl::OkStatus();
}

// What is left must be the checksum line, which CheckFrame() has already compared.
absl::Status CheckEnd(LineReader& reader) {
  const auto line = reader.Line();
  if (!line || !line->starts_with("checksum ") || !reader.at_end()) {
    return absl::InvalidArgumentError("there is a line too many");
  }
  return absl::OkStatus();
}

}  // namespace

void EraseText(std::string& text) {
  sodium_memzero(text.data(), text.size());
  text.clear();
}

std::string Format(const IdentityKeyFile& file) {
  std::string text = StartText(kIdentityHeader);
  AppendLine(text, "private", file.seed.bytes());
  AppendLine(text, "public", file.public_key);
  AppendChecksum(text);
  return text;
}

std::string Format(const StaticKeyFile& file) {
  std::string text = StartText(kStaticHeader);
  AppendLine(text, "private", file.private_key.bytes());
  AppendLine(text, "public", file.public_key);
  AppendLine(text, "signature", file.signature);
  AppendChecksum(text);
  return text;
}

absl::StatusOr<IdentityKeyFile> ParseIdentityKeyFile(std::string_view text) {
  RETURN_IF_ERROR(CheckFrame(text, kIdentityHeader));
  LineReader reader(text);
  reader.Line();
  IdentityKeyFile file;
  RETURN_IF_ERROR(reader.Value("private", {file.seed.mutable_data(), file.seed.size()}));
  RETURN_IF_ERROR(reader.Value("public", file.public_key));
  RETURN_IF_ERROR(CheckEnd(reader));
  return file;
}

absl::StatusOr<StaticKeyFile> ParseStaticKeyFile(std::string_view text) {
  RETURN_IF_ERROR(CheckFrame(text, kStaticHeader));
  LineReader reader(text);
  reader.Line();
  StaticKeyFile file;
  RETURN_IF_ERROR(
      reader.Value("private", {file.private_key.mutable_data(), file.private_key.size()}));
  RETURN_IF_ERROR(reader.Value("public", file.public_key));
  RETURN_IF_ERROR(reader.Value("signature", file.signature));
  RETURN_IF_ERROR(CheckEnd(reader));
  return file;
}

}  // namespace omni
