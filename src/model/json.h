#pragma once

// JSON at the border: text and CBOR from anywhere, checked before any call that recurses.

#include "holdfast/json.h"
#include "src/model/types.h"

namespace holdfast::model {

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxDocument = 512 * 1024;  // bytes of JSON text
constexpr std::size_t kMaxName = 1024;            // bytes of a record's or collection's name
constexpr std::size_t kMaxPath = 1024;            // bytes of a field's pointer

// The text that is stored and shown: keys sorted, no spaces. Throws Error(invalid_argument) for
// strings that are not UTF-8 and numbers that are not finite.
std::string to_text(const Json& value);
// Throws Error(invalid_argument, too_large) unless `document` is an object within the limits: what
// a reader of change sets would refuse is refused here, before it is written.
void check_document(const Json& document);
// The same for the value of the field at a pointer.
void check_field(const Json& value, std::string_view path);
// Throws Error(invalid_argument) unless 1 to kMaxName bytes of UTF-8 without NUL.
void check_name(std::string_view name, const char* what);
bool valid_utf8(std::string_view text);
// The part of these checks that needs no text: depth, pointers (from one of `path` bytes on),
// numbers.
void check_value(const Json& value, int levels, std::size_t path);

// The one CBOR (RFC 8949) encoding of a JSON value: shortest numbers, sorted keys.
Bytes to_cbor(const Json& value);
// Throws Error(malformed) for anything that to_cbor would not have written.
Json from_cbor(ByteView bytes);

}  // namespace holdfast::model
