#pragma once

#include <cstdlib>

#include "holdfast/error.h"
#include "src/base/bytes.h"

// A decoder may refuse by an Error and nothing else; an accepted input must encode to the same
// bytes.
template <typename Work>
void refuses_only_by_error(Work work) {
  try {
    work();
  } catch (const holdfast::Error&) {
  }
}

inline void require(bool fact) {
  if (!fact) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
