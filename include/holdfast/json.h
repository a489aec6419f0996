#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace holdfast {

// Parses JSON text from anywhere within the limits of one record. Throws Error: malformed (not
// JSON), too_large (more than 512 KiB, or nested deeper than 100 levels). Thread-safe.
nlohmann::json parse_json(std::string_view text);

}  // namespace holdfast
