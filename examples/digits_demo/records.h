// What the workers and the launcher of one run wrote, read back. See examples/train_digits/history.h and
// tools/launch/launcher.h (events). Values; reading only. A half-written last line of a killed worker is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regroup/types.h"

namespace digits {

struct Commit {
  std::uint64_t step = 0, epoch = 0;
  std::vector<int> members;
  unsigned attempts = 1;
  std::string digest;
  std::int64_t t = 0;
};
struct Entry {  // how a life came to its state: join (step 0 in the first view) or restored after an eviction
  bool restored = false;
  std::uint64_t step = 0, epoch = 0;
  std::int64_t t = 0;
};
struct Life {  // one history file
  int replica = -1;
  std::int64_t begin = 0, last = 0;  // times of its first and last record
  std::vector<Commit> commits;
  std::vector<Entry> entries;
  std::vector<std::int64_t> records;  // times of all records
  bool left = false, final = false;
  std::uint64_t final_step = 0;
  std::string final_digest;
  double accuracy = 0;
};
struct FaultSeen {
  int replica = -1;
  bool kill = true;
  bool mid_op = false;  // at a failpoint inside an operation
  std::string text;
  std::int64_t t = 0;
};
struct RunRecord {
  std::vector<Life> lives;
  std::vector<FaultSeen> faults;
};

// Reads all replica*.jsonl of a folder and its events.jsonl. kSystem: the folder cannot be read.
[[nodiscard]] regroup::Result<RunRecord> read_run(const std::string& folder);

}  // namespace digits
