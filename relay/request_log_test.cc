#include "relay/request_log.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/base/fakes.h"

namespace holdfast::relay {
namespace {

struct Log {
  std::ostringstream text;
  base::FakeClock clock;
  base::SeededRandom random{7};
  RequestLog log;
  explicit Log(bool as_json)
      : log(clock, random, as_json, std::make_shared<spdlog::sinks::ostream_sink_mt>(text)) {}

  nlohmann::json of(const std::string& vault, const std::string& address,
                    const std::string& method = "GET") {
    text.str("");
    Server::Served served;
    served.method = method;
    served.route = "/v1/vaults/*/log";
    served.vault = vault;
    served.address = address;
    served.status = 200;
    served.us = 812;
    served.sent = 512;
    log.served(served);
    EXPECT_EQ(text.str().find(address), std::string::npos);
    EXPECT_TRUE(vault.empty() || text.str().find(vault) == std::string::npos);
    return nlohmann::json::parse(text.str())["request"];
  }
};

TEST(RelayRequestLog, SaysWhatWasAskedAndNotByWhom) {
  Log log(true);
  std::string vault(64, 'a');
  nlohmann::json line = log.of(vault, "192.0.2.7");
  EXPECT_EQ(line["method"], "GET");
  EXPECT_EQ(line["route"], "/v1/vaults/*/log");
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["us"], 812);
  EXPECT_EQ(line["out"], 512);
  EXPECT_EQ(line["vault"].get<std::string>().size(), 16u);
  // The same within a day, others for others, and all others the next day.
  EXPECT_EQ(log.of(vault, "192.0.2.7"), line);
  EXPECT_NE(log.of(std::string(64, 'b'), "192.0.2.7")["vault"], line["vault"]);
  EXPECT_NE(log.of(vault, "192.0.2.8")["address"], line["address"]);
  log.clock.advance_ms(24 * 3'600'000);
  EXPECT_NE(log.of(vault, "192.0.2.7")["vault"], line["vault"]);
  EXPECT_NE(log.of(vault, "192.0.2.7")["address"], line["address"]);
  // And by another process.
  Log other(true);
  other.random = base::SeededRandom(8);
  EXPECT_NE(other.of(vault, "192.0.2.7")["vault"], line["vault"]);
  EXPECT_FALSE(log.of("", "192.0.2.7").contains("vault"));
}

// What a stranger chooses does not come into the log.
TEST(RelayRequestLog, TakesNoWordOfAStranger) {
  Log log(true);
  EXPECT_EQ(log.of("", "192.0.2.7", "G\r\nE\"T")["method"], "other");
  Log words(false);
  Server::Served served;
  served.method = "X\nfake line";
  served.route = "other";
  words.log.served(served);
  std::string line = words.text.str();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_NE(line.find("request method=other route=other"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::relay
