// Round: one attempt of a joiner, from the choice of a mark to its promotion. Inside of Joiner.
#pragma once

#include "runtime/state/joiner.h"

namespace regroup::state {

struct Joiner::Round {
  explicit Round(const Joiner& joiner, Spill* spill)
      : journal(joiner.config_.journal_bytes, joiner.config_.spill_bytes, spill) {}
  Reach reach;
  std::atomic<bool> over{false};       // ends every wait of its threads
  std::atomic<bool> fetched{false};    // ends those of the transfer
  std::vector<std::unique_ptr<SourceLink>> sources;
  std::uint32_t usable = 0;            // bit i: sources[i] has the mark
  Holder::Version newest;
  std::uint64_t step = 0;              // of the snapshot; then of what is replayed
  OpId op = 0;
  std::vector<std::vector<std::byte>> blobs;

  std::mutex plan_mutex;
  std::condition_variable plan_news;
  std::unique_ptr<FetchPlan> plan;
  bool outlived = false;               // a source ended its snapshot before the transfer did; below plan_mutex
  std::vector<std::thread> threads;

  std::mutex journal_mutex;
  Journal journal;
  std::optional<Error> feed_error;     // below journal_mutex
  MemberInfo feeder;
  std::vector<std::unique_ptr<FeedLink>> retained;
  bool level = false;
  std::optional<Error> differs;        // at the hand-over, from what others hold
};

}  // namespace regroup::state
