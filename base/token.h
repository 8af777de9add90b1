// Token: a lock that is only ever tried for, never waited on. Whoever fails leaves its wish elsewhere for the holder to find.
#pragma once

#include <atomic>

namespace regroup {

class Token {
 public:
  bool try_lock() { return !held_.exchange(true, std::memory_order_seq_cst); }
  void unlock() { held_.store(false, std::memory_order_seq_cst); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace regroup
