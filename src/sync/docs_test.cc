// The worked examples of docs/formats.md and docs/protocol.md are what the code writes, byte for
// byte.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/crypto/aead.h"
#include "src/model/change_codec.h"
#include "src/store/header.h"
#include "src/sync/outbox.h"
#include "src/sync/pairing.h"
#include "src/sync/test_vault.h"

namespace holdfast::sync {
namespace {

// "label  hex", broken after 32 bytes.
std::string row(const std::string& label, ByteView bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 32) {
    std::string hex = base::to_hex(bytes.subspan(at, std::min<std::size_t>(32, bytes.size() - at)));
    out += fmt::format("{:<14}{}\n", at == 0 ? label : "", hex);
  }
  return out;
}

class Table : public model::DeviceTable {
 public:
  std::uint64_t index_of(const model::DeviceId&) override { return 0; }
  const model::DeviceId& id_of(std::uint64_t) override { return id_; }

 private:
  model::DeviceId id_{};
};

void expect_in(const std::string& file, const std::string& example) {
  std::ifstream in(std::string(HOLDFAST_SOURCE) + "/docs/" + file);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_NE(text.str().find(example), std::string::npos) << "docs/" << file << " should hold:\n"
                                                         << example;
}

model::ChangeSet example_change() {
  model::ChangeSet change;
  change.device.fill(0xaa);
  change.sequence = 3;
  change.hlc.value = std::uint64_t{1'700'000'000'000} << 16;
  change.context.set(change.device, 2);
  model::DeviceId other;
  other.fill(0xbb);
  change.context.set(other, 7);
  model::Op op;
  op.collection = "notes";
  op.record = "n1";
  op.path = "/title";
  op.value = "Hi";
  change.ops.push_back(op);
  return change;
}

TEST(Docs, HeaderOfAStore) {
  base::SeededRandom random(1);
  base::MemoryFiles files;
  Bytes data_key(32, 0x11);
  store::Header header;
  header.database_id = random.array<16>();
  header.secrets_key =
      crypto::seal_committing(data_key, store::kSecretsKeyContext, Bytes(32, 0x33), random);
  store::KeySlot slot = store::make_slot(1, UserKey::raw(Bytes(32, 0x22)), header.database_id,
                                         data_key, {}, 1'700'000'000'000, random);
  auto file = files.open("f", base::FileSystem::Mode::create);
  store::HeaderPages(*file, header, data_key, 0).set_slots({slot});
  ByteView page = ByteView(files.content("f")).first(4096);
  base::Reader in(page, "the header");
  std::string text;
  for (auto [name, size] : std::initializer_list<std::pair<const char*, std::size_t>>{
           {"magic", 8},        {"version", 1},     {"suite", 1},        {"page size", 4},
           {"database id", 16}, {"generation", 8},  {"replaced", 1},     {"checkpoint", 8},
           {"pages", 8},        {"table MAC", 16},  {"log", 8},          {"log frames", 8},
           {"log MAC", 16},     {"commits", 8},     {"root", 16},        {"secrets size", 1},
           {"salt", 16},        {"commitment", 32}, {"secrets key", 32}, {"tag", 16},
           {"slots", 1},        {"slot size", 2},   {"kind", 1},         {"number", 1},
           {"created", 8},      {"public key", 32}, {"slot id", 16},     {"own size", 2},
           {"salt", 16},        {"commitment", 32}, {"both keys", 64},   {"tag", 16},
           {"token size", 1},   {"salt", 16},       {"commitment", 32},  {"token", 32},
           {"tag", 16},         {"boxed size", 1}}) {
    text += row(name, in.raw(size));
  }
  ByteView rest = in.rest();
  EXPECT_TRUE(std::all_of(rest.begin(), rest.end() - 32, [](auto b) { return b == 0; }));
  expect_in("formats.md", text + row("MAC", page.last(32)));
}

TEST(Docs, StateOfARecord) {
  Table devices;
  model::Stamp stamp;
  stamp.dot.sequence = 3;
  stamp.hlc.value = std::uint64_t{1'700'000'000'000} << 16;
  expect_in("formats.md", row("state", model::encode_fresh_record(stamp, devices)));
}

TEST(Docs, ChangeSets) {
  expect_in("formats.md", row("change sets", model::encode_changes({example_change()})));
}

TEST(Docs, BatchLeafAndChain) {
  TestVault vault(1);
  Membership membership(vault[0].store->engine());
  base::SeededRandom random(7);
  BatchContent content;
  content.first = content.last = 3;
  content.seen = *membership.log();
  content.control_head = membership.control().head();
  model::ChangeSet change = example_change();
  change.device = vault[0].store->engine().identity().id;
  content.changes = model::encode_changes({change});
  Bytes batch = seal_batch(content, {}, membership, vault[0].store->engine().identity(), random);
  ByteView b = batch;
  ASSERT_EQ(batch.size(), 512u);
  base::Hash32 leaf = wire::leaf_of(batch);
  base::Hash32 start = wire::chain_start(content.seen.log_id);
  std::string text = row("version", b.subspan(0, 1)) + row("vault", b.subspan(1, 32)) +
                     row("batch id", b.subspan(33, 16)) + row("device", b.subspan(49, 16)) +
                     row("previous", b.subspan(65, 32)) + row("epoch", b.subspan(97, 4)) +
                     row("salt", b.subspan(101, 16)) + row("commitment", b.subspan(117, 32)) +
                     row("ciphertext", b.subspan(149, 283)) + row("tag", b.subspan(432, 16)) +
                     row("sig", b.subspan(448, 64)) + row("leaf", leaf) +
                     row("log id", content.seen.log_id) + row("chain[0]", start) +
                     row("chain[1]", wire::chain_next(start, 1, leaf));
  expect_in("formats.md", text);
  EXPECT_EQ(open_batch(batch, membership).changes.at(0).ops.at(0).value, "Hi");
}

TEST(Docs, PairingCode) {
  PairingCode code;
  code.place = base::to_bytes(base::view("7KQ2"));
  code.secret = crypto::Secret(base::view("M4X9PT"));
  base::Hash32 slot =
      base::sha256({base::view("holdfast pairing slot v1"), code.place, ByteView(Bytes{1, 1})});
  expect_in("formats.md", fmt::format("{:<14}{}\n", "code", to_text(code)) +
                              row("offer in", ByteView(slot).first(16)));
}

TEST(Docs, Protocol) {
  base::Id16 log_id;
  log_id.fill(0x10);
  base::Hash32 chain;
  chain.fill(0x20);
  wire::PushAnswer answer{
      log_id, 5, chain, {{wire::PushStatus::ok, 5}, {wire::PushStatus::duplicate, 2}}};
  wire::SessionRequest session;
  session.vault.fill(0x30);
  session.signer.fill(0x40);
  session.nonce = Bytes(4, 0x50);
  session.origin = "https://r.example";
  session.signature.fill(0x60);
  std::string text = row("push", wire::encode_list({Bytes{1, 2, 3}, Bytes{4}})) +
                     row("push answer", wire::encode(answer)) +
                     row("session", wire::encode(session));
  expect_in("protocol.md", text);
}

}  // namespace
}  // namespace holdfast::sync
