#include "relay/operator.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "holdfast/error.h"
#include "relay/service.h"
#include "relay/sqlite/sqlite_storage.h"
#include "relay/verify.h"
#include "src/wire/admission.h"

namespace holdfast::relay {
namespace {

using nlohmann::json;

constexpr std::size_t kAtOnce = 1000;
constexpr std::int64_t kDayMs = 24 * 3'600'000LL;

struct Arguments {
  std::string vault;
  std::int64_t megabytes = 0;
  std::int64_t days = 14;
  std::size_t count = 1;
  std::string out;
  std::string list;
  bool json = false;
  bool totals = false;
  bool sure = false;
};

Hash32 parse_vault(const std::string& text) {
  std::optional<Bytes> bytes = base::from_hex(text);
  if (!bytes || bytes->size() != 32) {
    throw Error(ErrorCode::invalid_argument, "a vault's id has 64 hexadecimal digits");
  }
  return base::Reader(*bytes, "an id").array<32>();
}

using Visit = std::function<void(Storage&, const Hash32&)>;
using Listing = std::vector<Hash32> (Storage::*)(const Hash32& after, std::size_t limit);

// Each in a transaction of its own, so that the relay goes on beside this.
void for_each(Storage& storage, Listing listing, const Visit& visit) {
  Hash32 last{};
  for (;;) {
    std::vector<Hash32> ids;
    storage.group(Storage::Access::read, [&] { ids = (storage.*listing)(last, kAtOnce); });
    if (ids.empty()) return;
    for (const Hash32& id : ids) visit(storage, id);
    last = ids.back();
  }
}

void for_each_vault(Opened& opened, const Visit& visit) {
  for (auto& storage : opened.storages) for_each(*storage, &Storage::vaults, visit);
}

Storage& storage_of(Opened& opened, const Hash32& id) {
  return *opened.storages[shard_of(id, opened.storages.size())];
}

int list(Opened& opened, const Arguments& args) {
  std::uint64_t vaults = 0, bytes = 0, batches = 0;
  for_each_vault(opened, [&](Storage& storage, const Hash32& id) {
    std::optional<Vault> vault;
    storage.group(Storage::Access::read, [&] { vault = storage.vault(id); });
    if (!vault) return;
    ++vaults;
    bytes += vault->bytes;
    batches += vault->head;
    if (args.totals) return;
    if (args.json) {
      json line = {{"vault", base::to_hex(id)},     {"batches", vault->head},
                   {"kept_from", vault->floor + 1}, {"bytes", vault->bytes},
                   {"quota", vault->quota},         {"records", vault->control_count}};
      std::printf("%s\n", line.dump().c_str());
    } else {
      std::printf("%s  %lu batches  %lu bytes%s\n", base::to_hex(id).c_str(), vault->head,
                  vault->bytes,
                  vault->quota == 0 ? "" : ("  quota " + std::to_string(vault->quota)).c_str());
    }
  });
  if (args.json && args.totals) {
    json line = {{"vaults", vaults}, {"batches", batches}, {"bytes", bytes}};
    std::printf("%s\n", line.dump().c_str());
  } else if (!args.json) {
    std::printf("%lu vaults, %lu batches, %lu bytes\n", vaults, batches, bytes);
  }
  return 0;
}

int set_quota(Opened& opened, const Arguments& args) {
  Hash32 id = parse_vault(args.vault);
  Storage& storage = storage_of(opened, id);
  storage.transaction([&] {
    std::optional<Vault> vault = storage.vault(id);
    if (!vault) throw Error(ErrorCode::not_found, "this relay does not hold the vault");
    vault->quota = static_cast<std::uint64_t>(args.megabytes) << 20;
    storage.put_vault(id, *vault);
  });
  if (args.megabytes == 0) {
    std::printf("the relay's quota again\n");
  } else {
    std::printf("%ld megabytes\n", args.megabytes);
  }
  return 0;
}

int expire(Opened& opened, std::int64_t retention_days) {
  base::Environment environment = base::system_environment();
  ServiceOptions options;
  options.retention_ms = retention_days * kDayMs;
  std::uint64_t freed = 0;
  for (auto& storage : opened.storages) {
    storage->transaction([&] { storage->expire(environment.clock->now_ms()); });
  }
  for_each_vault(opened, [&](Storage& storage, const Hash32& id) {
    Service service(storage, *environment.clock, *environment.random, options,
                    Bytes(Service::kSecret));
    freed += service.expire(id);
  });
  std::printf("%lu bytes of batches let go\n", freed);
  return 0;
}

int verify(Opened& opened, const Arguments& args) {
  std::uint64_t vaults = 0, batches = 0, faults = 0;
  auto one = [&](Storage& storage, const Hash32& id) {
    VerifyReport report;
    try {
      report = verify_vault(storage, id);
    } catch (const Error& error) {
      report.faults.push_back(std::string("it cannot be read: ") + error.what());
    }
    if (!report.is_here && args.vault.empty()) return;  // erased since it was listed
    if (!report.is_here) report.faults.push_back("it is not here");
    ++vaults;
    batches += report.batches;
    faults += report.faults.size();
    for (const std::string& fault : report.faults) {
      std::printf("%s: %s\n", base::to_hex(id).c_str(), fault.c_str());
    }
  };
  auto damaged = [&](const std::string& what) {
    ++faults;
    std::printf("the database itself: %s\n", what.c_str());
  };
  if (!args.vault.empty()) {
    Hash32 id = parse_vault(args.vault);
    one(storage_of(opened, id), id);
  }
  for (auto& storage : opened.storages) {
    if (!args.vault.empty()) break;
    try {
      for_each(*storage, &Storage::vaults, one);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt) throw;
      damaged(error.what());  // the list of the vaults: there may be more than were read
    }
    for (const std::string& what : storage->damage()) damaged(what);
  }
  std::printf("%lu vaults, %lu batches, %lu faults\n", vaults, batches, faults);
  return faults == 0 ? 0 : 1;
}

int list_erased(Opened& opened, const Arguments&) {
  for (auto& storage : opened.storages) {
    for_each(*storage, &Storage::erased_vaults,
             [](Storage&, const Hash32& id) { std::printf("%s\n", base::to_hex(id).c_str()); });
  }
  return 0;
}

// Those that were erased since a backup was made: also where it does not hold them, or their
// devices could bring them back.
int erase_again(Opened& opened, const Arguments& args) {
  std::ifstream file(args.list);
  if (!file) throw Error(ErrorCode::io, "cannot read " + args.list);
  std::vector<Hash32> ids;  // all of them, before the first is erased
  for (std::string line; std::getline(file, line);) {
    while (line.ends_with('\r') || line.ends_with(' ')) line.pop_back();
    if (!line.empty()) ids.push_back(parse_vault(line));
  }
  std::int64_t now = base::system_environment().clock->now_ms();
  for (const Hash32& id : ids) {
    Storage& storage = storage_of(opened, id);
    storage.transaction([&] {
      if (storage.vault(id) || !storage.erased(id)) storage.erase(id, {}, now);
    });
  }
  std::printf("%zu vaults are erased\n", ids.size());
  return 0;
}

int erase(Opened& opened, const Arguments& args) {
  if (!args.sure) throw Error(ErrorCode::invalid_argument, "this is for good: say --yes");
  if (args.vault.empty() == args.list.empty()) {
    throw Error(ErrorCode::invalid_argument, "give a vault's id, or --list FILE");
  }
  if (!args.list.empty()) return erase_again(opened, args);
  Hash32 id = parse_vault(args.vault);
  Storage& storage = storage_of(opened, id);
  bool was_there = false;
  storage.transaction([&] {
    was_there = storage.vault(id).has_value();
    if (was_there) storage.erase(id, {}, base::system_environment().clock->now_ms());
  });
  if (!was_there) throw Error(ErrorCode::not_found, "this relay does not hold the vault");
  std::printf("erased; backups that were made before still have it\n");
  return 0;
}

int invite(Opened& opened, const Arguments& args) {
  base::Environment environment = base::system_environment();
  std::int64_t expires = environment.clock->now_ms() + args.days * kDayMs;
  for (std::size_t i = 0; i < args.count; ++i) {
    std::string code = base::to_base64url(base::to_bytes(environment.random->array<15>()));
    Hash32 hash = wire::invite_hash(code);
    Storage& storage = storage_of(opened, hash);
    storage.transaction([&] { storage.add_invite(hash, expires); });
    std::printf("%s\n", code.c_str());
  }
  return 0;
}

int back_up(Opened& opened, const Place& place, const Arguments& args) {
  if (place.is_postgres()) {
    throw Error(ErrorCode::invalid_argument,
                "PostgreSQL has its own means: pg_basebackup with an archive, or pg_dump");
  }
  std::error_code error;
  std::filesystem::create_directories(args.out, error);
  if (!std::filesystem::is_empty(args.out, error) || error) {
    throw Error(ErrorCode::exists, args.out + " is no empty folder: give another");
  }
  for (std::size_t i = 0; i < opened.storages.size(); ++i) {
    auto& storage = static_cast<SqliteStorage&>(*opened.storages[i]);
    storage.back_up(args.out + "/relay-" + std::to_string(i) + ".db");
  }
  note_shards(args.out, opened.storages.size());
  std::printf("%zu files in %s: to put them back, start a relay on a copy with --restored\n",
              opened.storages.size(), args.out.c_str());
  return 0;
}

}  // namespace

void add_operator_commands(CLI::App& app, const Place& place, const std::int64_t& retention_days,
                           std::function<int()>& run) {
  auto args = std::make_shared<Arguments>();
  auto add = [&](const char* name, const char* help, const char* example, auto work) {
    CLI::App* command = app.add_subcommand(name, help);
    command->footer(std::string("Where the relay keeps its data is said as to the relay itself: "
                                "--data or --postgres,\nor in the environment.\nExample:\n"
                                "  holdfast-relay ") +
                    example + " --data relay-data");
    command->callback([&run, &place, args, work] {
      run = [&place, args, work] {
        if (place.data.empty() == place.postgres.empty()) {
          throw Error(ErrorCode::invalid_argument, "give --data FOLDER or --postgres DATABASE");
        }
        Opened opened = open_storages(place, 0, 1, false);
        return work(opened, *args);
      };
    });
    return command;
  };
  CLI::App* command = add("vaults", "lists them, with what they take", "vaults --totals", list);
  command->add_flag("--json", args->json, "a line of JSON each");
  command->add_flag("--totals", args->totals, "the sums only");
  command = add("quota", "gives a vault a quota of its own", "quota VAULT 10240", set_quota);
  command->add_option("VAULT", args->vault, "its id")->required();
  command->add_option("MEGABYTES", args->megabytes, "0: the relay's again")
      ->required()
      ->check(CLI::Range(0, 1'000'000'000));
  add("expire", "lets go now of what the relay lets go of by and by", "expire --retention-days 90",
      [&retention_days](Opened& opened, const Arguments&) {
        return expire(opened, retention_days);
      });
  command = add("verify", "computes lists, leaves, signatures and chains again", "verify", verify);
  command->add_option("VAULT", args->vault, "one; else all");
  command = add("erase", "deletes a vault, for good", "erase VAULT --yes", erase);
  command->add_option("VAULT", args->vault, "its id");
  command->add_option("--list", args->list, "a file of ids instead, as 'erased' prints them");
  command->add_flag("--yes", args->sure, "sure");
  add("erased", "lists the vaults that were erased: keep it for when a backup is put back",
      "erased", list_erased);
  command =
      add("invite", "makes codes by which a vault may be created", "invite --count 3", invite);
  command->add_option("--days", args->days, "how long they are good")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  command->add_option("--count", args->count, "how many")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command = add(
      "backup", "copies the files while the relay runs", "backup relay-backup",
      [&place](Opened& opened, const Arguments& given) { return back_up(opened, place, given); });
  command->add_option("FOLDER", args->out, "a new one")->required();
}

}  // namespace holdfast::relay
