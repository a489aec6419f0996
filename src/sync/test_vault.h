#pragma once

// Devices and the real relay service in one thread, over fakes, for tests.

#include <gtest/gtest.h>

#include "holdfast/conflict_resolver.h"
#include "holdfast/incremental_sync.h"
#include "holdfast/vault.h"
#include "relay/service.h"
#include "relay/sqlite/sqlite_storage.h"
#include "src/store/test_store.h"
#include "src/sync/membership.h"
#include "src/sync/relay_client.h"

namespace holdfast::sync {

using Json = nlohmann::json;
constexpr const char* kRelayUrl = "http://127.0.0.1:8440";

inline relay::ServiceOptions unlimited() {
  relay::ServiceOptions out;
  out.origins = {kRelayUrl};
  out.requests_per_s = 1e9;
  return out;
}

// The relay behind a network that tests can cut, delay and falsify.
struct FakeRelay {
  explicit FakeRelay(std::shared_ptr<base::FakeClock> its_clock)
      : clock(std::move(its_clock)), service(storage, *clock, random, service_options) {}

  base::HttpResponse perform(const base::HttpRequest& request) {
    ++requests;
    if (capture) {
      for (const std::string& text : {request.method, request.url, request.token}) {
        wire_bytes.insert(wire_bytes.end(), text.begin(), text.end());
      }
    }
    wire_bytes.insert(wire_bytes.end(), request.body.begin(), request.body.end());
    if (before && before(request)) return {0, {}, 0, "cut before it arrived"};
    if (down) return {0, {}, 0, "connection refused"};
    relay::Response answer =
        service.handle({request.method, request.url.substr(std::string(kRelayUrl).size()),
                        request.token, request.body});
    base::HttpResponse response{answer.status, std::move(answer.body), 0, ""};
    wire_bytes.insert(wire_bytes.end(), response.body.begin(), response.body.end());
    if (after) after(request, response);
    return response;
  }

  // All that is stored; and the relay as it is after its data was put back from such a copy.
  Bytes backup() {
    sqlite3_int64 size = 0;
    unsigned char* data = sqlite3_serialize(storage.connection().handle(), "main", &size, 0);
    Bytes out(data, data + size);
    sqlite3_free(data);
    return out;
  }
  void put_back(const Bytes& copy, bool is_told) {
    auto* data = static_cast<unsigned char*>(sqlite3_malloc64(copy.size()));
    std::copy(copy.begin(), copy.end(), data);
    auto size = static_cast<sqlite3_int64>(copy.size());
    sqlite3_deserialize(storage.connection().handle(), "main", data, size, size,
                        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE);
    restart();
    if (is_told) service.begin_all_anew();
  }
  // What it keeps in memory is gone.
  void restart() {
    service.~Service();
    new (&service) relay::Service(storage, *clock, random, service_options);
  }
  void set_retention(std::int64_t ms) {
    service_options.retention_ms = ms;
    restart();
  }

  std::shared_ptr<base::FakeClock> clock;
  base::SeededRandom random{99};
  relay::SqliteStorage storage{":memory:"};
  relay::ServiceOptions service_options = unlimited();
  relay::Service service;
  bool down = false;
  std::function<bool(const base::HttpRequest&)> before;  // true: the request is lost
  std::function<void(const base::HttpRequest&, base::HttpResponse&)> after;
  Bytes wire_bytes;
  bool capture = false;  // what is around the bodies, too
  int requests = 0;
};

// One device: a store in memory, and what works on it.
struct TestDevice {
  TestDevice(FakeRelay& relay, std::uint64_t seed,
             std::uint64_t checkpoint_bytes = StoreOptions().checkpoint_bytes)
      : world(seed) {
    world.checkpoint_bytes = checkpoint_bytes;
    world.clock = relay.clock;
    world.environment.clock = relay.clock;
    world.environment.network = std::make_shared<base::FakeNetwork>(
        [&relay](const base::HttpRequest& request) { return relay.perform(request); });
    open();
  }
  void open() {
    sync.reset();
    store.reset();
    store.emplace(world.open());
    sync.emplace(*store);
  }
  // The power goes and comes back: what was not synced to disk is lost.
  void cut_power() {
    world.cut_power();
    sync.reset();
    auto dead = std::move(store);  // still writes to the disk that is gone
    store.reset();
    store.emplace(world.open());
    sync.emplace(*store);
  }
  Vault vault() { return Vault(*store); }
  ConflictResolver conflicts() { return ConflictResolver(*store); }
  Bytes state() { return store->engine().locked()->records().canonical_state(); }

  store::FakeWorld world;
  std::optional<EncryptedLocalStore> store;
  std::optional<IncrementalSync> sync;
};

// A vault with some devices in it, all synced.
struct TestVault {
  explicit TestVault(int count = 2, std::uint64_t seed = 1)
      : clock(std::make_shared<base::FakeClock>()), relay(clock) {
    for (int i = 0; i < count; ++i) add(seed * 100 + static_cast<std::uint64_t>(i));
  }
  // `checkpoint_bytes`: see StoreOptions.
  TestDevice& add(std::uint64_t seed,
                  std::uint64_t checkpoint_bytes = StoreOptions().checkpoint_bytes) {
    devices.push_back(std::make_unique<TestDevice>(relay, seed, checkpoint_bytes));
    TestDevice& device = *devices.back();
    std::string name = "device-" + std::to_string(devices.size());
    if (devices.size() == 1) {
      device.vault().create(name, [](const std::string&) {});
      device.vault().use_relay(kRelayUrl);
    } else {
      device.vault().join(devices[0]->vault().invite_ticket(), name);
    }
    return device;
  }
  TestDevice& operator[](std::size_t index) { return *devices[index]; }
  // Until everybody has everything.
  void settle() {
    for (int round = 0; round < 3; ++round) {
      for (auto& device : devices) device->sync->sync();
    }
  }

  std::shared_ptr<base::FakeClock> clock;
  FakeRelay relay;
  std::vector<std::unique_ptr<TestDevice>> devices;
};

constexpr std::int64_t kHourMs = 60 * 60 * 1000;

inline void expect_equal(TestVault& vault) {
  for (auto& device : vault.devices) EXPECT_EQ(device->state(), vault[0].state());
}

// Of the collection "records".
inline Policy policy(const std::string& path, Strategy strategy,
                     FieldType type = FieldType::value) {
  Policy out;
  out.collection = "records";
  out.path = path;
  out.strategy = strategy;
  out.type = type;
  return out;
}

}  // namespace holdfast::sync
