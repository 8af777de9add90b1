// Histories (ft/sim/history_reader.h and the checker behind `regroup check`): lines of JSON. Held: a record that was
// read is written and read again as the same; the checker has an answer to every history.
#include "ft/sim/checker.h"
#include "ft/sim/history_reader.h"
#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::sim;

FUZZ_TARGET(history) {
  const std::string text = fuzz::text_of(in);
  HistoryReader reader(1);
  Checker checker;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto record = reader.on(line);
    if (!record || !*record) continue;
    const std::string written = to_json(**record);
    const auto again = HistoryReader(1).on(written);
    RG_CHECK(again.ok() && again->has_value() && to_json(**again) == written);
    (void)checker.on(**record);
  }
}
