// SPDX-License-Identifier: Apache-2.0
// Shell completion, generated from the tree of commands itself, so that it cannot go stale. The
// shells share one idea: the words before the cursor that name commands make a path; each path has
// a list of words that may follow.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace omni {
namespace {

struct Word {
  std::string text;
  std::string description;
};
struct Node {
  std::string path;  // "omnictl peers list"
  std::vector<std::string> commands;
  std::vector<Word> words;  // what may follow
};

// A command's own option stands before a global one of the same name.
void AddOptions(const CLI::App& app, std::vector<Word>& words) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      const bool known = std::any_of(words.begin(), words.end(),
                                     [&](const Word& word) { return word.text == "--" + name; });
      if (!known) words.push_back({"--" + name, option->get_description()});
    }
  }
}

void Collect(const CLI::App& app, const CLI::App& root, const std::string& path,
             std::vector<Node>& nodes) {
  Node node{.path = path, .commands = {}, .words = {}};
  const auto children = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) {
    node.commands.push_back(child->get_name());
    node.words.push_back({child->get_name(), child->get_description()});
  }
  AddOptions(app, node.words);
  if (&app != &root) AddOptions(root, node.words);
  nodes.push_back(std::move(node));
  for (const CLI::App* child : children) {
    Collect(*child, root, path + " " + child->get_name(), nodes);
  }
}

std::vector<Node> Tree(const CLI::App& any) {
  const CLI::App* root = &any;
  while (root->get_parent() != nullptr) root = root->get_parent();
  std::vector<Node> nodes;
  Collect(*root, *root, "omnictl", nodes);
  return nodes;
}

// Inside single quotes of a shell.
std::string Quote(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    quoted += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return quoted;
}

// All "parent child" pairs, as patterns of a case statement.
std::string CommandPatterns(const std::vector<Node>& nodes, const char* separator) {
  std::vector<std::string> patterns;
  for (const Node& node : nodes) {
    for (const std::string& command : node.commands) {
      patterns.push_back(fmt::format("'{} {}'", node.path, command));
    }
  }
  return fmt::format("{}", fmt::join(patterns, separator));
}

std::vector<std::string> Texts(const Node& node) {
  std::vector<std::string> texts;
  for (const Word& word : node.words) texts.push_back(word.text);
  return texts;
}

std::string Bash(const std::vector<Node>& nodes) {
  std::string script = fmt::format(
      "# bash completion for omnictl; load: source <(omnictl completion bash)\n"
      "_omnictl() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} path=omnictl word words=''\n"
      "  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n"
      "    case \"$path $word\" in\n"
      "      {}) path=\"$path $word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$path\" in\n",
      CommandPatterns(nodes, "|"));
  for (const Node& node : nodes) {
    script += fmt::format("    '{}') words='{}' ;;\n", node.path, fmt::join(Texts(node), " "));
  }
  return script +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "}\n"
         "complete -o default -F _omnictl omnictl\n";
}

std::string Zsh(const std::vector<Node>& nodes) {
  std::string script = fmt::format(
      "#compdef omnictl\n"
      "# zsh completion for omnictl; load: source <(omnictl completion zsh)\n"
      "_omnictl() {{\n"
      "  local path_=omnictl word\n"
      "  local -a entries\n"
      "  for word in \"${{(@)words[2,CURRENT-1]}}\"; do\n"
      "    case \"$path_ $word\" in\n"
      "      {}) path_=\"$path_ $word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$path_\" in\n",
      CommandPatterns(nodes, "|"));
  for (const Node& node : nodes) {
    script += fmt::format("    '{}') entries=(", node.path);
    for (const Word& word : node.words) {
      script += fmt::format("\n      '{}:{}'", word.text, Quote(word.description));
    }
    script += ") ;;\n";
  }
  return script +
         "  esac\n"
         "  _describe omnictl entries || _files\n"
         "}\n"
         "compdef _omnictl omnictl\n";
}

std::string Fish(const std::vector<Node>& nodes) {
  std::string script = fmt::format(
      "# fish completion for omnictl; load: omnictl completion fish | source\n"
      "function __omnictl_path\n"
      "  set -l path omnictl\n"
      "  set -l before (commandline -opc)\n"
      "  for word in $before[2..-1]\n"
      "    switch \"$path $word\"\n"
      "      case {}\n"
      "        set path \"$path $word\"\n"
      "    end\n"
      "  end\n"
      "  test \"$path\" = \"$argv[1]\"\n"
      "end\n",
      CommandPatterns(nodes, " "));
  for (const Node& node : nodes) {
    for (const Word& word : node.words) {
      const bool is_option = word.text.rfind("--", 0) == 0;
      script += fmt::format("complete -c omnictl -n \"__omnictl_path '{}'\" {} {} -d '{}'\n",
                            node.path, is_option ? "-l" : "-f -a",
                            is_option ? word.text.substr(2) : word.text, Quote(word.description));
    }
  }
  return script;
}

void AddShell(CLI::App& completion, const Context& context, const char* shell, const char* load,
              std::string (*generate)(const std::vector<Node>&)) {
  auto* command = completion.add_subcommand(shell, fmt::format("For {}", shell));
  command->footer(fmt::format("Example:\n  {}", load));
  command->callback([&context, command, generate] { *context.out << generate(Tree(*command)); });
}

}  // namespace

void AddCompletionCommand(CLI::App& app, const Context& context) {
  auto* completion = app.add_subcommand("completion", "Prints a script that completes omnictl");
  completion->footer("Example:\n  source <(omnictl completion bash)");
  completion->require_subcommand(1);
  AddShell(*completion, context, "bash", "source <(omnictl completion bash)", Bash);
  AddShell(*completion, context, "zsh", "source <(omnictl completion zsh)", Zsh);
  AddShell(*completion, context, "fish", "omnictl completion fish | source", Fish);
}

}  // namespace omni
