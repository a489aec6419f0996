#include "bindings/c/handles.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

namespace holdfast::c {
namespace {

struct Registry {
  std::mutex mutex;
  std::condition_variable returned;
  std::map<std::uint64_t, std::shared_ptr<Entry>> entries;  // by number: children after parents
  std::uint64_t next = 1;
};

// Never destroyed: threads may outlive main.
Registry& registry() {
  static auto* the_only = new Registry;
  return *the_only;
}

thread_local std::vector<const Entry*> held_by_this_thread;

std::uint64_t number_of(const void* handle) { return reinterpret_cast<std::uintptr_t>(handle); }

bool is_held_here(const Entry* entry) {
  return std::find(held_by_this_thread.begin(), held_by_this_thread.end(), entry) !=
         held_by_this_thread.end();
}

// An object and all below it, the parents first. Under the registry's lock.
std::vector<std::uint64_t> family_of(const Registry& all, std::uint64_t number) {
  std::vector<std::uint64_t> out{number};
  for (auto it = all.entries.upper_bound(number); it != all.entries.end(); ++it) {
    std::uint64_t parent = it->second->parent;
    if (parent != 0 && std::binary_search(out.begin(), out.end(), parent)) {
      out.push_back(it->first);
    }
  }
  return out;
}

}  // namespace

Hold::Hold(const void* handle) {
  if (!handle) throw Misuse("a handle is NULL");
  held_by_this_thread.reserve(held_by_this_thread.size() + 1);
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  auto found = all.entries.find(number_of(handle));
  if (found == all.entries.end()) {
    throw Misuse("a handle is none, or was closed already");
  }
  entry_ = found->second;
  ++entry_->calls;
  held_by_this_thread.push_back(entry_.get());
}

Hold::~Hold() {
  if (!entry_) return;
  auto last = std::find(held_by_this_thread.rbegin(), held_by_this_thread.rend(), entry_.get());
  held_by_this_thread.erase(std::next(last).base());
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  if (--entry_->calls == 0) all.returned.notify_all();
}

void* add(std::shared_ptr<Object> object, const void* parent) {
  auto entry = std::make_shared<Entry>();
  entry->object = std::move(object);
  entry->parent = number_of(parent);
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  if (parent && !all.entries.contains(entry->parent)) {
    throw Misuse("a store was closed while something was made from it");
  }
  std::uint64_t number = all.next++;
  all.entries.emplace(number, std::move(entry));
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(number));
}

void close(const void* handle, const char* kind) {
  if (!handle) return;
  std::vector<std::shared_ptr<Entry>> closing;
  Registry& all = registry();
  std::unique_lock lock(all.mutex);
  auto found = all.entries.find(number_of(handle));
  if (found == all.entries.end()) throw Misuse("a handle is none, or was closed already");
  if (std::string_view(found->second->object->name()) != kind)
    wrong_kind(*found->second->object, kind);
  std::vector<std::uint64_t> numbers = family_of(all, number_of(handle));
  for (std::uint64_t number : numbers) closing.push_back(all.entries[number]);
  for (const auto& entry : closing) {
    if (is_held_here(entry.get())) {
      throw Misuse(std::string("a ") + kind + " cannot be closed from within a call of it");
    }
    entry->object->check_close();
  }
  for (std::uint64_t number : numbers) all.entries.erase(number);
  lock.unlock();
  for (const auto& entry : closing) entry->object->interrupt();
  lock.lock();
  all.returned.wait(lock, [&] {
    return std::all_of(closing.begin(), closing.end(),
                       [](const auto& entry) { return entry->calls == 0; });
  });
  lock.unlock();
  while (!closing.empty()) {  // children first
    closing.back()->object.reset();
    closing.pop_back();
  }
}

void wrong_kind(const Object& object, const char* wanted) {
  throw Misuse(std::string("a handle is of a ") + object.name() + ", not of a " + wanted);
}

}  // namespace holdfast::c
