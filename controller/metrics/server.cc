// SPDX-License-Identifier: Apache-2.0

#include <future>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/metrics/exposer.h"
#include "common/status.h"
#include "controller/metrics/metrics.h"

namespace omni {
namespace {

namespace asio = boost::asio;
using prometheus::MetricFamily;
using Families = std::vector<MetricFamily>;

// LIMIT: a dataplane that takes longer to count is left out of this scrape; Prometheus itself gives
// up after 10 s.
constexpr std::chrono::seconds kDataplaneWait{1};
constexpr std::chrono::seconds kLoopWait{3};

class Source : public prometheus::Collectable {
 public:
  Source(asio::io_context& loop, Controller& controller) : loop_(loop), controller_(controller) {}

  // On a scraping thread.
  Families Collect() const override {
    auto scrape = std::make_shared<Scrape>(loop_);
    std::future<Families> result = scrape->result.get_future();
    asio::post(loop_, [controller = &controller_, scrape] { Begin(controller, scrape); });
    if (result.wait_for(kLoopWait) != std::future_status::ready) return {};
    return result.get();
  }

 private:
  struct Scrape {
    explicit Scrape(asio::io_context& loop) : timer(loop) {}
    asio::steady_timer timer;
    std::promise<Families> result;
    bool done = false;
  };

  // On the loop: with the dataplane's counters, or without them when they take too long.
  static void Begin(Controller* controller, const std::shared_ptr<Scrape>& scrape) {
    const auto finish = [controller, scrape](const dataplane::v1::GetCountersResponse* counters) {
      if (std::exchange(scrape->done, true)) return;
      scrape->timer.cancel();
      scrape->result.set_value(CollectMetrics(*controller, counters));
    };
    scrape->timer.expires_after(kDataplaneWait);
    scrape->timer.async_wait([finish](const boost::system::error_code&) { finish(nullptr); });
    controller->RefreshInfo([controller, finish] {
      controller->dataplane().GetCounters(
          [finish](const absl::StatusOr<dataplane::v1::GetCountersResponse>& counters) {
            finish(counters.ok() ? &*counters : nullptr);
          });
    });
  }

  asio::io_context& loop_;
  Controller& controller_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(asio::io_context& loop,
                                                                    Controller& controller,
                                                                    const std::string& listen) {
  std::unique_ptr<MetricsServer> server(new MetricsServer());
  server->source_ = std::make_shared<Source>(loop, controller);
  ASSIGN_OR_RETURN(server->exposer_, StartExposer(listen));
  server->exposer_->RegisterCollectable(server->source_);
  return server;
}

}  // namespace omni
