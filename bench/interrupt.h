// SIGINT and SIGTERM of a program that owns other processes: remembered, so that it can end them. Process-wide.
#pragma once

namespace regroup::bench {

void watch_interrupts();
int interrupted();  // the signal; 0: none

}  // namespace regroup::bench
