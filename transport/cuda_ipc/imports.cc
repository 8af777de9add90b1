#include "transport/cuda_ipc/imports.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace regroup::cuda_ipc {

Imports::Imports(std::shared_ptr<device::Device> device, std::size_t most, Past past)
    : device_(std::move(device)), most_(most), past_(std::move(past)) {}

Imports::~Imports() {
  over_->store(true);
  closer_.stop();  // its jobs close what they hold when they are dropped
  for (const auto& [owner, all] : open_)
    for (const Open& open : all) device_->close(open.at);
}

Result<const std::byte*> Imports::at(const Incarnation& owner, const device::Loan& loan, std::size_t bytes) {
  if (loan.offset > loan.bytes || bytes > loan.bytes - loan.offset) return {Code::kRefused, "device memory of a peer lies outside of what it lent"};
  std::deque<Open>& all = open_[owner];
  const auto known = std::find_if(all.begin(), all.end(), [&](const Open& o) { return o.id == loan.id; });
  if (known != all.end()) {
    std::rotate(all.begin(), known, known + 1);
  } else {
    Result<const std::byte*> opened = device_->open(loan);
    if (!opened) return opened.error();
    all.push_front({loan.id, *opened});
    if (all.size() > most_) {
      let_go({&all.back(), 1});
      all.pop_back();
    }
  }
  return all.front().at + loan.offset;
}

void Imports::keep(std::span<const Incarnation> owners) {
  std::vector<Open> gone;
  std::erase_if(open_, [&](const auto& entry) {
    if (std::find(owners.begin(), owners.end(), entry.first) != owners.end()) return false;
    gone.insert(gone.end(), entry.second.begin(), entry.second.end());
    return true;
  });
  if (!gone.empty()) let_go(gone);
}

void Imports::let_go(std::span<const Open> gone) {
  // Closed with the last reference to it: by the job, or where that is dropped.
  std::shared_ptr<std::vector<Open>> held(new std::vector<Open>(gone.begin(), gone.end()), [device = device_](std::vector<Open>* all) {
    for (const Open& open : *all) device->close(open.at);
    delete all;
  });
  closer_.post([held = std::move(held), past = past_(), over = over_] {
    while (!past() && !over->load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
}

std::size_t Imports::size() const {
  std::size_t n = 0;
  for (const auto& [owner, all] : open_) n += all.size();
  return n;
}

}  // namespace regroup::cuda_ipc
