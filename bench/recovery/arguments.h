// The command line of recovery_perf. Values; errors name the flag.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace regroup::bench {

struct RecoveryArguments {
  int ranks = 4;
  std::size_t bytes = 16u << 20;
  int kills = 200;
  int signal = 9;            // SIGKILL or SIGSTOP
  std::size_t resident = 0;  // private bytes that each member touches
  std::string transport = "auto";
  std::string device;  // the buffers lie on it, in every member; empty: host memory
  bool registered = true;
  std::uint64_t seed = 1;
  double hang_s = 30;  // bound of every wait for members
  std::string json;
  bool keep = false;  // the folder with logs, flight records and the times of the kills
  std::string help;  // not empty: print it and stop
  [[nodiscard]] bool stops() const;
};

Result<RecoveryArguments> parse_recovery_arguments(int argc, const char* const* argv);

}  // namespace regroup::bench
