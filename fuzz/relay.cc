// Whole requests, by an outsider: method, target, token and body are split from the input.
#include "fuzz/fuzz.h"
#include "relay/test_relay.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  static relay::SqliteStorage storage(":memory:");
  static base::FakeClock clock;
  static base::SeededRandom random(1);
  static relay::Service service(storage, clock, random, relay::test_options());
  base::Reader in({data, size}, "an input");
  refuses_only_by_error([&] {
    relay::Request request;
    constexpr const char* kMethods[] = {"GET", "POST", "PUT", "DELETE"};
    request.method = kMethods[in.u8() % 4];
    request.target = in.sized_text();
    request.token = in.sized_text();
    request.body = base::to_bytes(in.rest());
    int status = service.handle(request).status;
    require(status >= 200 && status < 504);
  });
  return 0;
}
