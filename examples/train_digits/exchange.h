// Exchange: what the training loop needs of a group, so that the loop can be tested without one.
//
// GroupExchange is the real one and owns its regroup::Group; LocalExchange is a group of one, for a run without others.
// Threading: one thread. After an error other than kEvicted and kViewChanged the exchange is finished; after kEvicted
// the group has been rejoined and the registered state was overwritten with that of a living member.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "examples/train_digits/network.h"
#include "regroup/regroup.h"

namespace digits {

// The floats that are averaged with layer l: its own, and behind those of layer 0 the loss.
constexpr std::size_t bucket_floats(std::size_t layer) { return layer_floats(layer) + (layer == 0 ? 1 : 0); }

// What the members agreed on for one step.
struct Committed {
  std::uint64_t epoch = 0;                // of the view in which the last op of the step committed
  std::vector<std::uint32_t> members;     // of that view: the contributors
  std::vector<std::uint64_t> ops;         // numbers of the step's ops, in the order of submission
  std::vector<std::size_t> contributors;  // of each
  std::uint32_t attempts = 1;             // the most executions that one of them took here
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  // The slice of the samples that is ours: our replica id, so that no two members ever take the same one.
  [[nodiscard]] virtual std::size_t slice() const = 0;
  // Layer l's gradient lives in buffer(l) (layer_floats(l) floats); loss() is averaged with layer 0.
  [[nodiscard]] virtual const std::array<float*, kLayers>& buffers() const = 0;
  virtual float& loss() = 0;
  // Starts averaging buffer(l) in place. All members call it for the same layers in the same order; layer 0 is the last
  // of a step (its mark).
  virtual void average(std::size_t layer) = 0;
  // Waits for all that was started.
  virtual regroup::Result<Committed> finish() = 0;
  // One op without data that is a step's end: shows how many members there are now.
  virtual regroup::Result<Committed> meet() = 0;
  // Around every change of the registered state, so that joiners can be served meanwhile.
  virtual void begin_update() {}
  virtual void end_update() {}
  // Steps that the group has settled so far, the same number at every member.
  [[nodiscard]] virtual std::uint64_t settled() const = 0;
  // The view as it is now, and how long the last restore took (seconds, 0: there was none).
  [[nodiscard]] virtual regroup::ViewInfo view() const = 0;
  [[nodiscard]] virtual double restore_s() const = 0;
  virtual regroup::Status leave() = 0;
};

// Joins the group of the environment (REGROUP_*) with `options` on top. Blocks until the first view.
[[nodiscard]] regroup::Result<std::unique_ptr<Exchange>> join_group(regroup::Options options);
[[nodiscard]] std::unique_ptr<Exchange> local_exchange();

}  // namespace digits
