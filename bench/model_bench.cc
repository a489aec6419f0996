// The model's work beside its peers': see bench/model_peers. Prints one line a result:
//   ENGINE WORK VALUE
// in CPU milliseconds, or bytes. "holdfast" is the model in memory, "holdfast-store" the same
// through encrypted stores.
//   model_bench FOLDER TRACE-AS-JSON [records|conflicts|text|curves]

#include <sys/resource.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "holdfast/conflict_resolver.h"
#include "src/model/change_codec.h"
#include "src/model/diff.h"
#include "src/model/sequence.h"
#include "src/model/view.h"
#include "src/store/engine.h"

namespace {

using namespace holdfast;
using namespace holdfast::model;
using nlohmann::json;

double cpu_ms() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

class Timer {
 public:
  double ms() const { return cpu_ms() - start_; }

 private:
  double start_ = cpu_ms();
};

void print(const char* engine, const std::string& work, double value) {
  std::printf("%s %s %.3f\n", engine, work.c_str(), value);
  std::fflush(stdout);
}

std::size_t zstd_size(ByteView bytes) {
  Bytes out(ZSTD_compressBound(bytes.size()));
  return ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
}

json document(int i) {
  return {{"title", "Title of record " + std::to_string(i)},
          {"body", "Some words of record " + std::to_string(i) + ", as a note would have them"},
          {"done", i % 2 == 0},
          {"count", i},
          {"ratio", i / 7.0},
          {"tag", "tag" + std::to_string(i % 10)},
          {"owner", "user" + std::to_string(i % 100)},
          {"created", 1'700'000'000'000 + i}};
}
std::string name(int i) { return "record-" + std::to_string(i); }

DeviceId device(std::uint8_t n) {
  DeviceId id{};
  id[0] = n;
  return id;
}

// A device with records in memory.
struct Memory {
  DeviceId id;
  std::map<std::string, Record> records;
  VersionVector seen;
  std::uint64_t now = 1'700'000'000'000;

  ChangeSet write(const std::string& record, Op op) {
    ChangeSet change;
    change.device = id;
    change.sequence = seen.at(id) + 1;
    change.hlc.value = ++now << 16;
    change.context = seen;
    op.collection = "records";
    op.record = record;
    change.ops.push_back(std::move(op));
    accept(change);
    return change;
  }
  void accept(const ChangeSet& change) {
    for (const Op& op : change.ops) apply(records[op.record], change, op);
    seen.set(change.device, change.sequence);
  }
};

Op put(const std::string& path, json value) {
  Op op;
  op.path = path;
  op.value = std::move(value);
  return op;
}

void records_in_memory(int count, bool print_all) {
  std::string suffix = print_all ? "" : "-" + std::to_string(count);
  Memory a{device(1), {}, {}};
  std::vector<ChangeSet> changes;
  Timer produce;
  for (int i = 0; i < count; ++i) changes.push_back(a.write(name(i), put("", document(i))));
  print("holdfast", "records-produce" + suffix, produce.ms());
  Timer encode;
  std::vector<Bytes> batches;  // of the size that sync makes them
  for (std::size_t i = 0; i < changes.size(); i += 10'000) {
    auto from = changes.begin() + static_cast<std::ptrdiff_t>(i);
    auto to = from + std::min<std::ptrdiff_t>(10'000, changes.end() - from);
    batches.push_back(encode_changes({from, to}));
  }
  print("holdfast", "records-encode" + suffix, encode.ms());
  std::size_t bytes = 0;
  for (const Bytes& batch : batches) bytes += zstd_size(batch);
  print("holdfast", "records-bytes" + suffix, static_cast<double>(bytes));
  Memory b{device(2), {}, {}};
  Timer apply;
  for (const Bytes& batch : batches) {
    for (const ChangeSet& change : decode_changes(batch, a.id)) b.accept(change);
  }
  print("holdfast", "records-apply" + suffix, apply.ms());
  if (!print_all) return;
  std::vector<ChangeSet> edits;
  Timer edit;
  for (int i = 0; i < 1000; ++i) edits.push_back(a.write(name(i), put("/title", "0123456789")));
  print("holdfast", "edits-produce", edit.ms());
  Bytes edited = encode_changes(edits);
  print("holdfast", "edits-bytes", static_cast<double>(edited.size()));
  print("holdfast", "edits-bytes-zstd", static_cast<double>(zstd_size(edited)));
  Timer apply_edits;
  for (const ChangeSet& change : decode_changes(edited, a.id)) b.accept(change);
  print("holdfast", "edits-apply", apply_edits.ms());
  ChangeSet lone = a.write(name(1), put("/title", "9876543210"));
  print("holdfast", "lone-bytes", static_cast<double>(encode_changes({lone}).size()));
}

// Both devices change `count` records, half of them in the same field; each takes the other's.
void conflicts_in_memory(int count, const std::string& suffix) {
  Memory a{device(1), {}, {}};
  Memory b{device(2), {}, {}};
  for (int i = 0; i < count; ++i) b.accept(a.write(name(i), put("", document(i))));
  std::vector<Bytes> of_a, of_b;
  for (int i = 0; i < count;) {
    std::vector<ChangeSet> changes_a, changes_b;
    for (int end = std::min(count, i + 10'000); i < end; ++i) {
      changes_a.push_back(a.write(name(i), put("/title", "changed by one side")));
      changes_b.push_back(
          b.write(name(i), put(i % 2 ? "/title" : "/body", "changed by the other")));
    }
    of_a.push_back(encode_changes(changes_a));
    of_b.push_back(encode_changes(changes_b));
  }
  std::size_t bytes = 0;
  for (const auto* batches : {&of_a, &of_b}) {
    for (const Bytes& batch : *batches) bytes += zstd_size(batch);
  }
  print("holdfast", "conflicts-bytes" + suffix, static_cast<double>(bytes));
  Timer merge;
  for (const Bytes& batch : of_b) {
    for (const ChangeSet& change : decode_changes(batch, b.id)) a.accept(change);
  }
  for (const Bytes& batch : of_a) {
    for (const ChangeSet& change : decode_changes(batch, a.id)) b.accept(change);
  }
  print("holdfast", "conflicts-merge" + suffix, merge.ms());
  Rules rules;
  std::size_t found = 0;
  for (const auto& [id, record] : a.records) found += render(record, rules).conflicts.size();
  if (found != static_cast<std::size_t>(count) / 2) std::fprintf(stderr, "conflicts: %zu\n", found);
}

std::vector<ChangeSet> unsent(store::Engine& engine) {
  std::vector<ChangeSet> out;
  base::Statement query(
      engine.database().connection().prepare("SELECT body FROM change ORDER BY sequence"));
  while (query.step()) out.push_back(decode_changes(query.blob(0), engine.identity().id).front());
  return out;
}

EncryptedLocalStore fresh(const std::string& path) {
  for (const char* end : {"", "-wal"}) std::filesystem::remove(path + end);
  return EncryptedLocalStore(path, UserKey::raw(Bytes(32, 7)));
}

void records_in_stores(const std::string& folder) {
  EncryptedLocalStore a = fresh(folder + "/a.hf");
  EncryptedLocalStore b = fresh(folder + "/b.hf");
  Timer produce;
  a.transaction([&] {
    for (int i = 0; i < 10'000; ++i) a.store(name(i), document(i));
  });
  print("holdfast-store", "records-produce", produce.ms());
  std::vector<ChangeSet> changes = unsent(a.engine());
  Timer encode;
  Bytes bytes = encode_changes(changes);
  print("holdfast-store", "records-encode", encode.ms());
  print("holdfast-store", "records-bytes", static_cast<double>(zstd_size(bytes)));
  Timer apply;
  b.engine().receive(decode_changes(bytes, a.engine().identity().id));
  print("holdfast-store", "records-apply", apply.ms());
  base::Statement state(
      b.engine().database().connection().prepare("SELECT sum(length(state)) FROM record"));
  state.step();
  print("holdfast-store", "metadata-bytes-a-record",
        static_cast<double>(state.integer(0)) / 10'000);
  a.engine().database().connection().execute("DELETE FROM change");
  Timer edit;
  a.transaction([&] {
    for (int i = 0; i < 1000; ++i) a.patch(name(i), {{"title", "0123456789"}});
  });
  print("holdfast-store", "edits-produce", edit.ms());
  std::vector<ChangeSet> edits = unsent(a.engine());
  Timer apply_edits;
  b.engine().receive(edits);
  print("holdfast-store", "edits-apply", apply_edits.ms());
}

void conflicts_in_stores(const std::string& folder) {
  EncryptedLocalStore a = fresh(folder + "/a.hf");
  EncryptedLocalStore b = fresh(folder + "/b.hf");
  a.transaction([&] {
    for (int i = 0; i < 5000; ++i) a.store(name(i), document(i));
  });
  b.engine().receive(unsent(a.engine()));
  for (EncryptedLocalStore* store : {&a, &b}) {
    store->engine().database().connection().execute("DELETE FROM change");
    store->transaction([&] {
      for (int i = 0; i < 5000; ++i) {
        bool same = store == &a || i % 2;
        store->patch(name(i), {{same ? "title" : "body", store == &a ? "one side" : "the other"}});
      }
    });
  }
  std::vector<ChangeSet> of_a = unsent(a.engine());
  std::vector<ChangeSet> of_b = unsent(b.engine());
  Timer merge;
  a.engine().receive(of_b);
  b.engine().receive(of_a);
  print("holdfast-store", "conflicts-merge", merge.ms());
  std::size_t found = ConflictResolver(a).conflicts().size();
  if (found != 2500) std::fprintf(stderr, "conflicts: %zu\n", found);
}

class Devices : public DeviceTable {
 public:
  std::uint64_t index_of(const DeviceId& id) override { return id[0]; }
  const DeviceId& id_of(std::uint64_t index) override {
    return id_ = device(static_cast<std::uint8_t>(index));
  }

 private:
  DeviceId id_;
};

Bytes encoded(const Sequence& text) {
  Devices devices;
  base::Writer out;
  out.sized(to_utf8(text.content()));
  text.encode_log(out, devices);
  return out.take();
}

Sequence decoded(ByteView bytes) {
  Devices devices;
  base::Reader in(bytes, "a text");
  Units content = to_units(in.sized_text());
  return Sequence::decode(in, std::move(content), devices);
}

// Two authors type `each` characters at once, a word here and a word there.
double merge_ms(const Sequence& start, VersionVector seen, std::size_t each) {
  std::vector<std::vector<Patches>> typed(2);
  for (std::size_t author = 0; author < 2; ++author) {
    std::uint64_t random = author + 1;
    std::size_t at = 0;
    for (std::size_t i = 0; i < each; ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      if (i % 8 == 0) at = (random >> 33) % (start.size() + i + 1);
      typed[author].push_back({{at++, 0, Units(1, static_cast<char32_t>('a' + i % 26))}});
    }
  }
  Sequence text = start;
  VersionVector knows = seen;
  for (std::size_t i = 0; i < each; ++i) {
    text.apply({device(10), i + 1}, knows, typed[0][i]);
    knows.set(device(10), i + 1);
  }
  text.size();
  Timer merge;
  knows = seen;
  for (std::size_t i = 0; i < each; ++i) {
    text.apply({device(11), i + 1}, knows, typed[1][i]);
    knows.set(device(11), i + 1);
  }
  text.size();
  return merge.ms();
}

void text_trace(const json& trace) {
  std::vector<Patches> edits;
  for (const json& txn : trace["txns"]) {
    Patches patches;
    for (const json& patch : txn["patches"]) {
      patches.push_back({patch[0].get<std::uint64_t>(), patch[1].get<std::uint64_t>(),
                         to_units(patch[2].get<std::string>())});
    }
    edits.push_back(std::move(patches));
  }
  Sequence text;
  VersionVector seen;
  Timer apply;
  for (std::size_t i = 0; i < edits.size(); ++i) {
    text.apply({device(1), i + 1}, seen, edits[i]);
    seen.set(device(1), i + 1);
  }
  std::string end = to_utf8(text.content());
  print("holdfast", "text-apply", apply.ms());
  if (end != trace["endContent"].get<std::string>()) std::fprintf(stderr, "the trace ends wrong\n");
  Bytes bytes = encoded(text);
  print("holdfast", "text-bytes", static_cast<double>(zstd_size(bytes)));
  Timer load;
  Sequence again = decoded(bytes);
  std::size_t size = again.size();
  print("holdfast", "text-load", load.ms());
  if (size != end.size()) std::fprintf(stderr, "the text loads wrong\n");
  print("holdfast", "text-merge", merge_ms(text, seen, 10'000));
}

void curves() {
  for (int count : {1000, 3000, 10'000, 30'000}) records_in_memory(count, false);
  for (int count : {1000, 3000, 10'000, 30'000})
    conflicts_in_memory(count, "-" + std::to_string(count));
  for (std::size_t each : {1000u, 3000u, 10'000u, 30'000u}) {
    print("holdfast", "text-merge-" + std::to_string(each),
          merge_ms(Sequence(Units(100'000, U'x')), {}, each));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::string folder = argv[1];
  std::string what = argv[3];
  if (what == "records") {
    records_in_memory(10'000, true);
    records_in_stores(folder);
  } else if (what == "conflicts") {
    conflicts_in_memory(5000, "");
    conflicts_in_stores(folder);
  } else if (what == "text") {
    std::ifstream in(argv[2]);
    text_trace(json::parse(in));
  } else {
    curves();
  }
}
