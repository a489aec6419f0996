// Field data from two devices that meet no network: both edit offline, packages are carried by
// hand, counters add up, and what two people measured differently waits for somebody to decide.
// Usage: field_collection FOLDER RELAY-URL   (the relay is needed once, for the second device to
// join)

#include <iostream>
#include <vector>

#include "holdfast/conflict_resolver.h"
#include "holdfast/fields.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/vault.h"

using namespace holdfast;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: field_collection FOLDER RELAY-URL\n";
    return 2;
  }
  std::string folder = argv[1];
  // Real apps: UserKey::passphrase, or UserKey::callback for the platform's key store.
  UserKey key = UserKey::fernet(generate_fernet_key());
  EncryptedLocalStore ana(folder + "/ana.hf", key);
  EncryptedLocalStore ben(folder + "/ben.hf", key);
  Vault vault(ana);
  vault.create({"ana", "phone"}, [](const std::string&) { /* show it, to be written down */ });
  vault.use_relay(argv[2]);
  Vault(ben).join(vault.invite_ticket(), {"ben", "tablet"});
  IncrementalSync here(ana);
  IncrementalSync there(ben);
  there.sync();  // the tablet gets the vault,
  here.sync();   // and the phone hears of it; from here on there is no network

  ConflictResolver(ana).set_policy({"samples", "$.count", Strategy::timestamp, FieldType::counter});
  ConflictResolver(ana).set_policy({"samples", "$.ph", Strategy::user_choice});
  Key sample("samples", "plot-7");
  ana.store(sample, {{"species", "Carex nigra"}, {"count", 3}});
  there.apply_remote_changes(here.prepare_sync_package());  // on a memory stick, say

  Fields(ana).add(sample, "$.count", 4);
  ana.patch(sample, {{"ph", 5.1}});
  Fields(ben).add(sample, "$.count", 2);
  ben.patch(sample, {{"ph", 6.4}});
  there.apply_remote_changes(here.prepare_sync_package());

  std::cout << "counted " << (*ben.retrieve(sample))["count"] << "\n";
  ConflictResolver resolver(ben);
  std::vector<Conflict> conflicts = resolver.conflicts(true);
  for (const Conflict& conflict : conflicts) {
    std::cout << conflict.id << " " << conflict.path << ":";
    for (const Candidate& side : conflict.candidates) std::cout << " " << *side.value;
    std::cout << "\n";
    resolver.resolve(conflict, 1);  // the later one
  }
  here.apply_remote_changes(there.prepare_sync_package());
  std::cout << "both say " << *ana.retrieve(sample) << "\n";
  std::cout << (*ana.retrieve(sample) == *ben.retrieve(sample) ? "equal" : "different") << ", "
            << ConflictResolver(ana).count_pending() << " conflicts wait\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
