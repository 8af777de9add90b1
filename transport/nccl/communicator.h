// Communicator: one communicator of NCCL, non-blocking, of which every call is bounded.
//
// All calls are made on threads of its own (Caller): making it and collectives on one, revoking on another, the abort
// on a third, since each of them may hang. Nothing here waits but wait_ended(). Ownership: what calls use is kept by
// them; the object may go at any time, though who drops it before ended() leaves a communicator behind that still runs.
// Threading: one user at a time. After a failure (kFailed, Step::kFailed) trouble() says why; there is only abort(), or
// shrink() from it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "transport/nccl/api.h"
#include "transport/nccl/caller.h"

namespace regroup::nccl {

enum class Collective : std::uint8_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast };

struct Job {
  Collective what = Collective::kAllReduce;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;  // as the function of NCCL counts
  int type = 0, op = 0, root = 0;
  void* stream = nullptr;
};

class Communicator {
 public:
  enum class State : std::uint8_t { kMaking, kUp, kFailed };
  enum class Step : std::uint8_t { kPending, kDone, kFailed };

  // `limit`: of making it, of a revoke, of an abort, each. `enter`: makes the device that it is for the calling thread's,
  // as NCCL wants it; called first on each of its threads.
  using Enter = std::function<Status()>;
  static std::unique_ptr<Communicator> init(LibraryPtr library, const UniqueId& id, int rank, int ranks, Duration limit,
                                            Enter enter = {});
  // Of the members of `parent` but `without`. Waits (on its own thread) for a revoke of the parent; where that was not
  // asked for or failed, NCCL aborts what is under way there. The parent is to be aborted afterwards.
  static std::unique_ptr<Communicator> shrink(Communicator& parent, std::vector<int> without, Duration limit);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] State state();
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

  // One at a time, while it is up. On a thread of the communicator `first` runs before, `then` once NCCL has the
  // collective on the stream: what they queue there is carried out before and after it.
  void run(const Job& job, std::function<Status()> first, std::function<Status()> then);
  [[nodiscard]] Step queued();
  // Asks NCCL for an error, if it is not being asked; what it has said is seen by state().
  void check();
  [[nodiscard]] bool checking() const { return check_ && !check_->load(); }

  [[nodiscard]] bool can_revoke() const;
  void revoke();
  void abort();
  [[nodiscard]] bool aborting() const { return abort_ != nullptr; }
  [[nodiscard]] bool ended() const;  // the abort has returned
  // The abort has not returned within its limit, though there is something to abort.
  [[nodiscard]] bool stuck() const;
  bool wait_ended(Instant deadline);

 private:
  struct Shared;
  Communicator(LibraryPtr library, Duration limit, Enter enter);
  void fail(const std::string& why);

  std::shared_ptr<Shared> shared_;
  Duration limit_;
  Instant made_by_{}, aborted_by_{};
  Caller caller_;
  std::unique_ptr<Caller> revoker_, aborter_;
  Caller::Call check_, abort_;
  std::string trouble_;
};

// ncclGetUniqueId on `caller`; `*answer` is written before the call counts as returned.
struct MadeId {
  UniqueId id;
  int answer = kInProgress;
};
Caller::Call make_id(Caller& caller, const LibraryPtr& library, const std::shared_ptr<MadeId>& made);

}  // namespace regroup::nccl
