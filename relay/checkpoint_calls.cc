// The service's calls on checkpoints: what stands for the beginning of a log, so that the relay
// need not keep all of it for ever.

#include <algorithm>

#include "relay/answers.h"

namespace holdfast::relay {
namespace {

constexpr std::int64_t kUnusedBlobMs = 7 * 24 * 3'600'000LL;  // an upload may take that long
constexpr std::int64_t kRetainEachMs = 3'600'000;

}  // namespace

Response Service::stubs(const Session& session, const std::string& query) {
  wire::StubPage page;
  page.log_id = storage_.vault(session.vault).value().log_id;
  page.after = query_number(query, "after", 0);
  page.stubs = storage_.stubs(session.vault, page.after);
  return answer(wire::encode(page));
}

// Batches that this relay has lost, and whose bytes are nowhere any more: the checkpoint that
// stands for them proves that they were there.
Response Service::restore_stubs(const Session& session, ByteView body) {
  using wire::PushStatus;
  auto [checkpoint, page] = wire::decode_stub_restore(body);
  Vault vault = storage_.vault(session.vault).value();
  const wire::ControlState& state = control_state(session.vault);
  bool may_be = page.log_id == vault.log_id && page.after <= vault.head && !page.stubs.empty() &&
                page.after + page.stubs.size() == checkpoint.position &&
                wire::counts(checkpoint, state);
  if (!may_be) return say(409, "the checkpoint is of another log");
  // Where those asked for are, or 0: batches are the same where their leaves are.
  std::map<Hash32, std::uint64_t> here;
  std::set<Id16> names;
  for (const wire::Stub& stub : page.stubs) {
    if (!state.device(stub.device)) return say(400, "a batch is of no device of the vault");
    bool is_new = names.insert(stub.batch).second && here.emplace(stub.leaf, 0).second;
    if (!is_new) return say(400, "a batch is named twice");
  }
  charge(session.vault, vault.head - page.after);
  for (std::uint64_t at = page.after; at < vault.head;) {
    std::vector<wire::Stub> stored = storage_.stubs(session.vault, at);
    if (stored.empty()) throw Error(ErrorCode::corrupt, "a log has a gap");
    for (const wire::Stub& stub : stored) {
      ++at;
      if (auto asked = here.find(stub.leaf); asked != here.end()) asked->second = at;
    }
  }
  auto stored = storage_.batch_places(session.vault, {names.begin(), names.end()});
  std::uint64_t missing = 0;
  for (const wire::Stub& stub : page.stubs) {
    auto found = stored.find(stub.batch);
    if (found != stored.end() && found->second.second != stub.leaf) {
      return say(409, "another batch is here under its name");
    }
    std::uint64_t& place = here.at(stub.leaf);
    if (place == 0 && found != stored.end()) place = found->second.first;
    missing += place == 0;
  }
  // As for chunks: the checkpoint that comes with it lets go of more.
  std::uint64_t quota = quota_of(vault);
  bool is_full = vault.head + missing > options_.vault_batches ||
                 vault.bytes + missing * kPlaceBytes > quota + quota / 2;
  if (missing > 0 && is_full) return say(507, kFull);
  if (!has_chunks(session.vault, checkpoint)) return say(409, "a part of it is missing");
  Hash32 history = history_at(session.vault, vault, page.after);
  std::uint64_t position = page.after;
  for (const wire::Stub& stub : page.stubs) {
    history = wire::history_next(history, ++position, stub.leaf);
  }
  if (history != checkpoint.history) return say(409, "the checkpoint is of another log");
  std::optional<wire::Checkpoint> old = counted(session.vault);
  bool is_of_log = true;
  const std::uint64_t floor = vault.floor;
  position = page.after;
  wire::PushAnswer out;
  storage_.transaction([&] {
    for (const wire::Stub& stub : page.stubs) {
      std::uint64_t place = here.at(stub.leaf);
      std::uint64_t goes_to = place == 0 ? vault.head + 1 : place;
      is_of_log = is_of_log && goes_to == ++position;
      if (place != 0) {
        out.items.push_back({PushStatus::duplicate, place});
        continue;
      }
      vault.floor = ++vault.head;
      vault.bytes += kPlaceBytes;
      vault.chain = wire::chain_next(vault.chain, vault.head, stub.leaf);
      storage_.add_batch(session.vault, {vault.head, vault.chain, clock_.now_ms()}, stub, {});
      out.items.push_back({PushStatus::ok, vault.head});
      // Whose they are only the checkpoint says.
      for (const auto& [device, leaf] : checkpoint.leaves) {
        if (leaf == stub.leaf) storage_.set_device_leaf(session.vault, device, leaf);
      }
    }
    // Nothing stands here without what stands for it.
    bool is_newer = (!old || old->position < checkpoint.position) && floor <= checkpoint.position;
    if (is_of_log && is_newer) accept(session.vault, vault, checkpoint);
    storage_.put_vault(session.vault, vault);
  });
  out.log_id = vault.log_id;
  out.head = vault.head;
  out.chain = vault.chain;
  return answer(wire::encode(out));
}

// To read a long log counts as many requests, since others wait meanwhile.
void Service::charge(const Hash32& vault, std::uint64_t batches) {
  constexpr double kBatchesOfARequest = 1000;
  constexpr double kMostBursts = 4;  // or honest devices would be kept out for long
  rates_[vault].add(
      std::min(static_cast<double>(batches) / kBatchesOfARequest, kMostBursts * most_at_once()));
}

// What the log's leaves come to up to a place. Page after page it goes on from where it was.
Hash32 Service::history_at(const Hash32& vault_id, const Vault& vault, std::uint64_t position) {
  if (histories_.size() > kCachedVaults) histories_.clear();
  History& known = histories_[vault_id];
  if (known.log_id != vault.log_id) known = {vault.log_id, 0, wire::history_start()};
  History at = known;
  if (known.position > position) at = {vault.log_id, 0, wire::history_start()};
  charge(vault_id, position - at.position);
  while (at.position < position) {
    std::vector<wire::Stub> stubs = storage_.stubs(vault_id, at.position);
    if (stubs.empty()) throw Error(ErrorCode::corrupt, "a log has a gap");
    for (const wire::Stub& stub : stubs) {
      if (at.position == position) break;
      at.hash = wire::history_next(at.hash, ++at.position, stub.leaf);
    }
  }
  if (at.position > known.position) known = at;
  return at.hash;
}

// What pages of the log say, looked at again only where something changed.
const Service::Heads& Service::checkpoint_heads(const Hash32& vault_id, const Vault& vault) {
  if (heads_.size() > kCachedVaults) heads_.clear();
  const wire::ControlState& state = control_state(vault_id);
  auto [found, added] = heads_.try_emplace(vault_id);
  Heads& heads = found->second;
  if (!added && heads.records == state.count() && heads.checkpoints == vault.checkpoints) {
    return heads;
  }
  heads = {};
  heads.records = UINT64_MAX;  // until all of it is read
  for (auto which : {Storage::Checkpoint::counts, Storage::Checkpoint::proposed}) {
    Bytes stored = storage_.checkpoint(vault_id, which);
    if (stored.empty()) continue;
    wire::Checkpoint checkpoint = wire::decode_checkpoint(stored);
    wire::CheckpointHead& head =
        which == Storage::Checkpoint::counts ? heads.counted : heads.proposed;
    head.position = checkpoint.position;
    head.hash = wire::sha256({stored});
    head.counts = wire::counts(checkpoint, state);
  }
  heads.records = state.count();
  heads.checkpoints = vault.checkpoints;
  return heads;
}

// The caller puts the vault.
void Service::put_checkpoint(const Hash32& vault_id, Vault& vault, Storage::Checkpoint which,
                             ByteView bytes) {
  ++vault.checkpoints;
  heads_.erase(vault_id);
  storage_.put_checkpoint(vault_id, which, bytes);
}

bool Service::has_chunks(const Hash32& vault_id, const wire::Checkpoint& checkpoint) {
  std::set<Hash32> here = storage_.blobs_of(vault_id, checkpoint.chunks);
  return std::all_of(checkpoint.chunks.begin(), checkpoint.chunks.end(),
                     [&](const Hash32& chunk) { return here.count(chunk) > 0; });
}

// The one that counts by the device list as it is now.
std::optional<wire::Checkpoint> Service::counted(const Hash32& vault_id) {
  Bytes bytes = storage_.checkpoint(vault_id, Storage::Checkpoint::counts);
  if (bytes.empty()) return std::nullopt;
  wire::Checkpoint checkpoint = wire::decode_checkpoint(bytes);
  if (!wire::counts(checkpoint, control_state(vault_id))) return std::nullopt;
  return checkpoint;
}

Response Service::get_checkpoint(const Session& session, const std::string& query) {
  Bytes bytes;
  if (query_number(query, "proposed", 0) != 0) {
    bytes = storage_.checkpoint(session.vault, Storage::Checkpoint::proposed);
  } else {
    bytes = storage_.checkpoint(session.vault, Storage::Checkpoint::counts);
  }
  return bytes.empty() ? say(404, "there is no checkpoint") : answer(std::move(bytes));
}

// Compare-and-set on the one that was proposed before.
Response Service::propose(const Session& session, ByteView body) {
  base::Reader in(body, "a proposal");
  auto expected = in.array<32>();
  Bytes bytes = base::to_bytes(in.sized());
  in.expect_end();
  wire::Checkpoint checkpoint = wire::decode_checkpoint(bytes);
  Vault vault = storage_.vault(session.vault).value();
  const wire::ControlState& state = control_state(session.vault);
  // One that the relay had lost counts at once.
  bool counts = wire::counts(checkpoint, state);
  bool is_proposal = checkpoint.signatures.size() == 1 &&
                     checkpoint.signatures[0].device == wire::device_id_of(session.signer) &&
                     wire::is_signed(checkpoint, checkpoint.signatures[0], state);
  if (!counts && !is_proposal) {
    return say(400, "a checkpoint is proposed by the device that signed it");
  }
  if (checkpoint.position == 0 || checkpoint.position > vault.head) {
    return say(409, "the log is another");
  }
  Bytes before = storage_.checkpoint(session.vault, Storage::Checkpoint::proposed);
  Hash32 there = before.empty() ? Hash32{} : wire::sha256({before});
  if (there == wire::sha256({bytes})) return answer({});  // a repeated request
  if (there != expected) return say(409, "another one is proposed");
  std::optional<wire::Checkpoint> old = counted(session.vault);
  if (old && old->position >= checkpoint.position) return say(409, "a later one counts");
  if (checkpoint.position < vault.floor) return say(409, "a later one is needed");
  if (!has_chunks(session.vault, checkpoint)) return say(409, "a part of it is missing");
  storage_.transaction([&] {
    if (counts) {
      accept(session.vault, vault, checkpoint);
    } else {
      put_checkpoint(session.vault, vault, Storage::Checkpoint::proposed, bytes);
      storage_.put_vault(session.vault, vault);
    }
  });
  return answer({});
}

// Another device has come to the same.
Response Service::verify(const Session& session, ByteView body) {
  base::Reader in(body, "a verification");
  auto expected = in.array<32>();
  wire::Checkpoint::Signature signature;
  signature.device = wire::device_id_of(session.signer);
  signature.signature = in.array<64>();
  in.expect_end();
  const wire::ControlState& state = control_state(session.vault);
  for (auto which : {Storage::Checkpoint::proposed, Storage::Checkpoint::counts}) {
    Bytes bytes = storage_.checkpoint(session.vault, which);
    if (bytes.empty() || wire::sha256({bytes}) != expected) continue;
    wire::Checkpoint checkpoint = wire::decode_checkpoint(bytes);
    checkpoint.signatures.push_back(signature);
    if (!wire::counts(checkpoint, state)) break;
    Vault vault = storage_.vault(session.vault).value();
    storage_.transaction([&] { accept(session.vault, vault, checkpoint); });
    return answer({});
  }
  return say(409, "another checkpoint is there, or it would not count");
}

void Service::accept(const Hash32& vault_id, Vault& vault, const wire::Checkpoint& checkpoint) {
  put_checkpoint(vault_id, vault, Storage::Checkpoint::counts, wire::encode(checkpoint));
  Bytes proposed = storage_.checkpoint(vault_id, Storage::Checkpoint::proposed);
  if (!proposed.empty() && wire::decode_checkpoint(proposed).position <= checkpoint.position) {
    put_checkpoint(vault_id, vault, Storage::Checkpoint::proposed, {});
  }
  std::set<Hash32> kept(checkpoint.chunks.begin(), checkpoint.chunks.end());
  std::uint64_t freed = storage_.drop_blobs(vault_id, kept, clock_.now_ms() - kUnusedBlobMs);
  vault.bytes -= std::min(vault.bytes, freed);
  retained_.erase(vault_id);
  retain(vault_id, vault);
  storage_.put_vault(vault_id, vault);
}

// Lets go of what the checkpoint stands for, once it has been here for long enough.
void Service::retain(const Hash32& vault_id, Vault& vault) {
  std::int64_t now = clock_.now_ms();
  if (retained_.size() >= 100 * kCachedVaults) retained_.clear();
  auto [last, added] = retained_.try_emplace(vault_id, now);
  if (!added && now < last->second + kRetainEachMs) return;
  last->second = now;
  std::optional<wire::Checkpoint> checkpoint = counted(vault_id);
  if (!checkpoint || checkpoint->position <= vault.floor) return;
  Storage::Dropped dropped =
      storage_.drop_bodies(vault_id, checkpoint->position, now - options_.retention_ms);
  vault.floor = std::max(vault.floor, dropped.upto);
  vault.bytes -= std::min(vault.bytes, dropped.bytes);
}

std::uint64_t Service::expire(const Hash32& vault_id) {
  std::uint64_t freed = 0;
  storage_.transaction([&] {
    std::optional<Vault> vault = storage_.vault(vault_id);
    if (!vault) return;
    std::uint64_t before = vault->bytes;
    retained_.erase(vault_id);
    retain(vault_id, *vault);
    freed = before - vault->bytes;
    if (freed > 0) storage_.put_vault(vault_id, *vault);
  });
  return freed;
}

Response Service::missing_blobs(const Session& session, ByteView body) {
  base::Reader in(body, "a list of hashes");
  std::size_t count = in.count(32);
  if (count > wire::kMaxChunks) in.fail("it is too long");
  std::vector<Hash32> hashes(count);
  for (Hash32& hash : hashes) hash = in.array<32>();
  in.expect_end();
  std::set<Hash32> here = storage_.blobs_of(session.vault, hashes);
  base::Writer out;
  for (std::size_t i = 0; i < count; ++i) {
    if (!here.count(hashes[i])) out.u32(static_cast<std::uint32_t>(i));
  }
  return answer(out.take());
}

Response Service::blob(const Session& session, const Request& request, const std::string& name) {
  std::optional<Bytes> hash = base::from_hex(name);
  if (!hash || hash->size() != 32) return say(404, "no such path");
  auto id = base::Reader(*hash, "a hash").array<32>();
  if (request.method == "GET") {
    std::optional<Bytes> body = storage_.blob(session.vault, id);
    return body ? answer(std::move(*body)) : say(404, "it is not here (any more)");
  }
  if (request.method != "PUT") return say(404, "no such path");
  if (request.body.size() > wire::kMaxChunk) return say(413, "a chunk is 1 MiB at most");
  if (wire::sha256({request.body}) != id) return say(400, "it has another hash");
  Vault vault = storage_.vault(session.vault).value();
  // Half as much again as for batches, so that a full vault can make room by a checkpoint.
  std::uint64_t quota = quota_of(vault);
  if (vault.bytes + request.body.size() > quota + quota / 2) return say(507, kFull);
  storage_.transaction([&] {
    if (!storage_.put_blob(session.vault, id, request.body, clock_.now_ms())) return;
    vault.bytes += request.body.size();
    storage_.put_vault(session.vault, vault);
  });
  return answer({});
}

}  // namespace holdfast::relay
