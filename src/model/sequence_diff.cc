// From whole contents to edits, and back.

#include <algorithm>

#include "src/model/sequence.h"

namespace holdfast::model {
namespace {

constexpr std::size_t kMaxSteps = 1000;  // of the search: memory and time grow with its square

struct Hunk {  // of the content before
  std::size_t at = 0;
  std::size_t erase = 0;
  std::size_t from = 0;  // of the content after
  std::size_t insert = 0;
};

// Myers' greedy search between two stretches that differ at both ends.
bool search(const char32_t* a, std::size_t n, const char32_t* b, std::size_t m,
            std::vector<Hunk>& hunks) {
  std::vector<std::vector<std::int32_t>> trace;
  auto size_a = static_cast<std::int32_t>(n);
  auto size_b = static_cast<std::int32_t>(m);
  std::vector<std::int32_t> reach(3, 0);  // of diagonals -d-1 to d+1
  std::int32_t d = 0;
  for (;; ++d) {
    if (static_cast<std::size_t>(d) > kMaxSteps) return false;
    std::vector<std::int32_t> now(2 * static_cast<std::size_t>(d) + 1);
    bool done = false;
    for (std::int32_t k = -d; k <= d && !done; k += 2) {
      auto before = [&](std::int32_t diagonal) {
        return trace.back()[static_cast<std::size_t>(diagonal + d - 1)];
      };
      std::int32_t x = 0;
      if (d > 0) {
        bool down = k == -d || (k != d && before(k - 1) < before(k + 1));
        x = down ? before(k + 1) : before(k - 1) + 1;
      }
      std::int32_t y = x - k;
      while (x < size_a && y < size_b && a[x] == b[y]) ++x, ++y;
      now[static_cast<std::size_t>(k) + static_cast<std::size_t>(d)] = x;
      done = x >= size_a && y >= size_b;
    }
    trace.push_back(std::move(now));
    if (done) break;
  }
  std::int32_t x = size_a;
  std::int32_t y = size_b;
  std::vector<Hunk> steps;  // the last one first
  for (; d > 0; --d) {
    const std::vector<std::int32_t>& last = trace[static_cast<std::size_t>(d) - 1];
    auto before = [&](std::int32_t diagonal) {
      return last[static_cast<std::size_t>(diagonal + d - 1)];
    };
    std::int32_t k = x - y;
    bool down = k == -d || (k != d && before(k - 1) < before(k + 1));
    std::int32_t from = down ? k + 1 : k - 1;
    x = before(from);
    y = x - from;
    steps.push_back(
        {static_cast<std::size_t>(x), down ? 0u : 1u, static_cast<std::size_t>(y), down ? 1u : 0u});
  }
  for (std::size_t i = steps.size(); i-- > 0;) {
    Hunk* last = hunks.empty() ? nullptr : &hunks.back();
    if (last && last->at + last->erase == steps[i].at &&
        last->from + last->insert == steps[i].from) {
      last->erase += steps[i].erase;
      last->insert += steps[i].insert;
    } else {
      hunks.push_back(steps[i]);
    }
  }
  return true;
}

std::vector<Hunk> hunks_of(const Units& before, const Units& after) {
  std::size_t head = 0;
  std::size_t shorter = std::min(before.size(), after.size());
  while (head < shorter && before[head] == after[head]) ++head;
  std::size_t tail = 0;
  while (tail < shorter - head &&
         before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) {
    ++tail;
  }
  std::size_t n = before.size() - head - tail;
  std::size_t m = after.size() - head - tail;
  if (n == 0 && m == 0) return {};
  std::vector<Hunk> hunks;
  if (n == 0 || m == 0 || !search(before.data() + head, n, after.data() + head, m, hunks)) {
    hunks = {{0, n, 0, m}};
  }
  for (Hunk& hunk : hunks) {
    hunk.at += head;
    hunk.from += head;
  }
  return hunks;
}

}  // namespace

Patches diff_units(const Units& before, const Units& after) {
  Patches out;
  for (const Hunk& hunk : hunks_of(before, after)) {
    out.push_back({hunk.from, hunk.erase, after.substr(hunk.from, hunk.insert)});
  }
  return out;
}

Units patched(Units units, const Patches& patches) {
  for (const Patch& patch : patches) {
    std::size_t at = std::min<std::size_t>(patch.at, units.size());
    std::size_t erase = std::min<std::size_t>(patch.erase, units.size() - at);
    units.replace(at, erase, patch.insert);
  }
  return units;
}

// Unit by unit of the base: what either side put before it, and who erased it. Theirs stands before
// mine at the same place.
Patches rebase(const Units& base, const Patches& mine, const Units& theirs) {
  Units wanted = patched(base, mine);
  std::vector<Hunk> own = hunks_of(base, wanted);
  std::vector<Hunk> others = hunks_of(base, theirs);
  Patches out;
  auto a = own.begin();
  auto b = others.begin();
  std::size_t place = 0;  // in theirs, as patched so far
  for (std::size_t i = 0; i <= base.size(); ++i) {
    while (b != others.end() && b->at + b->erase < i) ++b;
    if (b != others.end() && b->at == i) place += b->insert;
    bool theirs_erased = b != others.end() && b->at <= i && i < b->at + b->erase;
    while (a != own.end() && a->at + a->erase < i) ++a;
    if (a != own.end() && a->at == i && a->insert > 0) {
      out.push_back({place, 0, wanted.substr(a->from, a->insert)});
      place += a->insert;
    }
    bool erased = a != own.end() && a->at <= i && i < a->at + a->erase;
    if (i == base.size() || theirs_erased) continue;
    if (!erased) {
      ++place;
    } else if (!out.empty() && out.back().insert.empty() && out.back().at == place) {
      ++out.back().erase;
    } else {
      out.push_back({place, 1, {}});
    }
  }
  return out;
}

Units to_units(std::string_view utf8) {
  Units out;
  out.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size();) {
    auto lead = static_cast<unsigned char>(utf8[i]);
    std::size_t size = lead < 0x80       ? 1
                       : lead >> 5 == 6  ? 2
                       : lead >> 4 == 14 ? 3
                       : lead >> 3 == 30 ? 4
                                         : 0;
    char32_t unit = size == 1 ? lead : size == 0 ? U'\uFFFD' : lead & (0x7f >> size);
    if (size == 0 || i + size > utf8.size()) {
      out += U'\uFFFD';
      ++i;
      continue;
    }
    for (std::size_t k = 1; k < size; ++k) {
      unit = (unit << 6) | (static_cast<unsigned char>(utf8[i + k]) & 0x3f);
    }
    out += unit;
    i += size;
  }
  return out;
}

std::string to_utf8(const Units& units) {
  std::string out;
  out.reserve(units.size());
  for (char32_t unit : units) {
    auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
    if (unit < 0x80) {
      put(unit);
    } else if (unit < 0x800) {
      put(0xc0 | unit >> 6);
      put(0x80 | (unit & 0x3f));
    } else if (unit < 0x10000) {
      put(0xe0 | unit >> 12);
      put(0x80 | ((unit >> 6) & 0x3f));
      put(0x80 | (unit & 0x3f));
    } else {
      put(0xf0 | unit >> 18);
      put(0x80 | ((unit >> 12) & 0x3f));
      put(0x80 | ((unit >> 6) & 0x3f));
      put(0x80 | (unit & 0x3f));
    }
  }
  return out;
}

}  // namespace holdfast::model
