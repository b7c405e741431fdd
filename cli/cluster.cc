// SPDX-License-Identifier: Apache-2.0
// `omnictl cluster`: what each side of a cluster needs, made or shown here and sent nowhere. Who is
// a member is in members.cc.
#include "common/identity/cluster.h"

#include <fmt/format.h>
#include <sodium.h>

#include <memory>
#include <ostream>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "common/file.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: as the controller reads it: 4096 bytes and a newline.
constexpr size_t kMaxSecretFileBytes = 4098;

[[noreturn]] void Fail(ExitCode code, const absl::Status& status) {
  throw CommandError(code, std::string(Message(status)));
}

// `secret` is printed; empty when it is in a file.
void Print(const Context& context, const std::string& secret, const std::string& file,
           const ClusterKey& key) {
  if (context.format == OutputFormat::kJson) {
    *context.out << fmt::format("{{\n \"secret\": {},\n \"secret_file\": {},\n", JsonQuote(secret),
                                JsonQuote(file))
                 << fmt::format(" \"cluster_id\": {},\n \"cluster_key\": {}\n}}\n",
                                JsonQuote(key.id().ToString()), JsonQuote(key.ToString()));
    return;
  }
  *context.out << "For the nodes (cluster_secret_file, mode 0600):\n";
  PrintFields(*context.out, {{"  Secret", secret}, {"  Secret file", file}});
  *context.out << "For the Nucleus ([[clusters]]), which can neither join nor read with it:\n";
  PrintFields(*context.out,
              {{"  Cluster id", key.id().ToString()}, {"  Cluster key", key.ToString()}});
}

ClusterKey KeyOf(const std::string& secret) {
  auto keys = ClusterKeys::Derive(secret);
  if (!keys.ok()) Fail(ExitCode::kUsage, keys.status());
  return keys->key;
}

void New(const Context& context, const std::string& file) {
  std::string secret = NewClusterSecret();
  const absl::Cleanup erase = [&secret] { sodium_memzero(secret.data(), secret.size()); };
  const ClusterKey key = KeyOf(secret);
  if (file.empty()) return Print(context, secret, "", key);
  const absl::Status written = WriteFileAtomically(file, secret + "\n", 0600, Overwrite::kNo);
  if (!written.ok()) {
    Fail(absl::IsAlreadyExists(written) ? ExitCode::kConflict : ExitCode::kFailed, written);
  }
  Print(context, "", file, key);
}

void Show(const Context& context, const std::string& file) {
  auto secret = ReadFile(file, kMaxSecretFileBytes, FileAccess::kOwnerOnly);
  if (!secret.ok()) Fail(ExitCode::kUsage, secret.status());
  const absl::Cleanup erase = [&secret] { sodium_memzero(secret->data(), secret->size()); };
  if (secret->ends_with('\n')) secret->pop_back();
  if (secret->ends_with('\r')) secret->pop_back();
  Print(context, "", file, KeyOf(*secret));
}

}  // namespace

void AddClusterCommand(CLI::App& app, const Context& context) {
  CLI::App* cluster = app.add_subcommand("cluster", "The secret of a cluster, and who is a member");
  cluster->require_subcommand(1);
  cluster->footer(
      "Examples:\n"
      "  omnictl cluster new\n"
      "  omnictl cluster new --secret-file /etc/omni/cluster.secret\n"
      "  omnictl cluster show --secret-file /etc/omni/cluster.secret\n"
      "  omnictl cluster status\n"
      "  omnictl cluster revoke robot-7 --reason \"stolen\" --yes\n"
      "  omnictl cluster revocations");
  const auto file = std::make_shared<std::string>();
  CLI::App* made = cluster->add_subcommand(
      "new", "Make a cluster secret, and print what nodes and their Nucleus need");
  made->add_option("--secret-file", *file, "Write the secret to this new file, not to the screen")
      ->option_text("FILE");
  made->callback([&context, file] { New(context, *file); });
  CLI::App* show =
      cluster->add_subcommand("show", "Print what the Nucleus needs for a secret that exists");
  show->add_option("--secret-file", *file, "File that holds the secret (mode 0600)")
      ->required()
      ->option_text("FILE REQUIRED");
  show->callback([&context, file] { Show(context, *file); });
  AddMemberCommands(*cluster, context);
}

}  // namespace omni
