#include "bench/memory.h"

#include <fstream>
#include <string>

namespace regroup::bench {

std::size_t resident_share_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;)
    if (std::size_t kib = 0; word == "Pss:" && rollup >> kib) return kib << 10;
  return 0;
}

}  // namespace regroup::bench
