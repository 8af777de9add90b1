// ShmPairs: messages between two members that share memory. Pull only: the sender copies into its own memory, the
// receiver copies out of it after the commit. Pages belong to a pair of incarnations, not to an epoch, so a view change
// that both survive touches nothing. Memory of messages in flight is kept for later ones until the pair ends.
// Ownership: one per member, outlives planes. Threading: the holder of the execution token; reset() when no plane
// stands.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "runtime/exec/message.h"
#include "runtime/exec/plane.h"
#include "transport/shm/domain.h"
#include "transport/shm/pair_page.h"
#include "transport/shm/waiter.h"

namespace regroup {

class ShmPairs {
 public:
  ShmPairs(shm::Domain& domain, std::size_t world_size, std::size_t staging_bytes)
      : domain_(domain), world_size_(world_size), staging_bytes_(staging_bytes) {}
  // A new incarnation of this member begins.
  void reset();
  // An epoch of shared memory begins. Pages tell what earlier epochs, of whatever plane, have settled.
  void enter(const View& view, std::size_t self, const PairBook& book);
  // As Plane::exchange.
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context, shm::Waiter& waiter);

 private:
  struct Placed {  // a message of mine that the peer may still read
    std::uint64_t number = 0;
    shm::OwnedPtr memory;
  };
  struct End {
    std::size_t index = 0;  // in the view
    std::uint32_t my_replica = 0, replica = 0;  // mine, the peer's
    Incarnation mine_inc;
    std::string socket;
    shm::OwnedPtr segment;
    shm::PairPage* mine = nullptr;
    std::shared_ptr<shm::Peer> memory;
    const shm::WordsPage* words = nullptr;
    const shm::PairPage* theirs = nullptr;
    std::vector<Placed> placed;
    std::vector<shm::OwnedPtr> free;
    Placed placing;  // not whole yet
    std::size_t placing_at = 0;
    shm::Tag bell_seen = 0;
    bool watched = false;
  };
  Status open(End& end, const PairEnd& pair);
  Status find_page(End& end, const PairEnd& pair);
  Status make_page(End& end, const PairEnd& pair);
  RunResult step_send(End& end, PairMessage& m, ExecContext& context);
  RunResult step_recv(End& end, PairMessage& m, ExecContext& context);
  RunResult place(End& end, PairMessage& m, ExecContext& context, bool& whole);
  RunResult prepare(End& end, PairMessage& m);
  void collect(End& end);
  void ring(End& end);
  [[nodiscard]] std::size_t placed_bytes() const;
  bool wait(ExecContext& context, shm::Waiter& waiter);

  shm::Domain& domain_;
  std::size_t world_size_, staging_bytes_;
  shm::OwnedPtr directory_;
  std::map<Incarnation, End> ends_;  // of the peers in the view
  std::vector<shm::Waiter::Watch> watches_;
};

}  // namespace regroup
