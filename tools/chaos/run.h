// A whole chaos run: an episode per arena, each with its share of the time, one tally. Shows progress on standard error.
#pragma once

#include "base/result.h"
#include "tools/chaos/arguments.h"
#include "tools/chaos/tally.h"

namespace regroup::chaos {

// kConfig: arguments out of range; kSystem, kTimeout: an episode could not be started. What the runs found is in the tally.
Status run(ChaosArguments arguments, Tally& tally);

}  // namespace regroup::chaos
