// The page that a chaos run shares with its workers (a memfd that they inherit): settings one way; per worker process a
// ring of commits and a ring of views the other way. What a worker wrote is still there after it was killed.
//
// Threading: each ring has one writer (the worker's loop; its control thread) and one reader (the harness). A full ring
// of commits makes the worker wait; a view that finds its ring full is counted and dropped. Layout is private to one
// build: harness and workers are built together (kLayout says so).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tools/chaos/ledger.h"
#include "tools/chaos/shared_ring.h"

namespace regroup::chaos {

inline constexpr std::size_t kMaxMembers = 16;             // four bits a contributor in symbolic results
inline constexpr std::size_t kMaxSlots = 2 * kMaxMembers;  // processes alive at once: second incarnations too

struct SeenView {
  std::uint64_t epoch = 0;
  std::uint64_t members = 0;  // bit r: rank r
  std::int64_t at_ns = 0;
};

struct Settings {
  static constexpr std::uint32_t kLayout = 4;
  std::uint32_t layout = kLayout;
  std::uint32_t ranks = 0;
  std::uint64_t seed = 0;
  std::uint64_t max_bytes = 0;  // of an all-reduce
  std::uint32_t depth = 1;      // ops in flight at most; over 1 there is no registered state
  std::uint32_t follow = 0;     // 1: more of it, and who comes back catches up with it while the others go on
  char transport[16] = {};
  char device[64] = {};  // Options::device
};

struct Slot {
  std::atomic<std::uint64_t> in_op{0};      // step + 1 of the op that is under way, 0: none
  std::atomic<std::uint32_t> lost_views{0};
  Ring<Commit, 2048> commits;
  Ring<SeenView, 256> views;
};

struct Page {
  Settings settings;
  std::atomic<std::uint32_t> stop{0};
  std::atomic<std::uint32_t> lives[kMaxMembers];  // incarnations begun, by rank
  Slot slots[kMaxSlots];
};

// As map_shared; null also when the page was made by another build.
inline Page* map_page(int fd, bool create) {
  Page* page = map_shared<Page>(fd, create);
  return page == nullptr || page->settings.layout == Settings::kLayout ? page : nullptr;
}

}  // namespace regroup::chaos
