#pragma once

#include <cstdint>
#include <functional>

namespace holdfast {

struct ProgressReport {
  const char* phase = "";   // what is being done: "writing", "verifying"; a literal
  std::uint64_t done = 0;   // of `total`, in the same unit
  std::uint64_t total = 0;  // 0 where it is not known
};

// Called now and then during long work, on the thread that does it. Returns false to stop: the work
// then throws Error(cancelled) and leaves nothing behind. May be empty. It must not use the store.
using Progress = std::function<bool(const ProgressReport&)>;

}  // namespace holdfast
