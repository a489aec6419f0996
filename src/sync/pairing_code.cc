#include <cctype>

#include "src/sync/pairing.h"

namespace holdfast::sync {
namespace {

constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::string_view kPrefix = "holdfast-pair-1.";
constexpr std::size_t kPlace = 4;  // characters of five bits
constexpr std::size_t kSecret = 6;
constexpr std::size_t kCheck = 2;

std::string check_of(std::string_view code) {
  base::Hash32 hash = base::sha256({base::view("holdfast pairing check v1"), base::view(code)});
  return {kCrockford[hash[0] % 32], kCrockford[hash[1] % 32]};
}

[[noreturn]] void no_code() {
  throw Error(ErrorCode::malformed,
              "that is no code of 'device invite': look for a mistyped letter (there is no I, L, O "
              "or U in it)");
}

PairingCode parse_scanned(const std::string& text) {
  std::optional<Bytes> bytes = base::from_base64url(text.substr(kPrefix.size()));
  if (!bytes) no_code();
  base::Reader in(*bytes, "the pairing code");
  PairingCode code;
  code.relay = in.sized_text();
  code.place = base::to_bytes(in.raw(16));
  code.secret = crypto::Secret(in.raw(16));
  code.anchor = in.array<32>();
  in.expect_end();
  crypto::wipe(*bytes);
  return code;
}

}  // namespace

PairingCode make_typed_code(base::Random& random) {
  auto letter = [&] {
    return static_cast<std::uint8_t>(kCrockford[random.below(kCrockford.size())]);
  };
  PairingCode code;
  for (std::size_t i = 0; i < kPlace; ++i) code.place.push_back(letter());
  code.secret = crypto::Secret(kSecret);
  for (std::uint8_t& c : code.secret.span()) c = letter();
  return code;
}

std::string to_text(const PairingCode& code) {
  if (code.anchor) {
    base::Writer out;
    out.sized(code.relay);
    out.raw(code.place);
    out.raw(code.secret.view());
    out.raw(*code.anchor);
    return std::string(kPrefix) + base::to_base64url(out.bytes());
  }
  std::string text(base::text(code.place));
  text += base::text(code.secret.view());
  text += check_of(text);
  text.insert(8, "-");
  text.insert(4, "-");
  return text;
}

bool is_scanned_code(const std::string& text) { return text.starts_with(kPrefix); }

PairingCode parse_pairing_code(const std::string& text) {
  if (is_scanned_code(text)) return parse_scanned(text);
  std::string plain;
  for (char given : text) {
    if (given == '-' || given == ' ') continue;
    char c = static_cast<char>(std::toupper(static_cast<unsigned char>(given)));
    if (c == 'O') c = '0';
    if (c == 'I' || c == 'L') c = '1';
    if (kCrockford.find(c) == std::string_view::npos) no_code();
    plain += c;
  }
  if (plain.size() != kPlace + kSecret + kCheck) no_code();
  std::string_view code = std::string_view(plain).substr(0, kPlace + kSecret);
  if (check_of(code) != plain.substr(code.size())) no_code();
  return {base::to_bytes(base::view(code.substr(0, kPlace))),
          crypto::Secret(base::view(code.substr(kPlace))), "", std::nullopt};
}

}  // namespace holdfast::sync
