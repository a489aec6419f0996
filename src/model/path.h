#pragma once

// A field's place in a document. Inside, an RFC 6901 pointer ("/address/city"); for people, a path
// ("$.address.city", and $."a.b" where a key holds more than letters, digits, _ and -).

#include <string>
#include <string_view>

namespace holdfast::model {

std::string child_path(std::string_view parent, std::string_view key);
// Whether `path` lies below `parent` (not at it).
bool is_below(std::string_view path, std::string_view parent);
// The keys of a well-formed pointer's last step, unescaped, and the pointer before it.
std::string last_key(std::string_view pointer);
bool valid_pointer(std::string_view pointer);

std::string display_path(std::string_view pointer);
// Throws Error(invalid_argument) with an example of a right one, too_large beyond kMaxPath.
std::string parse_path(std::string_view text);
// The same for a pattern, in which a step * stands for any one key: "$.lines.*.price".
std::string parse_pattern(std::string_view text);
std::string display_pattern(std::string_view pointer);

}  // namespace holdfast::model
