#pragma once

#include "src/model/types.h"

namespace holdfast::model {

// Limits that decoders hold hostile input to, and writers keep.
constexpr std::size_t kMaxChangesPerBatch = 20'000;
constexpr std::size_t kMaxOpsPerBatch = 200'000;
constexpr std::size_t kMaxDevicesPerBatch = 10'000;
constexpr std::size_t kMaxContextsPerBatch = 1'000'000;  // entries of all contexts together
constexpr std::size_t kMaxNamesPerBatch = 64 << 20;      // bytes of names, counted at each use
constexpr std::size_t kMaxResolvesPerBatch = 200'000;

// Change sets of one device with consecutive sequences, in columns, with a dictionary for devices,
// collections, records and paths (grammar in docs/formats.md). Not empty.
Bytes encode_changes(const std::vector<ChangeSet>& changes);
// Throws Error(malformed) for anything encode_changes would not have written, newer_version for a
// version or kind of op that this build does not know.
std::vector<ChangeSet> decode_changes(ByteView bytes, const DeviceId& device);

}  // namespace holdfast::model
