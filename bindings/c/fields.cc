#include "holdfast/fields.h"

#include "bindings/c/objects.h"
#include "bindings/c/shapes.h"
#include "holdfast/history.h"

using namespace holdfast;
using namespace holdfast::c;

namespace {

template <typename Edit>
hf_code edit_field(hf_store* store, const char* collection, const char* id, const char* path,
                   bool* found, Edit&& edit) {
  return run([&] {
    out(found);
    UseStore use(store);
    Fields fields(use->store);
    *found = edit(fields, key_of(collection, id), text(path));
  });
}

}  // namespace

extern "C" {

hf_code hf_field_add(hf_store* store, const char* collection, const char* id, const char* path,
                     int64_t by, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.add(key, at_path, by);
                    });
}
hf_code hf_field_insert_member(hf_store* store, const char* collection, const char* id,
                               const char* path, const char* member, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.insert_member(key, at_path, parse(member));
                    });
}
hf_code hf_field_remove_member(hf_store* store, const char* collection, const char* id,
                               const char* path, const char* member, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.remove_member(key, at_path, parse(member));
                    });
}
hf_code hf_field_insert(hf_store* store, const char* collection, const char* id, const char* path,
                        size_t at, const char* value, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.insert(key, at_path, at, parse(value));
                    });
}
hf_code hf_field_move(hf_store* store, const char* collection, const char* id, const char* path,
                      size_t from, size_t to, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.move(key, at_path, from, to);
                    });
}
hf_code hf_field_erase(hf_store* store, const char* collection, const char* id, const char* path,
                       size_t at, bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.erase(key, at_path, at);
                    });
}
hf_code hf_field_edit_text(hf_store* store, const char* collection, const char* id,
                           const char* path, size_t at, size_t erase, const char* insert,
                           bool* found) {
  return edit_field(store, collection, id, path, found,
                    [&](Fields& fields, const Key& key, const std::string& at_path) {
                      return fields.edit_text(key, at_path, at, erase, text(insert));
                    });
}

hf_code hf_history_changes(hf_store* store, const char* collection, const char* id,
                           char** changes) {
  return run([&] {
    out(changes);
    UseStore use(store);
    *changes = give_json(all_to_json(History(use->store).changes(key_of(collection, id))));
  });
}
hf_code hf_history_undo(hf_store* store, const char* change, char** report) {
  return run([&] {
    out(report);
    UseStore use(store);
    UndoReport done = History(use->store).undo(dot_of(text(change)));
    *report = give_json({{"records", done.records}, {"skipped", done.skipped}});
  });
}

}  // extern "C"
