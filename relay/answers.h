#pragma once

// What the relay's calls share: answers, and numbers in a query.

#include <algorithm>
#include <charconv>

#include "holdfast/error.h"
#include "relay/service.h"

namespace holdfast::relay {

inline Response answer(Bytes body) { return {.status = 200, .body = std::move(body)}; }

inline Response say(int status, std::string_view text) {
  return {.status = status,
          .body = base::to_bytes(base::view(text)),
          .content_type = "text/plain; charset=utf-8"};
}

// An answer that asks to come back.
inline Response later(int status, std::string_view text, int seconds) {
  Response out = say(status, text);
  out.retry_after_s = seconds;
  return out;
}

template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> from_path(std::string_view hex) {
  std::optional<Bytes> bytes = base::from_hex(hex);
  if (!bytes || bytes->size() != N || base::to_hex(*bytes) != hex) return std::nullopt;
  std::array<std::uint8_t, N> out;
  std::copy(bytes->begin(), bytes->end(), out.begin());
  return out;
}

// Of the batches in a page, so that one more still fits.
inline std::size_t page_room(std::uint64_t asked) {
  return std::min<std::uint64_t>(asked, wire::kMaxResponse - wire::kMaxBatch - 1024);
}

// Of the records in one answer, until the last.
constexpr std::size_t kControlPage = 1 << 20;

// What a batch's place takes, which stays when its bytes are let go of: id, device, leaf, chain.
constexpr std::uint64_t kPlaceBytes = 300;

constexpr const char* kNoVault = "this relay does not hold the vault";
constexpr const char* kFull = "the vault's quota on this relay is used up";
constexpr const char* kNotOwn =
    "this relay does not go by the address that this device uses: its operator names that with "
    "--origin";
constexpr const char* kReserved = "a device is being revoked: try again a little later";

// No database's arithmetic with it overflows.
constexpr std::uint64_t kMostNumber = 1ULL << 62;

// Throws Error(malformed).
inline std::uint64_t query_number(const std::string& query, std::string_view name,
                                  std::uint64_t otherwise) {
  std::string_view rest = query;
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (!pair.starts_with(name) || pair.size() <= name.size() || pair[name.size()] != '=') continue;
    pair.remove_prefix(name.size() + 1);
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(pair.data(), pair.data() + pair.size(), value);
    bool whole = error == std::errc() && end == pair.data() + pair.size();
    if (!whole || value > kMostNumber) {
      throw Error(ErrorCode::malformed, "a number in the query is malformed");
    }
    return value;
  }
  return otherwise;
}

}  // namespace holdfast::relay
