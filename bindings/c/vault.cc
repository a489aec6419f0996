#include "holdfast/vault.h"

#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

DeviceLabel label_of(const char* name, const char* kind) {
  return {text(name), text_or_empty(kind)};
}

}  // namespace

extern "C" {

hf_code hf_vault_exists(hf_store* store, bool* exists) {
  return run([&] { out(exists) = Vault(UseStore(store)->store).exists(); });
}
hf_code hf_vault_id(hf_store* store, char** id) {
  return run([&] { out(id) = give(Vault(UseStore(store)->store).id()); });
}
hf_code hf_vault_create(hf_store* store, const char* name, const char* kind, hf_keep_code keep,
                        void* user) {
  return run([&] {
    function(keep);
    UseStore use(store);
    Vault(use->store).create(label_of(name, kind), keeper_of(keep, user));
  });
}
hf_code hf_vault_use_relay(hf_store* store, const char* url, const char* invitation) {
  return run([&] {
    UseStore use(store);
    Vault(use->store).use_relay(text(url), invitation ? text(invitation) : "");
  });
}
hf_code hf_vault_erase_from_relay(hf_store* store, int64_t* backup_days) {
  return run([&] {
    UseStore use(store);
    std::optional<std::uint32_t> days = Vault(use->store).erase_from_relay();
    if (backup_days) *backup_days = days ? std::int64_t{*days} : -1;
  });
}
hf_code hf_vault_relay(hf_store* store, char** url) {
  return run([&] {
    out(url);
    std::optional<std::string> chosen = Vault(UseStore(store)->store).relay();
    if (chosen) *url = give(*chosen);
  });
}

hf_code hf_vault_invite(hf_store* store, bool scanned, hf_show show, hf_confirm confirm, void* user,
                        hf_cancel* cancel, char** device) {
  return run([&] {
    out(device);
    function(show);
    function(confirm);
    UseStore use(store);
    Cancellation cancellation(cancel, use->closing);
    InviteOptions options;
    options.code = scanned ? InviteOptions::Code::scanned : InviteOptions::Code::typed;
    options.show = [=](const std::string& code) { show(user, code.c_str()); };
    options.confirm = [=](const PairingPeer& peer) {
      return confirm(user, peer.name.c_str(), peer.kind.c_str(), peer.fingerprint.c_str()) == 1;
    };
    options.cancelled = cancellation.flag();
    *device = give_json(to_json(Vault(use->store).invite(options)));
  });
}
hf_code hf_vault_invite_ticket(hf_store* store, int64_t lifetime_ms, char** code) {
  return run([&] {
    out(code);
    UseStore use(store);
    *code = give_secret(Vault(use->store).invite_ticket(lifetime_ms));
  });
}
hf_code hf_vault_join(hf_store* store, const char* code, const char* name, const char* kind,
                      const char* relay, hf_show show_fingerprint, void* user, hf_cancel* cancel) {
  return run([&] {
    UseStore use(store);
    Cancellation cancellation(cancel, use->closing);
    JoinOptions options;
    options.relay = text_or_empty(relay);
    if (show_fingerprint) {
      options.show_fingerprint = [=](const std::string& fingerprint) {
        show_fingerprint(user, fingerprint.c_str());
      };
    }
    options.cancelled = cancellation.flag();
    Vault(use->store).join(text(code), label_of(name, kind), options);
  });
}
hf_code hf_vault_check_join(const char* code, const char* name, const char* kind,
                            const char* relay) {
  return run([&] {
    JoinOptions options;
    options.relay = text_or_empty(relay);
    Vault::check_join(text(code), label_of(name, kind), options);
  });
}

hf_code hf_vault_devices(hf_store* store, char** devices) {
  return run(
      [&] { out(devices) = give_json(all_to_json(Vault(UseStore(store)->store).devices())); });
}
hf_code hf_vault_refresh(hf_store* store) {
  return run([&] {
    UseStore use(store);
    Vault(use->store).refresh();
  });
}
hf_code hf_vault_find_device(hf_store* store, const char* name, char** device) {
  return run([&] {
    out(device);
    UseStore use(store);
    *device = give_json(to_json(Vault(use->store).find_device(text(name))));
  });
}
hf_code hf_vault_rename(hf_store* store, const char* device_id, const char* name,
                        const char* kind) {
  return run([&] {
    UseStore use(store);
    Vault(use->store).rename(id_of(text(device_id)), label_of(name, kind));
  });
}
hf_code hf_vault_revoke(hf_store* store, const char* device_id, hf_keep_code keep, void* user) {
  return run([&] {
    UseStore use(store);
    std::function<void(const std::string&)> keeper;
    if (keep) keeper = keeper_of(keep, user);
    Vault(use->store).revoke(id_of(text(device_id)), keeper);
  });
}
hf_code hf_vault_rotate_key(hf_store* store) {
  return run([&] {
    UseStore use(store);
    Vault(use->store).rotate_key();
  });
}
hf_code hf_vault_epoch(hf_store* store, uint32_t* epoch) {
  return run([&] { out(epoch) = Vault(UseStore(store)->store).epoch(); });
}
hf_code hf_vault_recovery_set_by(hf_store* store, char** name) {
  return run([&] { out(name) = give(Vault(UseStore(store)->store).recovery_set_by()); });
}
hf_code hf_vault_replace_recovery_code(hf_store* store, hf_keep_code keep, void* user) {
  return run([&] {
    function(keep);
    UseStore use(store);
    Vault(use->store).replace_recovery_code(keeper_of(keep, user));
  });
}
hf_code hf_vault_recover(hf_store* store, const char* code, const char* relay, const char* name,
                         const char* kind, hf_keep_code keep, void* user) {
  return run([&] {
    function(keep);
    UseStore use(store);
    Vault(use->store).recover(text(code), text(relay), label_of(name, kind), keeper_of(keep, user));
  });
}
hf_code hf_vault_check_recover(const char* code, const char* relay, const char* name,
                               const char* kind) {
  return run([&] { Vault::check_recover(text(code), text(relay), label_of(name, kind)); });
}

}  // extern "C"
