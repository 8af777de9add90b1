// One rank of a program with figures of its own: seat, rows, probes, check, table, JSON and exit status; what is
// measured in a row is the caller's. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/own/figures.h"
#include "bench/seat.h"
#include "bench/threads.h"

namespace regroup::bench {

// What is measured: fills figures, and the wrong elements of what it checked. The same calls at every rank.
using Measure = std::function<Result<FigureRow>(Seat& seat, const RowSpec& row)>;

// The exit status: 0 if every row was measured and nothing was wrong. `thread`: of a rank that is a thread, else null. `about`: a
// comment line above the table.
int run_measure(const Collective& collective, const Arguments& arguments, const std::vector<std::string>& command,
                const ThreadRank* thread, const std::string& about, const Measure& measure);

}  // namespace regroup::bench
