// SPDX-License-Identifier: Apache-2.0
#include "cli/identity.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "common/identity/identity.h"
#include "common/privileges.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr char kDefaultDirectory[] = "/var/lib/omni/identity";
constexpr char kControllerUser[] = "omni";

[[noreturn]] void Fail(const absl::Status& status) {
  fmt::print(stderr, "omnictl: {}\n", Message(status));
  throw CLI::RuntimeError(1);
}

void Print(const PeerKey& key, const std::string& directory, OutputFormat format) {
  switch (format) {
    case OutputFormat::kTable:
      fmt::print("node id    {}\nkey        {}\ndirectory  {}\n", key.node_id().ToString(),
                 key.ToString(), directory);
      return;
    case OutputFormat::kJson:
      fmt::print("{{\n \"node_id\": {},\n \"key\": {},\n \"directory\": {}\n}}\n",
                 JsonQuote(key.node_id().ToString()), JsonQuote(key.ToString()),
                 JsonQuote(directory));
      return;
  }
}

// A directory that already holds something may serve others too: its owner stays.
enum class DirectoryOrigin { kOurs, kShared };

DirectoryOrigin OriginOf(const std::string& directory) {
  std::error_code error;
  return std::filesystem::exists(directory, error) && !std::filesystem::is_empty(directory, error)
             ? DirectoryOrigin::kShared
             : DirectoryOrigin::kOurs;
}

absl::Status GiveTo(const User& user, const std::string& path) {
  if (lchown(path.c_str(), user.uid, user.gid) == 0) return absl::OkStatus();
  return ErrnoStatus(fmt::format("give {} to user {}", path, user.name));
}

// The controller runs as a user of its own and must be able to read what root has just made.
absl::Status GiveToController(const std::string& directory, DirectoryOrigin origin) {
  if (geteuid() != 0) return absl::OkStatus();
  const auto user = LookupUser(kControllerUser);
  if (!user.ok()) return absl::OkStatus();
  const bool with_directory = origin == DirectoryOrigin::kOurs;
  if (with_directory) RETURN_IF_ERROR(GiveTo(*user, directory));
  for (const char* name : {"/identity.key", "/static.key"}) {
    RETURN_IF_ERROR(GiveTo(*user, directory + name));
  }
  fmt::print(stderr, "omnictl: {} belong to user {}, as the controller runs as that user\n",
             with_directory ? "the directory and both key files" : "both key files", user->name);
  return absl::OkStatus();
}

void New(const std::string& directory, OutputFormat format) {
  const DirectoryOrigin origin = OriginOf(directory);
  const auto identity = Identity::Create(directory);
  if (!identity.ok()) Fail(identity.status());
  if (const absl::Status given = GiveToController(directory, origin); !given.ok()) Fail(given);
  Print(identity->public_key(), directory, format);
}

void Show(const std::string& directory, OutputFormat format) {
  const auto identity = Identity::Load(directory);
  if (!identity.ok()) Fail(identity.status());
  Print(identity->public_key(), directory, format);
}

void Export(const std::string& directory) {
  const auto identity = Identity::Load(directory);
  if (!identity.ok()) Fail(identity.status());
  fmt::print("{}\n", identity->public_key().ToString());
}

}  // namespace

void AddIdentityCommand(CLI::App& app, const OutputFormat& format) {
  CLI::App* identity = app.add_subcommand("identity", "Show, make or export this machine's keys");
  identity->require_subcommand(1);
  identity->footer("Examples:\n  omnictl identity new\n  omnictl identity export --dir DIR");
  const auto directory = std::make_shared<std::string>(kDefaultDirectory);
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = identity->add_subcommand(name, help);
    command->add_option("--dir", *directory, "Directory of the key files")->capture_default_str();
    return command;
  };
  add("show", "Print the node id and the public key")->callback([directory, &format] {
    Show(*directory, format);
  });
  add("new", "Make a new identity; an existing one is left alone")->callback([directory, &format] {
    New(*directory, format);
  });
  add("export", "Print the public key alone, for the configuration of other machines")
      ->callback([directory] { Export(*directory); });
}

}  // namespace omni
