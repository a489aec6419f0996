#include "src/model/path.h"

#include <cctype>

#include "holdfast/error.h"
#include "src/model/json.h"

namespace holdfast::model {
namespace {

std::string unescape(std::string_view step) {
  std::string out;
  for (std::size_t i = 0; i < step.size(); ++i) {
    if (step[i] == '~') {
      out += step[++i] == '0' ? '~' : '/';
    } else {
      out += step[i];
    }
  }
  return out;
}

bool plain(std::string_view key) {
  for (char c : key) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-') return false;
  }
  return !key.empty();
}

}  // namespace

std::string child_path(std::string_view parent, std::string_view key) {
  std::string out(parent);
  out += '/';
  for (char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_below(std::string_view path, std::string_view parent) {
  return path.size() > parent.size() && path.starts_with(parent) && path[parent.size()] == '/';
}

std::string last_key(std::string_view pointer) {
  return unescape(pointer.substr(pointer.rfind('/') + 1));
}

bool valid_pointer(std::string_view pointer) {
  if (!pointer.empty() && pointer[0] != '/') return false;
  int depth = 0;
  for (std::size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/') ++depth;
    if (pointer[i] == '~' &&
        (i + 1 == pointer.size() || (pointer[i + 1] != '0' && pointer[i + 1] != '1'))) {
      return false;
    }
  }
  return depth <= kMaxDepth && valid_utf8(pointer);
}

namespace {

std::string display(std::string_view pointer, bool pattern) {
  std::string out = "$";
  while (!pointer.empty()) {
    std::size_t end = pointer.find('/', 1);
    std::string key = unescape(pointer.substr(1, end == pointer.npos ? pointer.npos : end - 1));
    out += '.';
    out += plain(key) || (pattern && key == "*") ? key : Json(key).dump();
    pointer = end == pointer.npos ? "" : pointer.substr(end);
  }
  return out;
}

std::string parse(std::string_view text, bool pattern) {
  auto fail = [&]() -> std::string {
    throw Error(ErrorCode::invalid_argument,
                "'" + std::string(text) + "' is not a path; write it like $.address.city, or $");
  };
  if (text.empty() || text[0] != '$' || text.size() > 8 * kMaxPath || !valid_utf8(text))
    return fail();
  std::string out;
  int depth = 0;
  for (std::size_t i = 1; i < text.size();) {
    if (text[i] != '.' || ++depth > kMaxDepth) return fail();
    std::size_t start = ++i;
    if (i < text.size() && text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      if (i++ >= text.size()) return fail();
      Json key = Json::parse(text.substr(start, i - start), nullptr, false);
      if (!key.is_string()) return fail();
      out = child_path(out, key.get_ref<const std::string&>());
    } else {
      while (i < text.size() && text[i] != '.') ++i;
      std::string_view step = text.substr(start, i - start);
      if (!plain(step) && !(pattern && step == "*")) return fail();
      out = child_path(out, text.substr(start, i - start));
    }
  }
  if (out.size() > kMaxPath)
    throw Error(ErrorCode::too_large, "the path is longer than 1024 bytes");
  return out;
}

}  // namespace

std::string display_path(std::string_view pointer) { return display(pointer, false); }
std::string display_pattern(std::string_view pointer) { return display(pointer, true); }
std::string parse_path(std::string_view text) { return parse(text, false); }
std::string parse_pattern(std::string_view text) { return parse(text, true); }

}  // namespace holdfast::model
