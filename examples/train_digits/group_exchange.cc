#include <algorithm>
#include <utility>

#include "examples/train_digits/exchange.h"

namespace digits {
namespace {

using regroup::Code;

void add(Committed& to, const regroup::Outcome& outcome) {
  to.ops.push_back(outcome.op);
  to.contributors.push_back(outcome.contributors());
  to.attempts = std::max(to.attempts, outcome.attempts);
  to.epoch = outcome.epoch;
  to.members.clear();
  if (outcome.view) {
    for (const regroup::MemberId& id : outcome.view->members) to.members.push_back(id.replica);
  }
}

class GroupExchange final : public Exchange {
 public:
  explicit GroupExchange(std::unique_ptr<regroup::Group> group) : group_(std::move(group)) {}

  regroup::Status allocate() {
    for (std::size_t l = 0; l < kLayers; ++l) {
      auto memory = group_->allocate(bucket_floats(l) * sizeof(float));
      if (!memory.ok()) return memory.error();
      buffers_[l] = static_cast<float*>(*memory);
    }
    return {};
  }

  std::size_t slice() const override { return group_->id().replica; }
  const std::array<float*, kLayers>& buffers() const override { return buffers_; }
  float& loss() override { return buffers_[0][layer_floats(0)]; }

  void average(std::size_t layer) override {
    regroup::OpOptions options;
    options.mark = layer == 0;
    float* buffer = buffers_[layer];
    pending_.push_back(group_->all_reduce_async(buffer, buffer, bucket_floats(layer), regroup::DataType::kF32,
                                                regroup::ReduceOp::kAvg, options));
  }

  regroup::Result<Committed> finish() override {
    Committed committed;
    regroup::Error failed;
    for (regroup::Work& work : pending_) {
      auto outcome = work.wait();
      if (outcome.ok()) {
        add(committed, *outcome);
      } else if (failed.code == Code::kOk || outcome.code() == Code::kEvicted) {
        failed = outcome.error();
      }
    }
    pending_.clear();
    if (failed.code != Code::kOk) return failed;
    return committed;
  }

  regroup::Result<Committed> meet() override {
    regroup::OpOptions options;
    options.mark = true;
    auto outcome = group_->barrier(options);
    if (!outcome.ok()) return outcome.error();
    begin_update();  // the step changed nothing, and is one
    end_update();
    Committed committed;
    add(committed, *outcome);
    return committed;
  }

  void begin_update() override { (void)group_->begin_update().ok(); }
  void end_update() override { (void)group_->end_update().ok(); }
  std::uint64_t settled() const override { return group_->steps(); }
  regroup::ViewInfo view() const override { return group_->view(); }
  double restore_s() const override { return group_->last_restore_s(); }
  regroup::Status leave() override { return group_->leave(); }

 private:
  std::unique_ptr<regroup::Group> group_;
  std::array<float*, kLayers> buffers_{};
  std::vector<regroup::Work> pending_;
};

}  // namespace

regroup::Result<std::unique_ptr<Exchange>> join_group(regroup::Options options) {
  auto group = regroup::Group::join(std::move(options));
  if (!group.ok()) return group.error();
  auto exchange = std::make_unique<GroupExchange>(std::move(group).value());
  if (auto status = exchange->allocate(); !status.ok()) return status.error();
  return std::unique_ptr<Exchange>(std::move(exchange));
}

}  // namespace digits
