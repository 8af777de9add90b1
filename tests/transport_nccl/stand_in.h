// What the stand-in for NCCL can be told (REGROUP_NCCL_STAND_IN, or its function regroup_nccl_stand_in), as text:
//   point[@rank][#n]=action   separated by spaces; an empty text takes all back and lets go of what hangs.
// Points: version, id, init, shrink, revoke, abort, launch (the call of a collective), kernel (its work on the stream).
// Actions: hang; slow:MS (ncclInProgress for so long); fail:CODE (of ncclResult_t; a kernel's comes as an asynchronous
// error and leaves garbage); wrong (a kernel flips one bit of its result); for version: a number. @rank: of the
// communicator, n: only the n-th time that it matches, from 1.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace stand_in {

struct Rule {
  std::string point, action;
  int rank = -1, at = 0, value = 0, hits = 0;
};

class Orders {
 public:
  Orders() {
    if (const char* text = std::getenv("REGROUP_NCCL_STAND_IN")) set(text);
  }
  void set(const std::string& text) {
    std::lock_guard lock(mutex_);
    rules_.clear();
    ++generation_;
    std::istringstream in(text);
    for (std::string word; in >> word;) {
      Rule r;
      const std::size_t equals = word.find('=');
      std::string left = word.substr(0, equals), right = word.substr(equals + 1);
      if (const auto n = left.find('#'); n != std::string::npos) r.at = std::stoi(left.substr(n + 1)), left.resize(n);
      if (const auto n = left.find('@'); n != std::string::npos) r.rank = std::stoi(left.substr(n + 1)), left.resize(n);
      if (const auto n = right.find(':'); n != std::string::npos)
        r.value = std::stoi(right.substr(n + 1)), right.resize(n);
      if (left == "version" && right != "hang") r.value = std::stoi(right);
      r.point = left;
      r.action = right;
      rules_.push_back(r);
    }
  }
  std::optional<Rule> meet(const std::string& point, int rank = -1) {
    std::lock_guard lock(mutex_);
    ++met_[point];
    for (Rule& r : rules_)
      if (r.point == point && (r.rank < 0 || r.rank == rank) && (++r.hits == r.at || r.at == 0)) return r;
    return std::nullopt;
  }
  int count(const std::string& point) {  // how often that was met
    std::lock_guard lock(mutex_);
    return met_[point];
  }
  // Until other orders are given.
  void hang() {
    std::unique_lock lock(mutex_);
    for (const int g = generation_; g == generation_;) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      lock.lock();
    }
  }

 private:
  std::mutex mutex_;
  std::vector<Rule> rules_;
  std::map<std::string, int> met_;
  int generation_ = 0;
};

}  // namespace stand_in
