#include "relay/limits.h"

#include <algorithm>

namespace holdfast::relay {
namespace {

constexpr std::size_t kAddresses = 100'000;  // remembered at once, idle ones with them
constexpr std::int64_t kHourMs = 3'600'000;
constexpr double kBurstSeconds = 10;

}  // namespace

bool Limits::One::is_idle(std::int64_t now_ms) const {
  return connections == 0 && bytes == 0 && asked.at_ms() + kHourMs < now_ms &&
         created.at_ms() + kHourMs < now_ms && mailed.at_ms() + kHourMs < now_ms;
}

// Where too many are remembered, those go that have been quiet, then all that have no connection.
Limits::One& Limits::one(const std::string& address, std::int64_t now_ms) {
  now_ms_ = std::max(now_ms_, now_ms);
  if (addresses_.size() >= kAddresses && !addresses_.count(address)) {
    std::erase_if(addresses_, [&](const auto& entry) { return entry.second.is_idle(now_ms_); });
    if (addresses_.size() >= kAddresses) {
      std::erase_if(addresses_, [](const auto& entry) {
        return entry.second.connections == 0 && entry.second.bytes == 0;
      });
    }
  }
  return addresses_[address];
}

bool Limits::enter(const std::string& address) {
  if (connections_ >= options_.connections) return false;
  One& from = one(address, now_ms_);
  if (from.connections >= options_.connections_of_one) return false;
  ++from.connections;
  ++connections_;
  return true;
}

void Limits::leave(const std::string& address) {
  --one(address, now_ms_).connections;
  --connections_;
}

bool Limits::has_room(const std::string& address, std::size_t bytes) {
  return bytes_ + bytes <= options_.bytes &&
         one(address, now_ms_).bytes + bytes <= options_.bytes_of_one;
}

bool Limits::take(const std::string& address, std::size_t bytes) {
  if (!has_room(address, bytes)) return false;
  One& from = one(address, now_ms_);
  from.bytes += bytes;
  bytes_ += bytes;
  return true;
}

void Limits::give_back(const std::string& address, std::size_t bytes) {
  one(address, now_ms_).bytes -= bytes;
  bytes_ -= bytes;
}

bool Limits::may_ask(const std::string& address, std::int64_t now_ms) {
  return one(address, now_ms)
      .asked.take(options_.strangers_per_s, options_.strangers_per_s * kBurstSeconds, now_ms);
}

bool Limits::may_create(const std::string& address, std::int64_t now_ms) {
  return one(address, now_ms)
      .created.take(options_.vaults_per_hour / 3600, options_.vaults_per_hour, now_ms);
}

bool Limits::may_mail(const std::string& address, std::int64_t now_ms) {
  return one(address, now_ms)
      .mailed.take(options_.mails_per_hour / 3600, options_.mails_per_hour, now_ms);
}

}  // namespace holdfast::relay
