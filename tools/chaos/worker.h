// A member of a chaos run: the program's all-reduces without end. Checks every result and, out of place, that its input is
// as it was; keeps registered state (where the settings allow) that follows from the results; writes every commit and
// every installed view into the page. An eviction is its next life.
#pragma once

namespace regroup::chaos {

// main() of a worker process: the inherited page and this process's place in it. Ends with 0 when the page says stop,
// with 1 and a message when an op ends in a way that no fault explains.
int run_worker(int page_fd, int slot);

}  // namespace regroup::chaos
