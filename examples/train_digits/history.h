// History: what a worker did, one JSON object a line, in a file of its own: replica<R>-<start>-<pid>.jsonl. Each line
// is one write(2), so a killed worker leaves at most its last line incomplete. Times are nanoseconds of the monotonic
// clock, comparable between the processes of one host. Read back by examples/digits_demo/records.h.
//
//   start    replica pid                          join      step epoch members transport restore_ms digest
//   submit   step                                 commit    step epoch members ops contributors attempts digest loss
//   evicted  step why                             restored  as join
//   view     epoch members reason                 final     step digest accuracy loss
//   left                                          error     text
//
// Ownership: owns the file. Threading: any thread. A failed write is reported once and ends the process: a run whose
// history has holes proves nothing.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "examples/train_digits/exchange.h"

namespace digits {

class History {
 public:
  History() = default;  // writes nothing
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  // kSystem: the folder or the file cannot be made; says which.
  regroup::Status open(const std::string& folder, int replica);

  void join(const char* event, std::uint64_t step, const regroup::ViewInfo& view, double restore_s,
            std::uint64_t digest);
  void submit(std::uint64_t step);
  void commit(std::uint64_t step, const Committed& committed, std::uint64_t digest, double loss);
  void evicted(std::uint64_t step, const std::string& why);
  void view(const regroup::ViewInfo& view);
  void final(std::uint64_t step, std::uint64_t digest, const Network::Score& score);
  void left();
  void error(const std::string& text);

 private:
  void write(std::string line);
  std::mutex mutex_;
  int fd_ = -1;
};

}  // namespace digits
