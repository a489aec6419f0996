// Ten million pages, over restarts, copies of a store, and forks: no nonce twice under one key.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "src/store/page_codec.h"

namespace holdfast::store {
namespace {

using Nonce = std::array<std::uint8_t, crypto::Xaes::kNonceSize>;

void seal(PageCodec& codec, std::size_t count, std::vector<Nonce>& out) {
  static const Bytes plain(kPageSize, 0);
  Bytes sealed(kPageSize);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_TRUE(codec.seal(static_cast<std::uint32_t>(i + 1), plain.data(), sealed.data()));
    std::memcpy(out.emplace_back().data(), sealed.data() + kPlainSize, sizeof(Nonce));
  }
}

// What a child process seals with the codec that it inherited.
void seal_in_child(PageCodec& codec, std::size_t count, std::vector<Nonce>& out) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  pid_t child = fork();
  if (child == 0) {
    std::vector<Nonce> nonces;
    seal(codec, count, nonces);
    std::size_t size = nonces.size() * sizeof(Nonce);
    const auto* data = reinterpret_cast<const char*>(nonces.data());
    for (std::size_t done = 0; done < size;) {
      ssize_t n = write(pipe_ends[1], data + done, size - done);
      if (n <= 0) _exit(1);
      done += static_cast<std::size_t>(n);
    }
    _exit(0);
  }
  close(pipe_ends[1]);
  Nonce nonce;
  std::size_t filled = 0;
  ssize_t n = 0;
  while ((n = read(pipe_ends[0], nonce.data() + filled, nonce.size() - filled)) > 0) {
    filled += static_cast<std::size_t>(n);
    if (filled == nonce.size()) {
      out.push_back(nonce);
      filled = 0;
    }
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
}

TEST(Nonce, NoneRepeatsInTenMillionPagesAcrossRestartsAndForks) {
  const char* set = std::getenv("HOLDFAST_NONCES");
  std::size_t wanted = set ? std::strtoull(set, nullptr, 10) : 10'000'000;
  Bytes key(32, 7);
  base::Id16 id{};
  std::vector<Nonce> nonces;
  nonces.reserve(wanted + 1000);
  for (int restart = 0; nonces.size() < wanted; ++restart) {
    PageCodec codec(key, id, base::system_random());  // a restart, or a copy that was put back
    std::size_t part = std::max<std::size_t>(wanted / 100, 1);
    seal(codec, part / 2, nonces);
    if (restart % 5 == 0) {
      seal_in_child(codec, part / 4, nonces);
      seal_in_child(codec, part / 4, nonces);  // both inherit the same state
    }
    seal(codec, part / 2, nonces);
  }
  std::sort(nonces.begin(), nonces.end());
  EXPECT_EQ(std::adjacent_find(nonces.begin(), nonces.end()), nonces.end());
  std::printf("%zu nonces, all different\n", nonces.size());
}

}  // namespace
}  // namespace holdfast::store
