#include "src/store/state_stream.h"

#include <gtest/gtest.h>

#include "src/store/test_store.h"

namespace holdfast::store {
namespace {

// What somebody else made wrong is no damage of this store.
TEST(StateStream, ARecordThatCannotBeReadIsMalformedAndNotCorrupt) {
  FakeWorld world;
  EncryptedLocalStore store = world.open();
  for (const char* doc : {"{", "[1, 2", "\xff", ""}) {
    base::Writer chunk;
    chunk.varint(0);
    chunk.varint(1);
    chunk.sized(std::string_view("records"));
    chunk.sized(std::string_view("r"));
    chunk.sized(std::string_view(doc));
    chunk.sized(std::string_view("no state"));
    Engine::Transaction transaction(store.engine());
    EXPECT_EQ(code_of([&] { load_state(store.engine(), {}, chunk.bytes()); }), ErrorCode::malformed)
        << doc;
  }
}

}  // namespace
}  // namespace holdfast::store
