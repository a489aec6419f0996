#pragma once

// Published test vectors: read from the folder HOLDFAST_VECTORS, else the one beside the project.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/base/bytes.h"

namespace holdfast::base {

inline Bytes hex(const std::string& text) { return from_hex(text).value(); }

// Nothing where the folder is absent; with CI=true that is a failure of the test.
inline std::optional<nlohmann::json> load_vectors(const std::string& name) {
  const char* set = std::getenv("HOLDFAST_VECTORS");
  std::string folder = set ? set : HOLDFAST_VECTORS_DEFAULT;
  std::ifstream in(folder + "/" + name);
  if (in) return nlohmann::json::parse(in);
  const char* ci = std::getenv("CI");
  if (ci && std::string(ci) == "true") ADD_FAILURE() << "no test vectors at " << folder;
  return std::nullopt;
}

// The path of a file of real input, the same way: from HOLDFAST_DATA, else beside the project.
inline std::optional<std::string> data_file(const std::string& name) {
  const char* set = std::getenv("HOLDFAST_DATA");
  std::string path = (set ? set : HOLDFAST_DATA_DEFAULT) + ("/" + name);
  if (std::ifstream(path)) return path;
  const char* ci = std::getenv("CI");
  if (ci && std::string(ci) == "true") ADD_FAILURE() << "no real input at " << path;
  return std::nullopt;
}

}  // namespace holdfast::base

// Declares `name` with the vectors, or skips the test.
#define HOLDFAST_VECTORS_OR_SKIP(name, file)                                        \
  auto name##_loaded = holdfast::base::load_vectors(file);                          \
  if (!name##_loaded)                                                               \
    GTEST_SKIP() << "the folder of test vectors is not here: set HOLDFAST_VECTORS"; \
  const nlohmann::json& name = *name##_loaded
