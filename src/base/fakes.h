#pragma once

// Fakes of the four seams, for tests: a clock that moves when told, randomness from a seed, files
// in memory that can lose what was not synced, a network that is a function. Not thread-safe.

#include <sodium.h>

#include <cstring>
#include <functional>
#include <map>

#include "holdfast/error.h"
#include "src/base/environment.h"

namespace holdfast::base {

class FakeClock : public Clock {
 public:
  explicit FakeClock(std::int64_t start_ms = 1'700'000'000'000) : now_(start_ms) {}
  std::int64_t now_ms() override { return now_ + skew_; }
  std::int64_t monotonic_ms() override { return now_; }
  void sleep_ms(std::int64_t ms) override { now_ += ms; }
  void advance_ms(std::int64_t ms) { now_ += ms; }
  void set_skew_ms(std::int64_t ms) { skew_ = ms; }

 private:
  std::int64_t now_;
  std::int64_t skew_ = 0;
};

// Bytes that look random and follow from the seed alone.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) { std::memcpy(seed_.data(), &seed, sizeof seed); }
  void fill(std::span<std::uint8_t> out) override {
    std::memcpy(seed_.data() + 8, &counter_, sizeof counter_);
    ++counter_;
    if (out.empty()) return;
    randombytes_buf_deterministic(out.data(), out.size(), seed_.data());
  }

 private:
  std::array<std::uint8_t, randombytes_SEEDBYTES> seed_{};
  std::uint64_t counter_ = 0;
};

class MemoryFiles : public FileSystem {
 public:
  struct Content {
    Bytes now;
    Bytes durable;
    std::vector<std::pair<std::size_t, std::size_t>> dirty;  // what a sync would write
    bool locked = false;
  };

  std::unique_ptr<File> open(const std::string& path, Mode mode) override {
    auto found = files_.find(path);
    if (found == files_.end()) {
      if (mode != Mode::create) return nullptr;
      found = files_.emplace(path, std::make_shared<Content>()).first;
    }
    return std::make_unique<Handle>(*this, found->second);
  }
  bool exists(const std::string& path) override { return files_.count(path) != 0; }
  void remove(const std::string& path) override { files_.erase(path); }
  bool rename_new(const std::string& from, const std::string& to) override {
    if (exists(to)) return false;
    files_[to] = files_.at(from);
    files_.erase(from);
    return true;
  }

  void rename_over(const std::string& from, const std::string& to) override {
    files_[to] = files_.at(from);
    files_.erase(from);
  }
  std::string canonical(const std::string& path) override { return path; }

  // The disk as a power cut leaves it: what was not synced is gone, and so is every lock. This one
  // goes on serving the process that does not know that it is dead.
  std::shared_ptr<MemoryFiles> after_power_cut() const {
    auto out = std::make_shared<MemoryFiles>();
    for (const auto& [path, content] : files_) {
      auto kept = std::make_shared<Content>();
      kept->now = kept->durable = content->durable;
      out->files_[path] = kept;
    }
    return out;
  }
  // As a killed process leaves it: every write is there, synced or not.
  std::shared_ptr<MemoryFiles> after_kill() const {
    auto out = std::make_shared<MemoryFiles>();
    for (const auto& [path, content] : files_) {
      auto kept = std::make_shared<Content>(*content);
      kept->locked = false;
      out->files_[path] = kept;
    }
    return out;
  }
  Bytes& content(const std::string& path) { return files_.at(path)->now; }
  std::map<std::string, std::shared_ptr<Content>>& all() { return files_; }

  // From now on every write (sync, read) fails, until it is set back.
  bool fail_writes = false;
  bool fail_syncs = false;
  bool fail_reads = false;
  // Syncs fail and, as Linux does, forget that there was something to write: only bytes that are
  // written again reach the disk with a later sync.
  bool lose_syncs = false;

 private:
  class Handle : public File {
   public:
    Handle(MemoryFiles& owner, std::shared_ptr<Content> content)
        : owner_(owner), content_(std::move(content)) {}
    ~Handle() override {
      if (holds_lock_) content_->locked = false;
    }
    std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) override {
      if (owner_.fail_reads) throw Error(ErrorCode::io, "cannot read: the disk failed");
      if (offset >= content_->now.size()) return 0;
      std::size_t n = std::min<std::size_t>(out.size(), content_->now.size() - offset);
      std::memcpy(out.data(), content_->now.data() + offset, n);
      return n;
    }
    void write(std::uint64_t offset, ByteView bytes) override {
      if (owner_.fail_writes) throw Error(ErrorCode::io, "cannot write: the disk is full");
      content_->dirty.emplace_back(offset, bytes.size());
      if (content_->now.size() < offset + bytes.size()) content_->now.resize(offset + bytes.size());
      std::copy(bytes.begin(), bytes.end(),
                content_->now.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    std::uint64_t size() override { return content_->now.size(); }
    void truncate(std::uint64_t size) override { content_->now.resize(size); }
    void sync() override {
      if (owner_.fail_syncs) throw Error(ErrorCode::io, "cannot sync: the disk failed");
      auto dirty = std::move(content_->dirty);
      content_->dirty.clear();
      if (owner_.lose_syncs) throw Error(ErrorCode::io, "cannot sync: the disk failed");
      content_->durable.resize(content_->now.size());
      for (auto [offset, size] : dirty) {
        if (offset >= content_->now.size()) continue;
        std::memcpy(content_->durable.data() + offset, content_->now.data() + offset,
                    std::min<std::size_t>(size, content_->now.size() - offset));
      }
    }
    bool try_lock() override {
      if (content_->locked && !holds_lock_) return false;
      return content_->locked = holds_lock_ = true;
    }
    bool is_at(const std::string& path) override {
      auto found = owner_.files_.find(path);
      return found != owner_.files_.end() && found->second == content_;
    }

   private:
    MemoryFiles& owner_;
    std::shared_ptr<Content> content_;
    bool holds_lock_ = false;
  };

  std::map<std::string, std::shared_ptr<Content>> files_;
};

class FakeNetwork : public Network {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  explicit FakeNetwork(Handler handler) : handler_(std::move(handler)) {}
  HttpResponse perform(const HttpRequest& request) override { return handler_(request); }

 private:
  Handler handler_;
};

}  // namespace holdfast::base
