// Notes that work offline: each line of standard input becomes a note, and what sync does is shown
// as it happens. Usage: notes FILE RELAY-URL   (the passphrase is in HOLDFAST_PASSPHRASE)

#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

#include "holdfast/sync_engine.h"
#include "holdfast/vault.h"

using namespace holdfast;

// Prints each state of sync once, and waits for one.
class Shown {
 public:
  void show(const SyncMetadata& now) {
    std::lock_guard lock(mutex_);
    if (now.state == last_ || now.state == SyncState::syncing) return;
    last_ = now.state;
    std::cout << "[" << sync_state_name(now.state) << "]" << std::endl;
    changed_.notify_all();
  }
  void wait_for_an_answer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return last_.has_value(); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<SyncState> last_;
};

int main(int argc, char** argv) try {
  const char* passphrase = std::getenv("HOLDFAST_PASSPHRASE");
  if (argc != 3 || !passphrase) {
    std::cerr << "usage: HOLDFAST_PASSPHRASE=… notes FILE RELAY-URL\n";
    return 2;
  }
  EncryptedLocalStore store(argv[1], UserKey::passphrase(passphrase));
  Vault vault(store);
  if (!vault.exists()) {
    vault.create("notes", [](const std::string& code) {
      std::cerr << "Write this recovery code down: " << code << "\n";
    });
  }
  if (!vault.relay()) {
    try {
      vault.use_relay(argv[2]);
    } catch (const Error& error) {  // works without; the next start tries again
      if (error.code() != ErrorCode::unreachable) throw;
      std::cout << "[offline]" << std::endl;
    }
  }

  for (std::string line; std::getline(std::cin, line);) {
    store.store({"notes", "note-" + std::to_string(store.list("notes").size() + 1)},
                {{"text", line}});
  }
  for (const auto& row :
       store.query("SELECT id, doc ->> '$.text' AS text FROM notes ORDER BY id")) {
    std::cout << row["id"].get<std::string>() << ": " << row["text"].get<std::string>() << "\n";
  }
  if (!vault.relay()) return 0;

  Shown shown;
  SyncEngine engine(store);
  engine.subscribe([&](const SyncEvent& event) {
    if (event.kind == SyncEvent::Kind::state) shown.show(event.state);
    if (event.kind == SyncEvent::Kind::warning) std::cerr << event.warning << "\n";
  });
  std::thread running([&] { engine.run(); });
  shown.wait_for_an_answer();
  engine.stop();
  running.join();
  std::cout << engine.sync().count_pending() << " changes wait\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
