#include "src/model/json.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "holdfast/error.h"

namespace holdfast {
namespace model {
namespace {

int text_depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

// Walks CBOR without recursion and refuses what JSON cannot hold or what nests too deep.
class CborCheck {
 public:
  explicit CborCheck(ByteView bytes) : in_(bytes, "a value") {}

  void run() {
    std::vector<std::uint64_t> open;  // items still to come at each level
    do {
      if (!open.empty()) --open.back();
      std::uint64_t children = item();
      if (children > 0) {
        open.push_back(children);
        if (open.size() > static_cast<std::size_t>(kMaxDepth)) in_.fail("it nests too deep");
      }
      while (!open.empty() && open.back() == 0) open.pop_back();
    } while (!open.empty());
    in_.expect_end();
  }

 private:
  std::uint64_t item() {
    std::uint8_t head = in_.u8();
    int major = head >> 5;
    int info = head & 31;
    if (major == 7) {
      simple(info);
      return 0;
    }
    std::uint64_t n = argument(info);
    switch (major) {
      case 0: return 0;
      case 1:
        if (n > static_cast<std::uint64_t>(INT64_MAX)) in_.fail("a number is out of range");
        return 0;
      case 3:
        if (n > in_.rest().size()) in_.fail("it ends too early");
        if (!valid_utf8(base::text(in_.raw(n)))) in_.fail("a string is not UTF-8");
        return 0;
      case 4:
      case 5:
        if (n > in_.rest().size()) in_.fail("it ends too early");
        return major == 5 ? 2 * n : n;
      default: in_.fail("it holds what JSON cannot");
    }
  }

  std::uint64_t argument(int info) {
    if (info < 24) return static_cast<std::uint64_t>(info);
    if (info > 27) in_.fail("its length is not definite");
    std::uint64_t value = 0;
    for (std::uint8_t byte : in_.raw(std::size_t{1} << (info - 24))) value = value << 8 | byte;
    return value;
  }

  void simple(int info) {
    if (info >= 20 && info <= 22) return;  // false, true, null
    if (info == 26) {
      if (std::isfinite(std::bit_cast<float>(static_cast<std::uint32_t>(argument(26))))) return;
    } else if (info == 27) {
      if (std::isfinite(std::bit_cast<double>(argument(27)))) return;
    }
    in_.fail("it holds what JSON cannot");
  }

  base::Reader in_;
};

}  // namespace

// Stops at the limit of depth, so its own recursion is bounded. `path` is the size of the value's
// pointer.
void check_value(const Json& value, int levels, std::size_t path) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw Error(ErrorCode::invalid_argument, "the document holds a number that is not finite");
  }
  if (value.is_binary() || value.is_discarded()) {
    throw Error(ErrorCode::invalid_argument, "the document holds a value that JSON does not have");
  }
  if (path > kMaxPath) {
    throw Error(ErrorCode::too_large,
                "the names down to a field are longer than 1024 bytes together, the limit");
  }
  if (!value.is_structured()) return;
  if (levels == 0) {
    throw Error(ErrorCode::too_large, "the document nests deeper than 100 levels, the limit");
  }
  if (value.is_array()) {
    for (const auto& child : value) check_value(child, levels - 1, 0);  // a list is one field
    return;
  }
  for (const auto& [key, child] : value.items()) {
    auto escaped =
        std::count_if(key.begin(), key.end(), [](char c) { return c == '~' || c == '/'; });
    check_value(child, levels - 1, path + 1 + key.size() + static_cast<std::size_t>(escaped));
  }
}

bool valid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
    if (*p < 0xc2 || *p > 0xf4 || end - p <= more) return false;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f)) {
      return false;
    }
    for (int i = 1; i <= more; ++i) {
      if ((p[i] & 0xc0) != 0x80) return false;
    }
    p += more + 1;
  }
  return true;
}

std::string to_text(const Json& value) {
  try {
    return value.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::invalid_argument, "the document holds a string that is not UTF-8");
  }
}

void check_document(const Json& document) {
  if (!document.is_object()) {
    throw Error(ErrorCode::invalid_argument, "a record is a JSON object, like {\"name\":\"Ada\"}");
  }
  check_value(document, kMaxDepth, 0);
  if (to_text(document).size() > kMaxDocument) {
    throw Error(ErrorCode::too_large, "the document is larger than 512 KiB, the limit: split it");
  }
}

void check_field(const Json& value, std::string_view path) {
  auto steps = static_cast<int>(std::count(path.begin(), path.end(), '/'));
  check_value(value, kMaxDepth - steps, path.size());
  if (to_text(value).size() > kMaxDocument) {
    throw Error(ErrorCode::too_large, "the value is larger than 512 KiB, the limit");
  }
}

void check_name(std::string_view name, const char* what) {
  if (name.empty() || name.size() > kMaxName || name.find('\0') != name.npos || !valid_utf8(name)) {
    throw Error(ErrorCode::invalid_argument,
                std::string(what) + " must be 1 to 1024 bytes of UTF-8 without NUL");
  }
}

Bytes to_cbor(const Json& value) { return Json::to_cbor(value); }

Json from_cbor(ByteView bytes) {
  CborCheck(bytes).run();
  Json value = Json::from_cbor(bytes.begin(), bytes.end(), true, false);
  if (value.is_discarded()) throw Error(ErrorCode::malformed, "a value is not valid CBOR");
  Bytes again = to_cbor(value);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) {
    throw Error(ErrorCode::malformed, "a value is not in its one canonical encoding");
  }
  return value;
}

}  // namespace model

nlohmann::json parse_json(std::string_view text) {
  if (text.size() > model::kMaxDocument) {
    throw Error(ErrorCode::too_large, "the JSON is larger than " +
                                          std::to_string(model::kMaxDocument / 1024) +
                                          " KiB, the limit of one record: split it");
  }
  if (model::text_depth(text) > model::kMaxDepth) {
    throw Error(ErrorCode::too_large, "the JSON nests deeper than 100 levels, the limit");
  }
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (!value.is_discarded()) return value;
  std::string why = "it is not valid JSON";
  try {
    [[maybe_unused]] nlohmann::json again = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    why += " (at byte " + std::to_string(error.byte) + ")";
  } catch (const nlohmann::json::exception&) {
    why += " (a number is out of range)";
  }
  throw Error(ErrorCode::malformed, why);
}

}  // namespace holdfast