// What a dying process still costs: the kernel tears its memory down on its own time slices, about 100 ms a resident
// GiB, just when the survivors want the cores for the op that they redo. Whoever is certain of a death gives that work
// a tenth of the usual weight.
//
// Only threads that are ending, or that SIGKILL has reached, are touched: a process that lives on, though one member in
// it is over, keeps its priority. Best effort, no state; costs speed only. Any thread; a few small reads of /proc and
// one call a thread.
#pragma once

#include <sys/types.h>

namespace regroup {

// `pidfd` is the process's: while it is not reaped, its pid is nobody else's. Returns how many threads were set back.
int set_dying_back(pid_t pid, int pidfd);

}  // namespace regroup
