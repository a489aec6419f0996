// Coarser values: cells, bands, hours and days, buckets.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "src/privacy/anonymizer.h"

namespace holdfast::privacy {
namespace {

struct Place {
  double latitude = 0;
  double longitude = 0;
};

std::optional<double> member(const Json& value, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    auto found = value.find(name);
    if (found != value.end() && found->is_number()) return found->get<double>();
  }
  return std::nullopt;
}

// {"lat", "lon"} under their usual names, a GeoJSON point (RFC 7946), or "48.1, 11.5".
std::optional<Place> place_of(const Json& value) {
  std::optional<double> latitude, longitude;
  if (value.is_object()) {
    latitude = member(value, {"lat", "latitude"});
    longitude = member(value, {"lon", "lng", "long", "longitude"});
    auto point = value.find("coordinates");
    if (!latitude && point != value.end() && point->is_array() && point->size() >= 2 &&
        (*point)[0].is_number() && (*point)[1].is_number()) {
      longitude = (*point)[0].get<double>();
      latitude = (*point)[1].get<double>();
    }
  } else if (value.is_string()) {
    double a = 0, b = 0;
    if (std::sscanf(value.get_ref<const std::string&>().c_str(), "%lf , %lf", &a, &b) == 2) {
      latitude = a;
      longitude = b;
    }
  }
  bool fits = latitude && longitude && std::abs(*latitude) <= 90 && std::abs(*longitude) <= 180;
  if (!fits) return std::nullopt;
  return Place{*latitude, *longitude};
}

double rounded(double degrees) { return std::round(degrees * 100) / 100; }

// The middle of the cell of about `km` by `km` that the place is in: rows of equal height, each cut
// into cells of equal width.
Json cell_of(const Place& place, std::int64_t km) {
  constexpr double kKmPerDegree = 111.2;
  double rows = std::max(1.0, std::round(180 * kKmPerDegree / static_cast<double>(km)));
  double height = 180 / rows;
  double row = std::min(std::floor((place.latitude + 90) / height), rows - 1);
  double latitude = (row + 0.5) * height - 90;
  double around = 360 * kKmPerDegree * std::cos(latitude * M_PI / 180);
  double cells = std::max(1.0, std::round(around / static_cast<double>(km)));
  double width = 360 / cells;
  double column = std::min(std::floor((place.longitude + 180) / width), cells - 1);
  return {{"lat", rounded(latitude)}, {"lon", rounded((column + 0.5) * width - 180)}, {"km", km}};
}

std::optional<Json> band_of(const Json& value, std::int64_t size) {
  if (!value.is_number()) return std::nullopt;
  double age = value.get<double>();
  if (!(age >= 0 && age < 200)) return std::nullopt;
  constexpr std::int64_t kOld = 90;  // few are as old: they are one band
  if (age >= kOld) return "90+";
  std::int64_t first = static_cast<std::int64_t>(age) / size * size;
  std::int64_t last = std::min(first + size, kOld) - 1;
  return std::to_string(first) + "-" + std::to_string(last);
}

std::int64_t floor_to(std::int64_t value, std::int64_t step) {
  std::int64_t rest = value % step;
  return value - (rest < 0 ? rest + step : rest);
}

// A number counts seconds since 1970, or, from 10^11 on, milliseconds. A text as ISO 8601 has it
// loses its zone, for that is a place.
std::optional<Json> time_of(const Json& value, Grain to) {
  if (value.is_number()) {
    double given = value.get<double>();
    if (!(std::abs(given) < 1e15)) return std::nullopt;
    std::int64_t unit = std::abs(given) >= 1e11 ? 1000 : 1;
    std::int64_t step = (to == Grain::hour ? 3600 : 86'400) * unit;
    return floor_to(static_cast<std::int64_t>(std::floor(given)), step);
  }
  if (!value.is_string()) return std::nullopt;
  int year = 0;
  unsigned month = 0, day = 0, hour = 0;
  char between = 0;
  int read = std::sscanf(value.get_ref<const std::string&>().c_str(), "%4d-%2u-%2u%c%2u", &year,
                         &month, &day, &between, &hour);
  bool is_date = read >= 3 && year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
  if (!is_date) return std::nullopt;
  char out[40];
  if (to == Grain::day) {
    std::snprintf(out, sizeof out, "%04d-%02u-%02u", year, month, day);
  } else {
    if (read < 5 || (between != 'T' && between != ' ') || hour > 24) return std::nullopt;
    std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02u:00", year, month, day, hour);
  }
  return out;
}

std::optional<Json> bucket_of(const Json& value, std::int64_t size) {
  if (value.is_number_float()) {
    double real = value.get<double>();
    if (!(std::abs(real) < 1e15)) return std::nullopt;
    return floor_to(static_cast<std::int64_t>(std::floor(real)), size);
  }
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  auto number = value.get<std::int64_t>();
  if (number < INT64_MIN + size) return std::nullopt;
  return floor_to(number, size);
}

}  // namespace

std::optional<Json> generalise(const FieldRule& rule, const Json& value) {
  switch (rule.to) {
    case Grain::cell: {
      std::optional<Place> place = place_of(value);
      if (!place) return std::nullopt;
      return cell_of(*place, rule.size);
    }
    case Grain::band: return band_of(value, rule.size);
    case Grain::hour:
    case Grain::day: return time_of(value, rule.to);
    case Grain::bucket: return bucket_of(value, rule.size);
  }
  return std::nullopt;
}

}  // namespace holdfast::privacy
