#include "fuzz/fuzz.h"
#include "src/wire/admission.h"
#include "src/wire/control.h"
#include "src/wire/messages.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::wire;
  Bytes input(data, data + size);
  refuses_only_by_error([&] { require(encode(decode_control(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_log_page(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_push_answer(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_session_request(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_session_answer(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_control_post(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_erasure(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_admission_needed(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_checkpoint(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_stub_page(input)) == input); });
  refuses_only_by_error([&] { require(encode(decode_stub_restore(input)) == input); });
  refuses_only_by_error([&] { require(encode_list(decode_list(input)) == input); });
  refuses_only_by_error([&] {
    Bytes head = encode(decode_batch_header(input));
    require(std::equal(head.begin(), head.end(), input.begin()));
  });
  refuses_only_by_error([&] { ControlState().append(input); });
  return 0;
}
