// Table and JSON of the programs whose figures are not nccl-tests' (latency_perf, overlap_perf): the first five columns
// are the same, then one column a figure. Pure but for write_figures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/report.h"

namespace regroup::bench {

struct Figure {
  const char* name;  // a JSON key and, without its unit, the column's head
  const char* unit;  // "us", "%", …
  double value = 0;
};

struct FigureRow {
  Row row;  // size, count, type, redop, root and probes; its sides are not used
  std::vector<Figure> figures;
  bool checked = false;
  std::uint64_t wrong = 0;
};

std::string figures_header(const std::vector<Figure>& figures);
std::string figures_line(const FigureRow& row);
std::string figures_json(const RunInfo& info, const Arguments& arguments, const std::vector<FigureRow>& rows);

// To -J's file, if there is one, and its name to stdout.
Status write_figures(const RunInfo& info, const Arguments& arguments, const std::vector<FigureRow>& rows);

}  // namespace regroup::bench
