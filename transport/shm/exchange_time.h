// ExchangeTime: how far a peer's core is, by what one's own flag exchange costs (DATA_PATH.md): the look at a word that finds
// it changed has fetched its line from the core that wrote it. Caches that are shared answer within nanoseconds, others in a
// hundred or more; a scheduler may move a member from one state to the other at any time, so only the last looks count.
// One owner at a time (the holder of the execution token); purely local: nobody else knows what it says.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace regroup::shm {

class ExchangeTime {
 public:
  static constexpr std::size_t kSamples = 7;
  static constexpr Duration kNear = Duration::from_ns(60);  // far ones took 110 ns and more

  // A look that found nothing new took so long: what looking costs by itself.
  void idle_look(Duration took) { floor_ = std::min(floor_, took); }
  // A look that found the word changed.
  void look(Duration took) { samples_[next_++ % kSamples] = took; }
  // True: most of the last looks were answered by a cache that is shared. False: they were not, or nothing is known.
  [[nodiscard]] bool near() const {
    if (next_ < kSamples) return false;
    std::array<Duration, kSamples> sorted = samples_;
    std::nth_element(sorted.begin(), sorted.begin() + kSamples / 2, sorted.end());
    return sorted[kSamples / 2] - floor_ < kNear;
  }

 private:
  std::array<Duration, kSamples> samples_{};
  std::size_t next_ = 0;
  Duration floor_ = Duration::from_ms(1);
};

}  // namespace regroup::shm
