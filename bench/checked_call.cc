#include "bench/checked_call.h"

#include <cmath>

#include "bench/check.h"

namespace regroup::bench {
namespace {

Pattern pattern_of(const Seat& seat, const Call& call, std::uint64_t seed) {
  return {call.type, call.op, seed, static_cast<std::uint32_t>(seat.ranks())};
}

}  // namespace

void fill_input(const Collective& collective, const Seat& seat, const Call& call, std::uint64_t seed) {
  fill(pattern_of(seat, call, seed), seat.rank(), const_cast<void*>(call.in),
       collective.shape(call.count, seat.ranks(), call.view->self).in);
}

Result<std::uint64_t> checked_call(const Collective& collective, Seat& seat, const Call& call, std::uint64_t seed,
                                   bool in_place, const std::function<Result<Outcome>()>& run) {
  const Shape shape = collective.shape(call.count, seat.ranks(), call.view->self);
  const std::size_t out_bytes = shape.out * size_of(call.type);
  poison(call.out, out_bytes);  // in place the input is then laid over it
  fill_input(collective, seat, call, seed);
  auto outcome = run();
  if (!outcome.ok()) return error_of("checked op", outcome.error());
  const std::vector<std::uint32_t> members = ranks_of(*outcome->view);
  const Viewer viewer{members, outcome->view->self, position_of(*outcome->view, call.root)};
  std::uint64_t wrong = wrong_elements(collective, pattern_of(seat, call, seed), viewer, call.out, call.count);
  const bool takes_nothing = collective.parts(call.count, members.size(), viewer.self, viewer.root).empty();
  if (takes_nothing && !in_place) wrong += count_touched(call.out, out_bytes);
  auto all = seat.agree(static_cast<double>(wrong), ReduceOp::kSum);
  if (!all.ok()) return all.error();
  return static_cast<std::uint64_t>(std::llround(*all));
}

}  // namespace regroup::bench
