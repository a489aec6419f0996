#include "src/privacy/ledger.h"

#include "holdfast/error.h"
#include "holdfast/privacy_ledger.h"

namespace holdfast {
namespace privacy {
namespace {

using store::Connection;
using store::Engine;
using store::Statement;

std::uint64_t size_of(Connection& connection) {
  Statement query(connection.prepare("SELECT coalesce(max(num) + 1, 0) FROM ledger"));
  query.step();
  return static_cast<std::uint64_t>(query.integer(0));
}

Hash32 hash_of(ByteView blob) {
  Hash32 out{};
  if (blob.size() != out.size()) throw Error(ErrorCode::corrupt, "the ledger has lost a hash");
  std::copy(blob.begin(), blob.end(), out.begin());
  return out;
}

Hash32 node_at(Connection& connection, unsigned level, std::uint64_t num) {
  Statement query(connection.prepare("SELECT hash FROM ledger_node WHERE level = ? AND num = ?"));
  query.bind(static_cast<std::int64_t>(level)).bind(num);
  if (!query.step()) throw Error(ErrorCode::corrupt, "the ledger has lost a hash");
  return hash_of(query.blob(0));
}

void put_node(Connection& connection, unsigned level, std::uint64_t num, const Hash32& hash) {
  Statement insert(connection.prepare("INSERT INTO ledger_node VALUES(?, ?, ?)"));
  insert.bind(static_cast<std::int64_t>(level)).bind(num).bind(ByteView(hash)).run();
}

MerkleTree tree_of(Connection& connection) {
  return MerkleTree(size_of(connection), [&connection](unsigned level, std::uint64_t num) {
    return node_at(connection, level, num);
  });
}

}  // namespace

Hash32 ledger_commitment(ByteView salt16, std::string_view entry) {
  return base::sha256({base::view("holdfast ledger v1"), salt16, base::view(entry)});
}

std::uint64_t append_to_ledger(Engine& engine, const char* kind, Json entry,
                               const std::optional<std::string>& payload) {
  Connection& connection = engine.database().connection();
  base::Random& random = *engine.environment().random;
  std::uint64_t num = size_of(connection);
  auto salt = random.array<16>();
  entry["kind"] = kind;
  entry["time_ms"] = engine.now_ms();
  base::Id16 payload_salt{};
  if (payload) {
    payload_salt = random.array<16>();
    entry["payload"] = base::to_hex(ledger_commitment(payload_salt, *payload));
  }
  std::string text = entry.dump();
  Hash32 leaf = merkle_leaf(ledger_commitment(salt, text));
  Statement insert(connection.prepare("INSERT INTO ledger VALUES(?, ?, ?, ?, ?, ?)"));
  insert.bind(num).bind(ByteView(leaf)).bind(ByteView(salt)).bind(text);
  if (payload) {
    insert.bind(ByteView(payload_salt)).bind(*payload);
  } else {
    insert.bind(nullptr).bind(nullptr);
  }
  insert.run();
  put_node(connection, 0, num, leaf);
  std::uint64_t at = num;
  for (unsigned level = 0; at % 2 == 1; ++level) {
    leaf = merkle_node(node_at(connection, level, at - 1), leaf);
    at /= 2;
    put_node(connection, level + 1, at, leaf);
  }
  return num;
}

}  // namespace privacy

namespace {

using namespace privacy;
using store::Connection;
using store::Statement;

std::vector<std::string> texts_of(const std::vector<Hash32>& hashes) {
  std::vector<std::string> out;
  out.reserve(hashes.size());
  for (const Hash32& hash : hashes) out.push_back(base::to_hex(hash));
  return out;
}

std::optional<Hash32> hash_of_text(const std::string& text) {
  std::optional<Bytes> bytes = base::from_hex(text);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return privacy::hash_of(*bytes);
}

std::optional<std::vector<Hash32>> hashes_of(const std::vector<std::string>& texts) {
  std::vector<Hash32> out;
  for (const std::string& text : texts) {
    std::optional<Hash32> hash = hash_of_text(text);
    if (!hash) return std::nullopt;
    out.push_back(*hash);
  }
  return out;
}

LedgerHead head_of(Connection& connection) {
  return {size_of(connection), base::to_hex(tree_of(connection).root())};
}

constexpr const char* kSelect =
    "SELECT num, leaf, salt, entry, payload_salt, payload FROM ledger WHERE num >= ? ORDER BY num";

LedgerEntry entry_of(const Statement& row) {
  LedgerEntry out;
  out.index = static_cast<std::uint64_t>(row.integer(0));
  out.entry = Json::parse(row.text(3), nullptr, false);
  if (!out.entry.is_object()) throw Error(ErrorCode::corrupt, "the ledger has lost an entry");
  if (!row.is_null(5)) out.payload = Json::parse(row.text(5), nullptr, false);
  out.salt = base::to_base64url(row.blob(2));
  out.commitment = base::to_hex(ledger_commitment(row.blob(2), row.text(3)));
  return out;
}

[[noreturn]] void altered(std::uint64_t index) {
  throw Error(ErrorCode::corrupt,
              "entry " + std::to_string(index) +
                  " of the ledger is not what it was: export the ledger and restore a backup");
}

void check_row(const Statement& row, std::uint64_t expected) {
  if (static_cast<std::uint64_t>(row.integer(0)) != expected) altered(expected);
  Hash32 leaf = merkle_leaf(ledger_commitment(row.blob(2), row.text(3)));
  if (leaf != privacy::hash_of(row.blob(1))) altered(expected);
  Json entry = Json::parse(row.text(3), nullptr, false);
  if (row.is_null(5)) return;
  auto commitment = entry.find("payload");
  bool fits = commitment != entry.end() && !row.is_null(4) &&
              *commitment == base::to_hex(ledger_commitment(row.blob(4), row.text(5)));
  if (!fits) altered(expected);
}

}  // namespace

std::string LedgerHead::text() const { return std::to_string(size) + ":" + root; }

LedgerHead LedgerHead::parse(const std::string& text) {
  std::size_t colon = text.find(':');
  LedgerHead out;
  bool digits = colon != text.npos && colon > 0 && colon <= 18 &&
                text.find_first_not_of("0123456789") == colon;
  if (!digits || !hash_of_text(text.substr(colon + 1))) {
    throw Error(ErrorCode::invalid_argument,
                "a ledger's head is its size, ':' and 64 hex digits, as 'egress head' prints it");
  }
  out.size = std::stoull(text.substr(0, colon));
  out.root = text.substr(colon + 1);
  return out;
}

LedgerHead PrivacyLedger::head() const {
  LedgerHead out;
  store_->engine().snapshot([&](Connection& connection) { out = head_of(connection); });
  return out;
}

void PrivacyLedger::for_each(const std::function<bool(const LedgerEntry&)>& visit,
                             std::uint64_t first) const {
  store_->engine().snapshot([&](Connection& connection) {
    Statement rows(connection.prepare(kSelect));
    rows.bind(first);
    while (rows.step()) {
      if (!visit(entry_of(rows))) return;
    }
  });
}

LedgerHead PrivacyLedger::verify(const std::optional<LedgerHead>& known) const {
  LedgerHead out;
  store_->engine().snapshot([&](Connection& connection) {
    // The roots of the whole subtrees so far, the largest first.
    std::vector<std::pair<unsigned, Hash32>> tops;
    std::uint64_t index = 0;
    auto root = [&] {
      Hash32 hash = base::sha256({});
      for (std::size_t i = tops.size(); i-- > 0;) {
        hash = i + 1 == tops.size() ? tops[i].second : merkle_node(tops[i].second, hash);
      }
      return hash;
    };
    auto check_known = [&] {
      if (!known || known->size != index || known->root == base::to_hex(root())) return;
      throw Error(ErrorCode::corrupt,
                  "the ledger does not continue the head that was given: its "
                  "first " +
                      std::to_string(index) + " entries are others");
    };
    Statement rows(connection.prepare(kSelect));
    rows.bind(std::uint64_t{0});
    check_known();
    while (rows.step()) {
      check_row(rows, index);
      Hash32 hash = privacy::hash_of(rows.blob(1));
      unsigned level = 0;
      std::uint64_t at = index;
      if (node_at(connection, 0, at) != hash) altered(index);
      while (!tops.empty() && tops.back().first == level) {
        hash = merkle_node(tops.back().second, hash);
        tops.pop_back();
        ++level;
        at /= 2;
        if (node_at(connection, level, at) != hash) altered(index);
      }
      tops.emplace_back(level, hash);
      ++index;
      check_known();
    }
    if (known && known->size > index) {
      throw Error(ErrorCode::corrupt,
                  "the ledger has lost entries: it has " + std::to_string(index) +
                      ", and the head that was given is of " + std::to_string(known->size));
    }
    out = {index, base::to_hex(root())};
  });
  return out;
}

std::vector<std::string> PrivacyLedger::prove_inclusion(std::uint64_t index) const {
  std::vector<std::string> out;
  store_->engine().snapshot([&](Connection& connection) {
    if (index >= size_of(connection)) {
      throw Error(ErrorCode::not_found,
                  "the ledger has no entry " + std::to_string(index) + ": list them first");
    }
    out = texts_of(tree_of(connection).inclusion(index));
  });
  return out;
}

std::vector<std::string> PrivacyLedger::prove_consistency(std::uint64_t old_size) const {
  std::vector<std::string> out;
  store_->engine().snapshot([&](Connection& connection) {
    if (old_size > size_of(connection)) {
      throw Error(ErrorCode::not_found, "the ledger has no " + std::to_string(old_size) +
                                            " entries: that head is of another one");
    }
    out = texts_of(tree_of(connection).consistency(old_size));
  });
  return out;
}

bool PrivacyLedger::check_inclusion(const LedgerEntry& entry, const LedgerHead& head,
                                    const std::vector<std::string>& proof) {
  auto salt = base::from_base64url(entry.salt);
  auto root = hash_of_text(head.root);
  auto path = hashes_of(proof);
  if (!salt || !root || !path) return false;
  Hash32 leaf = merkle_leaf(ledger_commitment(*salt, entry.entry.dump()));
  return verify_inclusion(leaf, entry.index, head.size, *path, *root);
}

bool PrivacyLedger::check_consistency(const LedgerHead& old_head, const LedgerHead& head,
                                      const std::vector<std::string>& proof) {
  auto old_root = hash_of_text(old_head.root);
  auto root = hash_of_text(head.root);
  auto path = hashes_of(proof);
  return old_root && root && path &&
         verify_consistency(old_head.size, *old_root, head.size, *root, *path);
}

void PrivacyLedger::export_ndjson(const std::function<void(const std::string&)>& write) const {
  store_->engine().snapshot([&](Connection& connection) {
    MerkleTree tree = tree_of(connection);
    Statement rows(connection.prepare(kSelect));
    rows.bind(std::uint64_t{0});
    while (rows.step()) {
      LedgerEntry entry = entry_of(rows);
      write(Json{{"index", entry.index},
                 {"entry", entry.entry},
                 {"salt", entry.salt},
                 {"commitment", entry.commitment},
                 {"proof", texts_of(tree.inclusion(entry.index))}}
                .dump());
    }
    LedgerHead head = head_of(connection);
    write(Json{{"head", {{"size", head.size}, {"root", head.root}}}}.dump());
  });
}

bool PrivacyLedger::forget_payload(std::uint64_t index) {
  store::Engine& engine = store_->engine();
  store::Engine::Transaction transaction(engine);
  Connection& connection = engine.database().connection();
  Statement update(
      connection.prepare("UPDATE ledger SET payload = NULL, payload_salt = NULL WHERE num = ? AND "
                         "payload IS NOT NULL"));
  update.bind(index).run();
  bool done = connection.changes() == 1;
  transaction.commit();
  return done;
}

}  // namespace holdfast
