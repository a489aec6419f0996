#include "src/store/header.h"

#include "fuzz/fuzz.h"
#include "src/base/fakes.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  base::MemoryFiles files;
  auto file = files.open("f", base::FileSystem::Mode::create);
  file->write(0, {data, size});
  if (size < 8192) {  // most mutations should get past the size
    Bytes page(data, data + size);
    page.resize(8192);
    file->write(0, page);
  }
  // A raw key only: a passphrase slot would derive for half a second an input.
  refuses_only_by_error([&] { store::unlock(*file, UserKey::raw(Bytes(32, 1)), "f"); });
  return 0;
}
