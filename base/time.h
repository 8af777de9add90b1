// Instant and Duration: nanoseconds of the monotonic clock, as values. The core is fed Instants; only base/clock.h reads a clock.
#pragma once

#include <compare>
#include <cstdint>

namespace regroup {

struct Duration {
  std::int64_t ns = 0;
  static constexpr Duration from_ns(std::int64_t v) { return {v}; }
  static constexpr Duration from_us(std::int64_t v) { return {v * 1000}; }
  static constexpr Duration from_ms(std::int64_t v) { return {v * 1'000'000}; }
  static constexpr Duration from_s(std::int64_t v) { return {v * 1'000'000'000}; }
  [[nodiscard]] constexpr double ms() const { return static_cast<double>(ns) / 1e6; }
  [[nodiscard]] constexpr double us() const { return static_cast<double>(ns) / 1e3; }
  constexpr auto operator<=>(const Duration&) const = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
  friend constexpr Duration operator*(Duration a, std::int64_t k) { return {a.ns * k}; }
  friend constexpr Duration operator/(Duration a, std::int64_t k) { return {a.ns / k}; }
};

struct Instant {
  std::int64_t ns = 0;
  static constexpr Instant never() { return {INT64_MAX}; }
  [[nodiscard]] constexpr bool is_never() const { return ns == INT64_MAX; }
  constexpr auto operator<=>(const Instant&) const = default;
  friend constexpr Instant operator+(Instant a, Duration d) {
    return a.is_never() || d.ns > INT64_MAX - a.ns ? never() : Instant{a.ns + d.ns};
  }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.ns - b.ns}; }
};

}  // namespace regroup
