#pragma once

// Threads that serve requests: each has a storage of its own and what concerns the vaults that fall
// to it, so that pushes to one vault never meet, and what waits at once becomes durable at once.

#include <condition_variable>
#include <deque>
#include <thread>

#include "relay/handler.h"

namespace holdfast::relay {

class Workers : public Handler {
 public:
  // One thread for each storage. With `shared`, all storages are the same database, which other
  // processes use, too; else each is a shard of its own, and keeps the vaults that fall to it.
  struct Options {
    ServiceOptions service;
    bool shared = false;
    std::size_t max_waiting = 20'000;  // requests of one thread; more are told to come later
  };
  Workers(std::vector<std::unique_ptr<Storage>> storages, base::Clock& clock, base::Random& random,
          const Options& options);
  ~Workers() override;  // answers what waits

  Caller caller(const std::string& target, const std::string& token) const override;
  std::size_t answer_room(const Request& request) const override {
    return Service::answer_room(request);
  }
  void handle(Request request, Answer done) override;
  std::optional<Hash32> watches(const Request& request) const override;
  bool is_shared() const override { return options_.shared; }
  void changes(std::vector<Hash32> vaults,
               std::function<void(std::optional<Changes>)> done) override;
  // Asks a storage whether it can be read. Any thread.
  void ready(std::function<void(bool)> done) override;

  struct Counts {  // since the start
    std::atomic<std::uint64_t> groups{0};
    std::atomic<std::uint64_t> grouped{0};  // requests in them
    std::atomic<std::uint64_t> failed{0};   // groups that were not stored
    std::atomic<std::uint64_t> refused{0};  // requests for which there was no room
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Waiting {
    Request request;
    Answer done;
    std::function<void(Storage&)> job;  // instead of a request; done() where it fails
  };
  struct Worker {
    std::unique_ptr<Storage> storage;
    std::unique_ptr<Service> service;
    std::mutex mutex;
    std::condition_variable woken;
    std::deque<Waiting> waiting;
    bool stops = false;
    std::thread thread;
  };

  Worker& worker_for(const Request& request);
  void submit(Worker& worker, Waiting waiting);
  void run(Worker& worker);
  void serve(Worker& worker, std::vector<Waiting>& group, Storage::Access access);
  bool try_serve(Worker& worker, std::vector<Waiting*>& group, Storage::Access access,
                 std::vector<Response>& responses);
  void admit(Request request, Answer done);
  void find_vault(Request request, std::size_t at, Answer done);

  const Options options_;
  base::Clock& clock_;
  Counts counts_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace holdfast::relay
