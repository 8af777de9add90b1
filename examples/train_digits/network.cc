#include "examples/train_digits/network.h"

#include <algorithm>
#include <cmath>

#include "examples/train_digits/matrix.h"
#include "examples/train_digits/random.h"

namespace digits {

Network::Network(std::size_t max_batch) : max_batch_(max_batch) {
  for (std::size_t l = 0; l <= kLayers; ++l) activations_[l].resize(max_batch * kWidths[l]);
  const std::size_t widest = *std::max_element(kWidths.begin(), kWidths.end());
  delta_.resize(max_batch * widest);
  next_delta_.resize(max_batch * widest);
  transposed_.resize(kWidths[1] * kWidths[2]);
  labels_.resize(max_batch);
}

void Network::initialise(float* parameters, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t l = 0; l < kLayers; ++l) {
    float* layer = parameters + layer_begin(l);
    const std::size_t weights = kWidths[l] * kWidths[l + 1];
    const float range = std::sqrt(6.0f / static_cast<float>(kWidths[l]));
    for (std::size_t i = 0; i < weights; ++i) layer[i] = range * random.symmetric();
    std::fill_n(layer + weights, kWidths[l + 1], 0.0f);
  }
}

void Network::forward(const float* parameters, std::size_t count) {
  for (std::size_t l = 0; l < kLayers; ++l) {
    const std::size_t in = kWidths[l], out = kWidths[l + 1];
    const float* weights = parameters + layer_begin(l);
    const float* biases = weights + in * out;
    float* result = activations_[l + 1].data();
    for (std::size_t r = 0; r < count; ++r) std::copy_n(biases, out, result + r * out);
    multiply_add({activations_[l].data(), in, 1}, weights, result, count, in, out);
    if (l + 1 == kLayers) break;
    for (std::size_t i = 0; i < count * out; ++i) result[i] = result[i] > 0 ? result[i] : 0.0f;
  }
}

double Network::softmax(const std::uint8_t* labels, std::size_t count) {
  double loss = 0;
  for (std::size_t r = 0; r < count; ++r) {
    float* p = activations_[kLayers].data() + r * kClasses;
    const float top = *std::max_element(p, p + kClasses);
    float sum = 0;
    for (std::size_t c = 0; c < kClasses; ++c) sum += p[c] = std::exp(p[c] - top);
    for (std::size_t c = 0; c < kClasses; ++c) p[c] /= sum;
    loss -= std::log(std::max(static_cast<double>(p[labels[r]]), 1e-30));
  }
  return loss;
}

double Network::gradient(const float* parameters, const Samples& samples, const std::vector<std::uint32_t>& chosen,
                         const std::array<float*, kLayers>& gradients,
                         const std::function<void(std::size_t)>& on_ready) {
  const std::size_t count = std::min(chosen.size(), max_batch_);
  for (std::size_t r = 0; r < count; ++r) {
    std::copy_n(&samples.images[chosen[r] * kPixels], kPixels, &activations_[0][r * kPixels]);
    labels_[r] = samples.labels[chosen[r]];
  }
  forward(parameters, count);
  const double loss = softmax(labels_.data(), count) / static_cast<double>(count);

  const float scale = 1.0f / static_cast<float>(count);
  for (std::size_t r = 0; r < count; ++r) {  // d loss / d logits = probability - one-hot
    for (std::size_t c = 0; c < kClasses; ++c) {
      const std::size_t at = r * kClasses + c;
      delta_[at] = (activations_[kLayers][at] - (c == labels_[r] ? 1.0f : 0.0f)) * scale;
    }
  }
  for (std::size_t l = kLayers; l-- > 0;) {
    const std::size_t in = kWidths[l], out = kWidths[l + 1];
    float* weights = gradients[l];
    float* biases = weights + in * out;
    std::fill_n(weights, layer_floats(l), 0.0f);
    multiply_add({activations_[l].data(), 1, in}, delta_.data(), weights, in, count, out);  // inputs^T * delta
    for (std::size_t r = 0; r < count; ++r) {
      for (std::size_t j = 0; j < out; ++j) biases[j] += delta_[r * out + j];
    }
    on_ready(l);
    if (l == 0) break;
    const float* w = parameters + layer_begin(l);
    for (std::size_t i = 0; i < in; ++i) {
      for (std::size_t j = 0; j < out; ++j) transposed_[j * in + i] = w[i * out + j];
    }
    std::fill_n(next_delta_.begin(), count * in, 0.0f);
    multiply_add({delta_.data(), out, 1}, transposed_.data(), next_delta_.data(), count, out, in);
    for (std::size_t i = 0; i < count * in; ++i) {
      if (activations_[l][i] <= 0) next_delta_[i] = 0.0f;  // through the ReLU
    }
    delta_.swap(next_delta_);
  }
  return loss;
}

Network::Score Network::score(const float* parameters, const Samples& samples) {
  Score score;
  std::size_t right = 0;
  for (std::size_t begin = 0; begin < samples.size(); begin += max_batch_) {
    const std::size_t count = std::min(max_batch_, samples.size() - begin);
    std::copy_n(&samples.images[begin * kPixels], count * kPixels, activations_[0].begin());
    forward(parameters, count);
    score.loss += softmax(&samples.labels[begin], count);
    for (std::size_t r = 0; r < count; ++r) {
      const float* p = &activations_[kLayers][r * kClasses];
      if (std::max_element(p, p + kClasses) - p == samples.labels[begin + r]) ++right;
    }
  }
  score.loss /= static_cast<double>(samples.size());
  score.accuracy = static_cast<double>(right) / static_cast<double>(samples.size());
  return score;
}

}  // namespace digits
