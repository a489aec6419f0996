#include "bindings/c/objects.h"

using namespace holdfast;
using namespace holdfast::c;

extern "C" {

hf_code hf_store_key_slots(hf_store* store, char** slots) {
  return run([&] {
    out(slots);
    json all = json::array();
    for (const KeySlotInfo& slot : UseStore(store)->store.key_slots()) {
      all.push_back(
          {{"number", slot.number}, {"kind", slot.kind}, {"created_ms", slot.created_ms}});
    }
    *slots = give_json(all);
  });
}
hf_code hf_store_add_key(hf_store* store, hf_key* key, uint8_t* number) {
  return run([&] {
    out(number);
    UseKey use(key);
    *number = UseStore(store)->store.add_key(use->key);
  });
}
hf_code hf_store_change_key(hf_store* store, uint8_t number, hf_key* key) {
  return run([&] {
    UseKey use(key);
    UseStore(store)->store.change_key(number, use->key);
  });
}
hf_code hf_store_remove_key(hf_store* store, uint8_t number) {
  return run([&] { UseStore(store)->store.remove_key(number); });
}
hf_code hf_store_rekey(hf_store* store, hf_progress progress, void* user) {
  return run([&] { UseStore(store)->store.rekey(progress_of(progress, user)); });
}
hf_code hf_store_export_key(hf_store* store, const void* password, size_t size, char** text) {
  return run([&] {
    out(text);
    std::string secret(bytes(password, size));
    *text = give_secret(UseStore(store)->store.export_key_for_backup(secret));
    explicit_bzero(secret.data(), secret.size());
  });
}
hf_code hf_store_lock(hf_store* store) {
  return run([&] { UseStore(store)->store.lock(); });
}
hf_code hf_store_unlock(hf_store* store, hf_key* key) {
  return run([&] {
    UseKey use(key);
    UseStore(store)->store.unlock(use->key);
  });
}
hf_code hf_store_is_locked(hf_store* store, bool* locked) {
  return run([&] { out(locked) = UseStore(store)->store.is_locked(); });
}
hf_code hf_store_verify(hf_store* store, hf_progress progress, void* user) {
  return run([&] { UseStore(store)->store.verify(progress_of(progress, user)); });
}

}  // extern "C"
