// What of a command line cannot be together, or has no meaning for a program. Pure.
#pragma once

#include "bench/arguments.h"

namespace regroup::bench {

// kInvalid names the flag and says what is expected.
Status check_arguments(const Collective& collective, const Arguments& arguments);

// A name as Options::device takes it, by its form; whether the device is there the group says.
bool device_named(const std::string& text);

}  // namespace regroup::bench
