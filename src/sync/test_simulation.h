#pragma once

// A whole vault in one thread, from one seed: devices and the relay as shipped, over a network that
// loses, delays, doubles and reorders, disks that fill up and lose what was not synced, clocks that
// are wrong, stores that are copied or put back, a relay that restarts and loses data. Afterwards
// everything works again, and what the vault holds is compared with what was promised.

#include <queue>
#include <random>

#include "src/sync/rewind.h"
#include "src/sync/session.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {

class Simulation {
  static constexpr int kActions = 60;
  static constexpr int kHealingRounds = 8;
  static constexpr const char* kCanary = "canary-in-the-vault";

 public:
  explicit Simulation(std::uint64_t seed);
  ~Simulation();
  // Empty where all promises were kept; else which was not.
  std::string run();
  // What happened, as a hash: the same for the same seed.
  std::uint64_t trace() const { return trace_; }
  std::uint64_t events() const { return events_; }

 private:
  class Clock;
  struct Device;
  // One write that a store said it has kept: a record of its own, which nobody else touches.
  struct Written {
    std::string id;
    Device* by = nullptr;
    std::vector<std::string> knows;  // what its writer saw then
    bool is_deleted = false;         // by its own writer
    bool may_be_lost = false;        // with the disk it was on, before anybody had it
    bool is_sent = false;
  };

  bool chance(int percent) { return static_cast<int>(rng_() % 100) < percent; }
  void note(std::uint64_t what);
  void say(const Device* device, const std::string& text);
  void at(std::int64_t in_ms, std::function<void()> work);
  Device& add_device(bool joins);
  std::vector<Device*> members();
  std::vector<Bytes> list();
  bool is_member(Device& device);

  void act();
  void write(Device& device);
  void write_shared(Device& device);
  void write_own(Device& device);
  void carry(Device& device);
  void start_session(Device& device);
  void step_session(Device& device, std::uint64_t session);
  void send(Device& device, std::uint64_t session);
  base::HttpResponse ask_relay(const base::HttpRequest& request);
  void end_session(Device& device);
  void ceremony();
  void crash(Device& device);
  void put_back(Device& device);
  void clone(Device& device);
  void relay_fails();
  void check_causality(Device& device);
  void heal();
  void join_late();
  void compare();
  void fail(const std::string& why);

  std::mt19937_64 rng_;
  std::uint64_t seed_;
  std::shared_ptr<base::FakeClock> clock_;
  FakeRelay relay_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::map<std::string, Written> written_;
  Bytes relay_copy_;
  bool relay_loses_ = false;  // in this run; stores are copied in the others
  bool carries_ = false;      // packages past the relay, in this run; then nobody is taken out
  bool list_is_short_ = false;
  std::uint64_t next_session_ = 1;
  std::uint64_t next_id_ = 1;
  std::uint64_t trace_ = 14695981039346656037u;
  std::uint64_t events_ = 0;
  std::string failure_;

  struct Event {
    std::int64_t at_ms;
    std::uint64_t order;
    std::function<void()> work;
    bool operator<(const Event& other) const {
      return std::tie(at_ms, order) > std::tie(other.at_ms, other.order);
    }
  };
  std::priority_queue<Event> queue_;
};

// The one time, as a device's clock shows it.
class Simulation::Clock : public base::Clock {
 public:
  explicit Clock(std::shared_ptr<base::FakeClock> real) : real_(std::move(real)) {}
  std::int64_t now_ms() override { return real_->now_ms() + skew_ms; }
  std::int64_t monotonic_ms() override { return real_->monotonic_ms(); }
  void sleep_ms(std::int64_t ms) override { real_->sleep_ms(ms); }
  std::int64_t skew_ms = 0;

 private:
  std::shared_ptr<base::FakeClock> real_;
};

struct Simulation::Device {
  Device(Simulation& simulation, std::uint64_t seed)
      : world(seed), clock(std::make_shared<Clock>(simulation.clock_)) {
    world.environment.clock = clock;
    world.environment.network = std::make_shared<base::FakeNetwork>(
        [&simulation](const base::HttpRequest& request) { return simulation.ask_relay(request); });
  }
  void open() {
    session.reset();
    sync.reset();
    store.reset();
    store.emplace(world.open());
    sync.emplace(*store);
  }
  store::Engine& engine() { return store->engine(); }
  Vault vault() { return Vault(*store); }

  store::FakeWorld world;
  std::shared_ptr<Clock> clock;
  std::optional<EncryptedLocalStore> store;
  std::optional<IncrementalSync> sync;
  std::optional<Session> session;
  std::uint64_t session_number = 0;
  bool is_cut_off = false;
  bool was_revoked = false;
  std::vector<std::string> own;  // what it wrote for itself alone, in order
  std::shared_ptr<base::MemoryFiles> copy;
  std::size_t own_in_copy = 0;
};

}  // namespace holdfast::sync
