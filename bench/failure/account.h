// Rows of the table from what the ranks of a failure run wrote on their board. Pure but for reading the board.
#pragma once

#include <cstdint>

#include "bench/arguments.h"
#include "bench/collective.h"
#include "bench/failure/board.h"
#include "bench/failure/script.h"
#include "bench/table.h"

namespace regroup::bench {

// The row as all ranks that finished it saw it; time over ranks as -a says, live and epoch as of its last call.
Row account_row(const Collective& collective, const Arguments& arguments, const Script& script, const Board& board,
                std::size_t row);

// From the fault to the last commit of the ranks that were never touched, each its first without the victim, in
// milliseconds; negative: not all of them had one.
double recovery_ms(const Arguments& arguments, const Board& board, std::size_t fault);

// The rank is nobody's victim.
bool untouched(const Arguments& arguments, int rank);

}  // namespace regroup::bench
