#pragma once

// The checksums by which numbers of persons, cards and accounts are told from other digits.

#include <string_view>

namespace holdfast::privacy {

bool luhn(std::string_view digits);      // ISO/IEC 7812-1, annex B
bool verhoeff(std::string_view digits);  // J. Verhoeff, "Error Detecting Decimal Codes" (1969)
// ISO 13616: country, check digits, account, without spaces; the length must be the country's.
bool iban(std::string_view letters_and_digits);
// How long an IBAN of that country ("DE") is; 0: it has none.
std::size_t iban_length(std::string_view country);

// What a number of a person, digits only, may be; null where no country's checksum fits.
const char* national_number(std::string_view digits);
// The same for those with letters, in upper case and without separators.
const char* national_code(std::string_view letters_and_digits);

}  // namespace holdfast::privacy
