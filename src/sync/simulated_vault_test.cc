#include <cstdlib>

#include "holdfast/error.h"
#include "src/sync/test_simulation.h"

namespace holdfast::sync {
namespace {

constexpr int kActions = 60;
constexpr std::size_t kMostDevices = 6;
constexpr int kHealingRounds = 8;
constexpr const char* kCanary = "canary-in-the-vault";

}  // namespace

Simulation::Simulation(std::uint64_t seed)
    : rng_(seed), seed_(seed), clock_(std::make_shared<base::FakeClock>()), relay_(clock_) {
  relay_loses_ = seed % 2 == 1;
}

Simulation::~Simulation() = default;

void Simulation::fail(const std::string& why) {
  if (failure_.empty()) failure_ = "seed " + std::to_string(seed_) + ": " + why;
}

// HOLDFAST_SEED_LOG shows what happens, line by line.
void Simulation::say(const Device* device, const std::string& text) {
  static const bool shown = std::getenv("HOLDFAST_SEED_LOG") != nullptr;
  if (!shown) return;
  std::size_t number = 0;
  while (number < devices_.size() && devices_[number].get() != device) ++number;
  std::printf("%9lld  %zu  %s\n", static_cast<long long>(clock_->now_ms() - 1'700'000'000'000),
              number, text.c_str());
}

void Simulation::note(std::uint64_t what) {
  trace_ = (trace_ ^ what) * 1099511628211u;
  trace_ = (trace_ ^ static_cast<std::uint64_t>(clock_->now_ms())) * 1099511628211u;
}

void Simulation::at(std::int64_t in_ms, std::function<void()> work) {
  queue_.push({clock_->now_ms() + in_ms, ++events_, std::move(work)});
}

Simulation::Device& Simulation::add_device(bool joins) {
  devices_.push_back(std::make_unique<Device>(*this, seed_ * 1000 + devices_.size()));
  Device& device = *devices_.back();
  device.open();
  if (!joins) {
    device.vault().create("first", [](const std::string&) {});
    device.vault().use_relay(kRelayUrl);
  }
  return device;
}

std::vector<Bytes> Simulation::list() {
  return relay_.storage.control(Membership(devices_[0]->engine()).vault(), 0);
}

bool Simulation::is_member(Device& device) {
  wire::ControlState state;
  for (const Bytes& record : list()) {
    state.append(record, wire::ControlState::Origin::stored);
  }
  return state.member(device.engine().identity().id) != nullptr;
}

std::vector<Simulation::Device*> Simulation::members() {
  std::vector<Device*> out;
  for (auto& device : devices_) {
    if (device->store && is_member(*device)) out.push_back(device.get());
  }
  return out;
}

base::HttpResponse Simulation::ask_relay(const base::HttpRequest& request) {
  return relay_.perform(request);
}

std::string Simulation::run() {
  Device& first = add_device(false);
  for (const char* path : {"$.text", "$.count"}) {
    FieldType type = path == std::string("$.text") ? FieldType::text : FieldType::counter;
    ConflictResolver(*first.store).set_policy(policy(path, Strategy::merge, type));
  }
  first.store->store("shared0", {{"text", "start"}, {"count", 0}, {"word", kCanary}});
  std::size_t count = 2 + rng_() % 2;
  while (devices_.size() < count) {
    add_device(true).vault().join(first.vault().invite_ticket(), "device");
  }
  for (auto& device : devices_) device->sync->sync();
  relay_copy_ = relay_.backup();
  for (int i = 0; i < kActions && failure_.empty(); ++i) {
    act();
    // Some time passes, and what is under way arrives.
    std::int64_t until = clock_->now_ms() + static_cast<std::int64_t>(rng_() % 400);
    while (!queue_.empty() && queue_.top().at_ms <= until && failure_.empty()) {
      Event event = queue_.top();
      queue_.pop();
      clock_->advance_ms(std::max<std::int64_t>(0, event.at_ms - clock_->now_ms()));
      event.work();
    }
    clock_->advance_ms(std::max<std::int64_t>(0, until - clock_->now_ms()));
  }
  if (failure_.empty()) heal();
  if (failure_.empty()) compare();
  return failure_;
}

void Simulation::act() {
  Device& device = *devices_[rng_() % devices_.size()];
  std::uint64_t what = rng_() % 100;
  note(what);
  try {
    if (what < 40) return write(device);
    if (what < 70) return start_session(device);
    if (what < 74) return crash(device);
    if (what < 77) device.world.files->fail_writes = !device.world.files->fail_writes;
    if (what >= 77 && what < 80) device.is_cut_off = !device.is_cut_off;
    if (what >= 80 && what < 84) {
      constexpr std::int64_t kSkews[] = {0, -3'600'000, 3'600'000, 86'400'000 * 400LL, -86'400'000};
      device.clock->skew_ms = kSkews[rng_() % 5];
    }
    if (what >= 84 && what < 90) return ceremony();
    if (what >= 90 && what < 94) {
      say(&device, "is copied");
      device.copy = device.world.files->after_kill();
      device.copy->fail_writes = false;
      device.own_in_copy = device.own.size();
    }
    if (what >= 94 && what < 96) return put_back(device);
    if (what == 96) return clone(device);
    if (what >= 97) return relay_fails();
    check_causality(device);
  } catch (const Error& error) {
    note(static_cast<std::uint64_t>(error.code()));
    say(&device, std::string("fails: ") + error.what());
    bool expected = error.code() == ErrorCode::io || error.code() == ErrorCode::busy ||
                    error.code() == ErrorCode::revoked || error.code() == ErrorCode::not_found ||
                    error.code() == ErrorCode::unreachable || error.code() == ErrorCode::fork ||
                    error.code() == ErrorCode::exists || error.code() == ErrorCode::refused ||
                    error.code() == ErrorCode::invalid_argument ||
                    error.code() == ErrorCode::protocol;
    if (!expected) fail(std::string("an action failed: ") + error.what());
    if (error.code() == ErrorCode::io) crash(device);
  }
}

void Simulation::write(Device& device) {
  if (chance(60)) {
    write_own(device);
  } else {
    write_shared(device);
  }
}

void Simulation::write_own(Device& device) {
  Written next;
  if (!device.own.empty() && chance(25)) {
    Written& old = written_[device.own[rng_() % device.own.size()]];
    if (old.is_deleted || old.may_be_lost || !device.store->retrieve(old.id)) return;
    device.store->remove(old.id);
    say(&device, "removes " + old.id);
    old.is_deleted = true;
    old.is_sent = false;
    return;
  }
  next.id = "own" + std::to_string(next_id_++);
  next.by = &device;
  for (const std::string& id : device.store->list()) {
    if (id.starts_with("own")) next.knows.push_back(id);
  }
  say(&device, "writes " + next.id);
  device.store->store(next.id, {{"by", kCanary}, {"knows", next.knows}});
  device.own.push_back(next.id);
  written_[next.id] = next;
}

void Simulation::write_shared(Device& device) {
  std::string id = "shared" + std::to_string(rng_() % 3);
  std::optional<nlohmann::json> now = device.store->retrieve(id);
  switch (rng_() % 4) {
    case 0:
      if (now) device.store->remove(id);
      return;
    case 1:
      if (!now) break;
      (*now)["text"] = now->value("text", "") + " " + std::to_string(rng_() % 100);
      device.store->store(id, *now);
      return;
    case 2:
      if (!now) break;
      (*now)["count"] = now->value("count", 0) + 1;
      device.store->store(id, *now);
      return;
    default: break;
  }
  nlohmann::json fresh = now.value_or(nlohmann::json{{"text", "new"}, {"count", 0}});
  fresh["word"] = std::string(kCanary) + std::to_string(rng_() % 1000);
  device.store->store(id, fresh);
}

void Simulation::start_session(Device& device) {
  if (device.session) return;
  say(&device, "sync starts");
  device.session.emplace(device.engine(), kRelayUrl, *device.world.environment.random);
  device.session_number = next_session_++;
  step_session(device, device.session_number);
}

void Simulation::end_session(Device& device) {
  const std::optional<Error>& failure = device.session->failure();
  say(&device, std::string("sync ends: ") + (failure ? failure->what() : "good"));
  for (const std::string& text : device.session->counts().notices) say(&device, text);
  for (const std::string& text : device.session->counts().rejected) say(&device, text);
  note(failure ? 1000 + static_cast<std::uint64_t>(failure->code()) : 999);
  if (!failure) {
    for (const std::string& id : device.own) written_[id].is_sent = true;
  }
  device.session.reset();
}

void Simulation::step_session(Device& device, std::uint64_t session) {
  if (!device.session || device.session_number != session) return;
  try {
    switch (device.session->next()) {
      case Session::Next::done: return end_session(device);
      case Session::Next::wait: {
        std::int64_t wait = device.session->wait_ms();
        return at(wait, [this, &device, session] {
          if (!device.session || device.session_number != session) return;
          device.session->waited();
          step_session(device, session);
        });
      }
      case Session::Next::request: return send(device, session);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::io) return fail(std::string("a sync threw: ") + error.what());
    crash(device);
  }
}

// A request and its answer each take their time, get lost, or arrive twice.
void Simulation::send(Device& device, std::uint64_t session) {
  base::HttpRequest request = device.session->request();
  auto answer = [this, &device, session](base::HttpResponse response) {
    if (!device.session || device.session_number != session) return;
    try {
      device.session->deliver(response);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::io) return fail(std::string("a sync threw: ") + error.what());
      return crash(device);
    }
    step_session(device, session);
  };
  auto delay = [this] { return static_cast<std::int64_t>(1 + rng_() % (chance(10) ? 2000 : 60)); };
  bool is_lost = device.is_cut_off || chance(4);
  if (is_lost) return at(200, [answer] { answer({0, {}, 0, "lost"}); });
  bool answer_lost = chance(4);
  if (chance(4)) at(delay(), [this, request] { relay_.perform(request); });
  at(delay(), [this, request, answer, answer_lost, back = delay()] {
    base::HttpResponse response = relay_.perform(request);
    if (answer_lost) response = {0, {}, 0, "lost on its way back"};
    at(back, [answer, response] { answer(response); });
  });
}

void Simulation::ceremony() {
  std::vector<Device*> in = members();
  if (in.empty()) return;
  Device& one = *in[rng_() % in.size()];
  if (one.is_cut_off || one.world.files->fail_writes || list_is_short_) return;
  one.session.reset();
  switch (rng_() % 4) {
    case 0:
      if (devices_.size() < kMostDevices) {
        std::string ticket = one.vault().invite_ticket();
        Device& joiner = add_device(true);
        try {
          joiner.vault().join(ticket, "device");
        } catch (const Error&) {
          devices_.pop_back();
          throw;
        }
      }
      break;
    case 1:
    case 2:
      say(&one, "rotates");
      one.vault().rotate_key();
      break;
    default: {
      Device& other = *in[rng_() % in.size()];
      if (in.size() > 2 && &other != &one) {
        say(&other, "is revoked");
        other.was_revoked = true;
      }
      if (in.size() > 2 && &other != &one) one.vault().revoke(other.engine().identity().id);
    }
  }
}

void Simulation::crash(Device& device) {
  device.session.reset();
  device.sync.reset();
  auto dead = std::move(device.store);
  device.store.reset();
  bool power = chance(50);
  say(&device, power ? "power cut" : "killed");
  device.world.environment.files = device.world.files =
      power ? device.world.files->after_power_cut() : device.world.files->after_kill();
  device.world.files->fail_writes = false;
  dead.reset();
  device.open();
}

// Its files are an earlier copy of themselves; what was written since is gone with the disk.
void Simulation::put_back(Device& device) {
  if (!device.copy || relay_loses_) return;
  say(&device, "put back, with own writes up to " + std::to_string(device.own_in_copy));
  for (std::size_t i = 0; i < device.own.size(); ++i) {
    Written& written = written_[device.own[i]];
    if (i >= device.own_in_copy && !written.is_sent) written.may_be_lost = true;
    if (written.is_deleted && !written.is_sent) written.may_be_lost = true;
  }
  device.session.reset();
  device.sync.reset();
  device.store.reset();
  device.world.environment.files = device.world.files = device.copy->after_kill();
  device.open();
}

// A second device runs on a copy of its files.
void Simulation::clone(Device& device) {
  if (!device.copy || relay_loses_ || devices_.size() >= kMostDevices) return;
  devices_.push_back(std::make_unique<Device>(*this, seed_ * 1000 + devices_.size()));
  Device& second = *devices_.back();
  say(&second, "is a clone");
  say(&device, "is cloned");
  second.world.environment.files = second.world.files = device.copy->after_kill();
  second.open();
}

void Simulation::relay_fails() {
  if (chance(30)) {
    say(nullptr, "the relay is copied");
    relay_copy_ = relay_.backup();
  } else if (chance(50) || !relay_loses_) {
    say(nullptr, "the relay restarts");
    relay_.restart();
  } else {
    say(nullptr, "the relay is put back");
    std::size_t records = list().size();
    relay_.put_back(relay_copy_, chance(50));
    // Who goes on from an older list without having known the newer makes two lists of it: that
    // cannot heal, and is not to be tried here.
    list_is_short_ = list_is_short_ || list().size() < records;
  }
}

// Whoever sees a write sees all that its writer saw.
void Simulation::check_causality(Device& device) {
  for (const std::string& id : device.store->list()) {
    if (!id.starts_with("own")) continue;
    nlohmann::json document = device.store->retrieve(id).value();
    for (const nlohmann::json& known : document.at("knows")) {
      const Written& before = written_[known.get<std::string>()];
      // What a device that is taken out wrote may not count, and what was built on it does.
      if (before.is_deleted || (before.by && before.by->was_revoked)) continue;
      if (device.store->retrieve(before.id)) continue;
      fail("a device shows " + id + " and not " + before.id + ", on which it was built");
    }
  }
}

void Simulation::heal() {
  while (!queue_.empty()) {  // what was under way arrives late
    Event event = queue_.top();
    queue_.pop();
    if (chance(50)) event.work();
  }
  for (auto& device : devices_) {
    device->session.reset();
    device->is_cut_off = false;
    device->clock->skew_ms = 0;
    crash(*device);
  }
  if (list_is_short_) relay_.service.begin_all_anew();  // its operator says so
  for (int round = 0; round < kHealingRounds && failure_.empty(); ++round) {
    clock_->advance_ms(2 * 60'000);
    bool all = true;
    for (auto& device : devices_) {
      SyncResult result = device->sync->sync();
      say(device.get(), "heals: " + result.message);
      for (const std::string& text : result.notices) say(device.get(), text);
      bool good = !result.error && result.notices.empty();
      note(static_cast<std::uint64_t>(result.state));
      all = all && (good || result.error == ErrorCode::revoked);
      if (round + 1 == kHealingRounds && !good && result.error != ErrorCode::revoked) {
        fail("a device does not become up to date: " + result.message +
             (result.notices.empty() ? "" : result.notices[0]));
      }
    }
    if (all && round >= 3) break;
  }
}

void Simulation::compare() {
  std::vector<Device*> in = members();
  if (in.empty()) return fail("nobody is left in the vault");
  Bytes state = in[0]->engine().records().canonical_state();
  for (Device* device : in) {
    if (device->engine().records().canonical_state() != state) fail("devices hold different data");
    if (device->engine().count_waiting() > 0) fail("change sets wait for what never comes");
    if (device->sync->count_pending() > 0) fail("something was not sent");
    if (LostBatches(device->engine()).count() > 0) fail("something was not brought back");
    check_causality(*device);
    for (const auto& writer : devices_) {
      bool is_in = std::find(in.begin(), in.end(), writer.get()) != in.end();
      for (const std::string& id : writer->own) {
        const Written& written = written_[id];
        if (written.may_be_lost || !is_in) continue;
        bool there = device->store->retrieve(id).has_value();
        if (there && written.is_deleted) fail(id + " was deleted, and came back");
        if (!there && !written.is_deleted) fail(id + " was written, and is lost");
      }
    }
  }
  if (base::text(relay_.wire_bytes).find(kCanary) != std::string_view::npos) {
    fail("the relay has seen what is in the vault");
  }
}

}  // namespace holdfast::sync
