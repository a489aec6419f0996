#include "relay/workers.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "holdfast/error.h"
#include "relay/answers.h"
#include "relay/opening.h"

namespace holdfast::relay {
namespace {

constexpr std::size_t kGroup = 128;             // requests that become durable together
constexpr std::size_t kGroupBytes = 32U << 20;  // or so many bytes of them and their answers
constexpr std::string_view kRecovery = "/v1/recovery/";
constexpr std::string_view kInvite = "invite.";

// What a request is about: the vault's id, which is a hash; that of the path where there is none,
// so that a mailbox is always in the same shard.
Hash32 key_of(const Request& request) {
  std::optional<Hash32> vault = Service::vault_of(request);
  return vault ? *vault : wire::sha256({base::view(request.path())});
}

Response unavailable() {
  return later(503, "the relay cannot store anything now: try again later", 5);
}

}  // namespace

Workers::Workers(std::vector<std::unique_ptr<Storage>> storages, base::Clock& clock,
                 base::Random& random, const Options& options)
    : options_(options), clock_(clock) {
  Bytes secret = Service::secret_of(*storages.at(0), random);
  for (auto& storage : storages) {
    auto worker = std::make_unique<Worker>();
    worker->service = std::make_unique<Service>(*storage, clock, random, options.service, secret);
    worker->storage = std::move(storage);
    workers_.push_back(std::move(worker));
  }
  for (auto& worker : workers_) worker->thread = std::thread([this, &worker] { run(*worker); });
}

Workers::~Workers() {
  for (auto& worker : workers_) {
    std::lock_guard lock(worker->mutex);
    worker->stops = true;
    worker->woken.notify_one();
  }
  for (auto& worker : workers_) worker->thread.join();
}

Caller Workers::caller(const std::string& target, const std::string& token) const {
  return workers_[0]->service->caller(target, token);
}

std::optional<Hash32> Workers::watches(const Request& request) const {
  if (request.method != "GET") return std::nullopt;
  if (request.target.find("wait=") == std::string::npos) return std::nullopt;
  return Service::vault_of(request);
}

Workers::Worker& Workers::worker_for(const Request& request) {
  return *workers_[shard_of(key_of(request), workers_.size())];
}

void Workers::handle(Request request, Answer done) {
  if (!options_.shared && request.path().starts_with(kRecovery)) {
    return find_vault(std::move(request), 0, std::move(done));
  }
  bool is_invited = request.path() == "/v1/vaults" && request.token.starts_with(kInvite);
  if (!options_.shared && is_invited) return admit(std::move(request), std::move(done));
  Worker& worker = worker_for(request);
  submit(worker, {std::move(request), std::move(done), nullptr});
}

// An invitation stands in a shard of its own; which vault spends it is written there first, so that
// the same vault may try again.
void Workers::admit(Request request, Answer done) {
  Hash32 code = wire::invite_hash(std::string_view(request.token).substr(kInvite.size()));
  Hash32 vault = wire::sha256({request.body});
  auto shared = std::make_shared<Waiting>(Waiting{std::move(request), std::move(done), nullptr});
  auto job = [this, code, vault, shared](Storage& storage) {
    storage.transaction(
        [&] { shared->request.is_admitted = storage.spend_invite(code, vault, clock_.now_ms()); });
    Worker& worker = worker_for(shared->request);
    submit(worker, std::move(*shared));
  };
  auto failed = [shared](Response response) { shared->done(std::move(response)); };
  submit(*workers_[shard_of(code, workers_.size())], {{}, failed, std::move(job)});
}

// A recovery key stands in the shard of its vault, whichever that is.
void Workers::find_vault(Request request, std::size_t at, Answer done) {
  Request again = request;
  submit(*workers_[at],
         {std::move(request),
          [this, at, again = std::move(again), done = std::move(done)](Response response) mutable {
            if (response.status == 404 && at + 1 < workers_.size()) {
              return find_vault(std::move(again), at + 1, std::move(done));
            }
            done(std::move(response));
          },
          nullptr});
}

void Workers::submit(Worker& worker, Waiting waiting) {
  {
    std::lock_guard lock(worker.mutex);
    if (!worker.stops && worker.waiting.size() < options_.max_waiting) {
      worker.waiting.push_back(std::move(waiting));
      worker.woken.notify_one();
      return;
    }
  }
  ++counts_.refused;
  waiting.done(later(503, "the relay is busy: try again later", 2));
}

void Workers::changes(std::vector<Hash32> vaults,
                      std::function<void(std::optional<Changes>)> done) {
  auto job = [vaults = std::move(vaults), done](Storage& storage) {
    Changes out;
    storage.group(Storage::Access::read, [&] { out = storage.changes(vaults); });
    done(std::move(out));
  };
  submit(*workers_[0], {{}, [done](Response) { done(std::nullopt); }, std::move(job)});
}

void Workers::ready(std::function<void(bool)> done) {
  auto job = [done](Storage& storage) {
    storage.group(Storage::Access::read, [&] { storage.changes({Hash32{}}); });
    done(true);
  };
  submit(*workers_[0], {{}, [done](Response) { done(false); }, std::move(job)});
}

void Workers::run(Worker& worker) {
  for (;;) {
    std::vector<Waiting> reads, writes, jobs;
    {
      std::unique_lock lock(worker.mutex);
      worker.woken.wait(lock, [&] { return worker.stops || !worker.waiting.empty(); });
      if (worker.waiting.empty()) return;
      std::size_t bytes = 0;
      std::size_t count = 0;
      while (!worker.waiting.empty() && count++ < kGroup && bytes < kGroupBytes) {
        Waiting& next = worker.waiting.front();
        bytes += next.request.body.size() + Service::answer_room(next.request);
        auto& kind = next.job ? jobs : Service::writes(next.request) ? writes : reads;
        kind.push_back(std::move(next));
        worker.waiting.pop_front();
      }
    }
    for (Waiting& one : jobs) {
      try {
        one.job(*worker.storage);
      } catch (const std::exception&) {
        one.done(unavailable());
      }
    }
    // Reads see what is durable, and need not wait for what is not yet.
    serve(worker, reads, Storage::Access::read);
    serve(worker, writes, Storage::Access::write);
  }
}

void Workers::serve(Worker& worker, std::vector<Waiting>& group, Storage::Access access) {
  if (group.empty()) return;
  // Those of one vault as they came, and mailboxes before vaults, each in the order of their keys:
  // so groups of several processes do not wait for each other in a circle.
  std::multimap<std::pair<bool, Hash32>, Waiting*> order;
  for (Waiting& one : group) {
    order.emplace(std::pair(Service::vault_of(one.request).has_value(), key_of(one.request)), &one);
  }
  std::vector<Waiting*> all;
  for (auto& [key, one] : order) all.push_back(one);
  std::vector<Response> responses;
  if (try_serve(worker, all, access, responses)) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i]->done(std::move(responses[i]));
    return;
  }
  // One of them may be the reason, or a connection that ended while nobody asked: each for itself.
  for (Waiting* one : all) {
    std::vector<Waiting*> alone{one};
    bool done = try_serve(worker, alone, access, responses);
    one->done(done ? std::move(responses[0]) : unavailable());
  }
}

// False where nothing of it was stored.
bool Workers::try_serve(Worker& worker, std::vector<Waiting*>& group, Storage::Access access,
                        std::vector<Response>& responses) {
  responses.clear();
  try {
    worker.storage->group(access, [&] {
      if (worker.storage->wants_expected()) {
        std::vector<Storage::Expected> expected;
        expected.reserve(group.size());
        for (Waiting* one : group) expected.push_back(worker.service->expected(one->request));
        worker.storage->expect(expected);
      }
      for (Waiting* one : group) {
        responses.push_back(worker.service->handle(one->request));
        const std::string& fault = responses.back().fault;
        if (!fault.empty()) spdlog::warn("a request could not be served: {}", fault);
      }
    });
  } catch (const std::exception& error) {
    ++counts_.failed;
    worker.service->forget();
    spdlog::warn("{} requests could not be served together: {}", group.size(), error.what());
    return false;
  }
  ++counts_.groups;
  counts_.grouped += group.size();
  return true;
}

}  // namespace holdfast::relay
