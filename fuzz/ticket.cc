#include "src/sync/ticket.h"

#include "fuzz/fuzz.h"
#include "src/sync/pairing_messages.h"
#include "src/sync/relay_client.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  std::string text(reinterpret_cast<const char*>(data), size);
  refuses_only_by_error([&] {
    sync::Ticket ticket = sync::parse_ticket(text);
    require(sync::to_text(sync::parse_ticket(sync::to_text(ticket))) == sync::to_text(ticket));
  });
  refuses_only_by_error([&] {
    std::string url = sync::check_relay_url(text);
    require(sync::check_relay_url(url) == url);
  });
  refuses_only_by_error([&] {
    std::string code = sync::to_text(sync::parse_pairing_code(text));
    require(sync::to_text(sync::parse_pairing_code(code)) == code);
  });
  refuses_only_by_error([&] {
    base::Reader in = sync::read_message({data, size});
    sync::read_welcome(in);
  });
  refuses_only_by_error([&] { sync::open_parcel({data, size}, sync::Ticket{}); });
  return 0;
}
