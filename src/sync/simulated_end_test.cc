// How a simulated vault ends: everything works again, and what it holds is compared with what was
// promised.

#include "holdfast/error.h"
#include "src/sync/test_simulation.h"

namespace holdfast::sync {
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
      for (const std::string& text : result.notices) {
        say(device.get(), text);
        bool differs = text.find("is not what this device holds") != std::string::npos;
        if (differs && !carries_) fail("devices come to different checkpoints of one place");
      }
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
  if (failure_.empty()) join_late();
}

// Somebody who was never there gets all of it, by then mostly from a checkpoint.
void Simulation::join_late() {
  std::vector<Device*> in = members();
  if (in.empty()) return;
  relay_.set_retention(0);
  clock_->advance_ms(2 * 3'600'000);
  for (int round = 0; round < 2; ++round) {
    for (Device* device : in) device->sync->sync();
  }
  try {
    std::string ticket = in[0]->vault().invite_ticket();
    Device& joiner = add_device(true);
    joiner.vault().join(ticket, "late");
    joiner.sync->sync();  // what counts for nothing is told once
    SyncResult result = joiner.sync->sync();
    if (result.error) {
      return fail("a newcomer cannot sync: " + result.message +
                  (result.rejected.empty() ? "" : result.rejected[0]));
    }
  } catch (const Error& error) {
    return fail(std::string("nobody can join: ") + error.what());
  }
  for (int round = 0; round < 2; ++round) {
    for (Device* device : members()) device->sync->sync();
  }
}

void Simulation::compare() {
  std::vector<Device*> in = members();
  if (in.empty()) return fail("nobody is left in the vault");
  Bytes state = in[0]->engine().locked()->records().canonical_state();
  for (Device* device : in) {
    if (device->engine().locked()->records().canonical_state() != state)
      fail("devices hold different data");
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

}  // namespace holdfast::sync
