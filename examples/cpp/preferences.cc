// The preferences of an on-device model follow their user: what is set on the phone is there on the
// laptop, and both can set different ones at the same time. Usage: preferences FOLDER RELAY-URL

#include <iostream>

#include "holdfast/conflict_resolver.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/vault.h"

using namespace holdfast;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: preferences FOLDER RELAY-URL\n";
    return 2;
  }
  std::string folder = argv[1];
  UserKey key = UserKey::fernet(generate_fernet_key());  // in real apps the platform's key store's
  EncryptedLocalStore phone(folder + "/phone.hf", key);
  EncryptedLocalStore laptop(folder + "/laptop.hf", key);
  Vault vault(phone);
  vault.create({"phone", "phone"}, [](const std::string&) { /* show it, to be written down */ });
  vault.use_relay(argv[2]);
  // Lists of words are united; of the rest the latest write is shown.
  ConflictResolver(phone).set_policy({"preferences", "$.avoid", Strategy::merge});
  phone.store({"preferences", "assistant"},
              {{"tone", "brief"}, {"language", "de"}, {"avoid", {"jargon"}}});
  IncrementalSync on_phone(phone);
  on_phone.sync();

  Vault(laptop).join(vault.invite_ticket(), {"laptop", "laptop"});
  IncrementalSync on_laptop(laptop);
  on_laptop.sync();
  auto show = [&](const char* where, EncryptedLocalStore& store) {
    std::cout << where << ": " << *store.retrieve({"preferences", "assistant"}) << "\n";
  };
  show("laptop", laptop);

  phone.patch({"preferences", "assistant"}, {{"tone", "warm"}, {"avoid", {"jargon", "emoji"}}});
  laptop.patch({"preferences", "assistant"}, {{"language", "en"}, {"avoid", {"jargon", "puns"}}});
  on_phone.sync();
  on_laptop.sync();
  on_phone.sync();
  show("phone", phone);
  show("laptop", laptop);
  std::cout << sync_state_name(on_phone.states().state()) << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
