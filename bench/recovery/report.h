// recovery_perf's result as JSON and as a few lines. Pure but for facts of the machine, which machine_facts reads.
#pragma once

#include <string>

#include "bench/recovery/arguments.h"
#include "bench/recovery/experiment.h"

namespace regroup::bench {

struct MachineFacts {
  int cores = 0;
  std::string shmem_huge_pages;  // the chosen word of /sys/kernel/mm/transparent_hugepage/shmem_enabled
  bool huge_pages = false;       // the members' buffers lie on 2 MiB pages
  double probe_before_us = 0;
  double probe_after_us = 0;
};

MachineFacts machine_facts();
std::string recovery_json(const RecoveryArguments& arguments, const MachineFacts& facts, const RecoveryResult& result,
                          const Ledger& ledger);
std::string recovery_text(const RecoveryArguments& arguments, const MachineFacts& facts, const RecoveryResult& result,
                          const Ledger& ledger);

}  // namespace regroup::bench
