#include "bindings/c/objects.h"
#include "holdfast/backup.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

void give_report(const BackupReport& report, uint64_t* records, uint64_t* bytes) {
  if (records) *records = report.records;
  if (bytes) *bytes = report.bytes;
}

}  // namespace

extern "C" {

hf_code hf_backup(hf_store* store, const char* path, hf_key* key, hf_progress progress, void* user,
                  uint64_t* records, uint64_t* bytes) {
  return run([&] {
    clear(records);
    clear(bytes);
    UseStore use(store);
    UseKey use_key(key);
    give_report(backup(use->store, text(path), use_key->key, progress_of(progress, user)), records,
                bytes);
  });
}
hf_code hf_restore(const char* backup_path, hf_key* backup_key, const char* path, hf_key* key,
                   bool replace, const hf_store_options* options, hf_progress progress, void* user,
                   uint64_t* records, uint64_t* bytes) {
  return run([&] {
    clear(records);
    clear(bytes);
    UseKey opens(backup_key);
    UseKey use_key(key);
    RestoreOptions how;
    how.replace = replace;
    how.store = options_of(options);
    give_report(restore(text(backup_path), opens->key, text(path), use_key->key, how,
                        progress_of(progress, user)),
                records, bytes);
  });
}

hf_code hf_import_fernet(hf_store* store, const char* sqlite_path, hf_fernet* keys,
                         const char* collection, hf_progress progress, void* user,
                         uint64_t* records) {
  return run([&] {
    clear(records);
    UseStore use(store);
    Use<FernetObject> fernet(keys);
    std::uint64_t count = import_fernet(use->store, text(sqlite_path), fernet->fernet,
                                        collection_of(collection), progress_of(progress, user));
    if (records) *records = count;
  });
}
hf_code hf_export_fernet(hf_store* store, const char* sqlite_path, hf_fernet* keys,
                         const char* collection, hf_progress progress, void* user,
                         uint64_t* records) {
  return run([&] {
    clear(records);
    UseStore use(store);
    Use<FernetObject> fernet(keys);
    std::uint64_t count = export_fernet(use->store, text(sqlite_path), fernet->fernet,
                                        collection_of(collection), progress_of(progress, user));
    if (records) *records = count;
  });
}

}  // extern "C"
