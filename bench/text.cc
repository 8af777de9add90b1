#include "bench/text.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace regroup::bench {

Result<std::size_t> parse_bytes(std::string_view text) {
  const std::string shown = "'" + std::string(text) + "'";
  double number = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || number < 0 || !std::isfinite(number)) {
    return {Code::kInvalid, "size " + shown + ": expected a number with an optional K, M or G"};
  }
  double unit = 1;
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (!suffix.empty()) {
    switch (suffix.front()) {
      case 'k':
      case 'K': unit = 1024.0; break;
      case 'm':
      case 'M': unit = 1024.0 * 1024; break;
      case 'g':
      case 'G': unit = 1024.0 * 1024 * 1024; break;
      case 'b':
      case 'B': break;
      default: return {Code::kInvalid, "size " + shown + ": unknown unit '" + std::string(suffix) + "' (K, M, G)"};
    }
    const std::string_view tail = suffix.substr(1);
    const bool known = tail.empty() || (unit > 1 && (tail == "B" || tail == "b" || tail == "iB"));
    if (!known) return {Code::kInvalid, "size " + shown + ": unknown unit '" + std::string(suffix) + "' (K, M, G)"};
  }
  const double bytes = number * unit;
  if (bytes > 9.0e15) return {Code::kInvalid, "size " + shown + " is too large"};
  if (bytes != std::floor(bytes)) return {Code::kInvalid, "size " + shown + " is not a whole number of bytes"};
  return static_cast<std::size_t>(bytes);
}

std::string format_bytes(std::size_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  while (unit < 3 && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return std::to_string(bytes) + " " + kUnits[unit];
}

std::string fixed_width(double value, int width) {
  char text[64];
  for (int digits = 2; digits >= 0; --digits) {
    std::snprintf(text, sizeof text, "%*.*f", width, digits, value);
    if (std::string_view(text).size() <= static_cast<std::size_t>(width)) return text;
  }
  std::snprintf(text, sizeof text, "%*.1e", width, value);
  return text;
}

}  // namespace regroup::bench
