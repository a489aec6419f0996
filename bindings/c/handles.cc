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
  std::map<std::uint64_t, std::shared_ptr<Entry>> entries;
  std::set<std::uint64_t> closing;  // that wait for calls of other threads, until they are gone
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

// Under the registry's lock, as what follows.
[[noreturn]] void is_gone(const Registry& all, std::uint64_t number) {
  if (all.closing.contains(number)) throw Closing{};
  throw Misuse("a handle is none, or was closed already");
}

// An object and all below it, the parents first; and those of them that other threads are closing.
struct Family {
  std::vector<std::uint64_t> members;
  std::vector<std::uint64_t> closed_elsewhere;
};
Family family_of(const Registry& all, std::uint64_t number) {
  Family out{{number}, {}};
  for (std::size_t i = 0; i < out.members.size(); ++i) {
    for (std::uint64_t child : all.entries.at(out.members[i])->children) {
      bool is_here = all.entries.contains(child);
      (is_here ? out.members : out.closed_elsewhere).push_back(child);
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
  if (found == all.entries.end()) is_gone(all, number_of(handle));
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
  std::uint64_t number = all.next;
  if (parent) {
    auto found = all.entries.find(entry->parent);
    if (found == all.entries.end()) is_gone(all, entry->parent);
    found->second->children.insert(number);
  }
  all.entries.emplace(number, std::move(entry));
  ++all.next;
  // A name, which nobody reads through: NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(number));
}

void close(const void* handle, const char* kind) {
  if (!handle) return;
  std::vector<std::shared_ptr<Entry>> closing;
  Registry& all = registry();
  std::unique_lock lock(all.mutex);
  auto found = all.entries.find(number_of(handle));
  if (found == all.entries.end()) is_gone(all, number_of(handle));
  if (std::string_view(found->second->object->name()) != kind)
    wrong_kind(*found->second->object, kind);
  auto [numbers, elsewhere] = family_of(all, number_of(handle));
  closing.reserve(numbers.size());
  for (std::uint64_t number : numbers) closing.push_back(all.entries[number]);
  for (const auto& entry : closing) {
    if (is_held_here(entry.get())) {
      throw Misuse(std::string("a ") + kind + " cannot be closed from within a call of it");
    }
    entry->object->check_close(entry == closing.front());
  }
  std::shared_ptr<Entry> parent;
  if (auto it = all.entries.find(found->second->parent); it != all.entries.end()) {
    parent = it->second;
  }
  for (std::uint64_t number : numbers) {
    all.closing.insert(number);
    all.entries.erase(number);
  }
  lock.unlock();
  for (const auto& entry : closing) entry->object->interrupt();
  lock.lock();
  all.returned.wait(lock, [&] {
    return std::all_of(closing.begin(), closing.end(),
                       [](const auto& entry) { return entry->calls == 0; }) &&
           std::none_of(elsewhere.begin(), elsewhere.end(),
                        [&](std::uint64_t number) { return all.closing.contains(number); });
  });
  lock.unlock();
  while (!closing.empty()) {  // children first
    closing.back()->object.reset();
    closing.pop_back();
  }
  lock.lock();
  for (std::uint64_t number : numbers) all.closing.erase(number);
  if (parent) parent->children.erase(numbers.front());
  all.returned.notify_all();
}

void wrong_kind(const Object& object, const char* wanted) {
  throw Misuse(std::string("a handle is of a ") + object.name() + ", not of a " + wanted);
}

}  // namespace holdfast::c
