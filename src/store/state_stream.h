#pragma once

// All records of a store as a stream of chunks that another store can be filled from, and a hash
// that is the same on all devices whose records are in the same state, whatever way they came
// there. Grammar: docs/formats.md.

#include <functional>

#include "src/store/engine.h"

namespace holdfast::store {

// Writes the stream, in the caller's transaction; `visit` gets one chunk after the other, and may
// be null. The hash goes on from `start`.
base::Hash32 write_state(Engine& engine, const base::Hash32& start,
                         const std::function<void(ByteView chunk)>& visit);

// Puts the records of one chunk into tables that have none of them, in the caller's transaction.
// Chunks come in their order. Returns the hash, which goes on from `start`. Throws
// Error(malformed), corrupt.
base::Hash32 load_state(Engine& engine, const base::Hash32& start, ByteView chunk);

}  // namespace holdfast::store
