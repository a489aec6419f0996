#pragma once

// A file system in memory that logs every change, and can show what a power cut at any moment may
// leave: for tests.

#include <cstring>
#include <map>
#include <set>

#include "holdfast/error.h"
#include "src/base/fakes.h"

namespace holdfast::store {

class LoggedFiles : public base::FileSystem {
 public:
  struct Op {
    enum Kind { write, sync, truncate, create, remove, rename, marker } kind;
    int file = 0;          // which file, whatever it is called
    std::string path;      // create, remove, rename
    std::string to;        // rename
    std::uint64_t at = 0;  // write: offset; truncate: size; marker: number
    Bytes bytes;
  };
  using Image = std::map<std::string, Bytes>;

  LoggedFiles() = default;
  explicit LoggedFiles(const Image& image) {
    for (const auto& [path, bytes] : image) {
      auto content = std::make_shared<Content>();
      content->file = next_file_++;
      content->bytes = bytes;
      files_[path] = content;
      first_[path] = {content->file, bytes};
    }
  }

  std::unique_ptr<base::File> open(const std::string& path, Mode mode) override {
    auto found = files_.find(path);
    if (found == files_.end()) {
      if (mode != Mode::create) return nullptr;
      auto content = std::make_shared<Content>();
      content->file = next_file_++;
      found = files_.emplace(path, content).first;
      log_.push_back({Op::create, content->file, path, "", 0, {}});
    }
    return std::make_unique<Handle>(*this, found->second);
  }
  bool exists(const std::string& path) override { return files_.count(path) != 0; }
  void remove(const std::string& path) override {
    if (files_.erase(path) != 0) log_.push_back({Op::remove, 0, path, "", 0, {}});
  }
  bool rename_new(const std::string& from, const std::string& to) override {
    if (exists(to)) return false;
    rename_over(from, to);
    return true;
  }
  void rename_over(const std::string& from, const std::string& to) override {
    files_[to] = files_.at(from);
    files_.erase(from);
    log_.push_back({Op::rename, 0, from, to, 0, {}});
  }
  std::string canonical(const std::string& path) override { return path; }

  void mark(std::uint64_t number) { log_.push_back({Op::marker, 0, "", "", number, {}}); }
  const std::vector<Op>& log() const { return log_; }

  // Calls `visit` with every different state that a power cut may leave, and the last marker before
  // it: at each change, of what was not synced nothing, all, each prefix, all but one, the newest
  // torn at each sector or with garbage in one.
  void for_each_state(const std::function<void(const Image&, std::uint64_t marker)>& visit) const {
    Replay replay;
    for (const auto& [path, file] : first_) {
      replay.names[path] = file.first;
      replay.durable[file.first] = file.second;
    }
    std::set<std::pair<std::uint64_t, base::Hash32>> seen;
    std::uint64_t marker = 0;
    base::SeededRandom random(4711);
    for (const Op& op : log_) {
      if (op.kind == Op::marker) {
        marker = op.at;
        continue;
      }
      replay.apply(op);
      replay.states(op, random, [&](const Image& image) {
        if (seen.insert({marker, hash(image)}).second) visit(image, marker);
      });
    }
  }

 private:
  struct Content {
    int file = 0;
    Bytes bytes;
    bool locked = false;
  };

  static void change(Bytes& bytes, const Op& op) {
    if (op.kind == Op::truncate) {
      bytes.resize(op.at);
      return;
    }
    if (bytes.size() < op.at + op.bytes.size()) bytes.resize(op.at + op.bytes.size());
    std::copy(op.bytes.begin(), op.bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(op.at));
  }

  static base::Hash32 hash(const Image& image) {
    crypto_generichash_state state;
    crypto_generichash_init(&state, nullptr, 0, 32);
    for (const auto& [path, bytes] : image) {
      std::uint64_t size = bytes.size();
      crypto_generichash_update(&state, base::view(path).data(), path.size());
      crypto_generichash_update(&state, reinterpret_cast<const std::uint8_t*>(&size), sizeof size);
      crypto_generichash_update(&state, bytes.data(), bytes.size());
    }
    base::Hash32 out;
    crypto_generichash_final(&state, out.data(), out.size());
    return out;
  }

  // The disk as far as it is certain, and what is still on its way to it.
  struct Replay {
    std::map<std::string, int> names;  // changes of names are durable at once: see System files
    std::map<int, Bytes> durable;
    std::map<int, std::vector<Op>> pending;
    Image shown;  // one for all states: to make it anew for each takes longer than to look at it

    void apply(const Op& op) {
      switch (op.kind) {
        case Op::create: names[op.path] = op.file; break;
        case Op::remove: names.erase(op.path); break;
        case Op::rename:
          names[op.to] = names.at(op.path);
          names.erase(op.path);
          break;
        case Op::sync:
          for (const Op& one : pending[op.file]) change(durable[op.file], one);
          pending.erase(op.file);
          break;
        default: pending[op.file].push_back(op);
      }
    }

    // `file` as `bytes`; every other with all that is pending, or none of it. Good until the next.
    const Image& image(int file, const Bytes* bytes, bool others) {
      std::erase_if(shown, [&](const auto& one) { return names.count(one.first) == 0; });
      for (const auto& [path, number] : names) {
        Bytes& content = shown[path];
        if (number == file && bytes) {
          content = *bytes;
          continue;
        }
        content.clear();
        auto found = durable.find(number);
        if (found != durable.end()) content = found->second;
        auto waiting = pending.find(number);
        if (!others || waiting == pending.end()) continue;
        for (const Op& one : waiting->second) change(content, one);
      }
      return shown;
    }

    void states(const Op& op, base::Random& random,
                const std::function<void(const Image&)>& visit) {
      for (bool others : {false, true}) {
        visit(image(0, nullptr, others));
        auto found = pending.find(op.file);
        if (found == pending.end()) continue;
        const std::vector<Op>& waiting = found->second;
        auto base = durable.find(op.file);
        const Bytes start = base == durable.end() ? Bytes{} : base->second;
        Bytes prefix = start;
        for (const Op& one : waiting) {
          visit(image(op.file, &prefix, others));
          change(prefix, one);
        }
        visit(image(op.file, &prefix, others));
        Bytes bytes;
        for (std::size_t lost = 0; lost + 1 < waiting.size(); ++lost) {
          bytes = start;
          for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (i != lost) change(bytes, waiting[i]);
          }
          visit(image(op.file, &bytes, others));
        }
        if (waiting.back().kind != Op::write) continue;
        Bytes before = start;
        for (std::size_t i = 0; i + 1 < waiting.size(); ++i) change(before, waiting[i]);
        torn(waiting.back(), before, random,
             [&](const Bytes& left) { visit(image(op.file, &left, others)); });
      }
    }

    // Sectors of the disk, of 512 bytes, are written whole or not at all, in any order.
    static void torn(const Op& newest, const Bytes& before, base::Random& random,
                     const std::function<void(const Bytes&)>& visit) {
      constexpr std::uint64_t kSector = 512;
      std::uint64_t end = newest.at + newest.bytes.size();
      Bytes bytes;
      for (std::uint64_t cut = (newest.at / kSector + 1) * kSector; cut < end; cut += kSector) {
        Op head = newest;
        head.bytes.resize(cut - newest.at);
        bytes = before;
        change(bytes, head);
        visit(bytes);
        Op tail = newest;
        tail.at = cut;
        tail.bytes.erase(tail.bytes.begin(),
                         tail.bytes.begin() + static_cast<std::ptrdiff_t>(cut - newest.at));
        bytes = before;
        change(bytes, tail);
        visit(bytes);
      }
      Op garbage = newest;
      std::size_t sector = random.below((newest.bytes.size() + kSector - 1) / kSector) * kSector;
      random.fill(
          std::span(garbage.bytes)
              .subspan(sector, std::min<std::size_t>(kSector, newest.bytes.size() - sector)));
      bytes = before;
      change(bytes, garbage);
      visit(bytes);
    }
  };

  class Handle : public base::File {
   public:
    Handle(LoggedFiles& owner, std::shared_ptr<Content> content)
        : owner_(owner), content_(std::move(content)) {}
    ~Handle() override {
      if (holds_lock_) content_->locked = false;
    }
    std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) override {
      const Bytes& bytes = content_->bytes;
      if (offset >= bytes.size()) return 0;
      std::size_t n = std::min<std::size_t>(out.size(), bytes.size() - offset);
      std::memcpy(out.data(), bytes.data() + offset, n);
      return n;
    }
    void write(std::uint64_t offset, ByteView bytes) override {
      log({Op::write, content_->file, "", "", offset, base::to_bytes(bytes)});
    }
    std::uint64_t size() override { return content_->bytes.size(); }
    void truncate(std::uint64_t size) override {
      if (size != content_->bytes.size()) {
        log({Op::truncate, content_->file, "", "", size, {}});
      }
    }
    void sync() override { owner_.log_.push_back({Op::sync, content_->file, "", "", 0, {}}); }
    bool try_lock() override {
      if (content_->locked && !holds_lock_) return false;
      return content_->locked = holds_lock_ = true;
    }
    bool is_at(const std::string& path) override {
      auto found = owner_.files_.find(path);
      return found != owner_.files_.end() && found->second == content_;
    }

   private:
    void log(Op op) {
      change(content_->bytes, op);
      owner_.log_.push_back(std::move(op));
    }
    LoggedFiles& owner_;
    std::shared_ptr<Content> content_;
    bool holds_lock_ = false;
  };

  std::map<std::string, std::shared_ptr<Content>> files_;
  std::map<std::string, std::pair<int, Bytes>> first_;
  std::vector<Op> log_;
  int next_file_ = 1;
};

}  // namespace holdfast::store
