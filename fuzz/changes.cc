#include "fuzz/fuzz.h"
#include "src/model/change_codec.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  refuses_only_by_error([&] {
    Bytes input(data, data + size);
    require(model::encode_changes(model::decode_changes(input, model::DeviceId{1})) == input);
  });
  return 0;
}
