#include "bench/calls.h"

#include <algorithm>

namespace regroup::bench {
namespace {

Status judge(const Result<Outcome>& outcome, const Call& call, std::string* plan) {
  if (!outcome.ok()) {
    return {outcome.code(), std::string("op: ") + code_name(outcome.code()) + ": " + outcome.error().detail};
  }
  if (outcome->contributors() != call.view->size()) {
    return {Code::kViewChanged, "a member was lost: " + std::to_string(outcome->contributors()) + " are left"};
  }
  if (plan != nullptr) *plan = outcome->plan;
  return {};
}

// The stream has seen the result.
Status seen(const Call& call) { return call.side == nullptr ? Status{} : call.side->finish(); }

}  // namespace

std::vector<Call> Calls::pieces_of(const Call& call) const {
  const std::size_t unit = size_of(call.type);
  const std::size_t most = std::max<std::size_t>(mode_.cut_bytes / unit, 1);
  std::vector<Call> out;
  for (std::size_t at = 0; at < call.count || out.empty(); at += most) {
    Call piece = call;
    piece.in = static_cast<const char*>(call.in) + at * unit;
    piece.out = static_cast<char*>(call.out) + at * unit;
    piece.count = std::min(most, call.count - at);
    out.push_back(piece);
  }
  return out;
}

Result<Outcome> Calls::launch(const std::vector<Call>& ops, bool grouped) {
  std::vector<Work> works;
  if (grouped) {
    if (Status s = ops.front().group->group_start(); !s.ok()) return s.error();
  }
  for (const Call& op : ops) works.push_back(collective_.start(op));
  if (grouped) {
    if (Status s = ops.front().group->group_end(); !s.ok()) return s.error();
  }
  Result<Outcome> last = Outcome{};
  for (Work& work : works) {
    last = work.wait();
    if (!last.ok()) return last;
  }
  return last;
}

Result<Outcome> Calls::once(const Call& call) {
  if (mode_.cut_bytes == 0) return collective_.run(call);
  if (collective_.cut_inside && !mode_.group_pieces) {
    Call whole = call;
    whole.cut_bytes = mode_.cut_bytes;
    return collective_.run(whole);
  }
  return launch(pieces_of(call), mode_.group_pieces);
}

Status Calls::run_ring(const Call& call, int n, std::string* plan) {
  const std::vector<Call> pieces = mode_.cut_bytes == 0 ? std::vector<Call>{call} : pieces_of(call);
  const std::size_t total = pieces.size() * static_cast<std::size_t>(n);
  std::vector<Work> flying(std::max<std::uint32_t>(mode_.in_flight, 1));
  for (std::size_t i = 0; i < total + flying.size(); ++i) {
    Work& slot = flying[i % flying.size()];
    if (i >= flying.size() && i - flying.size() < total) {
      if (Status s = judge(slot.wait(), call, plan); !s.ok()) return s;
    }
    if (i < total) slot = collective_.start(pieces[i % pieces.size()]);
  }
  return seen(call);
}

Status Calls::run_groups(const Call& call, int n, std::string* plan) {
  const std::vector<Call> ops(static_cast<std::size_t>(mode_.aggregate), call);
  for (int i = 0; i < n; ++i) {
    if (Status s = judge(launch(ops, true), call, plan); !s.ok()) return s;
    if (Status s = seen(call); !s.ok()) return s;
  }
  return {};
}

Status Calls::run(const Call& call, int n, std::string* plan) {
  if (mode_.aggregate > 1) return run_groups(call, n, plan);
  if (!mode_.blocking) return run_ring(call, n, plan);
  Result<Outcome> last = Outcome{};
  for (int i = 0; i < n; ++i) {
    last = once(call);
    if (!last.ok()) break;
    if (Status s = seen(call); !s.ok()) return s;
  }
  return n == 0 ? Status{} : judge(last, call, plan);
}

}  // namespace regroup::bench
