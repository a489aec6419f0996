#include "src/model/record.h"

#include "fuzz/fuzz.h"
#include "src/model/view.h"

namespace {

class Table : public holdfast::model::DeviceTable {
 public:
  std::uint64_t index_of(const holdfast::model::DeviceId&) override { return 0; }
  const holdfast::model::DeviceId& id_of(std::uint64_t index) override {
    if (index > 3) throw holdfast::Error(holdfast::ErrorCode::corrupt, "unknown device");
    return ids_[index];
  }

 private:
  holdfast::model::DeviceId ids_[4] = {{0}, {1}, {2}, {3}};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  Table devices;
  model::Json document = {{"a", 1}, {"m", {{"x", "y"}, {"z", {1, 2}}}}};
  refuses_only_by_error([&] {
    model::Record record = model::decode_record({data, size}, document, devices);
    for (Strategy strategy : {Strategy::timestamp, Strategy::merge}) {
      model::render(record, [&](const std::string&) { return strategy; });
    }
  });
  return 0;
}
