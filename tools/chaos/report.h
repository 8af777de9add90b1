// A chaos run's tally as JSON and as a few lines. Pure.
#pragma once

#include <string>

#include "tools/chaos/arguments.h"
#include "tools/chaos/tally.h"

namespace regroup::chaos {

[[nodiscard]] std::string report_json(const ChaosArguments& arguments, const Tally& tally, double wall_s);
[[nodiscard]] std::string report_text(const ChaosArguments& arguments, const Tally& tally, double wall_s);
// One line for a run under way.
[[nodiscard]] std::string progress_line(const Tally& tally, double at_s, double of_s);

}  // namespace regroup::chaos
