// The worked examples of docs/formats.md and docs/protocol.md are what the code writes, byte for
// byte.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/model/change_codec.h"
#include "src/store/header.h"
#include "src/sync/outbox.h"
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
  header.generation = 1;
  header.slots.push_back(
      store::make_slot(UserKey::raw(Bytes(32, 0x22)), header.database_id, data_key, {}, random));
  auto file = files.open("f", base::FileSystem::Mode::create);
  store::write_header(*file, header, data_key);
  ByteView page = ByteView(files.content("f")).first(4096);
  std::string text =
      row("magic", page.subspan(0, 8)) + row("version", page.subspan(8, 1)) +
      row("suite", page.subspan(9, 1)) + row("page size", page.subspan(10, 4)) +
      row("database id", page.subspan(14, 16)) + row("generation", page.subspan(30, 8)) +
      row("slots", page.subspan(38, 1)) + row("slot size", page.subspan(39, 2)) +
      row("kind", page.subspan(41, 1)) + row("public key", page.subspan(42, 32)) +
      row("wrapped size", page.subspan(74, 1)) + row("salt", page.subspan(75, 16)) +
      row("commitment", page.subspan(91, 32)) + row("data key", page.subspan(123, 32)) +
      row("tag", page.subspan(155, 16)) + row("MAC", page.last(32));
  EXPECT_TRUE(std::all_of(page.begin() + 171, page.end() - 32, [](auto b) { return b == 0; }));
  expect_in("formats.md", text);
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
                     row("ciphertext", b.subspan(149, 347)) + row("tag", b.subspan(496, 16)) +
                     row("leaf", leaf) + row("log id", content.seen.log_id) +
                     row("chain[0]", start) + row("chain[1]", wire::chain_next(start, 1, leaf));
  expect_in("formats.md", text);
  EXPECT_EQ(open_batch(batch, membership).changes.at(0).ops.at(0).value, "Hi");
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
