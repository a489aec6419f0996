#include "collector/collector.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "holdfast/error.h"
#include "holdfast/json.h"
#include "src/wire/egress.h"

namespace holdfast::collector {
namespace {

using nlohmann::json;

relay::Response answer(int status, const std::string& text) {
  relay::Response out;
  out.status = status;
  out.content_type = "text/plain; charset=utf-8";
  out.body = base::to_bytes(base::view(text + "\n"));
  return out;
}

}  // namespace

Collector::Collector(std::vector<crypto::HpkeKey> keys, const std::string& out,
                     const base::Environment& environment)
    : keys_(std::move(keys)), environment_(environment) {
  continue_file(out);
}

void Collector::continue_file(const std::string& out) {
  file_ = environment_.files->open(out, base::FileSystem::Mode::create);
  if (!file_->try_lock()) {
    throw Error(ErrorCode::in_use, "another collector writes to " + out + ": stop it first");
  }
  std::uint64_t all = file_->size();
  std::string line;
  Bytes part(1 << 16);
  for (std::uint64_t at = 0; at < all;) {
    std::size_t n = file_->read(at, part);
    if (n == 0) break;
    for (std::size_t i = 0; i < n; ++i) {
      if (part[i] != '\n') {
        line += static_cast<char>(part[i]);
        continue;
      }
      json entry = json::parse(line, nullptr, false);
      std::optional<Bytes> id;
      if (entry.is_object() && entry.contains("egress") && entry["egress"].is_string()) {
        id = base::from_hex(entry["egress"].get<std::string>());
      }
      if (!id || id->size() != 16) {
        throw Error(ErrorCode::corrupt, out +
                                            " holds a line that no collector wrote: choose "
                                            "another file");
      }
      base::Id16 key{};
      std::copy(id->begin(), id->end(), key.begin());
      seen_.insert(key);
      size_ = at + i + 1;
      line.clear();
    }
    at += n;
  }
  if (size_ == all) return;
  if (!line.starts_with("{") && !std::string_view("{").starts_with(line)) {
    throw Error(ErrorCode::corrupt, out + " ends in what no collector wrote: choose another file");
  }
  file_->truncate(size_);  // half a line, left by a kill
}

relay::Caller Collector::caller(const std::string&, const std::string&) const {
  return {wire::kMaxEgress, false};
}

relay::Response Collector::take(const relay::Request& request) try {
  if (request.method != "POST") return answer(405, "send a payload with POST");
  wire::Egress egress = wire::decode_egress(request.body);
  const wire::EgressHeader& header = egress.header;
  if (seen_.count(header.id) != 0) return answer(200, "received before");
  for (const crypto::HpkeKey& key : keys_) {
    auto context = crypto::HpkeContext::receiver(static_cast<crypto::HpkeAead>(header.aead), key,
                                                 header.encapsulated, wire::egress_info(header));
    auto padded = context ? context->open(egress.head, egress.sealed) : std::nullopt;
    if (!padded) continue;
    json line = {{"egress", base::to_hex(header.id)},
                 {"destination", header.destination},
                 {"purpose", header.purpose},
                 {"data_type", header.data_type},
                 {"policy", base::to_hex(header.policy)},
                 {"key", header.key_id},
                 {"received_ms", environment_.clock->now_ms()},
                 {"data", parse_json(wire::unpad_payload(padded->view()))}};
    std::string text = line.dump() + "\n";
    try {
      file_->write(size_, base::view(text));
      file_->sync();
    } catch (const Error&) {
      try {
        file_->truncate(size_);  // or the next start does
      } catch (const Error&) {
      }
      return answer(503, "the collector cannot write now: send it again later");
    }
    size_ += text.size();
    seen_.insert(header.id);
    return answer(200, "received");
  }
  return answer(400, "no key here opens this");
} catch (const Error& error) {
  return answer(400, error.what());
}

}  // namespace holdfast::collector
