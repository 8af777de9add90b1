// The JSON of nccl-tests' -J: the same keys (booleans are strings), and ours beside them. Owns nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bench/arguments.h"
#include "bench/table.h"

namespace regroup::bench {

// What all rows of a run have in common.
struct RunInfo {
  std::string program;
  std::vector<std::string> command;
  std::size_t ranks = 0;
  std::string transport;    // that the view used
  std::string device;       // that the buffers lie on; empty: host memory
  bool huge_pages = false;  // registered buffers lie on 2 MiB pages
  std::string start_time;
  std::string end_time;
};

std::string report_json(const RunInfo& info, const Arguments& arguments, const std::vector<Row>& rows,
                        const Totals& totals, bool bandwidth_okay);

// The comment lines above the table.
void print_heading(const Arguments& arguments, const RunInfo& info);

// As nccl-tests: at least 90 % of NCCL_TESTS_MIN_BW, where that is set.
bool bandwidth_okay(double average);

// The report goes to -J's file, if there is one, and its name to stdout.
Status write_report(const RunInfo& info, const Arguments& arguments, const std::vector<Row>& rows, const Totals& totals,
                    bool bandwidth_okay);

// Creates `path`, or `path`.0, .1, … where it exists, and writes the text. The name that it took; kSystem names the
// file.
Result<std::string> write_new_file(const std::string& path, std::string_view text);

// Local time as nccl-tests writes it: 2025-01-31 23:59:59.
std::string time_text();

}  // namespace regroup::bench
