#pragma once

// CPace: two parties that share a short code agree on a strong key, and whoever listens or guesses
// wrong learns nothing but that one guess was wrong. CPACE-RISTR255-SHA512 of
// draft-irtf-cfrg-cpace-21, initiator and responder, with the key confirmation of its section 10.4
// (HMAC-SHA-512); the group and the hash are libsodium's.

#include "src/base/environment.h"
#include "src/crypto/secret.h"

namespace holdfast::crypto {

// What a run ends in. The key counts only once the peer's tag was seen: compare it by equal().
struct CpaceKeys {
  Secret session_key;  // 64 bytes, "ISK" in the draft
  Secret own_tag;      // 64 bytes, to be sent
  Secret peer_tag;     // 64 bytes, to be received
};

// One side of one run. Every run has a fresh secret: an object serves one guess of one peer.
class Cpace {
 public:
  enum class Role { initiator, responder };

  // `code` is what both sides know ("PRS"), `channel` names the two ("CI"), `session` is public
  // and of this run alone ("sid").
  Cpace(Role role, ByteView code, ByteView channel, ByteView session, base::Random& random);

  const base::Hash32& share() const { return share_; }  // to be sent; "Ya" or "Yb"

  // `own` and `peer` are what each side says in the open beside its share ("ADa", "ADb"); they
  // must agree. Nothing where the peer's share is not a point that a share can be: abort then.
  std::optional<CpaceKeys> finish(ByteView peer_share, ByteView own, ByteView peer) const;

 private:
  Role role_;
  Bytes session_;
  Secret scalar_;
  base::Hash32 share_;
};

}  // namespace holdfast::crypto
