// Carries out n calls in the way that the command line asks for: one after the other, in flight, aggregated in groups
// (-m), or each cut into pieces that are ops of their own (--cut). With buffers on a device it waits for the stream as well: a
// blocking call, and the calls of a group, each time, calls in flight at the end. One thread. An op that fails, or that had not
// every member of the call's view, ends it with that error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/collective.h"

namespace regroup::bench {

struct CallMode {
  bool blocking = true;         // each call waits for its outcome before the next
  int aggregate = 1;            // calls launched as one (group_start, group_end)
  std::size_t cut_bytes = 0;    // above 0: pieces of so many bytes
  bool group_pieces = false;    // the pieces of a call are launched as one
  std::uint32_t in_flight = 8;  // ops in flight when not blocking
};

class Calls {
 public:
  Calls(const Collective& collective, CallMode mode) : collective_(collective), mode_(mode) {}
  // `plan`: what the runtime named its way, of the last op; may be null.
  Status run(const Call& call, int n, std::string* plan);
  // One call, whole or in pieces as the mode says; the last op's outcome.
  Result<Outcome> once(const Call& call);
  // The pieces of a call.
  [[nodiscard]] std::vector<Call> pieces_of(const Call& call) const;

 private:
  Status run_ring(const Call& call, int n, std::string* plan);
  Status run_groups(const Call& call, int n, std::string* plan);
  Result<Outcome> launch(const std::vector<Call>& ops, bool grouped);

  const Collective& collective_;
  const CallMode mode_;
};

}  // namespace regroup::bench
