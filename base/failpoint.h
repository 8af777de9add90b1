// Failpoints: named protocol points that tests and chaos runs arm by configuration. Compiled in; a disarmed set costs one
// load and a branch. One set per group (several members may live in one process).
//
// Spec: "point#n=action,..." : at the n-th hit (from 1, default 1) of the point do the action: kill (SIGKILL to ourselves),
// stop (SIGSTOP to ourselves), or call (the hook that a test has set). "step#60=kill" fires when step 60 begins.
// "map_segment#n=fail": from the n-th hit on that point fails instead of doing its work.
// Threading: hit() from any thread; arm() and set_hook() before the group runs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace regroup {

enum class Point : std::uint8_t {
  kStep,             // a step (the first op after a mark) is about to begin; counted by step number
  kAfterSubmit,      // op numbered, nothing visible to peers
  kAfterFirstChunk,  // the first chunk of my contribution is visible to a peer, my shard does not stand yet
  kAfterPlaced,      // my shard stands, prepared is not raised
  kAfterPrepared,    // prepared is raised, not committed here
  kBeforeCopyOut,    // committed by the rule, the caller's buffer is untouched
  kAfterCommit,      // the op is over here
  kWedged,           // frozen and reported, no decision yet
  kInstalled,        // entered a new epoch
  kMapSegment,       // a segment of a peer is about to be asked for and mapped
  kCount
};

class Failpoints {
 public:
  // kConfig names the unknown point or action.
  Status arm(std::string_view spec);
  void set_hook(std::function<void(Point)> hook) { hook_ = std::move(hook); }
  [[nodiscard]] bool armed() const { return armed_.load(std::memory_order_relaxed); }
  void hit(Point point) {
    if (armed_.load(std::memory_order_relaxed)) fire(point, 0);
  }
  // For points that can fail: counts as a hit; true: fail now.
  [[nodiscard]] bool fails(Point point) { return armed_.load(std::memory_order_relaxed) && fire(point, 0); }
  void hit_step(std::uint64_t step) {
    if (armed_.load(std::memory_order_relaxed)) fire(Point::kStep, step);
  }

 private:
  enum class Action : std::uint8_t { kKill, kStop, kCall, kFail };
  struct Armed {
    Point point;
    std::uint64_t at;
    Action action;
    bool done = false;
  };
  bool fire(Point point, std::uint64_t value);  // true: an armed failure has begun
  std::atomic<bool> armed_{false};
  std::mutex mutex_;
  std::vector<Armed> list_;
  std::array<std::uint64_t, static_cast<std::size_t>(Point::kCount)> hits_{};
  std::function<void(Point)> hook_;
};

[[nodiscard]] const char* name_of(Point point);

}  // namespace regroup
