#include "bench/failure/account.h"

#include <algorithm>
#include <vector>

#include "bench/make_call.h"

namespace regroup::bench {
namespace {

double over_ranks(const std::vector<double>& times, int average) {
  const Summary s = summarize(times);
  return average == 0 ? times.front() : average == 1 ? s.mean : average == 2 ? s.min : s.max;
}

Side account_side(const Collective& collective, const Arguments& a, const Board& board, std::size_t side, Row& row) {
  std::vector<double> times;
  std::uint64_t wrong = 0;
  for (int r = 0; r < a.ranks; ++r) {
    const SideRecord& record = board.ranks[r].sides[side];
    if (record.done.load(std::memory_order_acquire) == 0) continue;
    times.push_back(record.time_us);
    wrong += record.wrong;
    if (record.epoch >= row.churn->epoch) {
      row.churn->epoch = record.epoch;
      row.churn->live = record.live;
    }
  }
  if (times.empty()) return {};
  Side out = make_side(summarize({over_ranks(times, a.average)}), row.bytes, collective.bus_factor(row.churn->live));
  out.checked = a.checks > 0;
  out.wrong = wrong;
  out.iterations = static_cast<std::size_t>(a.iterations);
  return out;
}

}  // namespace

bool untouched(const Arguments& a, int rank) {
  return std::none_of(a.faults.begin(), a.faults.end(), [&](const Fault& fault) { return fault.rank == rank; });
}

double recovery_ms(const Arguments& a, const Board& board, std::size_t fault) {
  const std::int64_t at = board.fault_ns[fault].load();
  std::int64_t last = 0;
  for (int r = 0; r < a.ranks; ++r) {
    if (!untouched(a, r)) continue;
    const std::int64_t recovered = board.ranks[r].recovered_ns[fault].load();
    if (at == 0 || recovered == 0) return -1;
    last = std::max(last, recovered);
  }
  return static_cast<double>(last - at) / 1e6;
}

Row account_row(const Collective& collective, const Arguments& a, const Script& script, const Board& board,
                std::size_t index) {
  const RowSpec& spec = script.rows()[index];
  const std::size_t unit = size_of(spec.type);
  Row row;
  row.type = name_of(spec.type);
  row.redop = collective.reduces ? name_of(spec.op) : "none";
  row.root = spec.root;
  row.churn.emplace();
  const auto ranks = static_cast<std::size_t>(a.ranks);
  row.count = collective.count(spec.bytes / unit, unit, ranks);
  row.bytes = shown_bytes(collective, row.count, spec.type, ranks);
  for (bool in_place : {false, true}) {
    const std::size_t side = script.side_of(index, in_place);
    if (side < script.sides())
      (in_place ? row.in_place : row.out_of_place) = account_side(collective, a, board, side, row);
  }
  for (std::size_t f = 0; f < a.faults.size(); ++f) {
    if (script.at(a.faults[f].at).row == index) {
      row.churn->recover_ms = std::max(row.churn->recover_ms, recovery_ms(a, board, f));
    }
  }
  return row;
}

}  // namespace regroup::bench
