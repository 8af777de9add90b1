#include "examples/train_digits/trainer.h"

#include <xxhash.h>

#include <algorithm>

namespace digits {

namespace {
constexpr std::uint64_t kWarmUpSteps = 20;
constexpr double kSmoothing = 0.05;
}  // namespace

Trainer::Trainer(const Dataset& data, const TrainingPlan& plan)
    : data_(data),
      plan_(plan),
      network_(std::max<std::size_t>(plan.batch, 64)),
      schedule_(plan.seed, data.training.size(), plan.batch, plan.slices),
      parameters_(kParameters),
      momentum_(kParameters, 0.0f) {
  Network::initialise(parameters_.data(), plan.seed);
  progress_.seed = plan.seed;
}

std::vector<regroup::StateBuffer> Trainer::state() {
  return {{"parameters", parameters_.data(), parameters_.size() * sizeof(float)},
          {"momentum", momentum_.data(), momentum_.size() * sizeof(float)},
          {"progress", &progress_, sizeof progress_}};
}

double Trainer::gradient(std::size_t slice, const std::array<float*, kLayers>& gradients,
                         const std::function<void(std::size_t)>& on_ready) {
  return network_.gradient(parameters_.data(), data_.training, schedule_.slice(progress_.step, slice % plan_.slices),
                           gradients, on_ready);
}

float Trainer::learning_rate() const {
  const auto done = static_cast<float>(progress_.step), all = static_cast<float>(plan_.steps);
  const float warm_up = std::min(1.0f, (done + 1) / static_cast<float>(kWarmUpSteps));
  return plan_.learning_rate * warm_up * (1.0f - done / all);
}

void Trainer::update(const std::array<float*, kLayers>& gradients, float loss) {
  const float rate = learning_rate();
  for (std::size_t l = 0; l < kLayers; ++l) {
    const float* __restrict g = gradients[l];
    float* __restrict v = momentum_.data() + layer_begin(l);
    float* __restrict w = parameters_.data() + layer_begin(l);
    for (std::size_t i = 0; i < layer_floats(l); ++i) {
      v[i] = plan_.momentum * v[i] + g[i];
      w[i] -= rate * v[i];
    }
  }
  progress_.smoothed_loss =
      progress_.step == 0 ? loss : progress_.smoothed_loss + kSmoothing * (loss - progress_.smoothed_loss);
  ++progress_.step;
}

regroup::Status Trainer::replay(std::span<const regroup::StepResult> results) {
  if (results.size() == 1 && results[0].bytes == 0) return {};  // a meeting behind the last step
  if (results.size() != kLayers) return {regroup::Code::kInvalid, "not the ops of a step"};
  std::array<float*, kLayers> gradients{};
  for (std::size_t i = 0; i < kLayers; ++i) {  // layer 0 goes last, with the loss
    const std::size_t layer = kLayers - 1 - i;
    if (results[i].code != regroup::Code::kOk || results[i].bytes != (layer_floats(layer) + (layer == 0)) * sizeof(float))
      return {regroup::Code::kInvalid, "not the gradient of layer " + std::to_string(layer)};
    gradients[layer] = static_cast<float*>(const_cast<void*>(results[i].data));  // only read
  }
  update(gradients, gradients[0][layer_floats(0)]);
  return {};
}

std::uint64_t Trainer::digest() const {
  std::uint64_t h = XXH3_64bits_withSeed(parameters_.data(), parameters_.size() * sizeof(float), 0);
  h = XXH3_64bits_withSeed(momentum_.data(), momentum_.size() * sizeof(float), h);
  return XXH3_64bits_withSeed(&progress_, sizeof progress_, h);
}

}  // namespace digits
