#pragma once

#include <sodium.h>

#include "holdfast/user_key.h"
#include "src/base/environment.h"
#include "src/crypto/kdf.h"

namespace holdfast::store {

// A backup's bytes: a header, then chunks of libsodium's secretstream (XChaCha20-Poly1305), the
// last of them marked. docs/formats.md has the grammar.
class BackupWriter {
 public:
  BackupWriter(std::unique_ptr<base::File> file, const UserKey& key, crypto::Argon2Cost cost,
               base::Random& random);
  void write(ByteView bytes);
  // Writes the last chunk and makes the file durable; returns its size.
  std::uint64_t finish();

 private:
  void write_chunk(unsigned char tag);

  std::unique_ptr<base::File> file_;
  crypto::Secret state_;  // a secretstream state: it holds the key
  Bytes header_;          // authenticated with the first chunk
  crypto::Secret chunk_;
  std::size_t filled_ = 0;
  std::uint64_t offset_ = 0;
};

class BackupReader {
 public:
  // Throws Error(not_a_store, newer_version, wrong_key, corrupt).
  BackupReader(std::unique_ptr<base::File> file, const UserKey& key, const std::string& path);
  // The next bytes, until the next call. Throws Error(corrupt) where there are fewer.
  ByteView read(std::size_t size);
  std::uint8_t u8() { return read(1)[0]; }
  std::uint64_t varint();
  // Throws Error(corrupt) unless all was read, up to the chunk that was marked as the last.
  void expect_end();
  std::uint64_t offset() const { return offset_; }
  std::uint64_t size() const { return size_; }

 private:
  void next_chunk();
  [[noreturn]] void damaged() const;

  std::unique_ptr<base::File> file_;
  std::string path_;
  crypto::Secret state_;
  Bytes header_;
  Bytes buffer_;
  std::size_t used_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t size_ = 0;
  bool first_ = true;
  bool last_ = false;

 public:
  ~BackupReader() { crypto::wipe(buffer_); }
};

}  // namespace holdfast::store
