#pragma once

// What noise has cost on this device, and what it still may: millionths of epsilon, whole numbers.

#include "src/privacy/policy.h"
#include "src/store/engine.h"

namespace holdfast::privacy {

// The how manieth device of its vault this one is, by the order in which they came in, which all
// agree on. Nothing: it is not in, or its store came from a backup and nobody gave it a share.
std::optional<std::uint64_t> device_place(store::Engine& engine);
// Whether this device was taken out of its vault.
bool is_removed(store::Engine& engine);

// The budget of one destination and purpose, as this device sees it: each of the first
// `budget.devices` devices has an equal share, so that nobody has to be asked. In the caller's
// transaction.
class BudgetBook {
 public:
  BudgetBook(store::Engine& engine, const Use& use, std::int64_t day);

  std::int64_t spent_today() const { return spent(day_); }
  std::int64_t spent_ever() const { return spent(kAllDays); }
  std::int64_t left_today() const;
  std::int64_t left_ever() const;
  // Whether more was spent than this device may: its share has become smaller.
  bool is_overdrawn() const;
  // Charges both; false, and nothing charged, where that is more than is left.
  bool charge(std::int64_t micros);

 private:
  static constexpr std::int64_t kAllDays = -1;
  std::int64_t spent(std::int64_t day) const;
  std::int64_t share(std::int64_t limit) const;
  void add(std::int64_t day, std::int64_t micros);

  store::Engine& engine_;
  Budget budget_;
  std::string scope_;
  std::int64_t day_;
  std::optional<std::uint64_t> place_;
};

// Noise that was drawn: of each field the last value and what was given for it, so that a value
// that does not change is not noised anew, by asking often or by a retry. A value that changes, and
// one that comes back, is another question, and costs anew. noisy() takes the engine's lock; the
// others are for the caller's transaction.
class NoiseBook {
 public:
  NoiseBook(store::Engine& engine, const Use& use);

  // The noisy value for `truth` of the field at `path`, drawn now unless it was the last one. Null
  // where it is of no kind for the rule.
  Json noisy(const std::string& path, const FieldRule& rule, const Json& truth);
  // Keeps what was drawn and has not left, in the place of what was before, so that a preview shows
  // what is sent next.
  void save();
  // What releasing all that noisy() gave costs: what has left already costs nothing.
  std::int64_t cost();
  void mark_charged();  // it leaves now

 private:
  struct Drawn {
    base::Hash32 value{};
    std::string noisy;
    std::int64_t micros = 0;
  };
  bool is_charged(const std::string& field, const Drawn& drawn) const;

  store::Engine& engine_;
  std::string scope_;
  std::map<std::string, Drawn> used_;  // by field
};

}  // namespace holdfast::privacy
