#include "bindings/c/objects.h"

namespace holdfast::c {

void Flags::set() {
  std::lock_guard lock(mutex_);
  is_set_ = true;
  for (std::atomic<bool>* flag : flags_) *flag = true;
}
void Flags::attach(std::atomic<bool>& flag) {
  std::lock_guard lock(mutex_);
  flags_.insert(&flag);
  if (is_set_) flag = true;
}
void Flags::detach(std::atomic<bool>& flag) {
  std::lock_guard lock(mutex_);
  flags_.erase(&flag);
}

void StoreObject::opened(const Object* transaction) {
  std::lock_guard lock(mutex_);
  transactions_.push_back({transaction, std::this_thread::get_id()});
}
void StoreObject::ended(const Object* transaction) {
  std::lock_guard lock(mutex_);
  std::erase_if(transactions_, [&](const auto& open) { return open.object == transaction; });
}
const Object* StoreObject::innermost_here() const {
  std::lock_guard lock(mutex_);
  for (auto open = transactions_.rbegin(); open != transactions_.rend(); ++open) {
    if (open->owner == std::this_thread::get_id()) return open->object;
  }
  return nullptr;
}
void StoreObject::check_no_transaction_here(const char* what) const {
  if (!innermost_here()) return;
  throw Misuse(std::string("a ") + what + " cannot be closed inside a transaction");
}

Cancellation::Cancellation(hf_cancel* given, Flags& closing) : closing_(closing) {
  if (given) cancel_.emplace(given);
  if (cancel_) (*cancel_)->flags.attach(flag_);
  closing_.attach(flag_);
}
Cancellation::~Cancellation() {
  closing_.detach(flag_);
  if (cancel_) (*cancel_)->flags.detach(flag_);
}

Key key_of(const char* collection, const char* id) { return {collection_of(collection), text(id)}; }

StoreOptions options_of(const hf_store_options* given) {
  hf_store_options options = HF_STORE_OPTIONS;
  if (given) {
    if (given->size < sizeof options || given->size > 4096) {  // later versions: the first one's
      throw Misuse("the options' size is wrong: start with HF_STORE_OPTIONS");
    }
    options = *given;
  }
  StoreOptions out;
  switch (options.open) {
    case HF_OPEN_OR_CREATE: out.open = StoreOptions::Open::or_create; break;
    case HF_OPEN_EXISTING: out.open = StoreOptions::Open::existing; break;
    case HF_CREATE: out.open = StoreOptions::Open::create; break;
    default: throw Error(ErrorCode::invalid_argument, "there is no such way to open a store");
  }
  switch (options.durability) {
    case HF_DURABILITY_FULL: out.durability = StoreOptions::Durability::full; break;
    case HF_DURABILITY_RELAXED: out.durability = StoreOptions::Durability::relaxed; break;
    default: throw Error(ErrorCode::invalid_argument, "there is no such durability");
  }
  out.cache_mib = options.cache_mib;
  out.passphrase_memory_mib = options.passphrase_memory_mib;
  out.history_days = options.history_days;
  out.checkpoint_bytes = options.checkpoint_bytes;
  if (!options.anchor_load != !options.anchor_save) {
    throw Misuse("an anchor needs both of its functions");
  }
  if (!options.anchor_load) return out;
  out.anchor.load = [load = options.anchor_load, user = options.anchor_user] {
    StorePosition position;
    int result = load(user, &position.commits, position.root.data());
    if (result != 0 && result != 1) throw Error(ErrorCode::io, "the store's anchor cannot be read");
    return result == 0 ? std::optional(position) : std::nullopt;
  };
  out.anchor.save = [save = options.anchor_save,
                     user = options.anchor_user](const StorePosition& position) {
    if (save(user, position.commits, position.root.data()) != 0) {
      throw Error(ErrorCode::io, "the store's anchor cannot be written");
    }
  };
  return out;
}

Progress progress_of(hf_progress progress, void* user) {
  if (!progress) return {};
  return [=](const ProgressReport& report) {
    return progress(user, report.phase, report.done, report.total) == 0;
  };
}

std::function<void(const std::string&)> keeper_of(hf_keep_code keep, void* user) {
  return [=](const std::string& code) {
    if (keep(user, code.c_str()) != 0) {
      throw Stopped{"the recovery code was not kept, so nothing was changed"};
    }
  };
}

std::function<json(const json&)> action_of(hf_anonymize action, void* user) {
  function(action);
  return [=](const json& value) -> json {
    ReplyHandle reply;
    if (action(user, value.dump().c_str(), reply.get()) != 0) {
      throw Stopped{"an action of the app's own did not work"};
    }
    return reply.value().value_or(nullptr);
  };
}

std::array<std::uint8_t, 16> id_of(const std::string& hex) {
  std::array<std::uint8_t, 16> out{};
  auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  bool good = hex.size() == 2 * out.size();
  for (std::size_t i = 0; good && i < out.size(); ++i) {
    int high = digit(hex[2 * i]);
    int low = digit(hex[2 * i + 1]);
    good = high >= 0 && low >= 0;
    if (good) out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (!good) throw Error(ErrorCode::invalid_argument, "an id of a device has 32 hex digits");
  return out;
}

}  // namespace holdfast::c

using namespace holdfast;
using namespace holdfast::c;

extern "C" {

hf_code hf_cancel_open(hf_cancel** out) {
  return run([&] { give_handle(&c::out(out), std::make_shared<CancelObject>()); });
}
hf_code hf_cancel_set(hf_cancel* cancel) {
  return run([&] { Use<CancelObject>(cancel)->flags.set(); });
}
hf_code hf_cancel_close(hf_cancel* cancel) {
  return run([&] { close(cancel, CancelObject::kName); });
}

hf_code hf_subscription_close(hf_subscription* subscription) {
  return run([&] { close(subscription, SubscriptionObject::kName); });
}

}  // extern "C"
