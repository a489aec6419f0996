#include "relay/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "relay/answers.h"

namespace holdfast::relay {

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter()
          .Name("holdfast_relay_requests_total")
          .Help("Requests answered, by route, method and status.")
          .Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds =
      prometheus::BuildHistogram()
          .Name("holdfast_relay_request_seconds")
          .Help("Time from a request's header to its answer, without what it waited for news.")
          .Register(registry);
  prometheus::Family<prometheus::Counter>& bytes = prometheus::BuildCounter()
                                                       .Name("holdfast_relay_body_bytes_total")
                                                       .Help("Bytes of bodies, by direction.")
                                                       .Register(registry);
  prometheus::Family<prometheus::Gauge>& now =
      prometheus::BuildGauge()
          .Name("holdfast_relay_now")
          .Help("How many there are now: connections, watchers, bytes of bodies in memory.")
          .Register(registry);
  prometheus::Family<prometheus::Counter>& totals =
      prometheus::BuildCounter()
          .Name("holdfast_relay_events_total")
          .Help(
              "Since the start: groups stored together, requests in them, groups that failed, "
              "requests refused for lack of room, connections and bodies turned away.")
          .Register(registry);
  const Server* server = nullptr;
  const Workers* workers = nullptr;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::watch(const Server& server, const Workers& workers) {
  impl_->server = &server;
  impl_->workers = &workers;
}

void Metrics::served(const Server::Served& request) {
  static const prometheus::Histogram::BucketBoundaries kBounds = {
      0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
  // A stranger's methods are not to fill the memory.
  bool is_known = request.method == "GET" || request.method == "POST" || request.method == "PUT" ||
                  request.method == "DELETE";
  std::string method(is_known ? request.method : "other");
  std::string route(request.route);
  impl_->requests
      .Add({{"route", route}, {"method", method}, {"status", std::to_string(request.status)}})
      .Increment();
  impl_->seconds.Add({{"route", route}}, kBounds)
      .Observe(static_cast<double>(request.us) / 1'000'000);
  impl_->bytes.Add({{"direction", "in"}}).Increment(static_cast<double>(request.received));
  impl_->bytes.Add({{"direction", "out"}}).Increment(static_cast<double>(request.sent));
}

void Metrics::handle(Request request, Answer done) {
  if (request.method != "GET" || request.target != "/metrics") {
    return done(say(404, "no such path"));
  }
  auto set = [](prometheus::Family<prometheus::Gauge>& family, const char* what, auto value) {
    family.Add({{"what", what}}).Set(static_cast<double>(value));
  };
  auto count_up = [](prometheus::Family<prometheus::Counter>& family, const char* what, auto to) {
    prometheus::Counter& counter = family.Add({{"what", what}});
    counter.Increment(static_cast<double>(to) - counter.Value());
  };
  if (impl_->server) {
    const Server::Stats& stats = impl_->server->stats();
    set(impl_->now, "connections", stats.connections.load());
    set(impl_->now, "watchers", stats.watchers.load());
    set(impl_->now, "body_bytes", stats.body_bytes.load());
    count_up(impl_->totals, "turned_away", stats.turned_away.load());
    const Workers::Counts& counts = impl_->workers->counts();
    count_up(impl_->totals, "groups", counts.groups.load());
    count_up(impl_->totals, "grouped_requests", counts.grouped.load());
    count_up(impl_->totals, "failed_groups", counts.failed.load());
    count_up(impl_->totals, "refused_requests", counts.refused.load());
  }
  Response response = say(200, prometheus::TextSerializer().Serialize(impl_->registry.Collect()));
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  done(std::move(response));
}

}  // namespace holdfast::relay
