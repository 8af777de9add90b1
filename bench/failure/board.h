// The page that the parent of a run shares with its ranks: a memfd that they inherit. Every run with --ranks has one,
// so that a rank that never came can be named; the rest is for failure runs (--kill, --stop, --join). A rank writes
// only its own part and the faults that it is the victim of; what it wrote stays after it was killed.
//
// Threading: each field has one writer; release on `done`, `at_ns` and `position`. Layout is private to one build.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace regroup::bench {

inline constexpr std::size_t kBoardRanks = 64;
inline constexpr std::size_t kBoardFaults = 16;
inline constexpr std::size_t kBoardSides = 1024;  // rows, out of place and in place

// What one rank saw of one side of a row.
struct SideRecord {
  std::atomic<std::uint32_t> done{0};  // the rest is written
  std::uint32_t live = 0;              // contributors of its last call
  std::uint64_t epoch = 0;
  std::uint64_t wrong = 0;  // elements
  double time_us = 0;       // median of the calls that nothing disturbed (else of all)
};

struct RankPart {
  alignas(64) std::atomic<std::uint64_t> position{0};      // calls done
  std::atomic<std::uint32_t> came{0};                      // it has begun to join
  std::atomic<std::uint32_t> lives{0};                     // incarnations: starts and rejoins
  std::atomic<std::int64_t> full_ns{0};                    // its first call with all ranks after the last fault
  std::atomic<std::int64_t> recovered_ns[kBoardFaults]{};  // its first commit without the victim, by fault
  SideRecord sides[kBoardSides];
};

struct Board {
  char transport[16] = {};  // that the first view used; written by rank 0 or whoever is first
  char device[96] = {};     // name of the device that the buffers lie on; likewise
  std::atomic<std::int64_t> fault_ns[kBoardFaults]{};  // when the victim went; 0: not yet. CLOCK_MONOTONIC
  RankPart ranks[kBoardRanks];
};

// The parent's side: makes the memfd and maps it. Owns both. After a failure get() is null.
class BoardOwner {
 public:
  BoardOwner();
  ~BoardOwner();
  BoardOwner(const BoardOwner&) = delete;
  BoardOwner& operator=(const BoardOwner&) = delete;
  [[nodiscard]] Board* get() const { return board_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
  Board* board_ = nullptr;
};

// A rank's side: the board that kBoardVariable of its environment names, mapped until the process ends. Null: none.
inline constexpr const char* kBoardVariable = "REGROUP_BENCH_BOARD";
Board* inherited_board();

}  // namespace regroup::bench
