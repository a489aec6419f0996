#pragma once

#include <string>
#include <vector>

#include "relay/storage.h"

namespace holdfast::relay {

struct VerifyReport {
  bool is_here = true;
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::vector<std::string> faults;
};
// Computes a vault's device list, leaves, signatures, order and chain again from what is stored,
// and the hashes of its checkpoints' chunks. Throws Error where the storage cannot be read.
VerifyReport verify_vault(Storage& storage, const Hash32& id);

}  // namespace holdfast::relay
