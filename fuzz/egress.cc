#include "src/wire/egress.h"

#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  refuses_only_by_error([&] {
    wire::Egress egress = wire::decode_egress({data, size});
    require(wire::encode(egress.header) == egress.head);
    require(egress.head.size() + egress.sealed.size() == size);
  });
  refuses_only_by_error([&] {
    std::string text = wire::unpad_payload({data, size});
    require(wire::unpad_payload(wire::pad_payload(text)) == text);
  });
  return 0;
}
