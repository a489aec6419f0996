#include <cstdlib>

#include "holdfast/error.h"
#include "src/sync/test_simulation.h"

namespace holdfast::sync {
namespace {

constexpr std::size_t kMostDevices = 6;

}  // namespace

Simulation::Simulation(std::uint64_t seed)
    : rng_(seed), seed_(seed), clock_(std::make_shared<base::FakeClock>()), relay_(clock_) {
  relay_loses_ = seed % 2 == 1;
  carries_ = seed % 4 == 3;
  // In most runs checkpoints stand for batches soon.
  if (seed % 5 != 0) relay_.set_retention(seed % 5 < 3 ? 0 : 20'000);
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
  device.world.checkpoint_bytes = 9'000;
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

void Simulation::act() {
  Device& device = *devices_[rng_() % devices_.size()];
  std::uint64_t what = rng_() % 100;
  note(what);
  try {
    if (what < 40) return write(device);
    if (what < 64) return start_session(device);
    if (what < 70) return carry(device);
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

// A package goes from one device to another past the relay.
void Simulation::carry(Device& device) {
  if (!carries_) return;
  Device& other = *devices_[rng_() % devices_.size()];
  if (&other == &device) return;
  device.session.reset();
  other.session.reset();
  SyncPackage package = device.sync->prepare_sync_package();
  if (package.size() > 1 && chance(30)) package.erase(package.begin());
  say(&other, "is brought " + std::to_string(package.size()) + " batches");
  ApplyResult result = other.sync->apply_remote_changes(package);
  for (const std::string& text : result.rejected) say(&other, text);
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
      if (in.size() < 3 || &other == &one || carries_) return;
      say(&other, "is revoked");
      other.was_revoked = true;
      one.vault().revoke(other.engine().identity().id);
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
  second.world.checkpoint_bytes = 9'000;
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

}  // namespace holdfast::sync
