#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"
#include "holdfast/privacy_ledger.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

std::vector<std::string> proof_of(const char* given) {
  text(given);
  std::vector<std::string> out;
  for (const json& hash : parse_array(given)) {
    if (!hash.is_string()) throw Error(ErrorCode::invalid_argument, "a proof is made of hashes");
    out.push_back(hash.get<std::string>());
  }
  return out;
}

}  // namespace

extern "C" {

hf_code hf_ledger_head(hf_store* store, char** head) {
  return run([&] { out(head) = give(PrivacyLedger(UseStore(store)->store).head().text()); });
}
hf_code hf_ledger_for_each(hf_store* store, uint64_t first, hf_visit_text visit, void* user) {
  return run([&] {
    function(visit);
    UseStore use(store);
    PrivacyLedger(use->store)
        .for_each(
            [&](const LedgerEntry& entry) {
              return visit(user, to_json(entry).dump().c_str()) == 0;
            },
            first);
  });
}
hf_code hf_ledger_verify(hf_store* store, const char* known, char** head) {
  return run([&] {
    out(head);
    std::optional<LedgerHead> before;
    if (known) before = LedgerHead::parse(known);
    UseStore use(store);
    *head = give(PrivacyLedger(use->store).verify(before).text());
  });
}
hf_code hf_ledger_prove_inclusion(hf_store* store, uint64_t index, char** proof) {
  return run([&] {
    out(proof);
    UseStore use(store);
    *proof = give_json(PrivacyLedger(use->store).prove_inclusion(index));
  });
}
hf_code hf_ledger_prove_consistency(hf_store* store, uint64_t old_size, char** proof) {
  return run([&] {
    out(proof);
    UseStore use(store);
    *proof = give_json(PrivacyLedger(use->store).prove_consistency(old_size));
  });
}
hf_code hf_ledger_check_inclusion(const char* entry, const char* head, const char* proof,
                                  bool* holds) {
  return run([&] {
    out(holds);
    text(entry);
    *holds = PrivacyLedger::check_inclusion(
        entry_of(parse_object(entry, {"index", "entry", "payload", "salt", "commitment"})),
        LedgerHead::parse(text(head)), proof_of(proof));
  });
}
hf_code hf_ledger_check_consistency(const char* old_head, const char* head, const char* proof,
                                    bool* holds) {
  return run([&] {
    out(holds) = PrivacyLedger::check_consistency(LedgerHead::parse(text(old_head)),
                                                  LedgerHead::parse(text(head)), proof_of(proof));
  });
}
hf_code hf_ledger_export(hf_store* store, hf_visit_text write, void* user) {
  return run([&] {
    function(write);
    UseStore use(store);
    PrivacyLedger(use->store).export_ndjson([&](const std::string& line) {
      if (write(user, line.c_str()) != 0) throw Stopped{"the export was stopped"};
    });
  });
}
hf_code hf_ledger_forget_payload(hf_store* store, uint64_t index, bool* forgotten) {
  return run([&] { out(forgotten) = PrivacyLedger(UseStore(store)->store).forget_payload(index); });
}

}  // extern "C"
