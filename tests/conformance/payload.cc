#include "tests/conformance/payload.h"

#include <algorithm>
#include <cstdio>
#include <deque>

namespace regroup::conformance {

std::uint64_t coefficient(OpId op, std::size_t i) {
  std::uint64_t x = op * 0x9e37'79b9'7f4a'7c15 + i * 0xbf58'476d'1ce4'e5b9;
  x ^= x >> 29;
  x *= 0x94d0'49bb'1331'11eb;
  return 1 + (x >> 33) % 15;
}

void fill(std::vector<std::uint64_t>& input, int rank, OpId op) {
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = coefficient(op, i) << (4 * rank);
}

std::string wrong_sum(const Outcome& outcome, const std::vector<std::uint64_t>& out, OpId op) {
  std::uint64_t ones = 0;
  for (const MemberId& id : outcome.view->members) ones += std::uint64_t{1} << (4 * id.replica);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t want = coefficient(op, i) * ones;
    if (out[i] == want) continue;
    char text[160];
    std::snprintf(text, sizeof text, "op %llu element %zu: got %llx, want %llx", static_cast<unsigned long long>(op), i,
                  static_cast<unsigned long long>(out[i]), static_cast<unsigned long long>(want));
    return text;
  }
  return {};
}

bool untouched(const std::vector<std::uint64_t>& out) {
  return std::all_of(out.begin(), out.end(), [](std::uint64_t x) { return x == kPoison; });
}

std::vector<std::uint32_t> ids_of(const ViewInfo& view) {
  std::vector<std::uint32_t> ids;
  for (const MemberId& id : view.members) ids.push_back(id.replica);
  return ids;
}

namespace {

struct Pending {
  OpId op = 0;
  bool in_place = false;
  std::vector<std::uint64_t> in, out, kept;
  Work work;

  Pending(Group& group, int rank, OpId number, std::size_t count)
      : op(number), in_place(number % 2 != 0), out(count, kPoison) {
    kept.resize(count);
    fill(kept, rank, op);
    if (in_place) {
      out = kept;
    } else {
      in = kept;
    }
    work = group.all_reduce_async(in_place ? out.data() : in.data(), out.data(), count, DataType::kU64, ReduceOp::kSum);
  }

  Seen take() {
    Seen seen;
    Result<Outcome> result = work.wait();
    seen.code = result.code();
    if (!in_place && in != kept) seen.wrong = "op " + std::to_string(op) + ": the input was changed";
    if (!result) {
      seen.detail = result.error().detail;
      if (result.code() != Code::kTimeout && (in_place ? out != kept : !untouched(out)))
        seen.wrong = "op " + std::to_string(op) + " failed and touched a buffer";
      return seen;
    }
    if (seen.wrong.empty()) seen.wrong = wrong_sum(*result, out, op);
    if (seen.wrong.empty() && result->op != work.op()) seen.wrong = "the outcome is of another op";
    seen.epoch = result->epoch;
    seen.attempts = result->attempts;
    seen.contributors = ids_of(*result->view);
    for (std::uint64_t x : out) seen.digest = (seen.digest ^ x) * 0x100'0000'01b3 + 1;
    return seen;
  }
};

std::string compare(const Seen& a, const Seen& b) {
  if (a.contributors != b.contributors) return "contributors differ";
  if (a.digest != b.digest) return "bits differ";
  if (a.epoch != b.epoch) return "epochs differ";
  return {};
}

}  // namespace

History run_ops(Group& group, int rank, const Run& run) {
  History history;
  std::deque<Pending> pending;
  OpId next = run.first;
  const OpId end = run.first + run.ops;
  while (next != end || !pending.empty()) {
    while (next != end && pending.size() < run.in_flight) pending.emplace_back(group, rank, next++, run.count);
    history.push_back(pending.front().take());
    const Code code = history.back().code;
    if (code == Code::kTimeout) break;  // still pending: buffers would go under it; the group is closed with it
    pending.pop_front();
    if (code == Code::kClosed || code == Code::kUnavailable) break;
  }
  if (!pending.empty()) {  // the group is over: these end at once
    group.detach();
    for (Pending& p : pending) (void)p.work.wait().ok();
  }
  return history;
}

Seen one_op(Group& group, int rank, OpId op, std::size_t count) {
  Pending pending(group, rank, op, count);
  Seen seen = pending.take();
  if (seen.code == Code::kTimeout) {  // it must not outlive its buffers
    group.detach();
    (void)pending.work.wait().ok();
  }
  return seen;
}

std::string disagreement(const std::vector<History>& histories) {
  for (std::size_t m = 0; m < histories.size(); ++m) {
    const std::string who = "survivor " + std::to_string(m) + ", op ";
    if (histories[m].size() != histories[0].size()) return who + "count differs";
    for (std::size_t k = 0; k < histories[m].size(); ++k) {
      const Seen& seen = histories[m][k];
      const std::string where = who + std::to_string(k) + ": ";
      if (seen.code != Code::kOk) return where + code_name(seen.code) + " " + seen.detail;
      if (!seen.wrong.empty()) return where + seen.wrong;
      if (const std::string d = compare(seen, histories[0][k]); !d.empty()) return where + d;
      if (k != 0 && seen.contributors.size() > histories[m][k - 1].contributors.size())
        return where + "contributors grew";
    }
  }
  return {};
}

}  // namespace regroup::conformance
