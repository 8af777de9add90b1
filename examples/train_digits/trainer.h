// Trainer: the state of one replica and the two halves of a step, gradient and update. Every bit that the next step
// depends on stands in its state buffers, which the group restores at a member that returns.
//
// Update: stochastic gradient descent with momentum (Polyak 1964) and a learning rate that warms up, then falls
// linearly to nothing at the last step. Elementwise and without fused operations: the same bits on every machine.
// Ownership: owns the state, refers to the dataset. Threading: one thread; the group may write the buffers of state()
// while that thread is inside a call of the group. No errors.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "examples/train_digits/dataset.h"
#include "examples/train_digits/network.h"
#include "regroup/types.h"

namespace digits {

struct TrainingPlan {
  std::uint64_t steps = 600;
  std::uint64_t seed = 1;
  std::size_t batch = 32;  // samples per replica and step
  std::size_t slices = 4;  // replicas of the full group
  float learning_rate = 0.1f;
  float momentum = 0.9f;
};

class Trainer {
 public:
  Trainer(const Dataset& data, const TrainingPlan& plan);

  // What must be registered with the group: parameters, momentum, progress.
  std::vector<regroup::StateBuffer> state();

  // Replays a step from what the group agreed on in it: a joiner's way to the others' state. kInvalid: not a step of ours.
  regroup::Status replay(std::span<const regroup::StepResult> results);

  // Steps done. After a restore: those of the member that the state came from.
  [[nodiscard]] std::uint64_t step() const { return progress_.step; }
  [[nodiscard]] bool done() const { return progress_.step >= plan_.steps; }

  // The gradient of this replica's slice in step step() + 1; see Network::gradient. Returns the mean loss.
  double gradient(std::size_t slice, const std::array<float*, kLayers>& gradients,
                  const std::function<void(std::size_t)>& on_ready);
  // Ends the step with the averaged gradients and loss.
  void update(const std::array<float*, kLayers>& gradients, float loss);

  // 64 bits over all of the state (xxHash's XXH3): equal digests, equal replicas.
  [[nodiscard]] std::uint64_t digest() const;
  Network::Score held_out_score() { return network_.score(parameters_.data(), data_.held_out); }
  [[nodiscard]] double smoothed_loss() const { return progress_.smoothed_loss; }
  std::vector<float>& parameters() { return parameters_; }

 private:
  struct Progress {
    std::uint64_t step = 0;
    std::uint64_t seed = 0;  // with the step: the state of every random draw to come
    double smoothed_loss = 0;
  };
  [[nodiscard]] float learning_rate() const;

  const Dataset& data_;
  TrainingPlan plan_;
  Network network_;
  Schedule schedule_;
  std::vector<float> parameters_, momentum_;
  Progress progress_;
};

}  // namespace digits
