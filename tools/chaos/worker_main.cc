// regroup-chaos-worker PAGE_FD SLOT: started by `regroup chaos`, of no use alone.
#include <cstdio>
#include <cstdlib>

#include "tools/chaos/worker.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "regroup-chaos-worker: is started by `regroup chaos`\n");
    return 2;
  }
  return regroup::chaos::run_worker(std::atoi(argv[1]), std::atoi(argv[2]));
}
