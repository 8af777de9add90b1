// Checker: judges a history against the guarantees of docs/PROTOCOL.md, record by record, in the order of time.
//
// G1: who commits an op commits the same bits, contributors and epoch as everybody else, and no decision takes a commit
// back. G2: the result is the fold of the contributors' inputs. G4: every member settles every op once, in order, the
// same way as the others; who joins begins with a step and with the others' state. G6: one decision an epoch, durable
// before it is installed, of one log. G7: nothing is prepared in an epoch that was reported frozen, or outside of the
// epoch at hand. G8: a failed op has touched nothing. Not judged here: G3 (follows from G2 where the contributors are the
// view's members, which the producer of the history sees to), G5 (the simulator's liveness phase), G9 (benchmarks).
// Messages: each end of a pair's direction settles every message once, in order (G4), takes what was sent (G2), and never
// has one end success where the other has failure (G1).
// Pure; owns copies of what it needs. Values that a record does not know are left out.
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "ft/sim/history.h"

namespace regroup::sim {

class Checker {
 public:
  // Empty, or which guarantee this record breaks: "G4: ...".
  [[nodiscard]] std::string on(const Record& r);
  // What has been settled in a history of `log`, for reports.
  struct Totals {
    std::uint64_t commits = 0, failures = 0, installs = 0, messages = 0, messages_failed = 0;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }

 private:
  struct Op {  // as it was first seen
    bool submitted = false, settled = false, committed = false, valued = false, mark = false;
    Epoch epoch = 0;
    Code code = Code::kOk;
    std::uint64_t contributors = 0;
    Value value;
    std::uint64_t state = 0;  // after it
    bool has_state = false;
  };
  struct Life {
    LogId log = 0;
    Epoch epoch = 0, wedged = 0;
    OpId submitted = 0, settled = 0;
    bool begun = false;       // settled says where it stands
    std::uint64_t state = 0;  // digest of what it has settled
    bool has_state = false;
    bool over = false;
  };
  struct Log {
    std::map<Epoch, std::uint64_t> durable;  // fingerprints
    std::map<Epoch, OpId> trims;
    std::map<OpId, Op> ops;  // a record may name any number: nothing grows by more than it says
    OpId last_trim = 0;
    Epoch founded = 0;  // the last one whose members were all new
  };
  struct Direction {  // of a pair of lives
    std::uint64_t sent = 0, taken = 0;                 // ended at the two
    std::map<std::uint64_t, std::array<int, 2>> ends;  // by message, at the sender and at the receiver: 1 good, -1 failed
  };
  std::string message(const Record& r);
  std::string settle(Life& life, Log& log, const Record& r);
  std::string committed(Op& op, const Record& r);
  static bool known_to_be_inside(const Log& log, OpId op);
  std::unordered_map<std::uint32_t, Life> lives_;
  std::map<LogId, Log> logs_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Direction> directions_;  // from, to
  Totals totals_;
};

}  // namespace regroup::sim
