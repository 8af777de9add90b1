// A rank's place in a benchmark run that nobody fails in: joins (however it was started), probes, agrees on figures,
// leaves. One thread; owns the group, the probe and the buffers. After an error only leave() and the destructor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "bench/arguments.h"
#include "bench/buffers.h"
#include "bench/collective.h"
#include "bench/probe.h"
#include "bench/rows.h"
#include "bench/threads.h"

namespace regroup::bench {

// "what: kCode: detail", the code kept.
Error error_of(const std::string& what, const Error& error);

class Seat {
 public:
  // `thread`: what a rank that is a thread was given, else null. kConfig: no rank is set, or the root is none of the ranks.
  // Buffers are there afterwards.
  Status take(const Collective& collective, const Arguments& arguments, const ThreadRank* thread);
  // Prints what could not be done to stderr.
  void leave(const char* program);

  [[nodiscard]] Group& group() const { return *group_; }
  [[nodiscard]] const ViewInfo& view() const { return view_; }
  [[nodiscard]] const Buffers& buffers() const { return *buffers_; }
  [[nodiscard]] std::uint32_t rank() const { return rank_; }
  [[nodiscard]] std::size_t ranks() const { return view_.size(); }

  Status barrier();
  // The same at all ranks afterwards: over ranks as `op` says.
  Result<double> agree(double value, ReduceOp op);
  // What a rank holds beyond its buffers and what it held before it joined: mean over the ranks. Collective. Not of buffers on a
  // device: what a driver pins or keeps there is not the process's.
  Result<double> runtime_bytes();
  // The near/far probe in microseconds, at rank 0 (0 elsewhere); the others wait.
  Result<double> probe();

 private:
  Result<Options> options_of(const Arguments& arguments);

  std::unique_ptr<Probe> own_probe_;
  Probe* probe_ = nullptr;  // of rank 0
  std::unique_ptr<Group> group_;
  std::unique_ptr<Buffers> buffers_;  // after the group: freed before it
  ViewInfo view_;
  std::uint32_t rank_ = 0;
  std::size_t before_bytes_ = 0;  // held by the process before it joined
  std::size_t in_process_ = 1;    // ranks in this process
};

}  // namespace regroup::bench
