// The inbox's rules for devices that were taken out of the vault: which of their batches count.

#include "holdfast/error.h"
#include "src/sync/inbox.h"

namespace holdfast::sync {

using store::Statement;

// What a device that was taken out wrote behind the place that its removal names does not count.
bool Inbox::is_after_revocation(const base::Id16& device) const {
  const wire::EnrolledDevice* author = membership_.control().device(device);
  return author && author->revoked && is_at_end(*author, device);
}

// Whether all that counts of a device that was taken out is here: by the place where it is of this
// log, and else by its last leaf.
bool Inbox::is_at_end(const wire::EnrolledDevice& device, const base::Id16& id) const {
  const auto& revoked = *device.revoked;
  if (!revoked.last_leaf || revoked.through.log_id == membership_.log()->log_id) {
    return membership_.log()->position >= revoked.through.position;
  }
  return device_leaf(engine_, id) == *revoked.last_leaf;
}

// Of a device that was taken out, in a log that began anew since: whether a batch leads to the last
// one that counts cannot be said before that one is here.
bool Inbox::leads_to_end(const base::Id16& device, ByteView batch) const {
  std::lock_guard lock(engine_.mutex());
  const wire::EnrolledDevice* author = membership_.control().device(device);
  if (!author || !author->revoked || !author->revoked->last_leaf) return true;
  const auto& revoked = *author->revoked;
  if (revoked.through.log_id == membership_.log()->log_id) return true;
  base::Hash32 last = *revoked.last_leaf;
  if (wire::leaf_of(batch) == last) return true;
  Statement query(engine_.database().connection().prepare(
      "SELECT 1 FROM log WHERE device = ? AND leaf = ? AND held >= 0"));
  query.bind(ByteView(device)).bind(ByteView(last));
  return query.step();
}

void Inbox::require_leads_to_end(const base::Id16& device, ByteView batch) const {
  if (leads_to_end(device, batch)) return;
  throw Error(
      ErrorCode::not_found,
      "it is of '" + membership_.device_name(device).name +
          "', which was taken out, and whether it counts is to be seen when the rest is here");
}

// Once all that counts of a device that was taken out is here, nobody waits for more of it: some
// change sets may build on what it handed over past the relay, and what never came to the log.
void Inbox::close_revoked(bool now) {
  for (const auto& [id, device] : membership_.control().devices()) {
    if (!device.revoked || id == engine_.identity().id || engine_.is_closed(id)) continue;
    store::Connection& db = engine_.database().connection();
    Statement held(db.prepare("SELECT 1 FROM log WHERE device = ? AND held > 0 LIMIT 1"));
    held.bind(ByteView(id));
    if (!now && (!is_at_end(device, id) || held.step())) continue;
    Statement last(db.prepare("SELECT coalesce(max(last), 0) FROM batch WHERE device = ?"));
    last.bind(ByteView(id));
    last.step();
    auto end = static_cast<std::uint64_t>(last.integer(0));
    bool has_more = !now && engine_.seen().at(id) > end;
    if (has_more && !loose_of(engine_, id).empty()) {
      throw MustBeginAgain{"changes that '" + membership_.device_name(id).name +
                           "' handed to this device, and never sent before it was taken out of the "
                           "vault, are this device's to bring; this store had to begin again"};
    }
    // What a backup of that device held stays here: it is all that is left of it.
    engine_.close_device(id, has_more ? engine_.seen().at(id) : end);
  }
}

// Whether a batch that is in the log lies behind the last that counts of its author.
bool Inbox::is_behind_end(const base::Id16& device, std::int64_t position) const {
  std::lock_guard lock(engine_.mutex());
  const wire::EnrolledDevice* author = membership_.control().device(device);
  if (!author || !author->revoked) return false;
  const auto& revoked = *author->revoked;
  if (!revoked.last_leaf || revoked.through.log_id == membership_.log()->log_id) {
    return static_cast<std::uint64_t>(position) > revoked.through.position;
  }
  if (*revoked.last_leaf == base::Hash32{}) return true;
  Statement query(engine_.database().connection().prepare(
      "SELECT 1 FROM log WHERE device = ? AND leaf = ? AND position < ?"));
  query.bind(ByteView(device)).bind(ByteView(*revoked.last_leaf)).bind(position);
  return query.step();
}

}  // namespace holdfast::sync
