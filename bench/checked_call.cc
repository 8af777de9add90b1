#include "bench/checked_call.h"

#include <cmath>

#include "bench/check.h"

namespace regroup::bench {
namespace {

Pattern pattern_of(const Seat& seat, const Call& call, std::uint64_t seed) {
  return {call.type, call.op, seed, static_cast<std::uint32_t>(seat.ranks())};
}

}  // namespace

Status fill_input(const Collective& collective, const Seat& seat, const Call& call, std::uint64_t seed) {
  const std::size_t count = collective.shape(call.count, seat.ranks(), call.view->self).in;
  fill(pattern_of(seat, call, seed), seat.rank(), call.here(call.in), count);
  return call.side == nullptr ? Status{} : call.side->put(call.in, count * size_of(call.type));
}

Result<std::uint64_t> checked_call(const Collective& collective, Seat& seat, const Call& call, std::uint64_t seed,
                                   bool in_place, const std::function<Result<Outcome>()>& run) {
  const Shape shape = collective.shape(call.count, seat.ranks(), call.view->self);
  const std::size_t out_bytes = shape.out * size_of(call.type);
  void* const out = call.here(call.out);
  poison(out, out_bytes);  // in place the input is then laid over it
  if (call.side != nullptr)
    if (Status s = call.side->put(call.out, out_bytes); !s.ok()) return error_of("poison", s.error());
  if (Status s = fill_input(collective, seat, call, seed); !s.ok()) return error_of("input", s.error());
  auto outcome = run();
  if (!outcome.ok()) return error_of("checked op", outcome.error());
  if (call.side != nullptr) {
    poison(out, out_bytes);
    if (Status s = call.side->fetch(call.out, out_bytes); !s.ok()) return error_of("output", s.error());
  }
  const std::vector<std::uint32_t> members = ranks_of(*outcome->view);
  const Viewer viewer{members, outcome->view->self, position_of(*outcome->view, call.root)};
  std::uint64_t wrong = wrong_elements(collective, pattern_of(seat, call, seed), viewer, out, call.count);
  const bool takes_nothing = collective.parts(call.count, members.size(), viewer.self, viewer.root).empty();
  if (takes_nothing && !in_place) wrong += count_touched(out, out_bytes);
  auto all = seat.agree(static_cast<double>(wrong), ReduceOp::kSum);
  if (!all.ok()) return all.error();
  return static_cast<std::uint64_t>(std::llround(*all));
}

}  // namespace regroup::bench
