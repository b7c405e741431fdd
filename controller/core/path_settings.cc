// SPDX-License-Identifier: Apache-2.0
// Which ways packets are to take: what the API said, over what the configuration file says. The
// dataplane has the third voice, its command line, where both are silent.
#include <memory>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"
#include "controller/core/path_request.h"

namespace omni {
namespace {

// LIMIT: a local daemon answers in microseconds; who asks gets what was known before.
constexpr std::chrono::seconds kAppliedWait{1};
// LIMIT: callers that wait for it, should the dataplane take nothing any more.
constexpr size_t kMaxWaiting = 1000;

}  // namespace

absl::Status Controller::LoadPaths() {
  ASSIGN_OR_RETURN(api_paths_, ReadPathsFile(PathsFile()));
  return absl::OkStatus();
}

absl::Status Controller::SetPaths(const PathChange& change) {
  PathWishes wanted = change.reset ? change.say : api_paths_.OverlaidBy(change.say);
  if (wanted == api_paths_) return absl::OkStatus();
  // On disk first: what the caller was told must survive a crash.
  RETURN_IF_ERROR(WritePathsFile(PathsFile(), wanted));
  api_paths_ = std::move(wanted);
  spdlog::info("paths: changed by the API");
  sync_.MarkNode();
  Push();
  return absl::OkStatus();
}

void Controller::WhenApplied(std::function<void()> done) {
  if (!connected_ || sync_.is_done() || when_applied_.size() >= kMaxWaiting) return done();
  const auto timer = std::make_shared<boost::asio::steady_timer>(loop_, kAppliedWait);
  const auto waiting = std::make_shared<std::function<void()>>(std::move(done));
  const auto finish = [timer, waiting] {
    const auto call = std::exchange(*waiting, nullptr);
    if (!call) return;
    timer->cancel();
    call();
  };
  timer->async_wait([finish](const boost::system::error_code&) { finish(); });
  when_applied_.emplace_back(finish);
}

}  // namespace omni
