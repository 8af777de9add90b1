// The page that a recovery run's parent shares with its members (a memfd that they inherit): settings one way, a ring
// of commits per member the other way. A member writes only its own ring; what it wrote is still there after it was
// killed.
//
// Threading: one writer (the member) and one reader (the parent) per ring. A full ring makes the member wait: no commit is
// dropped. Layout is private to one build: parent and members are the same program.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tools/chaos/ledger.h"
#include "tools/chaos/shared_ring.h"

namespace regroup::bench {

inline constexpr std::size_t kMaxMembers = 32;

using chaos::Commit;
using chaos::Ledger;

struct Settings {
  std::uint64_t bytes = 0;     // of the all-reduce
  std::uint64_t resident = 0;  // private bytes that each member touches
  std::uint64_t seed = 0;
  std::uint32_t ranks = 0;
  std::uint32_t registered = 0;
  char transport[16] = {};
  char device[64] = {};  // empty: host memory
};

struct MemberPart {
  std::atomic<std::uint64_t> in_op{0};       // step + 1 of the op that is under way, 0: none
  std::atomic<std::uint32_t> life{0};        // incarnations begun
  std::atomic<std::uint32_t> evictions{0};   // times that it was told so
  std::atomic<std::uint32_t> huge_pages{0};  // its buffers lie on 2 MiB pages
  chaos::Ring<Commit, 4096> commits;
};

struct Page {
  Settings settings;
  std::atomic<std::uint32_t> stop{0};
  MemberPart members[kMaxMembers];
};

// As chaos::map_shared, with every page present.
inline Page* map_page(int fd, bool create) { return chaos::map_shared<Page>(fd, create, MAP_POPULATE); }

}  // namespace regroup::bench
