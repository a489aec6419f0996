#include "holdfast/fernet.h"

#include "src/crypto/fernet.h"

namespace holdfast {
namespace {

constexpr std::int64_t kMaxSkewS = 60;

crypto::FernetToken open_any(const std::vector<UserKey>& keys, std::string_view token) {
  for (const UserKey& key : keys) {
    if (auto opened = crypto::open_fernet(key.secret().view(), token)) return std::move(*opened);
  }
  throw Error(ErrorCode::malformed,
              "that is no Fernet token, or was sealed by another key than those given");
}

}  // namespace

Fernet::Fernet(std::vector<UserKey> keys, const base::Environment* environment)
    : keys_(std::move(keys)),
      environment_(std::make_shared<const base::Environment>(
          environment
              ? *environment
              : base::Environment{base::system_clock(), base::system_random(), nullptr, nullptr})) {
  if (keys_.empty()) throw Error(ErrorCode::invalid_argument, "Fernet needs a key");
  for (const UserKey& key : keys_) {
    if (key.kind() == UserKey::Kind::fernet) continue;
    throw Error(ErrorCode::invalid_argument, "Fernet needs a Fernet key, and got another kind");
  }
}

std::string Fernet::encrypt(std::string_view plain) const {
  return crypto::seal_fernet(keys_.front().secret().view(), environment_->clock->now_ms() / 1000,
                             environment_->random->array<16>(), base::view(plain));
}

std::string Fernet::decrypt(std::string_view token, std::optional<std::int64_t> lifetime_s) const {
  crypto::FernetToken opened = open_any(keys_, token);
  if (lifetime_s) {
    std::int64_t now = environment_->clock->now_ms() / 1000;
    // Compared as differences: a token's time is any number.
    bool future = opened.seconds < 0 || opened.seconds > now + kMaxSkewS;
    if (future || now - opened.seconds > *lifetime_s) {
      throw Error(ErrorCode::expired, future ? "the token is from the future: check the clock"
                                             : "the token has expired");
    }
  }
  return std::string(base::text(opened.plain.view()));
}

std::string Fernet::rotate(std::string_view token) const {
  crypto::FernetToken opened = open_any(keys_, token);
  return crypto::seal_fernet(keys_.front().secret().view(), opened.seconds,
                             environment_->random->array<16>(), opened.plain.view());
}

std::int64_t Fernet::timestamp(std::string_view token) const {
  return open_any(keys_, token).seconds;
}

}  // namespace holdfast
