// Trainer: a member whose state shows every step in every bit (weights = 3 * weights + sum of the gradients), with a blob.
// Training: a World of them. Threading as World: a member's thread uses no Catch, it returns what is wrong (empty: nothing).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/world.h"

namespace regroup::conformance {

inline constexpr std::size_t kCount = 400'000;  // u64: 13 stripes, every one changed in every step

struct Trainer {
  std::vector<std::uint64_t> weights, sum;
  std::uint64_t cursor = 0;  // a blob
  std::atomic<std::uint64_t> replayed{0};
  std::atomic<int> loads{0}, restored{0};
  std::size_t part = kCount;          // of the weights, from the first: what a step changes
  std::function<int()> think_ms = [] { return 2; };
  bool applies_wrongly = false;
  explicit Trainer(std::uint64_t garbage) : weights(kCount, garbage), sum(kCount), cursor(garbage) {}

  void begin() { std::fill(weights.begin(), weights.end(), 7), cursor = 0; }
  void update(const std::uint64_t* gradient) {
    for (std::size_t i = 0; i < part; ++i) weights[i] = 3 * weights[i] + gradient[i];
    ++cursor;
  }
  void register_in(Options& options, bool blob = false);
  Result<Outcome> step(Group& group, int rank);
  // Until `last` steps were done by `full` members, `with` among them, or stop.
  std::string run(Group& group, int rank, std::size_t full, int last, const std::atomic<bool>* stop = nullptr, std::uint32_t with = 0);
};

struct Training {
  std::vector<std::unique_ptr<Trainer>> trainers;
  bool blob = false;
  std::uint64_t rate = 0;
  std::uint64_t snapshot_bytes = 1u << 30;
  std::function<void(int rank, Options&)> more;  // options on top
  World world;
  Training(const std::string& transport, int size, std::uint64_t rate_ = 0, bool blob_ = false);
  Trainer& of(int rank) { return *trainers[static_cast<std::size_t>(rank)]; }
  // All, until `last` steps were done by all.
  std::string run_all(int last);
  // These die; the others go on; they come back with garbage, all at once, and all do `last` steps together.
  std::string lose_and_return(const std::vector<int>& ranks, int last);
  std::string lose_and_return(int rank, int last) { return lose_and_return(std::vector{rank}, last); }
  void renew(int rank);  // its trainer: garbage
  bool equal();
};

}  // namespace regroup::conformance
