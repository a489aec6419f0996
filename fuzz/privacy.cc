// A policy from anywhere, and data from anywhere under it: the first line is the one, the rest the
// other.

#include <algorithm>

#include "fuzz/fuzz.h"
#include "holdfast/data_anonymizer.h"
#include "holdfast/json.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  std::string_view all(reinterpret_cast<const char*>(data), size);
  std::string_view first = all.substr(0, all.find('\n'));
  std::string_view rest = all.substr(std::min(first.size() + 1, all.size()));
  refuses_only_by_error([&] { PrivacyPolicy::parse(all).app_store_report(); });
  // Rules as they come, in a policy that is right otherwise.
  refuses_only_by_error([&] {
    std::string key(43, 'A');
    PrivacyPolicy policy = PrivacyPolicy::from_json(
        {{"holdfast_policy", 1},
         {"version", 1},
         {"destinations",
          {{{"id", "d"},
            {"controller", "c"},
            {"contact", "c"},
            {"jurisdiction", "j"},
            {"url", "https://d.example"},
            {"keys",
             {{{"id", "k"},
               {"public_key", key},
               {"not_before", "2026-01-01"},
               {"not_after", "2026-12-31"}}}}}}},
         {"purposes", {{{"id", "p"}, {"text", "p"}}}},
         {"data_types", {{{"id", "t"}, {"text", "t"}, {"fields", parse_json(first)}}}},
         {"uses",
          {{{"data_type", "t"},
            {"purpose", "p"},
            {"destination", "d"},
            {"budget", {{"epsilon_per_day", 1}, {"epsilon_lifetime", 1}}}}}}});
    DataAnonymizer(policy, "t").anonymize(parse_json(rest));
  });
  refuses_only_by_error([&] { DataAnonymizer().anonymize(parse_json(all)); });
  refuses_only_by_error([&] { DataAnonymizer().anonymize({{"text", all}}); });
  return 0;
}
