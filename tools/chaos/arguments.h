// What a chaos run is asked for: values and names. Parsing of the lists only; the command line is tools/regroup/chaos.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace regroup::chaos {

enum class FaultKind : std::uint8_t {
  kKill,            // SIGKILL at a random moment, or at a protocol point
  kViewChangeKill,  // a second SIGKILL before the last survivor has installed the view without the first victim
  kStop,            // SIGSTOP, then SIGCONT after 0.05 to 3 s
  kPartition,       // see CutKind; network only
  kCoordinator,     // SIGKILL and start again, or SIGSTOP and SIGCONT; alone, or a member dies with it
  kDuplicate,       // a second process with the same rank; then one of the two dies
  kJoin,            // one or two ranks come back; while they do, one of them or a member dies, or both at once
  kCount
};
[[nodiscard]] const char* name_of(FaultKind kind);

// Where the members of an episode live and what carries their data.
enum class Arena : std::uint8_t {
  kShm,   // one host, shared memory
  kTcp,   // one host, TCP over loopback forced
  kNet,   // up to four hosts: network namespaces of their own, TCP; needs root
  kNccl,  // one host, transport=nccl; needs a library (REGROUP_NCCL_LIBRARY), so only where it is named
  kUcx,   // one host, transport=ucx, as UCX_TLS says; only where it is named
  kCount
};
[[nodiscard]] const char* name_of(Arena arena);

struct ChaosArguments {
  int members = 8;
  double seconds = 60;
  std::uint64_t seed = 1;
  std::vector<FaultKind> faults;  // empty: all
  std::vector<Arena> arenas;      // empty: all; each gets its share of the time
  std::size_t max_bytes = 4 << 20;
  double hang_s = 30;  // a wait for members that takes longer is a hang
  int spared = 0;      // ranks below this one are never killed
  std::string device;  // that the buffers lie on (Options::device); empty: host memory
  std::string json;
  bool keep = false;  // the folder with flight records, also when nothing was found
};

// "kill,stop"; kConfig names the unknown word.
Result<std::vector<FaultKind>> parse_faults(std::string_view list);
Result<std::vector<Arena>> parse_arenas(std::string_view list);

}  // namespace regroup::chaos
