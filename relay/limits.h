#pragma once

// What one address may have of a server at once, and how much all of them together.

#include <cstdint>
#include <map>
#include <string>

#include "relay/bucket.h"

namespace holdfast::relay {

struct LimitOptions {
  std::size_t connections = 20'000;
  std::size_t connections_of_one = 2'000;  // from one address
  std::size_t bytes = 256U << 20;          // of bodies in memory, over all connections
  std::size_t bytes_of_one = 64U << 20;    // from and to one address
  double strangers_per_s = 50;             // requests without a token, of one address
  double vaults_per_hour = 60;             // created from one address
  double mails_per_hour = 600;             // put into the mailbox from one address
};

// One thread at a time. Addresses are text, as address_of() makes it.
class Limits {
 public:
  explicit Limits(const LimitOptions& options) : options_(options) {}

  // False: there is no room. Else leave() when the connection ends.
  bool enter(const std::string& address);
  void leave(const std::string& address);
  // Bodies: likewise, of so many bytes.
  bool take(const std::string& address, std::size_t bytes);
  bool has_room(const std::string& address, std::size_t bytes);  // and takes none
  void give_back(const std::string& address, std::size_t bytes);
  // False: too many of them in too short a time.
  bool may_ask(const std::string& address, std::int64_t now_ms);
  bool may_create(const std::string& address, std::int64_t now_ms);
  bool may_mail(const std::string& address, std::int64_t now_ms);

  std::size_t connections() const { return connections_; }
  std::size_t bytes() const { return bytes_; }

 private:
  struct One {
    std::size_t connections = 0;
    std::size_t bytes = 0;
    Bucket asked;
    Bucket created;
    Bucket mailed;
    bool is_idle(std::int64_t now_ms) const;
  };
  One& one(const std::string& address, std::int64_t now_ms);

  const LimitOptions options_;
  std::map<std::string, One> addresses_;
  std::size_t connections_ = 0;
  std::size_t bytes_ = 0;
  std::int64_t now_ms_ = 0;
};

}  // namespace holdfast::relay
