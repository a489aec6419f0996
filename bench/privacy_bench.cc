// The privacy layer: documents a second through anonymiser, seal and gate, each beside a peer in
// the same run; the ledger at a million entries; precision and recall of the text scanner.
//
//   cmake --preset dev && cmake --build --preset dev
//   build/dev/bin/privacy_bench                      # or one of: anonymise gate ledger scanner

#include <fmt/format.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>

#include "holdfast/privacy_first_sync.h"
#include "src/crypto/hpke.h"
#include "src/privacy/ledger.h"
#include "src/privacy/test_samples.h"
#include "src/privacy/text_scanner.h"
#include "src/store/engine.h"
#include "src/wire/egress.h"

namespace {

using namespace holdfast;
using namespace holdfast::privacy;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The median of five runs, by one of `count`.
double median_of(int count, const std::function<void(int)>& work) {
  std::vector<double> times;
  for (int run = 0; run < 5; ++run) {
    times.push_back(seconds_of([&] {
                      for (int i = 0; i < count; ++i) work(i);
                    }) /
                    count);
  }
  std::sort(times.begin(), times.end());
  return times[2];
}

json document_of(int i) {
  return {{"model", "small-" + std::to_string(i % 7)},
          {"ms", i % 900},
          {"device_id", "device-" + std::to_string(i % 10)},
          {"email", "person" + std::to_string(i) + "@example.org"},
          {"place", {{"lat", 48.1 + i % 100 * 0.001}, {"lon", 11.5}}},
          {"note", "asked person" + std::to_string(i) + "@example.org about order " +
                       std::to_string(i * 17) + ", see https://example.org/o?token=" +
                       std::to_string(i) + " and more words that say nothing of anybody"}};
}

PrivacyPolicy policy_for(const crypto::HpkeKey& key, const char* note) {
  json fields = {{"/model", {{"action", "keep"}}},
                 {"/ms", {{"action", "generalise"}, {"to", "bucket"}, {"size", 10}}},
                 {"/device_id", {{"action", "pseudonym"}}},
                 {"/place", {{"action", "generalise"}, {"to", "cell"}}},
                 {"/note", {{"action", note}}}};
  return PrivacyPolicy::from_json(
      {{"holdfast_policy", 1},
       {"version", 1},
       {"destinations",
        {{{"id", "d"},
          {"controller", "c"},
          {"contact", "c"},
          {"jurisdiction", "DE"},
          {"url", "https://collect.example/v1"},
          {"keys",
           {{{"id", "k"},
             {"public_key", base::to_base64url(key.public_key())},
             {"not_before", "2000-01-01"},
             {"not_after", "2999-12-31"}}}}}}},
       {"purposes", {{{"id", "p"}, {"text", "p"}}}},
       {"data_types", {{{"id", "t"}, {"text", "t"}, {"fields", fields}}}},
       {"uses", {{{"data_type", "t"}, {"purpose", "p"}, {"destination", "d"}}}}});
}

void row(const char* what, double seconds, const char* peer, double peer_seconds) {
  fmt::print("| {} | {:.1f} us | {:.0f}/s | {} {:.1f} us | {:.2f} |\n", what, seconds * 1e6,
             1 / seconds, peer, peer_seconds * 1e6, seconds / peer_seconds);
}

void bench_anonymise() {
  fmt::print(
      "| a document of about 330 bytes | time | rate | peer | ratio |\n| --- | --- | --- | --- | "
      "--- |\n");
  auto random = base::system_random();
  crypto::HpkeKey key = crypto::HpkeKey::derive(random->array<32>());
  double parse = median_of(2000, [](int i) {
    std::string text = document_of(i).dump();
    if (json::parse(text).empty()) throw std::logic_error("empty");
  });
  DataAnonymizer without(policy_for(key, "drop"), "t");
  row("anonymised, text dropped",
      median_of(2000, [&](int i) { without.anonymize(document_of(i)); }), "written and parsed",
      parse);
  DataAnonymizer with(policy_for(key, "keep"), "t");
  row("anonymised, text scanned", median_of(300, [&](int i) { with.anonymize(document_of(i)); }),
      "written and parsed", parse);
  Bytes padded = wire::pad_payload(document_of(1).dump());
  double box = median_of(2000, [&](int) {
    Bytes out(padded.size() + crypto_box_SEALBYTES);
    if (crypto_box_seal(out.data(), padded.data(), padded.size(), key.public_key().data()) != 0) {
      throw std::logic_error("no box");
    }
  });
  row("sealed (HPKE, 512 bytes)",
      median_of(2000,
                [&](int) {
                  auto context = crypto::HpkeContext::sender(
                      crypto::HpkeAead::aes_256_gcm, key.public_key(), base::view("info"), *random);
                  context.seal(base::view("aad"), padded);
                }),
      "crypto_box_seal", box);
  row("anonymised, scanned and sealed",
      median_of(300,
                [&](int i) {
                  Bytes payload = wire::pad_payload(with.anonymize(document_of(i)).dump());
                  auto context = crypto::HpkeContext::sender(
                      crypto::HpkeAead::aes_256_gcm, key.public_key(), base::view("info"), *random);
                  context.seal(base::view("aad"), payload);
                }),
      "written and parsed", parse);
}

class Taking : public base::Network {
 public:
  base::HttpResponse perform(const base::HttpRequest&) override { return {200, {}, 0, ""}; }
};

struct Folder {
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("holdfast-privacy-" + std::to_string(getpid()));
};

EncryptedLocalStore open_store(const Folder& folder, const char* name,
                               const base::Environment& environment) {
  StoreOptions options;
  options.environment = &environment;
  return EncryptedLocalStore((folder.path / name).string(), UserKey::raw(Bytes(32, 7)), options);
}

void bench_gate() {
  Folder folder;
  base::Environment environment = base::system_environment();
  environment.network = std::make_shared<Taking>();
  auto store = open_store(folder, "gate.hf", environment);
  crypto::HpkeKey key = crypto::HpkeKey::derive(environment.random->array<32>());
  PrivacyFirstSync sync(store, policy_for(key, "keep"),
                        [](const PermissionRequest&) { return true; });
  sync.request_sync_permission("t", "p");
  int next = 0;
  double put =
      median_of(300, [&](int i) { store.store("r" + std::to_string(++next), document_of(i)); });
  fmt::print(
      "\n| through the whole gate | time | rate | peer | ratio |\n| --- | --- | --- | --- | --- "
      "|\n");
  row("checked, sealed, entered, sent",
      median_of(300,
                [&](int i) {
                  if (sync.sync_with_privacy(document_of(i), "d").status !=
                      SendResult::Status::sent) {
                    throw std::logic_error("not sent");
                  }
                }),
      "one store()", put);
}

void bench_ledger() {
  constexpr int kEntries = 1'000'000;
  Folder folder;
  base::Environment environment = base::system_environment();
  auto store = open_store(folder, "ledger.hf", environment);
  PrivacyLedger ledger(store);
  json entry = {
      {"grant", std::string(32, 'a')}, {"data_type", "t"}, {"egress", std::string(32, 'b')}};
  fmt::print(
      "\n| ledger of | an append among 1,000 | a proof of inclusion |\n| --- | --- | --- |\n");
  int there = 0;
  auto fill = [&](int upto) {
    while (there < upto) {
      store::Engine::Transaction transaction(store.engine());
      for (int i = 0; i < 10'000 && there < upto; ++i, ++there) {
        append_to_ledger(store.engine(), "send", entry);
      }
      transaction.commit();
    }
  };
  for (int size : {1000, 100'000, kEntries}) {
    fill(size);
    double append = median_of(1,
                              [&](int) {
                                store::Engine::Transaction transaction(store.engine());
                                for (int i = 0; i < 1000; ++i)
                                  append_to_ledger(store.engine(), "send", entry);
                                transaction.commit();
                              }) /
                    1000;
    there += 5000;
    double proof = median_of(1000, [&](int i) {
      ledger.prove_inclusion(static_cast<std::uint64_t>(i) * 7919 %
                             static_cast<std::uint64_t>(size));
    });
    fmt::print("| {} entries | {:.1f} us | {:.1f} us |\n", size, append * 1e6, proof * 1e6);
  }
  double alone = median_of(200, [&](int) {
    store::Engine::Transaction transaction(store.engine());
    append_to_ledger(store.engine(), "send", entry);
    transaction.commit();
  });
  fmt::print("one append in a transaction of its own, synced: {:.1f} us\n", alone * 1e6);
  fmt::print("{:.0f} bytes of the file an entry\n",
             static_cast<double>(std::filesystem::file_size(folder.path / "ledger.hf")) / there);
  fmt::print("verify() of {} entries: {:.2f} s\n", there, seconds_of([&] { ledger.verify(); }));
}

void bench_scanner() {
  constexpr std::size_t kSamples = 2000;
  TextScanner scanner;
  SampleMaker maker(42);
  std::map<std::string, std::size_t> right, wrong, gone;
  for (const std::string& kind : SampleMaker::kinds()) {
    for (const LabelledText& one : maker.make(kind, kSamples)) {
      std::string text = TextScanner::fold(one.text);
      gone[kind] += scanner.redact(text).find(one.secret) == std::string::npos;
      for (const Finding& finding : scanner.find(text)) {
        ++(finding.kind == kind ? right : wrong)[finding.kind];
      }
    }
  }
  std::size_t hit = 0;
  auto harmless = maker.harmless(kSamples * 5);
  for (const LabelledText& one : harmless) {
    std::vector<Finding> found = scanner.find(one.text);
    hit += !found.empty();
    for (const Finding& finding : found) ++wrong[finding.kind];
  }
  fmt::print("\n| kind | recall | precision |\n| --- | --- | --- |\n");
  for (const std::string& kind : SampleMaker::kinds()) {
    fmt::print("| {} | {:.3f} | {:.3f} |\n", kind,
               static_cast<double>(gone[kind]) / static_cast<double>(kSamples),
               static_cast<double>(right[kind]) / static_cast<double>(right[kind] + wrong[kind]));
  }
  fmt::print("of {} harmless sentences {:.3f} lost something; phones by {}\n", harmless.size(),
             static_cast<double>(hit) / static_cast<double>(harmless.size()),
             TextScanner::knows_phones() ? "libphonenumber" : "their shape");
}

}  // namespace

int main(int argc, char** argv) {
  std::string only = argc > 1 ? argv[1] : "";
  if (only.empty() || only == "anonymise") bench_anonymise();
  if (only.empty() || only == "gate") bench_gate();
  if (only.empty() || only == "ledger") bench_ledger();
  if (only.empty() || only == "scanner") bench_scanner();
  return 0;
}
