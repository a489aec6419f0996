#pragma once

// The relay's calls as requests and checked answers; who sends them, and when, is somebody else's.

#include "holdfast/error.h"
#include "src/base/environment.h"
#include "src/crypto/keys.h"
#include "src/wire/messages.h"

namespace holdfast::sync {

// Normalises a relay's URL. Throws Error(invalid_argument) for anything but https://, or http:// to
// loopback.
std::string check_relay_url(const std::string& url);

class RelayClient {
 public:
  explicit RelayClient(std::string url) : url_(std::move(url)) {}
  const std::string& url() const { return url_; }
  void set_vault(const base::Hash32& vault) { vault_ = vault; }
  bool signed_in() const { return !token_.empty(); }
  void forget_token() { token_.clear(); }
  const std::string& token() const { return token_; }
  void set_token(std::string token) { token_ = std::move(token); }

  // `admission`: what the relay asks for before it takes a new vault, if it does.
  base::HttpRequest create_vault(ByteView genesis, const std::string& admission = "") const;
  // The user's request that the relay forget the vault.
  base::HttpRequest erase_vault(const crypto::SigningKey& key, const base::Id16& log_id,
                                ByteView nonce) const;
  base::HttpRequest challenge() const;
  base::HttpRequest session(const crypto::SigningKey& key, ByteView nonce) const;
  // Returns the time by the relay's clock.
  std::int64_t accept_session(ByteView answer);
  base::HttpRequest get_control(std::uint64_t after) const;
  base::HttpRequest post_control(const base::Hash32& head, ByteView record) const;
  // A record that the relay has lost, at its position in the list.
  base::HttpRequest restore_control(std::uint64_t at, ByteView record) const;
  // `restores`: batches that the relay has lost, of any device.
  base::HttpRequest push(const std::vector<Bytes>& batches, bool restores = false) const;
  // `wait_ms`: for so long the relay may wait for something to come, where nothing is there.
  base::HttpRequest get_log(std::uint64_t after, std::size_t bytes, std::int64_t wait_ms = 0) const;
  // Has the log of that id begin anew, where it does not lead to what is known, or the relay has
  // fewer records of the device list.
  base::HttpRequest restart(const base::Id16& replaces, const wire::LogPosition& known,
                            std::uint64_t records) const;
  // Checkpoints: the one that counts or the one that is proposed; compare-and-set on the latter.
  base::HttpRequest get_checkpoint(bool proposed) const;
  base::HttpRequest propose_checkpoint(const base::Hash32& instead_of,
                                       const wire::Checkpoint& checkpoint) const;
  base::HttpRequest verify_checkpoint(const base::Hash32& proposed,
                                      const std::array<std::uint8_t, 64>& signature) const;
  base::HttpRequest missing_blobs(const std::vector<base::Hash32>& hashes) const;
  base::HttpRequest get_blob(const base::Hash32& hash) const;
  base::HttpRequest put_blob(const base::Hash32& hash, Bytes body) const;
  base::HttpRequest get_stubs(std::uint64_t after) const;
  base::HttpRequest restore_stubs(const wire::StubRestore& restore) const;
  base::HttpRequest get_mail(const base::Id16& slot) const;
  base::HttpRequest put_mail(const base::Id16& slot, ByteView body, std::int64_t lifetime_ms) const;
  // Which vault has, or had, this recovery key.
  base::HttpRequest find_vault(const base::Hash32& recovery_sign) const;

 private:
  base::HttpRequest call(const char* method, const std::string& path, Bytes body = {}) const;
  base::HttpRequest vault_call(const char* method, const std::string& path, Bytes body = {}) const;

  std::string url_;
  base::Hash32 vault_{};
  std::string token_;
};

// Throws what an answer other than 200 means: unreachable, busy, refused, not_found, exists,
// protocol.
void check_answer(const base::HttpResponse& response);
// Whether the same request may work a little later.
bool worth_retrying(const Error& error);

}  // namespace holdfast::sync
