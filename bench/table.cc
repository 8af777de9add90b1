#include "bench/table.h"

#include <cstdio>

#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr double kNearUs = 0.12;  // below: the two cores share a cache
constexpr double kFarUs = 0.16;   // above: they do not (0.20 to 0.30 on the machines seen)

std::string side_text(const Side& side) {
  char wrong[32] = "   N/A";
  if (side.checked) std::snprintf(wrong, sizeof wrong, "%6g", static_cast<double>(side.wrong));
  return "  " + fixed_width(side.time_us.median, 7) + "  " + fixed_width(side.alg_bw, 6) + "  " +
         fixed_width(side.bus_bw, 6) + "  " + wrong;
}

std::string churn_text(const Row& row) {
  if (!row.churn) return "";
  char text[64];
  std::snprintf(text, sizeof text, "   %4zu  %5llu  ", row.churn->live,
                static_cast<unsigned long long>(row.churn->epoch));
  return text + (row.churn->recover_ms < 0 ? std::string("      N/A") : fixed_width(row.churn->recover_ms, 9));
}

}  // namespace

Side make_side(Summary time_us, std::size_t bytes, double bus_factor) {
  Side side;
  side.time_us = time_us;
  if (time_us.median > 0) side.alg_bw = static_cast<double>(bytes) / time_us.median / 1e3;
  side.bus_bw = side.alg_bw * bus_factor;
  return side;
}

std::string table_header(bool churn) {
  const char* const columns[] = {
      "#\n#                                                              out-of-place                       in-place  "
      "        ",
      "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  "
      "#wrong ",
      "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)  "
      "       "};
  const char* const more[] = {"", "  live  epoch  t_recover", "                    (ms)"};
  std::string out;
  for (std::size_t i = 0; i < 3; ++i) out += std::string(columns[i]) + (churn ? more[i] : "") + "\n";
  return out;
}

std::string table_row(const Row& row) {
  char head[128];
  std::snprintf(head, sizeof head, "%12zu  %12zu  %8s  %6s  %6d", row.bytes, row.count, row.type.c_str(),
                row.redop.c_str(), row.root);
  return head + side_text(row.out_of_place) + side_text(row.in_place) + churn_text(row) + "\n";
}

Totals totals_of(const std::vector<Row>& rows) {
  Totals out;
  double sides = 0;
  for (const Row& row : rows) {
    for (const Side* side : {&row.out_of_place, &row.in_place}) {
      if (side->time_us.count == 0) continue;
      out.wrong += side->wrong;
      out.average_bus_bw += side->bus_bw;
      ++sides;
    }
  }
  if (sides > 0) out.average_bus_bw /= sides;
  return out;
}

std::string table_footer(std::uint64_t wrong, double average_bus_bw) {
  char text[160];
  std::snprintf(text, sizeof text, "# Out of bounds values : %llu %s\n# Avg bus bandwidth    : %g \n#\n",
                static_cast<unsigned long long>(wrong), wrong == 0 ? "OK" : "FAILED", average_bus_bw);
  return text;
}

std::string_view probe_state(double before_us, double after_us) {
  if (before_us < kNearUs && after_us < kNearUs) return "near";
  if (before_us > kFarUs && after_us > kFarUs) return "far";
  return "mixed";
}

}  // namespace regroup::bench
