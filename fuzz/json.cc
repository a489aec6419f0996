#include "src/model/json.h"

#include "fuzz/fuzz.h"
#include "src/model/path.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  Bytes input(data, data + size);
  refuses_only_by_error([&] { require(model::to_cbor(model::from_cbor(input)) == input); });
  refuses_only_by_error([&] {
    nlohmann::json value = parse_json(base::text(input));
    require(parse_json(model::to_text(value)) == value);
    model::check_document(value);
    require(model::from_cbor(model::to_cbor(value)).dump() == value.dump());
  });
  refuses_only_by_error([&] {
    std::string pointer = model::parse_path(base::text(input));
    require(model::parse_path(model::display_path(pointer)) == pointer);
  });
  return 0;
}
