// DeathReporter: sees in the table of death words that a rank's incarnation is over, before the kernel has torn its
// process down, and tells the coordinator; again until it answers, so a death while the coordinator is away is not
// lost. Blocks for at most kBound a call. Threading: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "ft/driver/client.h"
#include "ft/driver/death_page.h"

namespace regroup::launch {

class DeathReporter {
 public:
  static constexpr Duration kBound = Duration::from_ms(200);  // of one question
  static constexpr Duration kGiveUp = Duration::from_s(10);   // by then the coordinator has found out by itself

  DeathReporter(DeathTable& table, CoordinatorAddress to) : table_(table), to_(std::move(to)), seen_(table.count()) {}
  // The incarnation of a rank whose word was marked since the last look. A member that ended its life in order, or
  // whose process began none, is not a death.
  std::optional<Incarnation> look(std::size_t rank, Instant at);
  // Tells what is still to be told; returns the incarnations that the coordinator has taken note of.
  std::vector<Incarnation> tell(Instant at);

 private:
  struct Untold {
    Incarnation who;
    Instant since;
  };
  DeathTable& table_;
  const CoordinatorAddress to_;
  std::vector<Incarnation> seen_;
  std::vector<Untold> untold_;
  Instant again_at_{0};
};

}  // namespace regroup::launch
