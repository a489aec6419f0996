// What a relay of many vaults has to carry: each vault's devices write by day and by week, a few of
// them far more than most. Nothing is sent; this is arithmetic over random vaults, from a seed.
//
//   relay_traffic --vaults 10000000 --shards 64 --days 365

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

struct Options {
  std::uint64_t vaults = 10'000'000;
  std::size_t shards = 64;
  int days = 365;
  double batches = 6;            // a day, of the median vault that is in use
  double spread = 1.4;           // sigma of the logarithm: the mean is e^(s²/2) of the median
  double asleep = 0.55;          // part of the vaults that nobody uses any more
  double batch_bytes = 900;      // sealed, the mean
  double state_bytes = 180'000;  // of a vault's checkpoint, the mean
  double place_bytes = 400;      // of a batch in PostgreSQL, besides its own
  int retention_days = 90;
  double pull_each = 2.5;  // requests for each batch: its other devices take it, or look in vain
  std::uint64_t seed = 1;
};

// Part of a day's work in each hour, at the vault's place; and of a week's in each day.
constexpr std::array<double, 24> kHours = {0.8, 0.5, 0.3, 0.2, 0.2, 0.4, 1.2, 3.0,
                                           4.6, 5.4, 5.6, 5.6, 5.8, 5.6, 5.4, 5.4,
                                           5.4, 5.6, 6.0, 6.6, 7.2, 7.4, 5.4, 2.4};
constexpr std::array<double, 7> kDays = {1.05, 1.08, 1.08, 1.06, 1.02, 0.86, 0.85};
// Part of all people by hours east of UTC, from -8 to +12.
constexpr std::array<double, 21> kPlaces = {5, 3, 6, 9, 4, 5, 2, 0, 4, 10, 8,
                                            7, 3, 8, 4, 6, 6, 4, 3, 2, 1};

struct Shard {
  std::uint64_t vaults = 0;
  double batches = 0;  // a day
  std::array<double, 24> hours{};
};

double normal(std::mt19937_64& random) { return std::normal_distribution<double>()(random); }

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Traffic of many vaults."};
  app.add_option("--vaults", o.vaults);
  app.add_option("--shards", o.shards)->check(CLI::Range(1, 100'000));
  app.add_option("--days", o.days)->check(CLI::Range(1, 3650));
  app.add_option("--batches", o.batches, "a day, of the median vault in use");
  app.add_option("--spread", o.spread);
  app.add_option("--asleep", o.asleep);
  app.add_option("--batch-bytes", o.batch_bytes);
  app.add_option("--state-bytes", o.state_bytes);
  app.add_option("--place-bytes", o.place_bytes);
  app.add_option("--retention-days", o.retention_days);
  app.add_option("--pull-each", o.pull_each);
  app.add_option("--seed", o.seed);
  CLI11_PARSE(app, argc, argv);

  std::mt19937_64 random(o.seed);
  std::discrete_distribution<int> place(kPlaces.begin(), kPlaces.end());
  double hours_sum = 0;
  for (double hour : kHours) hours_sum += hour;
  std::vector<Shard> shards(o.shards);
  std::vector<float> rates;  // of the vaults in use, batches a day
  rates.reserve(o.vaults);
  for (std::uint64_t i = 0; i < o.vaults; ++i) {
    Shard& shard = shards[random() % o.shards];  // a vault's id is a hash
    ++shard.vaults;
    if (std::uniform_real_distribution<double>()(random) < o.asleep) continue;
    // A person cannot write without end: the relay itself stops a vault at 10 requests a second.
    double rate = std::min(o.batches * std::exp(o.spread * normal(random)), 200'000.0);
    rates.push_back(static_cast<float>(rate));
    shard.batches += rate;
    int east = place(random) - 8;
    for (int hour = 0; hour < 24; ++hour) {
      std::size_t there = static_cast<std::size_t>((hour + east + 24) % 24);
      shard.hours[static_cast<std::size_t>(hour)] += rate * kHours[there] / hours_sum;
    }
  }
  std::sort(rates.begin(), rates.end());
  double all = 0;
  std::array<double, 24> hours{};
  double busiest = 0, fullest = 0;
  for (const Shard& shard : shards) {
    all += shard.batches;
    fullest = std::max(fullest, static_cast<double>(shard.vaults));
    for (std::size_t hour = 0; hour < 24; ++hour) hours[hour] += shard.hours[hour];
    busiest = std::max(busiest, *std::max_element(shard.hours.begin(), shard.hours.end()));
  }
  double peak_day = *std::max_element(kDays.begin(), kDays.end());
  double peak_hour = *std::max_element(hours.begin(), hours.end());
  auto per_second = [](double an_hour) { return an_hour / 3600; };
  // Within an hour they do not come evenly: 5 standard deviations of what falls into a second.
  auto burst = [](double mean) { return mean + 5 * std::sqrt(mean); };
  double peak = per_second(peak_hour) * peak_day;
  double shard_peak = per_second(busiest) * peak_day;
  double mean = all / 86'400;
  std::printf("vaults %lu, in use %zu; batches a day %.3g\n", o.vaults, rates.size(), all);
  std::printf(
      "pushes a second: mean %.0f, in the busiest hour of the week %.0f, in its worst second "
      "%.0f\n",
      mean, peak, burst(peak));
  std::printf("pulls a second: mean %.0f, in the busiest hour %.0f\n", mean * o.pull_each,
              peak * o.pull_each);
  std::printf(
      "of %zu shards the busiest: %.1f a second in that hour, %.1f in its worst second; %.2f of "
      "the mean shard's\n",
      o.shards, shard_peak, burst(shard_peak),
      busiest / (peak_hour / static_cast<double>(o.shards)));
  std::printf("the fullest shard has %.3f of the mean shard's vaults\n",
              fullest / (static_cast<double>(o.vaults) / static_cast<double>(o.shards)));
  auto part_of_top = [&](double part) {
    double sum = 0;
    auto count = static_cast<std::size_t>(part * static_cast<double>(rates.size()));
    for (std::size_t i = rates.size() - count; i < rates.size(); ++i)
      sum += static_cast<double>(rates[i]);
    return 100 * sum / all;
  };
  std::printf(
      "hot vaults: the first in a thousand write %.0f %% of all, the hottest %.0f batches a day, "
      "%.2f a second in its hour\n",
      part_of_top(0.001), static_cast<double>(rates.back()),
      static_cast<double>(rates.back()) * kHours[21] / hours_sum / 3600);
  // Batches stay until a checkpoint stands for them and their time is over; their places stay for
  // ever.
  constexpr double kCheckpointAt = 8.0 * (1 << 20);
  for (int day : {1, 30, 90, 180, 365, 730}) {
    if (day > o.days && day != 1) continue;
    double bodies = 0, places = 0, states = 0;
    for (float rate : rates) {
      double written = static_cast<double>(rate) * day;
      double weight =
          static_cast<double>(rate) * (o.batch_bytes + 4096);  // as due for a checkpoint
      bool has_checkpoint = weight * day >= kCheckpointAt;
      // What is younger than the last checkpoint that is old enough.
      double kept_days = has_checkpoint
                             ? std::min<double>(day, o.retention_days + kCheckpointAt / weight / 2)
                             : day;
      bodies += static_cast<double>(rate) * kept_days * o.batch_bytes;
      places += written * o.place_bytes;
      if (has_checkpoint) states += o.state_bytes;
    }
    std::printf(
        "day %d: %.2f TB of batches, %.2f TB of their places, %.2f TB of checkpoints: %.0f KB a "
        "vault\n",
        day, bodies / 1e12, places / 1e12, states / 1e12,
        (bodies + places + states) / static_cast<double>(o.vaults) / 1000);
  }
}
