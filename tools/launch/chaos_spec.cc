#include "tools/launch/chaos_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace regroup::launch {
namespace {

constexpr std::string_view kSpaces = " \t\n";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// The part before `mark`, which is cut off `rest` together with it; nothing where the mark is not there.
std::optional<std::string_view> cut(std::string_view& rest, char mark) {
  const std::size_t at = rest.find(mark);
  if (at == rest.npos) return std::nullopt;
  const std::string_view head = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return head;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string known_points() {
  std::string names;
  for (int i = 0; i < static_cast<int>(Point::kCount); ++i)
    if (static_cast<Point>(i) != Point::kStep)
      names += std::string(names.empty() ? "" : ", ") + name_of(static_cast<Point>(i));
  return names;
}

class Parser {
 public:
  Parser(std::string_view text, int ranks) : text_(text), ranks_(ranks) { fault_.text = std::string(text); }

  Result<Fault> parse() {
    std::string_view rest = text_;
    const auto action = cut(rest, ':');
    if (action == "kill")
      fault_.action = Fault::Action::kKill;
    else if (action == "stop")
      fault_.action = Fault::Action::kStop;
    else
      return wrong("begins with kill: or stop:");
    const auto target = cut(rest, '@');
    if (!target) return wrong("needs '@' and when it happens: step:N, failpoint:NAME or time:DURATION");
    if (const Status s = parse_target(*target); !s.ok()) return s.error();
    const std::size_t plus = rest.rfind('+');
    const std::string_view length = plus == rest.npos ? std::string_view() : rest.substr(plus + 1);
    if (fault_.action == Fault::Action::kStop) {
      if (plus == rest.npos) return wrong("a stop needs its length, as in +3s");
      const Result<Duration> parsed = parse_duration(length);
      if (!parsed.ok()) return wrong(parsed.error().detail);
      fault_.length = *parsed;
    } else if (plus != rest.npos) {
      return wrong("only a stop has a length (+" + std::string(length) + ")");
    }
    if (const Status s = parse_trigger(rest.substr(0, plus)); !s.ok()) return s.error();
    return fault_;
  }

 private:
  [[nodiscard]] Error wrong(const std::string& why) const {
    return {Code::kConfig, "chaos '" + std::string(text_) + "': " + why};
  }

  Status parse_target(std::string_view target) {
    if (target == "coordinator") return fault_.target = kCoordinator, Status();
    const auto rank = number(target);
    if (!rank) return wrong("'" + std::string(target) + "' is neither a rank nor coordinator");
    if (*rank >= static_cast<std::uint64_t>(ranks_))
      return wrong("there is no rank " + std::string(target) + ": the ranks are 0 to " + std::to_string(ranks_ - 1));
    fault_.target = static_cast<int>(*rank);
    return {};
  }

  Status parse_trigger(std::string_view rest) {
    const auto kind = cut(rest, ':');
    if (kind == "time") {
      fault_.trigger = Fault::Trigger::kTime;
      const Result<Duration> at = parse_duration(rest);
      if (!at.ok()) return wrong(at.error().detail);
      fault_.at = *at;
      return {};
    }
    if (kind != "step" && kind != "failpoint") return wrong("after '@' comes step:N, failpoint:NAME or time:DURATION");
    if (fault_.target == kCoordinator) return wrong("faults of the coordinator take time: only");
    if (kind == "step") {
      fault_.trigger = Fault::Trigger::kStep;
      const auto step = number(rest);
      if (!step) return wrong("'" + std::string(rest) + "' is not a step number");
      fault_.count = *step;
      return {};
    }
    return parse_point(rest);
  }

  Status parse_point(std::string_view rest) {
    fault_.trigger = Fault::Trigger::kFailpoint;
    std::string_view name = rest;
    if (const auto head = cut(rest, '#')) {
      name = *head;
      const auto count = number(rest);
      if (!count || *count == 0) return wrong("'" + std::string(rest) + "' is not a count from 1");
      fault_.count = *count;
    }
    for (int i = 0; i < static_cast<int>(Point::kCount); ++i)
      if (const Point point = static_cast<Point>(i); point != Point::kStep && name == name_of(point)) {
        fault_.point = point;
        return {};
      }
    return wrong("there is no failpoint '" + std::string(name) + "'; there are " + known_points());
  }

  std::string_view text_;
  int ranks_;
  Fault fault_;
};

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  const Error error{Code::kConfig, "'" + std::string(text) + "' is not a time such as 250ms, 3s or 1.5m"};
  const std::size_t unit_at = text.find_first_not_of("0123456789.");
  if (unit_at == text.npos) return error;
  const std::string_view unit = text.substr(unit_at);
  const double scale_ns = unit == "ms" ? 1e6 : unit == "s" ? 1e9 : unit == "m" ? 60e9 : 0;
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + unit_at, value);
  if (scale_ns == 0 || end.ec != std::errc() || end.ptr != text.data() + unit_at) return error;
  const double ns = value * scale_ns;
  if (!(ns >= 1) || ns > 86400e9) return error;
  return Duration::from_ns(std::llround(ns));
}

Result<std::vector<Fault>> parse_chaos(std::string_view spec, int ranks) {
  std::vector<Fault> faults;
  if (trimmed(spec).empty()) return faults;
  for (bool more = true; more;) {
    const auto head = cut(spec, ',');
    more = head.has_value();
    const std::string_view item = trimmed(head.value_or(spec));
    if (item.empty()) return {Code::kConfig, "chaos: an empty fault (a comma too many)"};
    Result<Fault> fault = Parser(item, ranks).parse();
    if (!fault.ok()) return fault.error();
    faults.push_back(std::move(fault).value());
  }
  return faults;
}

}  // namespace regroup::launch
