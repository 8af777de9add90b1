// The training loop of the digits example, alone and as replicas that a scripted exchange averages, evicts and
// restores.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>

#include "examples/train_digits/loop.h"

using namespace digits;

namespace {

const Dataset& digits_data() {
  static const Dataset data = [] {
    auto loaded = load_digits(DIGITS_CSV);
    REQUIRE(loaded.ok());
    return std::move(loaded).value();
  }();
  return data;
}

TrainingPlan small_plan(std::uint64_t steps, std::size_t batch, std::size_t slices) {
  TrainingPlan plan;
  plan.steps = steps;
  plan.batch = batch;
  plan.slices = slices;
  return plan;
}

// One replica's exchange with others that exist only as trainers of the same state: their gradients are made here.
class ScriptedExchange final : public Exchange {
 public:
  struct Answer {
    std::vector<std::uint32_t> members = {};
    bool evicted = false;
    std::function<void()> before = {};  // e.g. writes a restored state
  };
  ScriptedExchange(std::function<double(std::size_t, const std::array<float*, kLayers>&)> gradient)
      : gradient_(std::move(gradient)) {
    for (std::size_t l = 0; l < kLayers; ++l) {
      memory_[l].resize(bucket_floats(l));
      other_[l].resize(bucket_floats(l));
      buffers_[l] = memory_[l].data();
      others_[l] = other_[l].data();
    }
  }
  std::deque<Answer> script;
  std::vector<std::size_t> started;  // layers, in order
  std::vector<Answer> answered;

  std::size_t slice() const override { return 0; }
  const std::array<float*, kLayers>& buffers() const override { return buffers_; }
  float& loss() override { return memory_[0].back(); }
  void average(std::size_t layer) override { started.push_back(layer); }
  regroup::Result<Committed> finish() override {
    const Answer answer = next();
    if (answer.before) answer.before();
    if (answer.evicted) return {regroup::Code::kEvicted, "scripted"};
    for (const std::uint32_t member : answer.members) {
      if (member == 0) continue;
      other_[0].back() = static_cast<float>(gradient_(member, others_));
      for (std::size_t l = 0; l < kLayers; ++l) {
        for (std::size_t i = 0; i < memory_[l].size(); ++i) memory_[l][i] += other_[l][i];
      }
    }
    for (auto& memory : memory_) {
      for (float& x : memory) x /= static_cast<float>(answer.members.size());
    }
    ++settled_;
    return Committed{1, answer.members, {1, 2, 3}, {}, 1};
  }
  regroup::Result<Committed> meet() override {
    const Answer answer = next();
    if (answer.before) answer.before();
    if (answer.evicted) return {regroup::Code::kEvicted, "scripted"};
    ++settled_;
    return Committed{1, answer.members, {1}, {}, 1};
  }
  std::uint64_t settled() const override { return settled_; }
  regroup::ViewInfo view() const override { return {}; }
  double restore_s() const override { return 0; }
  regroup::Status leave() override { return {}; }
  void settle(std::uint64_t steps) { settled_ = steps; }

 private:
  Answer next() {
    REQUIRE_FALSE(script.empty());
    Answer answer = script.front();
    if (script.size() > 1) script.pop_front();  // the last answer repeats
    answered.push_back(answer);
    return answer;
  }
  std::function<double(std::size_t, const std::array<float*, kLayers>&)> gradient_;
  std::array<std::vector<float>, kLayers> memory_, other_;
  std::array<float*, kLayers> buffers_{}, others_{};
  std::uint64_t settled_ = 0;
};

// Trains with the scripted membership; the other members' gradients come from the same trainer (same state).
struct Replicas {
  explicit Replicas(const TrainingPlan& plan)
      : trainer(digits_data(), plan), exchange([this](std::size_t member, const std::array<float*, kLayers>& out) {
          return trainer.gradient(member, out, [](std::size_t) {});
        }) {}
  Trainer trainer;
  ScriptedExchange exchange;
  History history;
};

}  // namespace

TEST_CASE("four replicas reach 97 percent on the held-out images") {
  Replicas replicas(small_plan(300, 32, 4));
  replicas.exchange.script = {{{0, 1, 2, 3}}};
  REQUIRE(train(replicas.trainer, replicas.exchange, replicas.history, 0).ok());
  const auto score = replicas.trainer.held_out_score();
  INFO("accuracy " << score.accuracy << " loss " << score.loss);
  CHECK(score.accuracy >= 0.97);
  CHECK(replicas.trainer.step() == 300);
}

TEST_CASE("with fewer members in half of the steps the accuracy stays within a hundredth") {
  Replicas full(small_plan(200, 16, 4)), shrunk(small_plan(200, 16, 4));
  full.exchange.script = {{{0, 1, 2, 3}}};
  for (int i = 0; i < 200; ++i) {
    shrunk.exchange.script.push_back(
        {i / 25 % 2 == 0 ? std::vector<std::uint32_t>{0, 1, 2, 3} : std::vector<std::uint32_t>{0, 2}});
  }
  for (Replicas* r : {&full, &shrunk}) REQUIRE(train(r->trainer, r->exchange, r->history, 0).ok());
  const double a = full.trainer.held_out_score().accuracy, b = shrunk.trainer.held_out_score().accuracy;
  INFO(a << " " << b);
  CHECK(std::abs(a - b) <= 0.01);
  CHECK(b >= 0.96);
  CHECK(full.trainer.digest() != shrunk.trainer.digest());
}

TEST_CASE("training is deterministic, and another seed gives another network") {
  std::vector<std::uint64_t> digests;
  for (const std::uint64_t seed : {1, 1, 2}) {
    TrainingPlan plan = small_plan(5, 8, 1);
    plan.seed = seed;
    Trainer trainer(digits_data(), plan);
    History history;
    auto exchange = local_exchange();
    REQUIRE(train(trainer, *exchange, history, 0).ok());
    digests.push_back(trainer.digest());
  }
  CHECK(digests[0] == digests[1]);
  CHECK(digests[0] != digests[2]);
}

TEST_CASE("the state buffers are all that the next steps depend on") {
  const TrainingPlan plan = small_plan(6, 8, 2);
  Replicas a(plan), b(plan);
  a.exchange.script = {{{0, 1}}};
  while (a.trainer.step() < 3) {
    const double loss = a.trainer.gradient(0, a.exchange.buffers(), [](std::size_t) {});
    a.trainer.update(a.exchange.buffers(), static_cast<float>(loss));
  }
  auto from = a.trainer.state(), to = b.trainer.state();
  REQUIRE(from.size() == to.size());
  CHECK(a.trainer.digest() != b.trainer.digest());
  for (std::size_t i = 0; i < from.size(); ++i) {
    REQUIRE(from[i].bytes == to[i].bytes);
    CHECK(from[i].name == to[i].name);
    std::memcpy(to[i].data, from[i].data, from[i].bytes);
  }
  CHECK(a.trainer.digest() == b.trainer.digest());
  b.exchange.script = a.exchange.script;
  for (Replicas* r : {&a, &b}) REQUIRE(train(r->trainer, r->exchange, r->history, 0).ok());
  CHECK(a.trainer.digest() == b.trainer.digest());
}

TEST_CASE("every bit of the state changes the digest") {
  Trainer trainer(digits_data(), small_plan(2, 8, 1));
  const std::uint64_t before = trainer.digest();
  for (const regroup::StateBuffer& buffer : trainer.state()) {
    for (const std::size_t at : {std::size_t{0}, buffer.bytes / 2, buffer.bytes - 1}) {
      auto* byte = static_cast<unsigned char*>(buffer.data) + at;
      *byte ^= 0x10;
      CHECK(trainer.digest() != before);
      *byte ^= 0x10;
    }
  }
  CHECK(trainer.digest() == before);
}

TEST_CASE("a step starts the last layer first and ends with the mark") {
  Replicas replicas(small_plan(2, 8, 1));
  replicas.exchange.script = {{{0}}};
  REQUIRE(train(replicas.trainer, replicas.exchange, replicas.history, 0).ok());
  CHECK(replicas.exchange.started == std::vector<std::size_t>{2, 1, 0, 2, 1, 0});
}

TEST_CASE("an evicted replica goes on from the restored step and makes no update of its own") {
  const TrainingPlan plan = small_plan(6, 8, 1);
  Replicas ahead(plan), evicted(plan);
  ahead.exchange.script = {{{0}}};
  evicted.exchange.script = {{{0}}, {{0}}, {}, {{0}}};
  evicted.exchange.script[2] = {{}, true, [&] {  // meanwhile the others have done four steps
                                  while (ahead.trainer.step() < 4) {
                                    const double loss =
                                        ahead.trainer.gradient(0, ahead.exchange.buffers(), [](std::size_t) {});
                                    ahead.trainer.update(ahead.exchange.buffers(), static_cast<float>(loss));
                                  }
                                  auto from = ahead.trainer.state(), to = evicted.trainer.state();
                                  for (std::size_t i = 0; i < from.size(); ++i)
                                    std::memcpy(to[i].data, from[i].data, from[i].bytes);
                                }};
  for (Replicas* r : {&evicted, &ahead}) REQUIRE(train(r->trainer, r->exchange, r->history, 0).ok());
  CHECK(evicted.exchange.answered.size() == 2 + 1 + 2);
  CHECK(evicted.trainer.step() == 6);
  CHECK(evicted.trainer.digest() == ahead.trainer.digest());
}

TEST_CASE("the end is met when the view is full, else at the same meeting for everybody") {
  Replicas replicas(small_plan(1, 8, 1));
  replicas.exchange.script = {{{0}}, {{0, 1}}, {{0, 1, 2}}, {{0}}};
  REQUIRE(end_together(replicas.trainer, replicas.exchange, replicas.history, 3, 100).ok());
  CHECK(replicas.exchange.answered.size() == 3);

  Replicas late(small_plan(1, 8, 1));  // has come back when the others had settled seven meetings
  late.exchange.script = {{{0, 1}}};
  late.exchange.settle(7);
  REQUIRE(end_together(late.trainer, late.exchange, late.history, 3, 10).ok());
  CHECK(late.exchange.settled() == 10);
}
