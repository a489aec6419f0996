#pragma once

#include <memory>

namespace holdfast {

namespace store {
struct VersionAccess;
}

// What a document looked like and what was known when it was read: see store() against a version.
// Valid for the store it came from, in this process. Copies are cheap.
class RecordVersion {
 private:
  friend struct store::VersionAccess;
  struct Base;
  std::shared_ptr<const Base> base_;
};

}  // namespace holdfast
