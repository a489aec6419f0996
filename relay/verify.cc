#include "relay/verify.h"

#include "holdfast/error.h"
#include "src/wire/checkpoint.h"
#include "src/wire/log.h"

namespace holdfast::relay {
namespace {

using Fault = std::function<void(const std::string&)>;

wire::ControlState control_of(Storage& storage, const Hash32& id, std::uint64_t count) {
  wire::ControlState state;
  while (state.count() < count) {
    std::vector<Bytes> records = storage.control(id, state.count());
    if (records.empty()) throw Error(ErrorCode::corrupt, "the device list ends too early");
    for (const Bytes& record : records) state.append(record);
  }
  return state;
}

// A chunk may be the only copy that is left of what the log has let go of.
void verify_checkpoint(Storage& storage, const Hash32& id, Storage::Checkpoint which,
                       const Fault& fault) {
  Bytes bytes = storage.checkpoint(id, which);
  if (bytes.empty()) return;
  std::string name =
      which == Storage::Checkpoint::counts ? "its checkpoint" : "the proposed checkpoint";
  wire::Checkpoint checkpoint;
  try {
    checkpoint = wire::decode_checkpoint(bytes);
  } catch (const Error& error) {
    return fault(name + ": " + error.what());
  }
  std::set<Hash32> chunks(checkpoint.chunks.begin(), checkpoint.chunks.end());
  for (const Hash32& hash : chunks) {
    std::optional<Bytes> chunk = storage.blob(id, hash);
    if (!chunk) {
      fault("a chunk of " + name + " is missing");
    } else if (wire::sha256({*chunk}) != hash) {
      fault("a chunk of " + name + " is not what was stored");
    }
  }
}

void verify_log(Storage& storage, const Hash32& id, const Vault& vault,
                const wire::ControlState& state, VerifyReport& out) {
  auto fault = [&](const std::string& what) { out.faults.push_back(what); };
  Hash32 chain = wire::chain_start(vault.log_id);
  std::map<Id16, Hash32> last;  // leaf of each device
  std::uint64_t position = 0;
  while (position < vault.head) {
    std::vector<wire::Stub> stubs = storage.stubs(id, position);
    if (stubs.empty()) return fault("batches are missing behind " + std::to_string(position));
    std::vector<Bytes> bodies;
    std::size_t next = 0;
    for (const wire::Stub& stub : stubs) {
      ++position;
      ++out.batches;
      std::string name = "batch " + std::to_string(position);
      chain = wire::chain_next(chain, position, stub.leaf);
      if (storage.chain_at(id, position) != chain) fault(name + " has another chain");
      if (next == bodies.size() && position > vault.floor) {
        bodies = storage.batches(id, position - 1, 8U << 20);
        next = 0;
      }
      if (next < bodies.size()) {
        const Bytes& body = bodies[next++];
        const wire::EnrolledDevice* author = state.device(stub.device);
        auto before = last.find(stub.device);
        if (wire::leaf_of(body) != stub.leaf) {
          fault(name + " is not what was stored");
        } else if (!author || !wire::is_signed(body, id, author->sign)) {
          fault(name + " is not signed");
        } else if (wire::decode_batch_header(body).previous !=
                   (before == last.end() ? Hash32{} : before->second)) {
          fault(name + " does not follow its device's last");
        }
      } else if (position > vault.floor) {
        fault(name + " has lost its bytes");
      }
      last[stub.device] = stub.leaf;
    }
  }
  if (chain != vault.chain) fault("its chain ends elsewhere");
  for (const auto& [device, leaf] : last) {
    if (storage.device_leaf(id, device) != leaf) fault("a device's last batch is another");
  }
}

}  // namespace

VerifyReport verify_vault(Storage& storage, const Hash32& id) {
  VerifyReport out;
  auto fault = [&](const std::string& what) { out.faults.push_back(what); };
  storage.group(Storage::Access::read, [&] {
    std::optional<Vault> vault = storage.vault(id);
    out.is_here = vault.has_value();
    if (!vault) return;
    wire::ControlState state;
    try {
      state = control_of(storage, id, vault->control_count);
    } catch (const Error& error) {
      return fault(std::string("its device list: ") + error.what());
    }
    out.records = state.count();
    if (state.vault() != id) fault("its device list is another vault's");
    if (state.head() != vault->control_head) fault("its device list ends elsewhere");
    verify_log(storage, id, *vault, state, out);
    for (auto which : {Storage::Checkpoint::counts, Storage::Checkpoint::proposed}) {
      verify_checkpoint(storage, id, which, fault);
    }
  });
  return out;
}

}  // namespace holdfast::relay
