#include "ft/sim/history_reader.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace regroup::sim {
namespace {

using nlohmann::json;

std::optional<What> what_of(const json& line) {
  const auto event = line.find("event");
  if (event == line.end() || !event->is_string()) return std::nullopt;
  for (int i = 0; i < static_cast<int>(What::kCount); ++i)
    if (event->get_ref<const std::string&>() == name_of(static_cast<What>(i))) return static_cast<What>(i);
  return std::nullopt;
}

// The fields of a line: absent ones keep what they are, those of another type or range are remembered.
class Fields {
 public:
  explicit Fields(const json& line) : line_(line) {}

  template <class T>
  void read(const char* key, T& field) {
    const auto it = line_.find(key);
    if (it == line_.end()) return;
    const bool fits = it->is_number_unsigned() &&
                      it->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
    if (fits)
      field = static_cast<T>(it->get<std::uint64_t>());
    else if (wrong_.empty())
      wrong_ = key;
  }
  void read(const char* key, bool& field) {
    std::uint64_t value = field ? 1 : 0;
    read(key, value);
    field = value != 0;
  }
  [[nodiscard]] const std::string& wrong() const { return wrong_; }

 private:
  const json& line_;
  std::string wrong_;
};

}  // namespace

Result<std::optional<Record>> HistoryReader::on(std::string_view line) {
  if (line.empty() || line[0] == '#') return std::optional<Record>();
  const json j = json::parse(line, nullptr, false);
  if (!j.is_object()) return {Code::kInvalid, "not a JSON object"};
  const std::optional<What> what = what_of(j);
  if (!what) {
    std::uint64_t kept = 0, recorded = 0;
    Fields header(j);
    header.read("kept", kept), header.read("recorded", recorded);
    begins_later_ = begins_later_ || kept < recorded;
    return std::optional<Record>();
  }
  begins_later_ = begins_later_ && *what != What::kCommitted && *what != What::kFailed;
  if (begins_later_) return std::optional<Record>();
  Record r;
  r.what = *what;
  r.life = life_;
  r.replica = file_;
  r.mark = true;
  std::uint8_t code = 0;
  Fields fields(j);
  fields.read("time_ns", r.time_ns), fields.read("life", r.life), fields.read("replica", r.replica);
  fields.read("op", r.op), fields.read("epoch", r.epoch), fields.read("log", r.log);
  fields.read("mark", r.mark), fields.read("planned", r.planned), fields.read("founded", r.founded), fields.read("untouched", r.untouched);
  fields.read("code", code), fields.read("high", r.high), fields.read("prev", r.prev),
      fields.read("decision", r.decision);
  fields.read("contributors", r.contributors), fields.read("divisor", r.divisor);
  fields.read("counts", r.value.counts), fields.read("tag", r.value.tag);
  fields.read("expected_counts", r.expected.counts), fields.read("expected_tag", r.expected.tag);
  fields.read("state", r.state), fields.read("peer", r.peer), fields.read("sends", r.sends);
  r.code = static_cast<Code>(code);
  if (!fields.wrong().empty()) return {Code::kInvalid, "'" + fields.wrong() + "' is not a number in its range"};
  if (*what == What::kEnded && !j.contains("life")) ++life_;
  return std::optional(r);
}

}  // namespace regroup::sim
