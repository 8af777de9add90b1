// The handwritten digits, and which samples a replica takes in a step.
//
// Ownership: values. Threading: const after loading. All errors come from loading; they name the file and the line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "regroup/types.h"

namespace digits {

inline constexpr std::size_t kPixels = 64;
inline constexpr std::size_t kClasses = 10;
inline constexpr std::size_t kHeldOut = 360;

// Images one after the other, pixels scaled to [0, 1]; labels 0 to 9.
struct Samples {
  std::vector<float> images;
  std::vector<std::uint8_t> labels;
  [[nodiscard]] std::size_t size() const { return labels.size(); }
  void append(const float* image, std::uint8_t label);
};

struct Dataset {
  Samples training;
  Samples held_out;  // kHeldOut images, chosen by a fixed seed: the same for every run
};

// kSystem: the file cannot be read; kInvalid: a line is not 64 pixels and a digit, or there are too few lines.
[[nodiscard]] regroup::Result<Dataset> load_digits(const std::string& path);
[[nodiscard]] regroup::Result<Dataset> parse_digits(std::string_view text, const std::string& name);

// The global order of samples: an endless run of shuffled passes over the training set, a function of the seed alone.
// In step s (from 0) it is cut into one slice of `batch` samples per replica of the full group. Who is not in the view
// leaves its slice out, so a shrunk view averages over fewer samples and never over one of them twice.
class Schedule {
 public:
  Schedule(std::uint64_t seed, std::size_t training_size, std::size_t batch, std::size_t slices);
  // Indices into the training set. Valid until the next call.
  const std::vector<std::uint32_t>& slice(std::uint64_t step, std::size_t slice);

 private:
  void shuffle(std::uint64_t pass);
  std::uint64_t seed_;
  std::size_t batch_, slices_;
  std::uint64_t pass_ = UINT64_MAX;
  std::vector<std::uint32_t> order_;  // of pass_
  std::vector<std::uint32_t> chosen_;
};

}  // namespace digits
