#include "runtime/exec/device_ranks.h"

#include <algorithm>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/launches.h"

namespace regroup {
namespace {

constexpr Duration kPatience = Duration::from_s(10);

}  // namespace

DeviceRank::DeviceRank(std::shared_ptr<device::Device> device, Config config) : device_(std::move(device)), config_(config) {
  config_.chunk_bytes = std::max<std::size_t>(config_.chunk_bytes / 8 * 8, 8);  // whole elements
}

Result<std::unique_ptr<DeviceRank>> DeviceRank::make(std::shared_ptr<device::Device> device, Config config) {
  std::unique_ptr<DeviceRank> rank(new DeviceRank(std::move(device), config));
  if (Status s = rank->open(); !s) return s.error();
  return rank;
}

Status DeviceRank::open() {
  for (auto* stream : {&fold_, &fetch_}) {
    auto made = device_->make_stream();
    if (!made) return made.error();
    *stream = std::move(made).value();
  }
  for (device::Flag* flag : {&placed_, &prepared_}) {
    Result<device::Flag> made = device_->make_flag();
    if (!made) return made.error();
    *flag = *made;
  }
  const auto past = [this]() -> std::function<bool()> {
    std::vector<std::shared_ptr<device::Event>> ends;
    for (auto* stream : {&fold_, &fetch_}) {
      auto made = device_->make_event();
      if (!made || !(*stream)->record(**made)) return [] { return false; };
      ends.emplace_back(std::move(*made));
    }
    return [ends] {
      return std::all_of(ends.begin(), ends.end(), [](const auto& e) {
        const Result<bool> reached = e->reached();
        return reached && *reached;
      });
    };
  };
  imports_ = std::make_unique<cuda_ipc::Imports>(device_, config_.most_open, past);
  return {};
}

DeviceRank::~DeviceRank() {
  if (fold_) (void)fold_->finish(now() + kPatience).ok();  // callers' streams may wait for its words
  fold_.reset();
  fetch_.reset();
  imports_.reset();
  for (const Buffer& b : scratch_) device_->free(device::Memory::kDevice, b.at);
}

Result<std::byte*> DeviceRank::reserve(std::size_t bytes) {
  std::lock_guard lock(scratch_mutex_);
  if (scratch_.empty() || scratch_.back().bytes < bytes) {
    const std::size_t size = std::max({bytes, std::size_t{1}, scratch_.empty() ? 0 : 2 * scratch_.back().bytes});
    Result<void*> memory = device_->allocate(device::Memory::kDevice, size);
    if (!memory) return memory.error();
    scratch_.push_back({static_cast<std::byte*>(*memory), size});
  }
  return scratch_.back().at;
}

void DeviceRank::start(Job job) {
  RG_CHECK(job.peers.size() <= device::kMaxSources);
  placed_before_ += folded_;
  job_ = std::move(job);
  ++jobs_;
  folded_ = 0;
  fetched_.assign(job_.peers.size(), 0);
  prepared_queued_ = false;
}

std::uint32_t DeviceRank::chunks_placed() const {
  const std::uint32_t all = placed_.value() - placed_before_;  // less than none: of a job that was given up
  return all <= folded_ ? all : 0;
}

// My own: chunk by chunk, a few ahead of the device.
Status DeviceRank::fold_some() {
  const algo::Plan& plan = *job_.plan;
  const std::uint32_t mine = chunks_of(plan.placed_bytes[job_.self]), done = chunks_placed();
  job_.placed->store(shm::make_tag(job_.epoch, done), std::memory_order_release);
  auto* to = const_cast<std::byte*>(job_.peers[job_.self].scratch);
  while (folded_ < mine && folded_ - done < config_.ahead) {
    const std::size_t begin = folded_ * config_.chunk_bytes,
                      end = std::min(begin + config_.chunk_bytes, plan.placed_bytes[job_.self]);
    for (const algo::Piece& piece : plan.place) {
      const std::size_t from = std::max(begin, piece.to), until = std::min(end, piece.to + piece.bytes);
      if (from >= until) continue;
      device::Reduce f{job_.desc.type, job_.desc.reduce, 1, 0, (until - from) / size_of(job_.desc.type), {to + from}, {}};
      for (std::size_t r = 0; r < job_.peers.size(); ++r)
        if (piece.fold || piece.from == r) f.from[f.sources++] = job_.peers[r].input + piece.at + (from - piece.to);
      if (Status s = fold_->launch(device::launch_of(f, config_.ctas)); !s) return s;
    }
    if (Status s = fold_->raise(placed_, placed_before_ + ++folded_); !s) return s;
  }
  return {};
}

// Everybody's, as far as it stands.
Status DeviceRank::fetch_some() {
  const algo::Plan& plan = *job_.plan;
  bool all = true;
  for (std::size_t r = 0; r < job_.peers.size(); ++r) {
    const algo::Take& take = plan.takes[r];
    const shm::Tag said = job_.peers[r].placed->load(std::memory_order_acquire);
    const std::size_t chunks = shm::epoch_of(said) == job_.epoch ? shm::op_of(said) : 0;
    const std::size_t stands = std::min(chunks * config_.chunk_bytes, plan.placed_bytes[r]);
    const std::size_t reach = std::min(take.bytes, stands > take.at ? stands - take.at : 0);
    if (reach > fetched_[r]) {
      const std::byte* from = job_.peers[r].scratch + take.at + fetched_[r];
      if (Status s = fetch_->copy(job_.result + take.to + fetched_[r], from, reach - fetched_[r]); !s) return s;
      fetched_[r] = reach;
    }
    // Prepared only when all stands, whatever of it is mine: until then somebody may still read inputs.
    all = all && stands == plan.placed_bytes[r];
  }
  if (!all || prepared_queued_) return {};
  prepared_queued_ = true;
  return fetch_->raise(prepared_, jobs_);
}

Result<bool> DeviceRank::turn() {
  if (Status s = device_->health(); !s) return s.error();
  if (Status s = fold_some(); !s) return s.error();
  if (Status s = fetch_some(); !s) return s.error();
  return prepared_.value() == jobs_;
}

}  // namespace regroup
