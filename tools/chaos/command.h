// Runs a short program of the system (ip, nft, ss) to its end. Bounded: one that takes longer is killed and is an error.
// Threading: any one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace regroup::chaos {

// What it said. kSystem: it cannot be run, took longer than 10 s, or ended with another status than 0.
Result<std::string> run_command(const std::vector<std::string>& argv);
// Whether PATH, or a folder of administrators' programs, holds it.
[[nodiscard]] bool has_program(const std::string& name);

}  // namespace regroup::chaos
