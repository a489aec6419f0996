#include <algorithm>

#include "bindings/c/objects.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

// A key that is wiped with its last user, made by `make`.
template <typename Make>
hf_code open_key(hf_key** place, Make&& make) {
  return run([&] {
    out(place);
    give_handle(place, std::make_shared<KeyObject>(make()));
  });
}

std::span<const std::uint8_t> octets(const std::uint8_t* given, std::size_t size) {
  bytes(given, size);  // refuses NULL
  return {given, size};
}

}  // namespace

extern "C" {

hf_code hf_key_passphrase(const void* passphrase, size_t size, hf_key** out) {
  return open_key(out, [&] { return UserKey::passphrase(bytes(passphrase, size)); });
}
hf_code hf_key_raw(const uint8_t* key, size_t size, hf_key** out) {
  return open_key(out, [&] { return UserKey::raw(octets(key, size)); });
}
hf_code hf_key_fernet(const char* key, hf_key** out) {
  return open_key(out, [&] { return UserKey::fernet(bytes(key, key ? std::strlen(key) : 1)); });
}
hf_code hf_key_recovery_code(const char* code, hf_key** out) {
  return open_key(
      out, [&] { return UserKey::recovery_code(bytes(code, code ? std::strlen(code) : 1)); });
}
hf_code hf_key_exported(const char* text, const void* password, size_t size, hf_key** out) {
  return open_key(out, [&] {
    return UserKey::exported(bytes(text, text ? std::strlen(text) : 1), bytes(password, size));
  });
}
hf_code hf_key_from_file_contents(const uint8_t* contents, size_t size, hf_key** out) {
  return open_key(out, [&] { return UserKey::from_key_file(octets(contents, size)); });
}
hf_code hf_key_callback(hf_key_lookup lookup, void* user, hf_key** out) {
  return open_key(out, [&] {
    function(lookup);
    return UserKey::callback(
        [=](std::span<const std::uint8_t, 16> slot, std::span<std::uint8_t, 32> secret) {
          return lookup(user, slot.data(), secret.data()) == 0;
        });
  });
}

hf_code hf_key_kind(hf_key* key, const char** out) {
  return run([&] { c::out(out) = key_kind_name(UseKey(key)->key.kind()); });
}
hf_code hf_key_close(hf_key* key) {
  return run([&] { close(key, KeyObject::kName); });
}

hf_code hf_generate_fernet_key(char** out) {
  return run([&] { c::out(out) = give_secret(generate_fernet_key()); });
}
hf_code hf_generate_recovery_code(char** out) {
  return run([&] { c::out(out) = give_secret(generate_recovery_code()); });
}

hf_code hf_fernet_open(hf_key* const* keys, size_t count, hf_fernet** out) {
  return run([&] {
    c::out(out);
    if (!keys) throw Misuse("the keys are NULL");
    std::vector<UserKey> all;
    all.reserve(std::min<std::size_t>(count, 64));
    for (std::size_t i = 0; i < count; ++i) all.push_back(UseKey(keys[i])->key);
    give_handle(out, std::make_shared<FernetObject>(Fernet(std::move(all))));
  });
}
hf_code hf_fernet_encrypt(hf_fernet* fernet, const void* plain, size_t size, char** token) {
  return run(
      [&] { out(token) = give(Use<FernetObject>(fernet)->fernet.encrypt(bytes(plain, size))); });
}
hf_code hf_fernet_decrypt(hf_fernet* fernet, const char* token, int64_t lifetime_s, uint8_t** plain,
                          size_t* size) {
  return run([&] {
    out(plain);
    out(size);
    auto lifetime = lifetime_s >= 0 ? std::optional(lifetime_s) : std::nullopt;
    std::string opened = Use<FernetObject>(fernet)->fernet.decrypt(text(token), lifetime);
    *plain = give_bytes(opened);
    *size = opened.size();
    explicit_bzero(opened.data(), opened.size());
  });
}
hf_code hf_fernet_rotate(hf_fernet* fernet, const char* token, char** rotated) {
  return run([&] { out(rotated) = give(Use<FernetObject>(fernet)->fernet.rotate(text(token))); });
}
hf_code hf_fernet_timestamp(hf_fernet* fernet, const char* token, int64_t* seconds) {
  return run([&] { out(seconds) = Use<FernetObject>(fernet)->fernet.timestamp(text(token)); });
}
hf_code hf_fernet_close(hf_fernet* fernet) {
  return run([&] { close(fernet, FernetObject::kName); });
}

}  // extern "C"
