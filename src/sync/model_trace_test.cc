// Random runs of the model in models/sync.pml, step by step on the real classes: after each step
// the relay and the devices must be where the model has them. tests/model_test.sh makes the runs.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/model/change_codec.h"
#include "src/sync/checkpoints.h"
#include "src/sync/control_client.h"
#include "src/sync/session.h"
#include "src/sync/test_lies.h"

namespace holdfast::sync {
namespace {

constexpr std::uint64_t kNever = std::uint64_t{1} << 40;

struct TracedVault {
  TracedVault() : vault(0) {
    vault.add(100, kNever);
    vault.add(101, kNever);
  }

  TestDevice& device(std::size_t number) { return vault[number]; }

  // Up to where it would push, or to its end.
  void pull(std::size_t number) {
    store::Engine& engine = device(number).store->engine();
    sessions[number].emplace(engine, kRelayUrl, *device(number).world.random);
    Session& session = *sessions[number];
    for (;;) {
      Session::Next next = session.next();
      if (next == Session::Next::done) return sessions[number].reset();
      if (next == Session::Next::wait) {
        session.waited();
        continue;
      }
      if (session.request().url.ends_with("/batches")) return;
      session.deliver(vault.relay.perform(session.request()));
    }
  }

  void push(std::size_t number, bool is_answered) {
    Session& session = sessions[number].value();
    if (session.next() == Session::Next::wait) {
      session.waited();
      session.next();
    }
    ASSERT_TRUE(session.request().url.ends_with("/batches"));
    base::HttpResponse answer = vault.relay.perform(session.request());
    if (!is_answered) answer = {0, {}, 0, "lost"};
    session.deliver(answer);
    if (is_answered) sessions[number].reset();
  }

  void propose(std::size_t number) {
    reopen(number, 1);
    device(number).sync->sync();
    reopen(number, kNever);
  }
  void reopen(std::size_t number, std::uint64_t checkpoint_bytes) {
    device(number).world.checkpoint_bytes = checkpoint_bytes;
    device(number).open();
  }

  // The relay lets go of what the checkpoint stands for, once somebody asks it for anything.
  void drop(std::size_t member) {
    vault.clock->advance_ms(2 * kHourMs);
    vault.relay.set_retention(0);
    store::Engine& engine = device(member).store->engine();
    RelayClient client(kRelayUrl);
    client.set_vault(Membership(engine).vault());
    sign_in(engine, client, engine.identity().sign);
    ask(engine, client.push({}));
    vault.relay.set_retention(90 * 24 * kHourMs);
  }

  std::uint64_t bit(std::string_view record) { return 1ull << (record.at(1) - '0'); }
  std::uint64_t bits_of(const std::vector<model::ChangeSet>& changes) {
    std::uint64_t out = 0;
    for (const model::ChangeSet& change : changes) {
      for (const model::Op& op : change.ops) out |= bit(op.record);
    }
    return out;
  }
  std::uint64_t has(std::size_t number) {
    std::uint64_t out = 0;
    for (const std::string& record : device(number).store->list()) out |= bit(record);
    return out;
  }
  std::uint64_t unsent(std::size_t number) {
    store::Engine& engine = device(number).store->engine();
    Membership membership(engine);
    std::uint64_t out = 0;
    for (const OutboxBatch& batch : Outbox(engine, membership).list(SIZE_MAX)) {
      out |= bits_of(open_batch(batch.body, membership).changes);
    }
    std::lock_guard lock(engine.mutex());
    store::Statement query(engine.database().connection().prepare("SELECT body FROM change"));
    while (query.step()) {
      out |= bits_of(model::decode_changes(query.blob(0), engine.identity().id));
    }
    return out;
  }

  // As the model says it.
  std::string state() {
    base::Hash32 id = Membership(device(0).store->engine()).vault();
    relay::Vault row = vault.relay.storage.vault(id).value();
    std::ostringstream out;
    out << "= " << row.head << ' ' << row.floor;
    for (auto which : {relay::Storage::Checkpoint::counts, relay::Storage::Checkpoint::proposed}) {
      Bytes stored = vault.relay.storage.checkpoint(id, which);
      out << ' ' << (stored.empty() ? 0 : wire::decode_checkpoint(stored).position);
    }
    for (std::size_t number = 0; number < 3; ++number) {
      if (number >= vault.devices.size()) {
        out << " 0/0/0";
        continue;
      }
      std::optional<LogPosition> log = Membership(device(number).store->engine()).log();
      out << ' ' << (log ? log->position : 0) << '/' << has(number) << '/' << unsent(number);
    }
    return out.str();
  }

  void step(const std::string& line) {
    std::istringstream words(line);
    std::string what;
    std::size_t who = 0;
    std::size_t whom = 0;
    words >> what >> who >> whom;
    if (what == "write") {
      std::size_t number = who * 2 + written[who]++;
      device(who).store->store("w" + std::to_string(number), {{"by", who}});
    } else if (what == "pull") {
      pull(who);
    } else if (what == "push" || what == "push-unanswered") {
      push(who, what == "push");
    } else if (what == "lose") {
      sessions[who].reset();
    } else if (what == "propose") {
      propose(who);
    } else if (what == "revoke") {
      device(who).vault().revoke(id_of(device(whom)));
      revoked = whom;
    } else if (what == "drop") {
      drop(revoked == std::size_t{0} ? 2 : 0);
    } else if (what == "join") {
      vault.add(102, kNever);
    } else {
      FAIL() << "the model says '" << line << "'";
    }
  }

  TestVault vault;
  std::map<std::size_t, std::optional<Session>> sessions;
  std::map<std::size_t, std::size_t> written;
  std::optional<std::size_t> revoked;
};

TEST(ModelTrace, EachStepLeadsWhereTheModelSays) {
  const char* path = std::getenv("HOLDFAST_TRACES");
  if (!path) GTEST_SKIP() << "tests/model_test.sh makes the traces that this one replays";
  std::ifstream traces(path);
  std::optional<TracedVault> traced;
  std::string line;
  std::string what;
  std::string history;
  std::uint64_t runs = 0;
  std::uint64_t steps = 0;
  while (std::getline(traces, line)) {
    if (line.starts_with("run")) {
      traced.emplace();
      history = line + "\n";
      ++runs;
    } else if (line.starts_with("=")) {
      ASSERT_EQ(traced->state(), line) << history;
    } else {
      history += line + "\n";
      ASSERT_NO_THROW(traced->step(line)) << history;
      ++steps;
    }
  }
  EXPECT_GT(steps, 20 * runs);
  std::printf("%llu steps of %llu runs of the model replayed\n",
              static_cast<unsigned long long>(steps), static_cast<unsigned long long>(runs));
}

}  // namespace
}  // namespace holdfast::sync
