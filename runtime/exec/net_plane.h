// NetPlane: the ops of a view over TCP links. Direct reduce-scatter, then all-gather into staging (DATA_PATH.md).
//
// Small ops ("small"): every member sends its whole input beside the descriptor, everybody folds all of them. Large ops
// ("direct"): each member receives its shard of every input, folds it in member order as the chunks come, and sends the
// result to all; prepared when the whole result stands in own staging. Received bytes only ever go to own staging.
// One op at a time: frames of a later op wait in their link, which is safe, since whatever this op still needs of that
// peer precedes them. Same fold order, same bits as ShmPlane. Upholds G1 G2 G7 G8 on the data side.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "ft/core/view.h"
#include "runtime/algo/shards.h"
#include "runtime/exec/plane.h"
#include "transport/tcp/link_set.h"

namespace regroup {

// Staging that outlives epochs, so that a view change pays for no page. Thread-safe.
class NetStaging {
 public:
  using Memory = std::shared_ptr<std::byte[]>;
  struct Block {
    Memory memory;
    std::size_t bytes = 0;
  };
  Block take(std::size_t bytes);
  void give(Block block);

 private:
  std::mutex mutex_;
  std::vector<Block> free_;
};

class NetPlane final : public Plane, private tcp::LinkUser {
 public:
  struct Config {
    std::size_t small_bytes = 32768;
    std::size_t staging_bytes = std::size_t{1} << 30;
  };
  // Enters the view on the links. kRefused: a member's address cannot be read.
  static Result<std::unique_ptr<NetPlane>> open(tcp::LinkSet& links, NetStaging& staging, const View& view, std::size_t self,
                                                Config config);
  ~NetPlane() override;

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override;
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override;
  void copy_out(ExecOp& op) override;
  void release(OpId) override {}
  bool pump() override;
  void fence() override { links_.leave(*this); }
  [[nodiscard]] const char* name() const override { return "tcp"; }

 private:
  static constexpr std::size_t kDescBytes = 32;
  enum Type : std::uint16_t { kReady = tcp::kFirstUserType, kInput, kResult, kPrepared };
  struct PeerState {
    bool ready_sent = false, ready_seen = false;
    std::vector<std::byte> ready;                // descriptor and, of a small op, the input
    NetStaging::Block input;                     // its part of my shard
    std::size_t input_sent = 0, input_got = 0;   // bytes
    std::size_t result_sent = 0, result_got = 0;
    OpId prepared_sent = 0, prepared_seen = 0;
  };

  NetPlane(tcp::LinkSet& links, NetStaging& staging, std::size_t self, std::size_t n, Config config)
      : links_(links), staging_(staging), self_(self), peers_(n), config_(config) {}
  // tcp::LinkUser
  tcp::Placement place(std::size_t peer, const wire::Frame& frame) override;
  bool arrived(std::size_t peer, const wire::Frame& frame) override;
  bool next(std::size_t peer, tcp::Outgoing& out) override;
  bool flushed(std::size_t peer) override;

  RunResult begin(ExecOp& op, ExecContext& context);
  bool produce(ExecContext& context);     // folds what has come; true: something was done
  [[nodiscard]] bool complete() const;
  [[nodiscard]] std::optional<RunResult> mismatch() const;
  [[nodiscard]] std::optional<RunResult> broken() const;
  template <class Done>
  RunResult pump_until(ExecContext& context, Done done);
  [[nodiscard]] algo::Range part(std::size_t member) const;  // bytes of the result that the member places
  [[nodiscard]] std::size_t unsent() const;

  tcp::LinkSet& links_;
  NetStaging& staging_;
  std::size_t self_;
  std::vector<PeerState> peers_;
  Config config_;
  // The op at hand.
  OpId active_ = 0;
  OpDesc desc_;
  std::size_t root_ = 0;
  const std::byte* in_ = nullptr;
  bool small_ = false;
  NetStaging::Block result_;
  std::size_t made_ = 0;        // bytes of my part that stand in result_
  bool folded_ = false;         // small: the result stands
  bool first_out_ = false, first_told_ = false, placed_told_ = false;
  OpId announce_ = 0;
  std::vector<std::byte> ready_out_;
  std::vector<const void*> sources_;
};

}  // namespace regroup
