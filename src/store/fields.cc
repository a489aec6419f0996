#include "holdfast/fields.h"

#include "src/model/diff.h"
#include "src/model/json.h"
#include "src/model/path.h"
#include "src/store/engine.h"

namespace holdfast {
namespace {

// Writes the ops that `edit` makes of the record as it is now.
bool edit_record(EncryptedLocalStore& store, const Key& key, const std::string& path,
                 const std::function<std::vector<model::Op>(const model::Editing&,
                                                            const std::string& pointer)>& edit) {
  store::check_key(key);
  std::string pointer = model::parse_path(path);
  store::Engine& engine = store.engine();
  store::Engine::Transaction transaction(engine);
  auto row = engine.records().load(key.collection, key.id);
  bool there = row && row->alive;
  if (there) {
    model::Record record = engine.records().decode(*row);
    model::Json document = store::parse_stored(row->doc);
    model::Editing editing{record, engine.records().rules(key.collection), document,
                           engine.identity().id, [&] { return engine.new_key(); }};
    std::vector<model::Op> ops = edit(editing, pointer);
    if (!ops.empty()) {
      engine.write(key, std::move(ops));
      engine.check_size(key);
    }
  }
  transaction.commit();
  return there;
}

}  // namespace

bool Fields::add(const Key& key, const std::string& path, std::int64_t by) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    return model::edit_counter(editing, pointer, by);
  });
}

bool Fields::insert_member(const Key& key, const std::string& path, const nlohmann::json& member) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    model::check_field(member, pointer);
    return model::edit_set(editing, pointer, member, true);
  });
}

bool Fields::remove_member(const Key& key, const std::string& path, const nlohmann::json& member) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    model::check_field(member, pointer);
    return model::edit_set(editing, pointer, member, false);
  });
}

bool Fields::insert(const Key& key, const std::string& path, std::size_t at,
                    const nlohmann::json& value) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    model::check_field(value, pointer);
    return model::insert_element(editing, pointer, at, value);
  });
}

bool Fields::move(const Key& key, const std::string& path, std::size_t from, std::size_t to) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    return model::move_element(editing, pointer, from, to);
  });
}

bool Fields::erase(const Key& key, const std::string& path, std::size_t at) {
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    return model::erase_element(editing, pointer, at);
  });
}

bool Fields::edit_text(const Key& key, const std::string& path, std::size_t at, std::size_t erase,
                       const std::string& insert) {
  if (!model::valid_utf8(insert)) {
    throw Error(ErrorCode::invalid_argument, "the text to insert is not UTF-8");
  }
  return edit_record(*store_, key, path, [&](const auto& editing, const auto& pointer) {
    return model::edit_text(editing, pointer, {at, erase, model::to_units(insert)});
  });
}

}  // namespace holdfast
