// What the ceremonies of a vault cost, each beside the least that any way of doing it costs:
// opening with a passphrase beside a raw key, pairing's agreement beside a bare key exchange,
// opening a vault of 1,000 records in its device list beside one of two, revoking among 20 devices
// beside changing the key for two. The relay is the real service in this process, over memory;
// waiting for people and polling does not count. Prints the ratios at the end.
//
//   cmake --preset dev && cmake --build --preset dev
//   build/dev/bin/vault_bench [--benchmark_repetitions=5]

#include <benchmark/benchmark.h>

#include <cstdio>

#include "src/crypto/cpace.h"
#include "src/crypto/kdf.h"
#include "src/sync/test_turns.h"

namespace holdfast::sync {
namespace {

using benchmark::State;

store::FakeWorld& world() {
  static store::FakeWorld one = [] {
    store::FakeWorld out;
    out.environment.clock = base::system_clock();  // so that Argon2id is calibrated
    return out;
  }();
  return one;
}

void open_with(State& state, const UserKey& key, const char* path) {
  EncryptedLocalStore(path, key, world().options());
  for (auto _ : state) EncryptedLocalStore(path, key, world().options());
}
void unlock_passphrase(State& state) {
  open_with(state, UserKey::passphrase("correct horse battery staple"), "p.db");
}
void unlock_raw(State& state) { open_with(state, store::FakeWorld::key(), "r.db"); }

void agree_cpace(State& state) {
  auto random = base::system_random();
  for (auto _ : state) {
    using crypto::Cpace;
    Cpace a(Cpace::Role::initiator, base::view("M4X9PT"), {}, {}, *random);
    Cpace b(Cpace::Role::responder, base::view("M4X9PT"), {}, {}, *random);
    auto ka = a.finish(b.share(), {}, {});
    auto kb = b.finish(a.share(), {}, {});
    benchmark::DoNotOptimize(crypto::equal(ka->own_tag.view(), kb->peer_tag.view()));
  }
}
void agree_x25519(State& state) {
  auto random = base::system_random();
  for (auto _ : state) {
    auto a = random->array<32>(), b = random->array<32>();
    base::Hash32 pa, pb, ka, kb;
    crypto_scalarmult_base(pa.data(), a.data());
    crypto_scalarmult_base(pb.data(), b.data());
    benchmark::DoNotOptimize(crypto_scalarmult(ka.data(), a.data(), pb.data()));
    benchmark::DoNotOptimize(crypto_scalarmult(kb.data(), b.data(), pa.data()));
  }
}

// All of it, in both processes: code, agreement, fingerprints, enrolment, entering.
void pair_devices(State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto scene = std::make_unique<PairingScene>();
    state.ResumeTiming();
    scene->turns.run({[&] { scene->vault[0].vault().invite(scene->inviting()); },
                      [&] { scene->join_when_shown(); }});
    state.PauseTiming();
    scene.reset();
    state.ResumeTiming();
  }
}
void join_by_ticket(State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto scene = std::make_unique<PairingScene>();
    state.ResumeTiming();
    scene->newcomer.vault().join(scene->vault[0].vault().invite_ticket(), "phone");
    state.PauseTiming();
    scene.reset();
    state.ResumeTiming();
  }
}

// A vault whose list has this many records, a change of the key in every second.
TestVault& vault_of(int records) {
  static std::map<int, std::unique_ptr<TestVault>> made;
  auto& vault = made[records];
  if (vault) return *vault;
  vault = std::make_unique<TestVault>(1);
  TestDevice& device = (*vault)[0];
  for (int i = 1; i < records; ++i) {
    if (i % 2 == 0) {
      device.vault().rotate_key();
    } else {
      device.vault().rename(device.store->engine().identity().id, "n" + std::to_string(i));
    }
  }
  return *vault;
}
void open_vault(State& state, int records) {
  TestDevice& device = vault_of(records)[0];
  for (auto _ : state) {
    device.open();
    benchmark::DoNotOptimize(device.vault().devices());
  }
}
void open_vault_1000(State& state) { open_vault(state, 1000); }
void open_vault_2(State& state) { open_vault(state, 2); }
void verify_list_1000(State& state) {
  TestVault& vault = vault_of(1000);
  std::vector<Bytes> records;
  for (Membership membership(vault[0].store->engine()); records.size() < 1000;) {
    for (Bytes& record : vault.relay.storage.control(membership.vault(), records.size())) {
      records.push_back(std::move(record));
    }
  }
  for (auto _ : state) {
    wire::ControlState list;
    for (const Bytes& record : records) list.append(record);
  }
}

void revoke_one_of_20(State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto vault = std::make_unique<TestVault>(20);
    base::Id16 last = (*vault)[19].store->engine().identity().id;
    state.ResumeTiming();
    (*vault)[0].vault().revoke(last);
    state.PauseTiming();
    vault.reset();
    state.ResumeTiming();
  }
}
void rotate_after_500(State& state) {
  TestVault& vault = vault_of(1000);
  for (auto _ : state) vault[0].vault().rotate_key();
}
void rotate_for_2(State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto vault = std::make_unique<TestVault>(2);
    state.ResumeTiming();
    (*vault)[0].vault().rotate_key();
    state.PauseTiming();
    vault.reset();
    state.ResumeTiming();
  }
}

BENCHMARK(unlock_passphrase)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(unlock_raw)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(agree_cpace)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(agree_x25519)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(pair_devices)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(join_by_ticket)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(open_vault_1000)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(open_vault_2)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(verify_list_1000)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(revoke_one_of_20)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(rotate_after_500)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(20);
BENCHMARK(rotate_for_2)->Unit(benchmark::kMillisecond)->UseRealTime();

// Keeps the medians (or the only run) for the ratios.
class Medians : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      bool median = run.aggregate_name == "median";
      if (!median && run.repetitions > 1) continue;
      of[run.run_name.function_name] = run.GetAdjustedRealTime();
    }
  }
  std::map<std::string, double> of;
};

}  // namespace
}  // namespace holdfast::sync

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  holdfast::sync::Medians medians;
  benchmark::RunSpecifiedBenchmarks(&medians);
  auto clock = holdfast::base::system_clock();
  holdfast::crypto::Argon2Cost cost = holdfast::crypto::calibrate_argon2(*clock);
  std::printf("Argon2id chosen here: %u MiB, %u passes\n", cost.memory_kib / 1024, cost.passes);
  for (auto [name, peer] : {std::pair{"unlock_passphrase", "unlock_raw"},
                            {"agree_cpace", "agree_x25519"},
                            {"pair_devices", "join_by_ticket"},
                            {"open_vault_1000", "open_vault_2"},
                            {"revoke_one_of_20", "rotate_for_2"},
                            {"rotate_after_500", "rotate_for_2"}}) {
    if (!medians.of.count(name) || !medians.of.count(peer)) continue;
    std::printf("%-18s %.2f times %s\n", name, medians.of[name] / medians.of[peer], peer);
  }
}
