// The page that a catch-up run's parent shares with its members (a memfd that they inherit): settings and requests one
// way; commits and figures of each member the other way. One writer a field; release on `head` and the stamps. Private
// to one build.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace regroup::bench::catchup {

inline constexpr std::size_t kMaxRanks = 16;
inline constexpr std::size_t kCommits = 1u << 17;  // per member; a run has fewer steps

struct Settings {
  std::uint64_t state = 0;   // bytes
  std::uint64_t touch = 0;   // bytes of it that each step changes
  std::uint64_t grad = 0;    // bytes of the all-reduce
  std::uint64_t rate = 0;    // bytes/s a source sends; 0: no bound
  double share = -1;         // of a core that a transfer may take; negative: the default
  double step_ms = 0;
  std::uint32_t ranks = 0;
  char transport[16] = {};
};

struct Part {  // of one rank, over its lives
  std::atomic<std::uint64_t> head{0};
  std::atomic<std::int64_t> ready_ns{0};    // its process stands and calls join
  std::atomic<std::int64_t> replay_ns{0};   // the last transfer is over: its first step is replayed; 0: none was
  std::atomic<std::int64_t> joined_ns{0};   // join has returned
  std::atomic<std::int64_t> first_ns{0};    // its first contribution is committed
  std::atomic<std::uint64_t> digest_step{0};
  std::atomic<std::uint64_t> digest{0};
  std::atomic<std::uint64_t> replayed{0}, snapshots{0};
  std::atomic<std::uint32_t> corrupt{0};              // 1: damage your own state; 2: done
  std::atomic<std::uint64_t> redone{0};               // ops that took more than one attempt
  std::atomic<std::uint64_t> epoch{0}, members{0};    // of the last commit
  std::atomic<std::int64_t> caught_up_us{0};
  std::atomic<std::uint64_t> source_bytes[kMaxRanks] = {};
  char trouble[160] = {};                             // of its last join; written before joined_ns
  std::int64_t commit_ns[kCommits] = {};
  std::uint8_t commit_members[kCommits] = {};
};

struct Page {
  Settings settings;
  std::atomic<std::uint32_t> stop{0};
  std::atomic<std::uint64_t> digest_at{0};  // step after which everybody says its digest
  Part parts[kMaxRanks];
};

// Maps the page of `fd`; null when that fails. `create` sizes and initialises it.
Page* map(int fd, bool create);
// One rank's process. Its exit status.
int run_member(int page_fd);

}  // namespace regroup::bench::catchup
