// Checkpoint file: the registered state as of one step, and what it takes to tell that it is whole and of this job.
// Layout: magic, length of the head, head (job, table of state, step, blobs), digest of the head; the stripes in order; a
// digest (XXH3 64) of every stripe, and one of these. Its length follows from the head, so a truncated file is seen before
// anything of it is used. Little endian. Functions of one thread; a failed write leaves the file for the caller to remove.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "regroup/types.h"
#include "runtime/state/stripe_table.h"

namespace regroup::state {

struct SavedBlob {
  std::string name;
  std::vector<std::byte> bytes;
};

struct CheckpointHead {
  std::string job;
  StripeTable table;
  std::uint64_t step = 0;
  std::vector<SavedBlob> blobs;
};

// The bytes of a stripe; the span is as long as the stripe.
using StripeSource = std::function<Status(std::uint32_t stripe, std::span<std::byte> into)>;

// To an empty file; it is on the disk when this returns.
[[nodiscard]] Status write_checkpoint(int fd, const CheckpointHead& head, const StripeSource& source);
// kConfig: no checkpoint, or not whole (says which). Does not look at the stripes.
[[nodiscard]] Result<CheckpointHead> read_head(int fd, const std::string& name);
// Compares all digests, and only then fills `state`, whose table must be the head's. kConfig names what is damaged.
[[nodiscard]] Status load_checkpoint(int fd, const std::string& name, const CheckpointHead& head, std::span<const StateBuffer> state);

}  // namespace regroup::state
