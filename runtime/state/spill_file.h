// SpillFile: the journal's store on disk: a file without a name, gone with its owner. Made at the first write.
#pragma once

#include <string>

#include "base/fd.h"
#include "runtime/state/journal.h"

namespace regroup::state {

class SpillFile final : public Spill {
 public:
  // folder empty: TMPDIR, else /tmp.
  explicit SpillFile(std::string folder) : folder_(std::move(folder)) {}
  Status write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  Status read(std::uint64_t offset, std::span<std::byte> bytes) override;

 private:
  std::string folder_;
  Fd fd_;
};

}  // namespace regroup::state
