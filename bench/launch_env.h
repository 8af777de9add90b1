// Rank and world size from the process managers of MPI (mpirun, and others that set PMI_RANK), for a program that none
// of `--ranks`, `regroup run` and torchrun started. Sets RANK, WORLD_SIZE and, where all ranks are on one host and
// nobody names a coordinator, MASTER_ADDR and MASTER_PORT, so that the runtime's own start-up does the rest. Call it
// before there are threads.
#pragma once

#include "base/result.h"

namespace regroup::bench {

// kConfig: more than one host and no MASTER_ADDR. kTimeout: rank 0 did not come within the bound.
Status adopt_launcher_environment(double bound_s);

}  // namespace regroup::bench
