#include "holdfast/error.h"

namespace holdfast {

const char* error_code_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::wrong_key: return "wrong_key";
    case ErrorCode::not_a_store: return "not_a_store";
    case ErrorCode::newer_version: return "newer_version";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::malformed: return "malformed";
    case ErrorCode::rolled_back: return "rolled_back";
    case ErrorCode::locked: return "locked";
    case ErrorCode::expired: return "expired";
    case ErrorCode::in_use: return "in_use";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::exists: return "exists";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::no_vault: return "no_vault";
    case ErrorCode::io: return "io";
    case ErrorCode::unreachable: return "unreachable";
    case ErrorCode::busy: return "busy";
    case ErrorCode::refused: return "refused";
    case ErrorCode::revoked: return "revoked";
    case ErrorCode::protocol: return "protocol";
    case ErrorCode::fork: return "fork";
    case ErrorCode::cancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace holdfast
