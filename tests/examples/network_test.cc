// Data, schedule and network of the digits example: what is loaded, who takes which sample, and that gradients are
// right.
#include "examples/train_digits/network.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>

#include "examples/train_digits/dataset.h"
#include "examples/train_digits/matrix.h"
#include "examples/train_digits/random.h"

using namespace digits;

namespace {

Dataset digits_data() {
  auto data = load_digits(DIGITS_CSV);
  INFO(data.error().detail);
  REQUIRE(data.ok());
  return std::move(data).value();
}

std::string lines(std::size_t count, const std::string& line) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += line + "\n";
  return text;
}

std::string image_line(const std::string& pixel, const std::string& digit) {
  std::string line;
  for (std::size_t i = 0; i < kPixels; ++i) line += pixel + ",";
  return line + digit;
}

}  // namespace

TEST_CASE("the data file holds 1797 images of all ten digits, 360 of them held out") {
  const Dataset data = digits_data();
  CHECK(data.held_out.size() == 360);
  CHECK(data.training.size() == 1437);
  CHECK(data.training.images.size() == 1437 * kPixels);
  for (const Samples* part : {&data.training, &data.held_out}) {
    const std::set<int> labels(part->labels.begin(), part->labels.end());
    CHECK(labels.size() == 10);
    for (const float pixel : part->images) REQUIRE((pixel >= 0 && pixel <= 1));
  }
}

TEST_CASE("every image is either trained on or held out, never both") {
  // Each image of this file is unlike all others: its number in base 16, as pixels.
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    for (std::size_t p = 0; p < kPixels; ++p) text += std::to_string(p < 3 ? (i >> (4 * p)) & 15 : 0) + ",";
    text += "7\n";
  }
  auto data = parse_digits(text, "numbered");
  REQUIRE(data.ok());
  std::set<int> seen;
  for (const Samples* part : {&data->training, &data->held_out}) {
    for (std::size_t i = 0; i < part->size(); ++i) {
      const float* p = &part->images[i * kPixels];
      seen.insert(static_cast<int>(p[0] * 16 + p[1] * 16 * 16 + p[2] * 16 * 256));
    }
  }
  CHECK(seen.size() == 1000);
  CHECK(data->training.size() + data->held_out.size() == 1000);
}

TEST_CASE("a damaged data file is refused with the line") {
  const std::string good = image_line("3", "4");
  CHECK(parse_digits(lines(720, good), "f").ok());
  const auto check = [&](const std::string& line, const std::string& expected) {
    auto data = parse_digits(lines(2, good) + line + "\n" + lines(720, good), "f");
    REQUIRE_FALSE(data.ok());
    CHECK(data.error().detail.find(expected) == 0);
  };
  check(image_line("3", "10"), "f:3:");
  check(image_line("17", "1"), "f:3:");
  check(image_line("x", "1"), "f:3:");
  check(good + ",1", "f:3:");
  check("", "f:3:");
  check(good.substr(2), "f:3:");
  CHECK(parse_digits(lines(719, good), "f").error().detail.find("only 719 images") != std::string::npos);
  auto missing = load_digits("no/such/file.csv");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().detail.find("no/such/file.csv") != std::string::npos);
}

TEST_CASE("the slices of a step are disjoint, and a pass takes every sample once") {
  constexpr std::size_t kSize = 960, kBatch = 32, kSlices = 3;
  Schedule schedule(7, kSize, kBatch, kSlices);
  std::multiset<std::uint32_t> pass;
  for (std::uint64_t step = 0; step < kSize / (kBatch * kSlices); ++step) {
    std::set<std::uint32_t> of_step;
    for (std::size_t slice = 0; slice < kSlices; ++slice) {
      const auto& chosen = schedule.slice(step, slice);
      CHECK(chosen.size() == kBatch);
      of_step.insert(chosen.begin(), chosen.end());
      pass.insert(chosen.begin(), chosen.end());
    }
    CHECK(of_step.size() == kBatch * kSlices);
  }
  CHECK(pass.size() == kSize);
  CHECK(std::set(pass.begin(), pass.end()).size() == kSize);
}

TEST_CASE("a slice depends on seed, step and slice, not on what was asked before") {
  Schedule a(7, 1437, 32, 4), b(7, 1437, 32, 4), other(8, 1437, 32, 4);
  (void)b.slice(500, 3);
  (void)b.slice(0, 0);
  const auto expected = a.slice(77, 2);
  CHECK(b.slice(77, 2) == expected);
  CHECK(b.slice(78, 2) != expected);
  CHECK(b.slice(77, 1) != expected);
  CHECK(other.slice(77, 2) != expected);
}

TEST_CASE("multiply_add is the matrix product, also of a transposed matrix and odd sizes") {
  Random random(3);
  for (const auto [m, k, n] : {std::array<std::size_t, 3>{5, 7, 3}, {1, 1, 1}, {4, 8, 17}, {3, 2, 5}}) {
    std::vector<float> a(m * k), b(k * n), c(m * n, 1.0f), t(m * n, 1.0f);
    for (float& x : a) x = static_cast<float>(random.below(9)) - 4;  // small integers: exact in any order
    for (float& x : b) x = static_cast<float>(random.below(9)) - 4;
    std::vector<float> a_transposed(m * k);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t p = 0; p < k; ++p) a_transposed[p * m + i] = a[i * k + p];
    }
    multiply_add({a.data(), k, 1}, b.data(), c.data(), m, k, n);
    multiply_add({a_transposed.data(), 1, m}, b.data(), t.data(), m, k, n);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        float sum = 1;
        for (std::size_t p = 0; p < k; ++p) sum += a[i * k + p] * b[p * n + j];
        CHECK(c[i * n + j] == sum);
        CHECK(t[i * n + j] == sum);
      }
    }
  }
}

TEST_CASE("gradients agree with finite differences in every layer") {
  const Dataset data = digits_data();
  Network network(8);
  std::vector<float> parameters(kParameters), g(kParameters);
  Network::initialise(parameters.data(), 5);
  const std::array<float*, kLayers> gradients = {&g[layer_begin(0)], &g[layer_begin(1)], &g[layer_begin(2)]};
  const std::vector<std::uint32_t> chosen = {3, 1, 400, 1000, 77, 5, 1436, 0};
  std::vector<std::size_t> order;
  const double loss = network.gradient(parameters.data(), data.training, chosen, gradients,
                                       [&](std::size_t layer) { order.push_back(layer); });
  CHECK(order == std::vector<std::size_t>{2, 1, 0});
  CHECK(loss == Approx(2.3).margin(1.5));

  // Along the gradient the loss must rise by its squared length; one direction per layer and kind of parameter.
  std::vector<float> ignored(kParameters);
  const std::array<float*, kLayers> sink = {&ignored[layer_begin(0)], &ignored[layer_begin(1)],
                                            &ignored[layer_begin(2)]};
  for (std::size_t l = 0; l < kLayers; ++l) {
    const std::size_t weights = kWidths[l] * kWidths[l + 1];
    for (const auto& [begin, end] : {std::pair{layer_begin(l), layer_begin(l) + weights},
                                     std::pair{layer_begin(l) + weights, layer_begin(l) + layer_floats(l)}}) {
      double squared = 0;
      for (std::size_t i = begin; i < end; ++i) squared += static_cast<double>(g[i]) * g[i];
      REQUIRE(squared > 0);
      const double length = 2e-3 / std::sqrt(squared);
      const auto loss_at = [&](double sign) {
        std::vector<float> moved = parameters;
        for (std::size_t i = begin; i < end; ++i) moved[i] += static_cast<float>(sign * length * g[i]);
        return network.gradient(moved.data(), data.training, chosen, sink, [](std::size_t) {});
      };
      const double slope = (loss_at(1) - loss_at(-1)) / (2 * length);
      INFO("layer " << l << " from " << begin);
      CHECK(slope == Approx(squared).epsilon(0.02));
    }
  }
}

TEST_CASE("the gradient of a batch is the average of the gradients of its parts") {
  const Dataset data = digits_data();
  Network network(16);
  std::vector<float> parameters(kParameters), whole(kParameters), part(kParameters), sum(kParameters);
  Network::initialise(parameters.data(), 5);
  const auto layers = [](std::vector<float>& v) {
    return std::array<float*, kLayers>{&v[layer_begin(0)], &v[layer_begin(1)], &v[layer_begin(2)]};
  };
  std::vector<std::uint32_t> chosen(16);
  for (std::uint32_t i = 0; i < 16; ++i) chosen[i] = i * 31;
  (void)network.gradient(parameters.data(), data.training, chosen, layers(whole), [](std::size_t) {});
  for (std::size_t slice = 0; slice < 4; ++slice) {
    const std::vector<std::uint32_t> mine(chosen.begin() + static_cast<long>(slice) * 4,
                                          chosen.begin() + static_cast<long>(slice) * 4 + 4);
    (void)network.gradient(parameters.data(), data.training, mine, layers(part), [](std::size_t) {});
    for (std::size_t i = 0; i < kParameters; ++i) sum[i] += part[i] / 4;
  }
  double worst = 0;
  for (std::size_t i = 0; i < kParameters; ++i)
    worst = std::max(worst, std::abs(static_cast<double>(sum[i]) - whole[i]));
  CHECK(worst < 1e-5);
}
