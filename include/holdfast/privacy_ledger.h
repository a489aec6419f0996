#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/encrypted_local_store.h"

namespace holdfast {

// One line of the ledger. `entry` says what happened: "kind" (request, grant, denial, preparation,
// attempt, send, drop, expiry, revocation), "time_ms", and by kind the grant, data type, purpose,
// destination, egress, bytes, epsilon and reason.
struct LedgerEntry {
  std::uint64_t index = 0;  // from 0 on
  nlohmann::json entry;
  std::optional<nlohmann::json> payload;  // what left, after anonymising, unless it was forgotten
  std::string salt;                       // base64url; with the entry it gives the commitment
  std::string commitment;                 // SHA-256, in hex: what the tree is made of
};

// The whole ledger in 32 bytes: an app that keeps one elsewhere can tell later that nothing was
// taken out or altered since.
struct LedgerHead {
  std::uint64_t size = 0;
  std::string root;  // in hex
  std::string text() const;
  // Of text(). Throws Error(invalid_argument) for anything else.
  static LedgerHead parse(const std::string& text);
};

// This device's record of everything that was asked, permitted and sent: append-only, encrypted
// with the store, a Merkle tree over salted commitments (RFC 9162). Written by PrivacyFirstSync; no
// method here adds to it.
//
// Thread-safe. Every method throws Error as the store's do.
class PrivacyLedger {
 public:
  explicit PrivacyLedger(EncryptedLocalStore& store) : store_(&store) {}  // which must outlive it

  LedgerHead head() const;
  // In order, until `visit` returns false.
  void for_each(const std::function<bool(const LedgerEntry&)>& visit,
                std::uint64_t first = 0) const;

  // Computes all hashes again. Throws Error(corrupt), with the entry's number, where one does not
  // fit, and where the ledger does not continue `known`. Returns the head.
  LedgerHead verify(const std::optional<LedgerHead>& known = std::nullopt) const;

  // Proofs as RFC 9162 has them, in hex: that an entry is in the ledger, and that the ledger
  // continues one of `old_size` entries. Throws Error(not_found) for an entry that is not there.
  std::vector<std::string> prove_inclusion(std::uint64_t index) const;
  std::vector<std::string> prove_consistency(std::uint64_t old_size) const;
  static bool check_inclusion(const LedgerEntry& entry, const LedgerHead& head,
                              const std::vector<std::string>& proof);
  static bool check_consistency(const LedgerHead& old_head, const LedgerHead& head,
                                const std::vector<std::string>& proof);

  // One line of JSON for each entry, its proof beside it, then one for the head. Payloads are left
  // out: they are the user's to show.
  void export_ndjson(const std::function<void(const std::string& line)>& write) const;

  // Forgets what an entry's payload was; the entry and all proofs stay as they are. False where
  // there is none.
  bool forget_payload(std::uint64_t index);

 private:
  EncryptedLocalStore* store_;
};

}  // namespace holdfast
