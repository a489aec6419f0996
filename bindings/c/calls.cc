#include "bindings/c/calls.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "holdfast/json.h"

namespace holdfast::c {
namespace {

// Fixed, so that keeping a message cannot fail.
thread_local char last_message[1024];

void keep(const char* message) noexcept {
  std::snprintf(last_message, sizeof last_message, "%s", message);
  // A message that was cut must not end within a character.
  std::size_t size = std::strlen(last_message);
  if (size + 1 < sizeof last_message) return;
  while (size > 0 && (static_cast<unsigned char>(last_message[size - 1]) & 0xc0) == 0x80) --size;
  if (size > 0) last_message[size - 1] = 0;
}

hf_code fail(hf_code code, const char* message) noexcept {
  keep(message);
  return code;
}

hf_code misuse(const char* message) noexcept {
#ifndef NDEBUG
  std::fprintf(stderr, "holdfast: misuse: %s\n", message);
  std::abort();
#endif
  return fail(HF_MISUSE, message);
}

hf_code code_of(ErrorCode code) noexcept {
  return static_cast<hf_code>(static_cast<int>(code) + 1);
}
static_assert(static_cast<int>(ErrorCode::invalid_argument) + 1 == HF_INVALID_ARGUMENT);
static_assert(static_cast<int>(ErrorCode::locked) + 1 == HF_LOCKED);
static_assert(static_cast<int>(ErrorCode::no_vault) + 1 == HF_NO_VAULT);
static_assert(static_cast<int>(ErrorCode::revoked) + 1 == HF_REVOKED);
static_assert(static_cast<int>(ErrorCode::cancelled) + 1 == HF_CANCELLED);

// In front of each block that is given out.
struct alignas(std::max_align_t) Block {
  std::size_t size;
};

}  // namespace

hf_code code_of_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return fail(code_of(error.code()), error.what());
  } catch (const Stopped& stopped) {
    return fail(HF_CANCELLED, stopped.message);
  } catch (const Misuse& error) {
    return misuse(error.what());
  } catch (const Closing&) {
    return fail(HF_CANCELLED, "this was closed meanwhile, on another thread");
  } catch (const IllegalState& error) {
    return fail(HF_ILLEGAL_STATE, error.what());
  } catch (const std::bad_alloc&) {
    return fail(HF_OUT_OF_MEMORY, "not enough memory");
  } catch (const std::exception& error) {
    return fail(HF_INTERNAL, error.what());
  } catch (...) {
    return fail(HF_INTERNAL, "an unknown exception");
  }
}

std::string text(const char* given) {
  if (!given) throw Misuse("a text is NULL");
  return given;
}

std::string utf8(const char* given) {
  std::string out = text(given);
  try {
    static_cast<void>(json(out).dump());
  } catch (const json::exception&) {
    throw Error(ErrorCode::invalid_argument, "a text must be UTF-8");
  }
  return out;
}

std::string_view bytes(const void* given, std::size_t size) {
  if (!given && size > 0) throw Misuse("bytes are NULL");
  return {static_cast<const char*>(given), size};
}

json parse(const char* given) {
  if (!given) throw Misuse("a JSON text is NULL");
  return parse_json(given);
}

json parse_array(const char* given) {
  if (!given) return json::array();
  json value = parse_json(given);
  if (!value.is_array()) throw Error(ErrorCode::invalid_argument, "this must be a JSON array");
  return value;
}

json parse_object(const char* given, std::initializer_list<std::string_view> known) {
  if (!given) return json::object();
  json value = parse_json(given);
  if (!value.is_object()) throw Error(ErrorCode::invalid_argument, "this must be a JSON object");
  for (const auto& [name, ignored] : value.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Error(ErrorCode::invalid_argument, "there is no such member here: " + name);
    }
  }
  return value;
}

namespace {

const json* member(const json& object, const char* name, bool (json::*is)() const noexcept,
                   const char* type) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null()) return nullptr;
  if (!((*found).*is)()) {
    throw Error(ErrorCode::invalid_argument, std::string(name) + " must be " + type);
  }
  return &*found;
}

}  // namespace

void read(const json& object, const char* name, std::string& value) {
  if (const json* found = member(object, name, &json::is_string, "a text")) {
    value = found->get<std::string>();
  }
}
void read(const json& object, const char* name, bool& value) {
  if (const json* found = member(object, name, &json::is_boolean, "true or false")) {
    value = found->get<bool>();
  }
}
void read(const json& object, const char* name, std::int64_t& value) {
  if (const json* found = member(object, name, &json::is_number_integer, "an integer")) {
    if (found->is_number_unsigned() && found->get<std::uint64_t>() > INT64_MAX) {
      throw Error(ErrorCode::invalid_argument, std::string(name) + " is too large");
    }
    value = found->get<std::int64_t>();
  }
}

std::uint8_t* give_bytes(std::string_view value) {
  void* memory = std::malloc(sizeof(Block) + value.size() + 1);
  if (!memory) throw std::bad_alloc();
  auto* block = new (memory) Block{value.size() + 1};
  auto* data = reinterpret_cast<std::uint8_t*>(block + 1);
  if (!value.empty()) std::memcpy(data, value.data(), value.size());
  data[value.size()] = 0;
  return data;
}

char* give(std::string_view value) { return reinterpret_cast<char*>(give_bytes(value)); }

char* give_secret(std::string value) {
  struct Wiped {
    std::string& text;
    ~Wiped() { explicit_bzero(text.data(), text.size()); }
  } wiped{value};
  return give(value);
}

char* give_json(const json& value) {
  return give(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace holdfast::c

using namespace holdfast;
using namespace holdfast::c;

extern "C" {

const char* hf_code_name(int code) {
  switch (code) {
    case HF_OK: return "ok";
    case HF_OUT_OF_MEMORY: return "out_of_memory";
    case HF_MISUSE: return "misuse";
    case HF_INTERNAL: return "internal";
    case HF_ILLEGAL_STATE: return "illegal_state";
    default: break;
  }
  if (code < HF_INVALID_ARGUMENT || code > HF_CANCELLED) return "unknown";
  return error_code_name(static_cast<ErrorCode>(code - 1));
}

const char* hf_error_message(void) { return last_message; }

const char* hf_library_version(void) { return HOLDFAST_VERSION; }

void hf_free(void* memory) {
  if (!memory) return;
  auto* block = static_cast<Block*>(memory) - 1;
  explicit_bzero(memory, block->size);
  std::free(block);
}

hf_code hf_reply_set(hf_reply* reply, const char* given) {
  return run([&] { Use<Reply>(reply)->value = parse(given); });
}

}  // extern "C"
