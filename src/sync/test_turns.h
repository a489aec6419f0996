#pragma once

// Several parties that wait for each other, as in two terminals, run as threads of which one works
// at a time: whoever sleeps hands on the turn. So what happens follows from the code alone.

#include <condition_variable>
#include <thread>

#include "src/sync/test_vault.h"

namespace holdfast::sync {

class Turns {
 public:
  // Runs all to their ends. What a party throws fails the test.
  void run(const std::vector<std::function<void()>>& parties) {
    alive_.assign(parties.size(), true);
    turn_ = 0;
    std::vector<std::thread> threads;
    threads.reserve(parties.size());
    for (std::size_t i = 0; i < parties.size(); ++i) {
      threads.emplace_back([this, i, &parties] {
        self() = i;
        wait_for(i);
        try {
          parties[i]();
        } catch (const std::exception& error) {
          ADD_FAILURE() << "party " << i << ": " << error.what();
        }
        std::lock_guard lock(mutex_);
        alive_[i] = false;
        pass();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void yield() {
    {
      std::lock_guard lock(mutex_);
      if (alive_.empty() || turn_ != self()) return;  // not one of the parties
      pass();
    }
    wait_for(self());
  }

 private:
  static std::size_t& self() {
    thread_local std::size_t index = SIZE_MAX;
    return index;
  }
  void pass() {
    for (std::size_t i = 1; i <= alive_.size(); ++i) {
      std::size_t next = (turn_ + i) % alive_.size();
      if (!alive_[next]) continue;
      turn_ = next;
      break;
    }
    changed_.notify_all();
  }
  void wait_for(std::size_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == index; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> alive_;
  std::size_t turn_ = 0;
};

// The shared clock, for a device that takes turns.
class TurnClock : public base::Clock {
 public:
  TurnClock(std::shared_ptr<base::FakeClock> clock, Turns& turns)
      : clock_(std::move(clock)), turns_(turns) {}
  std::int64_t now_ms() override { return clock_->now_ms(); }
  std::int64_t monotonic_ms() override { return clock_->monotonic_ms(); }
  void sleep_ms(std::int64_t ms) override {
    clock_->sleep_ms(ms);
    turns_.yield();
  }

 private:
  std::shared_ptr<base::FakeClock> clock_;
  Turns& turns_;
};

// A vault with one device, and another that wants in, each in a terminal of its own.
struct PairingScene {
  explicit PairingScene(int devices = 1, std::uint64_t seed = 1)
      : vault(devices, seed), newcomer(vault.relay, seed + 77) {
    for (auto& device : vault.devices) take_turns(*device);
    take_turns(newcomer);
  }
  void take_turns(TestDevice& device) {
    device.world.environment.clock = std::make_shared<TurnClock>(vault.clock, turns);
    device.open();
  }

  // What the inviting user does: the code is `shown`, and the answer `answer`.
  InviteOptions inviting(InviteOptions::Code kind = InviteOptions::Code::typed) {
    InviteOptions options;
    options.code = kind;
    options.show = [this](const std::string& code) { shown = code; };
    options.confirm = [this](const PairingPeer& peer) {
      asked = peer;
      return answer;
    };
    return options;
  }
  void join(const std::string& code, const std::string& name = "phone") {
    JoinOptions options;
    options.relay = kRelayUrl;
    options.show_fingerprint = [this](const std::string& digits) { fingerprint = digits; };
    newcomer.vault().join(code, {name, "phone"}, options);
  }
  // Waits until the inviter has shown its code, then joins with it.
  void join_when_shown() {
    while (shown.empty()) newcomer.world.environment.clock->sleep_ms(100);
    join(shown);
  }

  // Pairs the two, whatever comes of it: the codes of what they threw. Once the newcomer is
  // through, the inviter waits no longer.
  struct Ends {
    std::optional<ErrorCode> inviter, joiner;
  };
  Ends pair() {
    Ends ends;
    std::atomic<bool> stop = false;
    InviteOptions options = inviting();
    options.cancelled = &stop;
    auto party = [](std::optional<ErrorCode>& end, const std::function<void()>& work) {
      try {
        work();
      } catch (const Error& error) {
        EXPECT_STRNE(error.what(), "");
        end = error.code();
      }
    };
    turns.run({[&] {
                 party(ends.inviter, [&] { vault[0].vault().invite(options); });
                 if (shown.empty()) shown = "nothing";  // so that nobody waits for it
               },
               [&] {
                 party(ends.joiner, [&] { join_when_shown(); });
                 stop = true;
               }});
    return ends;
  }

  TestVault vault;
  TestDevice newcomer;
  Turns turns;
  std::string shown, fingerprint;
  PairingPeer asked;
  bool answer = true;
};

}  // namespace holdfast::sync
