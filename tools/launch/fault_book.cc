#include "tools/launch/fault_book.h"

#include <algorithm>
#include <utility>

namespace regroup::launch {
namespace {

bool is_step_of(const Fault& fault, int rank) { return fault.trigger == Fault::Trigger::kStep && fault.target == rank; }

// Steps of one rank come in their order; faults of other kinds keep their places.
void order_steps(std::vector<Fault>& faults) {
  for (std::size_t i = 0; i < faults.size(); ++i)
    for (std::size_t k = i + 1; k < faults.size(); ++k)
      if (is_step_of(faults[i], faults[i].target) && is_step_of(faults[k], faults[i].target) &&
          faults[k].count < faults[i].count)
        std::swap(faults[i], faults[k]);
}

std::string armed_text(const Fault& fault) {
  return std::string(name_of(fault.trigger == Fault::Trigger::kStep ? Point::kStep : fault.point)) + "#" +
         std::to_string(fault.count) + (fault.action == Fault::Action::kKill ? "=kill" : "=stop");
}

}  // namespace

FaultBook::FaultBook(std::vector<Fault> faults) : pending_(std::move(faults)) { order_steps(pending_); }

std::string FaultBook::arm(int rank) const {
  std::string spec;
  bool kill_armed = false;
  for (const Fault& fault : pending_) {
    if (fault.target != rank || fault.trigger == Fault::Trigger::kTime) continue;
    const bool is_kill = fault.action == Fault::Action::kKill;
    if (is_kill && std::exchange(kill_armed, true)) continue;
    spec += (spec.empty() ? "" : ",") + armed_text(fault);
  }
  return spec;
}

Fault FaultBook::take(std::size_t index) {
  Fault fault = std::move(pending_[index]);
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
  return fault;
}

std::optional<Fault> FaultBook::take_armed(int rank, Fault::Action action) {
  for (std::size_t i = 0; i < pending_.size(); ++i)
    if (pending_[i].target == rank && pending_[i].action == action && pending_[i].trigger != Fault::Trigger::kTime)
      return take(i);
  return std::nullopt;
}

std::optional<Fault> FaultBook::killed(int rank) { return take_armed(rank, Fault::Action::kKill); }
std::optional<Fault> FaultBook::stopped(int rank) { return take_armed(rank, Fault::Action::kStop); }

Instant FaultBook::next_due(Instant started) const {
  Instant next = Instant::never();
  for (const Fault& fault : pending_)
    if (fault.trigger == Fault::Trigger::kTime) next = std::min(next, started + fault.at);
  return next;
}

}  // namespace regroup::launch
