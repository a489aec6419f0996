#include "fuzz/fuzz.h"
#include "src/model/change_codec.h"
#include "src/model/view.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  refuses_only_by_error([&] {
    Bytes input(data, data + size);
    std::vector<model::ChangeSet> changes = model::decode_changes(input, model::DeviceId{1});
    require(model::encode_changes(changes) == input);
    model::Record record;  // whatever it says can be applied and shown
    for (const model::ChangeSet& change : changes) {
      for (const model::Op& op : change.ops) model::apply(record, change, op);
    }
    model::render(record, {});
  });
  return 0;
}
