#include "tests/conformance/evict.h"

#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "ft/driver/client.h"

namespace regroup::conformance {

Status evict(const World& world, int rank) {
  const CoordinatorAddress where{world.coordinator(), world.options(rank).group, ""};
  const auto text = fetch_status(where, Duration::from_s(5));
  if (!text) return text.error();
  const auto status = nlohmann::json::parse(*text, nullptr, false);
  Incarnation inc;
  if (status.is_object())
    for (const auto& m : status["members"])
      if (m.value("replica", -1) == rank) std::sscanf(m.value("incarnation", "").c_str(), "%16" SCNx64 "%16" SCNx64, &inc.hi, &inc.lo);
  return report_death(where, inc, Duration::from_s(5));
}

}  // namespace regroup::conformance
