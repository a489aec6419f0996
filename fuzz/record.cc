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
  model::Json document = {{"a", 1}, {"m", {{"x", "y"}, {"z", {1, 2}}}}, {"t", "text"}};
  refuses_only_by_error([&] {
    model::Record record = model::decode_record({data, size}, document, devices);
    for (FieldType type : {FieldType::value, FieldType::counter, FieldType::set}) {
      model::FieldRule rule;
      rule.type = type;
      rule.strategy = Strategy::merge;
      model::Rules rules;
      rules.add("/*", rule);
      model::View view = model::render(record, rules);
      // What is shown, and the state beside it, give the state back.
      Bytes state = model::encode_record(record, view.document, devices);
      model::decode_record(state, view.document, devices);
    }
  });
  return 0;
}
