#pragma once

// How every function of the C interface runs: arguments in, results out, errors as codes.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/c/handles.h"
#include "holdfast/c/base.h"
#include "holdfast/error.h"

namespace holdfast::c {

using nlohmann::json;

// A transition that the states of sync do not have.
class IllegalState : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// A callback's wish to end the work.
struct Stopped {
  const char* message;
};

// The code of the exception that is being handled; keeps its message.
hf_code code_of_exception() noexcept;

template <typename Work>
hf_code run(Work&& work) noexcept {
  try {
    work();
    return HF_OK;
  } catch (...) {
    return code_of_exception();
  }
}

// Where a result goes; emptied first, so that nothing stale is there when the work fails.
template <typename T>
T& out(T* place) {
  if (!place) throw Misuse("a place for a result is NULL");
  return *place = T{};
}
template <typename T>
void clear(T* place) {  // of a place that may be missing
  if (place) *place = T{};
}

std::string text(const char* given);  // Misuse for NULL
std::string utf8(const char* given);  // and Error(invalid_argument) where it is not
inline std::string text_or_empty(const char* given) { return given ? given : ""; }
inline std::optional<std::string> text_or_nothing(const char* given) {
  return given ? std::optional<std::string>(given) : std::nullopt;
}
std::string_view bytes(const void* given, std::size_t size);
template <typename Function>
Function function(Function given) {
  if (!given) throw Misuse("a function is NULL");
  return given;
}
json parse(const char* given);        // within the limits of a record; Misuse for NULL
json parse_array(const char* given);  // likewise; empty for NULL
// Likewise. Error(invalid_argument) for a member that is not among `known`.
json parse_object(const char* given, std::initializer_list<std::string_view> known);  // members
// A member of `object` where it is there; Error(invalid_argument) for another type.
void read(const json& object, const char* name, std::string& value);
void read(const json& object, const char* name, bool& value);
void read(const json& object, const char* name, std::int64_t& value);

// Memory that hf_free wipes and frees.
char* give(std::string_view value);
char* give_secret(std::string value);  // and wipes it
char* give_json(const json& value);
std::uint8_t* give_bytes(std::string_view value);

// The answer of a callback, while one lives.
class Reply : public Object {
 public:
  static constexpr const char* kName = "reply";
  const char* name() const override { return kName; }
  std::optional<json> value;
};
class ReplyHandle {
 public:
  ReplyHandle() : reply_(std::make_shared<Reply>()), handle_(add(reply_)) {}
  ~ReplyHandle() {
    try {
      close(handle_, Reply::kName);
    } catch (...) {  // memory is short: the handle stays a name of a reply that nobody reads
    }
  }
  ReplyHandle(const ReplyHandle&) = delete;
  ReplyHandle& operator=(const ReplyHandle&) = delete;
  hf_reply* get() const { return static_cast<hf_reply*>(handle_); }
  std::optional<json>& value() const { return reply_->value; }

 private:
  std::shared_ptr<Reply> reply_;
  void* handle_;
};

// The handle of a new object of `kind`, for a typed place.
template <typename Handle, typename T>
void give_handle(Handle** place, std::shared_ptr<T> object, const void* parent = nullptr) {
  *place = static_cast<Handle*>(add(std::move(object), parent));
}

}  // namespace holdfast::c
