#include "examples/train_digits/dataset.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>

#include "examples/train_digits/random.h"

namespace digits {
namespace {

constexpr std::uint64_t kSplitSeed = 20240229;  // which images are held out; not an option, figures stay comparable
constexpr int kMaxPixel = 16;

// Reads "v,v,...,v" of exactly values.size() numbers.
bool parse_line(std::string_view line, std::array<int, kPixels + 1>& values) {
  const char* at = line.data();
  const char* const end = at + line.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0 && (at == end || *at++ != ',')) return false;
    const auto [next, error] = std::from_chars(at, end, values[i]);
    if (error != std::errc{} || next == at) return false;
    const int limit = i < kPixels ? kMaxPixel : static_cast<int>(kClasses) - 1;
    if (values[i] < 0 || values[i] > limit) return false;
    at = next;
  }
  return at == end;
}

void shuffle_in_place(std::vector<std::uint32_t>& order, Random random) {
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
}

}  // namespace

void Samples::append(const float* image, std::uint8_t label) {
  images.insert(images.end(), image, image + kPixels);
  labels.push_back(label);
}

regroup::Result<Dataset> parse_digits(std::string_view text, const std::string& name) {
  Samples all;
  std::array<int, kPixels + 1> values{};
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    if (!parse_line(text.substr(0, length), values)) {
      return {regroup::Code::kInvalid,
              name + ":" + std::to_string(line) + ": not 64 pixels from 0 to 16 and a digit, separated by commas"};
    }
    std::array<float, kPixels> image{};
    for (std::size_t i = 0; i < kPixels; ++i) image[i] = static_cast<float>(values[i]) / kMaxPixel;
    all.append(image.data(), static_cast<std::uint8_t>(values[kPixels]));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  if (all.size() < 2 * kHeldOut) {
    return {regroup::Code::kInvalid,
            name + ": only " + std::to_string(all.size()) + " images, need at least " + std::to_string(2 * kHeldOut)};
  }
  std::vector<std::uint32_t> order(all.size());
  std::iota(order.begin(), order.end(), 0u);
  shuffle_in_place(order, Random(kSplitSeed));
  Dataset data;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Samples& part = i < kHeldOut ? data.held_out : data.training;
    part.append(&all.images[order[i] * kPixels], all.labels[order[i]]);
  }
  return data;
}

regroup::Result<Dataset> load_digits(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return {regroup::Code::kSystem, "cannot open the data file " + path + ": " + std::strerror(errno) +
                                        " (it is built beside the program; --data FILE names another place)"};
  }
  std::stringstream text;
  text << file.rdbuf();
  return parse_digits(text.view(), path);
}

Schedule::Schedule(std::uint64_t seed, std::size_t training_size, std::size_t batch, std::size_t slices)
    : seed_(seed), batch_(batch), slices_(slices), order_(training_size) {}

const std::vector<std::uint32_t>& Schedule::slice(std::uint64_t step, std::size_t slice) {
  chosen_.clear();
  std::uint64_t position = (step * slices_ + slice) * batch_;
  for (std::size_t i = 0; i < batch_; ++i, ++position) {
    shuffle(position / order_.size());
    chosen_.push_back(order_[position % order_.size()]);
  }
  return chosen_;
}

void Schedule::shuffle(std::uint64_t pass) {
  if (pass == pass_) return;
  pass_ = pass;
  std::iota(order_.begin(), order_.end(), 0u);
  shuffle_in_place(order_, Random(seed_ ^ (pass + 1) * 0xd1342543de82ef95ull));
}

}  // namespace digits
