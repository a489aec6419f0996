#include "src/wire/messages.h"

namespace holdfast::wire {
namespace {

void write_list(base::Writer& out, const std::vector<Bytes>& items) {
  out.varint(items.size());
  for (const Bytes& item : items) out.sized(item);
}

std::vector<Bytes> read_list(base::Reader& in) {
  std::size_t count = in.count(1);
  if (count > kMaxListItems) in.fail("it has too many items");
  std::vector<Bytes> items(count);
  for (Bytes& item : items) item = base::to_bytes(in.sized());
  return items;
}

}  // namespace

Bytes session_message(ByteView nonce, std::string_view origin) {
  base::Writer out;
  out.sized(nonce);
  out.sized(origin);
  return out.take();
}

Bytes encode(const SessionRequest& request) {
  base::Writer out;
  out.raw(request.vault);
  out.raw(request.signer);
  out.sized(request.nonce);
  out.sized(request.origin);
  out.raw(request.signature);
  return out.take();
}

SessionRequest decode_session_request(ByteView bytes) {
  base::Reader in(bytes, "a session request");
  SessionRequest request;
  request.vault = in.array<32>();
  request.signer = in.array<32>();
  request.nonce = base::to_bytes(in.sized());
  request.origin = in.sized_text();
  request.signature = in.array<64>();
  in.expect_end();
  return request;
}

Bytes encode(const SessionAnswer& answer) {
  base::Writer out;
  out.sized(answer.token);
  out.u64(answer.lifetime_ms);
  out.u64(answer.now_ms);
  return out.take();
}

SessionAnswer decode_session_answer(ByteView bytes) {
  base::Reader in(bytes, "the relay's session");
  SessionAnswer answer;
  answer.token = in.sized_text();
  answer.lifetime_ms = in.u64();
  answer.now_ms = in.u64();
  // It goes into a request's header as it is.
  if (answer.token.empty() || answer.token.size() > 1024 || !base::from_base64url(answer.token)) {
    in.fail("the token is not one");
  }
  in.expect_end();
  return answer;
}

Bytes encode_list(const std::vector<Bytes>& items) {
  base::Writer out;
  write_list(out, items);
  return out.take();
}

std::vector<Bytes> decode_list(ByteView bytes) {
  base::Reader in(bytes, "a list");
  std::vector<Bytes> items = read_list(in);
  in.expect_end();
  return items;
}

Bytes encode(const PushAnswer& answer) {
  base::Writer out;
  out.raw(answer.log_id);
  out.u64(answer.head);
  out.raw(answer.chain);
  out.varint(answer.items.size());
  for (const PushAnswer::Item& item : answer.items) {
    out.u8(static_cast<std::uint8_t>(item.status));
    out.u64(item.position);
  }
  return out.take();
}

PushAnswer decode_push_answer(ByteView bytes) {
  base::Reader in(bytes, "the relay's answer to a push");
  PushAnswer answer;
  answer.log_id = in.array<16>();
  answer.head = in.u64();
  answer.chain = in.array<32>();
  answer.items.resize(in.count(9));
  for (PushAnswer::Item& item : answer.items) {
    std::uint8_t status = in.u8();
    if (status > static_cast<std::uint8_t>(PushStatus::quota)) in.fail("a status is unknown");
    item.status = static_cast<PushStatus>(status);
    item.position = in.u64();
  }
  in.expect_end();
  return answer;
}

Bytes encode(const LogPage& page) {
  base::Writer out;
  out.raw(page.log_id);
  out.u64(page.head);
  out.raw(page.chain);
  out.raw(page.start_chain);
  out.u64(page.floor);
  for (const CheckpointHead& head : {page.checkpoint, page.proposed}) {
    out.u64(head.position);
    out.raw(head.hash);
    out.u8(head.counts ? 1 : 0);
  }
  out.raw(page.control_head);
  write_list(out, page.batches);
  out.raw(page.end_chain);
  return out.take();
}

LogPage decode_log_page(ByteView bytes) {
  base::Reader in(bytes, "the relay's page of the log");
  LogPage page;
  page.log_id = in.array<16>();
  page.head = in.u64();
  page.chain = in.array<32>();
  page.start_chain = in.array<32>();
  page.floor = in.u64();
  for (CheckpointHead* head : {&page.checkpoint, &page.proposed}) {
    head->position = in.u64();
    head->hash = in.array<32>();
    std::uint8_t counts = in.u8();
    if (counts > 1) in.fail("a flag is neither 0 nor 1");
    head->counts = counts == 1;
  }
  page.control_head = in.array<32>();
  page.batches = read_list(in);
  page.end_chain = in.array<32>();
  in.expect_end();
  return page;
}

Bytes encode(const ControlPost& post) {
  base::Writer out;
  out.raw(post.expected_head);
  out.sized(post.record);
  return out.take();
}

ControlPost decode_control_post(ByteView bytes) {
  base::Reader in(bytes, "a request to change the device list");
  ControlPost post;
  post.expected_head = in.array<32>();
  post.record = base::to_bytes(in.sized());
  in.expect_end();
  return post;
}

}  // namespace holdfast::wire
