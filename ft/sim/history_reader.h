// HistoryReader: JSON lines to records, one file after the other: what to_json wrote, or a flight record of a real run.
//
// A file is a life of its own where its lines do not say whose they are (a flight record is one process's, and goes on
// with another life when one is over). Where the begin of a flight record was overwritten, where its life stands is known
// from the first op that it settles on: what stands before that is left out. Threading: none. A line that is not ours is kInvalid with what is wrong; go on
// or stop.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "ft/sim/history.h"

namespace regroup::sim {

class HistoryReader {
 public:
  explicit HistoryReader(std::uint32_t file) : file_(file), life_(file << 16) {}
  // nullopt: a comment, or an event that the checker has no use for.
  [[nodiscard]] Result<std::optional<Record>> on(std::string_view line);

 private:
  std::uint32_t file_;
  std::uint32_t life_;
  bool begins_later_ = false;
};

}  // namespace regroup::sim
