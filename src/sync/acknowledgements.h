#pragma once

#include "src/sync/membership.h"

namespace holdfast::sync {

// Which devices are known to have what, by their batches in the log, and so what no device can
// build on any more: see model/purge.h. A device that never syncs holds purging up, and nothing
// else.
class Acknowledgements {
 public:
  Acknowledgements(store::Engine& engine, const Membership& membership)
      : engine_(engine), membership_(membership) {}

  // A batch at a position of the log, in the caller's transaction.
  void note(std::uint64_t position, const base::Id16& device, std::uint64_t last,
            std::uint64_t acknowledged);
  // Nothing is said of what was behind this place any more, in the caller's transaction.
  void forget_behind(std::uint64_t position);
  // The change sets that all devices have, and on which all that any of them writes builds.
  model::VersionVector known_to_all() const;
  // Writes what records can forget, as changes of this device. Nothing where no more is known to
  // all than the last time.
  void purge();
  // Whether this device has had changes of others for a day without saying so, or a hundred
  // batches of them. What it sends for itself says it anyway.
  bool is_due();

 private:
  std::uint64_t acknowledged_by_all() const;
  store::Engine& engine_;
  const Membership& membership_;
};

}  // namespace holdfast::sync
