#pragma once

// Bugs that a test puts in on purpose, one at a time, to see that it would find them. Only builds
// with tests have them (HOLDFAST_PLANTS); in others there is nothing to switch on.

namespace holdfast::base {

#define HOLDFAST_PLANT_LIST(PLANT)             \
  PLANT(relay_answers_before_it_stores)        \
  PLANT(relay_takes_any_previous_leaf)         \
  PLANT(relay_forgets_device_leaves)           \
  PLANT(relay_withholds_the_newest)            \
  PLANT(engine_waits_for_nothing)              \
  PLANT(engine_applies_twice)                  \
  PLANT(engine_forgets_what_waits)             \
  PLANT(engine_does_not_save_what_it_has_seen) \
  PLANT(inbox_moves_on_without_applying)       \
  PLANT(inbox_confirms_what_was_refused)       \
  PLANT(outbox_drops_what_it_seals_again)      \
  PLANT(outbox_seals_out_of_order)             \
  PLANT(keys_are_not_learnt)                   \
  PLANT(rewind_forgets_others)                 \
  PLANT(rewind_forgets_its_own)                \
  PLANT(rewind_keeps_leaves)                   \
  PLANT(lists_are_not_healed)                  \
  PLANT(logs_are_not_healed)                   \
  PLANT(copies_go_on_as_they_are)              \
  PLANT(copies_forget_what_they_wrote)         \
  PLANT(purges_before_all_have_it)             \
  PLANT(checkpoints_lack_a_record)             \
  PLANT(late_devices_forget_their_own)         \
  PLANT(late_devices_go_on_as_copies)          \
  PLANT(copies_forget_checkpoints)

enum class Plant {
  none,
#define PLANT(name) name,
  HOLDFAST_PLANT_LIST(PLANT)
#undef PLANT
};

#ifdef HOLDFAST_PLANTS
inline Plant planted_bug = Plant::none;
inline bool planted(Plant bug) { return planted_bug == bug; }
#else
constexpr bool planted(Plant) { return false; }
#endif

}  // namespace holdfast::base
