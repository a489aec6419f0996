#pragma once

// Finds what identifies people or machines in free text. It favours recall: what it takes out may
// have been harmless, and what it leaves in may not be. No substitute for dropping a text.

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::privacy {

struct Finding {
  std::size_t begin = 0;  // bytes of the folded text
  std::size_t end = 0;
  // "email", "url", "phone", "iban", "card", "imei", "ipv4", "ipv6", "mac", "national_id",
  // "coordinates" or "token"
  std::string kind;
};

// Thread-safe.
class TextScanner {
 public:
  // `phone_regions`: countries ("DE") whose numbers are found without their country's code, too.
  explicit TextScanner(std::vector<std::string> phone_regions = {"US", "GB", "DE", "FR"})
      : phone_regions_(std::move(phone_regions)) {}

  // What is in `text`, in order, none within another. `text` is folded: see fold().
  std::vector<Finding> find(const std::string& text) const;
  // Every finding as its kind, "[email]".
  std::string redact(const std::string& text) const;

  // Full-width ASCII and Arabic digits as ASCII, and without characters that nobody sees.
  static std::string fold(std::string_view text);
  // Whether numbers of phones are found by libphonenumber, or else by their shape alone.
  static bool knows_phones();

 private:
  void find_phones(const std::string& text, std::vector<Finding>& out) const;

  std::vector<std::string> phone_regions_;
};

}  // namespace holdfast::privacy
