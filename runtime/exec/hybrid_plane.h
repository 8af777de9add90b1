// HybridPlane: the ops of a view whose members are on several hosts, some of them on one. Links to all members, shared
// memory with those of the own host. Every op is NetPlane's, but for a hierarchical all-reduce (algo::Form::kHierarchical):
//
// 1 *fold*: my host's members fold their inputs at the waist of a ShmPlane of their own (a view of the host alone);
// 2 *across*: the leader, first member of its host, takes the sum and goes around the ring of leaders on the NetPlane;
// 3 *spread*: it places the result in its scratch of the epoch, which every member of the host has mapped.
// When all of my host have placed 3, the whole result stands in memory that outlives its owner, so it is prepared: nobody
// needs a dead member's process, nor another host's memory. `prepared` is told to all members over the links, and the commit
// rule looks at all of them. A hierarchical op k takes two op numbers on the host, 2k and 2k + 1; its scratch is released
// with k. Everybody tells everybody its descriptor over the links before it waits on its host: who takes the op for one of another
// kind or size would wait elsewhere.
// Partial sums stay in memory of the epoch: any death wedges it, and the op is redone from inputs that nobody touched.
// While a member waits on its host it serves its links now and then. Upholds G1 G2 G7 G8 on the data side.
#pragma once

#include <deque>
#include <memory>

#include "runtime/exec/net_plane.h"
#include "runtime/exec/shm_plane.h"

namespace regroup {

class HybridPlane final : public Plane {
 public:
  // Memory that outlives epochs: staged inputs of the ops on the host, numbered otherwise than those of a ShmPlane alone.
  struct Host {
    shm::Domain* domain;  // its window: twice that of the group at least. Where I am alone on my host: may be nullptr
    ShmStaging& staging;
    ShmPairs* pairs;
    std::size_t slots;    // likewise
  };
  // As ShmPlane::open and NetPlane::open; rules.hosts says who is where.
  static Result<std::unique_ptr<HybridPlane>> open(Host host, tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                   std::size_t self, NetPlane::Config config, std::size_t& bad_peer);
  ~HybridPlane() override;

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override { net_->announce_prepared(op); }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override {
    return net_->await_commit(op, counter, context);
  }
  void copy_out(ExecOp& op) override;
  void release(OpId op) override;
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override {
    return net_->exchange(messages, context);
  }
  void enter(const PairBook& book) override { net_->enter(book); }
  bool pump() override { return net_->pump(); }
  void fence() override { net_->fence(); }
  void withdraw() override;
  [[nodiscard]] const char* name() const override { return "hybrid"; }

 private:
  enum class Phase : std::uint8_t { kDeclare, kFold, kAcross, kSpread, kDone };
  struct Flight {  // a hierarchical op that is not released
    OpId id = 0;
    Phase phase = Phase::kDeclare;
    ExecOp fold, across, spread;
    NetStaging::Block sum;  // leaders: what my host has folded
  };
  HybridPlane(std::unique_ptr<NetPlane> net, std::unique_ptr<ShmPlane> shm, NetStaging& staging, std::size_t members,
              algo::Rules rules, std::vector<std::size_t> local, bool leads);
  [[nodiscard]] bool hierarchical(const ExecOp& op);
  RunResult begin(const ExecOp& op);
  RunResult step(Flight& f, ExecContext& context);
  RunResult on_host(ExecOp& op, ExecContext& context);
  Flight* flight(OpId op);

  std::unique_ptr<NetPlane> net_;
  std::unique_ptr<ShmPlane> shm_;  // nullptr: I am alone on my host
  NetStaging& staging_;
  std::size_t members_;
  algo::Rules rules_;
  std::vector<std::size_t> local_;  // index in the view of each member of my host
  bool leads_;
  std::deque<Flight> flights_;
  Failpoints unarmed_;
};

}  // namespace regroup
