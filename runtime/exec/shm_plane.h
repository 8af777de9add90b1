// ShmPlane: the ops of a view whose members share memory. Pull only, committed at the waist (DATA_PATH.md).
//
// Executes any algo::Plan. Large ops ("waist"): every member publishes where its input and scratch lie, makes what the
// plan has it place (a shard folded from everyone's input, a copy of its own block) in its own scratch and raises
// `placed`; when all are placed the whole result stands in mappings that outlive their owners, so it is prepared; after
// the commit everybody takes its output out of the scratches. Small ops ("small"): inputs lie beside the flag;
// everybody makes its output from them in private memory. Several ops may be prepared at once, each with its own state.
// Only ever writes the own words page, own scratch, own staging. Upholds G1 G2 G7 G8 on the data side.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/algo/plan.h"
#include "kernels/kernels.h"
#include "runtime/exec/plane.h"
#include "runtime/exec/shm_pairs.h"
#include "transport/shm/domain.h"
#include "transport/shm/waiter.h"

namespace regroup {

// Staged copies of private inputs; lives as long as the incarnation (only unprepared members read inputs).
struct ShmStaging {
  shm::OwnedPtr memory;
  OpId holds = 0;  // op whose whole input stands here; 0: none
};

class ShmPlane final : public Plane {
 public:
  // At most `slots` ops have scratch at once; then the next one waits until all have released the oldest.
  // Maps every peer's words page. kUnavailable: a peer cannot be reached (`bad_peer` tells which): dead, or not on this
  // host.
  static Result<std::unique_ptr<ShmPlane>> open(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs,
                                                const View& view, std::size_t self, std::size_t& bad_peer,
                                                std::size_t slots);
  ~ShmPlane() override;

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override;
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override;
  void copy_out(ExecOp& op) override;
  void release(OpId op) override;
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override {
    return pairs_.exchange(messages, context, waiter_);
  }
  void enter(const PairBook& book) override { pairs_.enter(view_, self_, book); }
  void withdraw() override;
  [[nodiscard]] bool brief(const ExecOp& op) const override { return op.desc.bytes() * peers_.size() <= domain_.words().small_bytes; }
  void fence() override {}  // nobody else writes our memory; what we wrote stays as it is
  void retire() override;
  [[nodiscard]] const char* name() const override { return "shm"; }

 private:
  struct PeerState {
    std::shared_ptr<shm::Peer> memory;
    const shm::WordsPage* page = nullptr;                              // our own page for ourselves
    std::vector<std::pair<std::uint32_t, const shm::Mapping*>> cache;  // segments mapped in this epoch
    std::vector<std::uint32_t> scratch_seen;
    std::uint32_t spares_version = 0;
  };
  struct Slot {
    shm::OwnedPtr memory;
    OpId op = 0;
  };
  enum Stage : std::uint32_t { kStart, kStaging, kPublished, kReducing, kPlaced, kPulling, kDone };

  ShmPlane(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs, const View& view, std::size_t self,
           std::size_t slots);
  // One op in flight: its plan (kept for the next one that is alike) and where everybody's memory is.
  struct Active {
    OpId id = 0;
    bool small = false;
    bool planned = false;
    OpDesc desc;  // the plan is of these
    std::size_t root = 0;
    algo::TablesPtr tables;
    algo::Plan plan;
    shm::Place place{};
    std::vector<const void*> inputs;
    std::vector<const std::byte*> scratch;  // of every member: table (told ops), then what it placed
    std::vector<std::byte> result;          // small ops: the whole output, private
    const void* own = nullptr;  // where in my input the block lies that I give myself; nullptr: it is placed
    bool early = false;         // the output is written before the commit, as its caller allows
    bool kept = false;          // what I place stands in the caller's registered memory
    algo::Span skipped;         // of what I would place: nobody else takes it
  };
  Active& active(OpId op) { return ring_[op % ring_.size()]; }
  void begin(Active& a, const ExecOp& op);
  void find_own(Active& a, const ExecOp& op) const;
  [[nodiscard]] std::size_t table_bytes(const Active& a) const;  // of the table at the head of scratch
  RunResult run_small(Active& a, ExecOp& op, ExecContext& context);
  void publish_small(const Active& a, const ExecOp& op);
  void make_small(Active& a, const ExecOp& op);
  RunResult run_large(Active& a, ExecOp& op, ExecContext& context);
  bool place_at_caller(Active& a, const ExecOp& op);
  RunResult pull(Active& a, ExecOp& op, ExecContext& context);
  [[nodiscard]] const void* source_of(const Active& a, std::size_t i) const;
  RunResult stage_input(Active& a, ExecOp& op, ExecContext& context);
  RunResult take_slot(Active& a, ExecOp& op, ExecContext& context);
  RunResult meet_peers(Active& a, ExecOp& op, ExecContext& context);  // wait for all, compare descriptors, map memory
  RunResult meet(Active& a, const ExecOp& op, std::size_t i);
  RunResult produce(Active& a, ExecOp& op, ExecContext& context);  // what I place, into my scratch
  void publish_line(const ExecOp& op, const void* body, std::size_t bytes);
  void raise(std::atomic<shm::Tag>& word, OpId op);
  template <class WordOf>
  bool wait_all(OpId op, WordOf word_of, ExecContext& context);
  bool wait_word(const std::atomic<shm::Tag>& word, bool exact, shm::Tag tag, ExecContext& context,
                 shm::ExchangeTime* timed = nullptr);
  [[nodiscard]] kernels::Store placed_store(std::size_t bytes) const;
  Result<const std::byte*> map(std::size_t peer, std::uint32_t segment, std::uint64_t offset, std::size_t bytes);
  [[nodiscard]] std::optional<std::size_t> withdrawn_peer() const;
  void look_at_spares();

  shm::Domain& domain_;
  ShmStaging& staging_;
  ShmPairs& pairs_;
  View view_;
  Epoch epoch_;
  std::size_t self_;
  std::vector<PeerState> peers_;  // by index in the view
  shm::Waiter waiter_;
  shm::ExchangeTime exchange_;  // of large ops
  std::size_t most_slots_;
  std::vector<Slot> slots_;
  OpId released_ = 0;  // large ops up to here are over here
  bool spares_due_ = false;
  bool lent_ = false;  // peers read memory of the caller's until they are prepared
  std::size_t spare_bytes_ = 0, spare_count_ = 0;
  std::vector<Active> ring_;  // by op number modulo the window
  std::vector<const void*> sources_;
};

}  // namespace regroup
