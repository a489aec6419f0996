#pragma once

// What the handles of the C interface name. A handle is a number that is never used twice, in the
// shape of a pointer: one that is closed, or of another kind, is noticed without reading through
// it.

#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <typeinfo>

namespace holdfast::c {

// The object is being closed on another thread: no bug, where that is what the app wants.
struct Closing {};

// A bug in the caller.
class Misuse : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

class Object {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
  virtual const char* name() const = 0;  // of its kind, for messages: "store"
  // Throws Misuse where it cannot be closed now; `alone`, or with what it was made from.
  virtual void check_close(bool alone) const { static_cast<void>(alone); }
  virtual void interrupt() noexcept {}  // ends what waits or syncs: closing waits for it
};

// One object, and who uses it.
struct Entry {
  std::shared_ptr<Object> object;
  std::uint64_t parent = 0;          // 0: none
  std::set<std::uint64_t> children;  // this, and the rest, under the registry's lock
  int calls = 0;
};

// A call's hold on an object: while it lives, closing waits.
class Hold {
 public:
  explicit Hold(const void* handle);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  Object& object() const { return *entry_->object; }
  std::shared_ptr<Object> shared() const { return entry_->object; }

 private:
  std::shared_ptr<Entry> entry_;
};

// The handle of a new object. With a parent it is closed together with that, and before it.
void* add(std::shared_ptr<Object> object, const void* parent = nullptr);

// Closes it and what has it as a parent: waits for calls of other threads. Throws Misuse where this
// thread is in a call of one of them, and for a handle that is none. Nothing for null.
void close(const void* handle, const char* kind);

[[noreturn]] void wrong_kind(const Object& object, const char* wanted);

// A handle's object of the kind T, for the time of a call.
template <typename T>
class Use {
 public:
  explicit Use(const void* handle) : hold_(handle), object_(dynamic_cast<T*>(&hold_.object())) {
    if (!object_) wrong_kind(hold_.object(), T::kName);
  }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  std::shared_ptr<T> shared() const { return std::shared_ptr<T>(hold_.shared(), object_); }

 private:
  Hold hold_;
  T* object_;
};

}  // namespace holdfast::c
