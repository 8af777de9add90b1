// The network: 64 pixels, two hidden layers of 512 and 448 with ReLU, 10 classes; softmax and cross-entropy. 267,594
// parameters in one array: weights (in x out) and biases of layer 1, then of layers 2 and 3.
//
// Ownership: holds scratch for `max_batch` samples; parameters and gradients are the caller's.
// Threading: one object, one thread. No errors. Same machine, same bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "examples/train_digits/dataset.h"

namespace digits {

inline constexpr std::size_t kLayers = 3;
inline constexpr std::array<std::size_t, kLayers + 1> kWidths = {kPixels, 512, 448, kClasses};

// Where a layer's weights and biases begin, and how many floats they are.
constexpr std::size_t layer_floats(std::size_t layer) { return (kWidths[layer] + 1) * kWidths[layer + 1]; }
constexpr std::size_t layer_begin(std::size_t layer) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < layer; ++i) begin += layer_floats(i);
  return begin;
}
inline constexpr std::size_t kParameters = layer_begin(kLayers);
static_assert(kParameters >= 250'000);

class Network {
 public:
  explicit Network(std::size_t max_batch);

  // He's uniform initialisation (He et al. 2015): weights in +-sqrt(6 / in), biases 0.
  static void initialise(float* parameters, std::uint64_t seed);

  // Mean cross-entropy of the samples, and its gradient: gradients[l] gets layer l's floats (overwritten). Layers are
  // finished from the last to the first; on_ready(l) is called as soon as gradients[l] stands.
  double gradient(const float* parameters, const Samples& samples, const std::vector<std::uint32_t>& chosen,
                  const std::array<float*, kLayers>& gradients, const std::function<void(std::size_t)>& on_ready);

  // Mean cross-entropy and the share of samples whose most likely class is right.
  struct Score {
    double loss = 0, accuracy = 0;
  };
  Score score(const float* parameters, const Samples& samples);

 private:
  void forward(const float* parameters, std::size_t count);
  // Of activations_[kLayers]: softmax in place; returns the sum of cross-entropies.
  double softmax(const std::uint8_t* labels, std::size_t count);

  std::size_t max_batch_;
  std::array<std::vector<float>, kLayers + 1> activations_;  // [l]: input of layer l; [kLayers]: logits
  std::vector<float> delta_, next_delta_, transposed_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace digits
