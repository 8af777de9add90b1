// The calls of a failure run in one list, the same for every rank: rows, sides, iterations. A rank's place in it is one
// number, so it can be handed to a rank that comes back. Pure values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/rows.h"

namespace regroup::bench {

class Script {
 public:
  Script(const Collective& collective, const Arguments& arguments)
      : rows_(rows_of(collective, arguments, static_cast<std::size_t>(arguments.ranks))),
        sides_(arguments.in_place_only || arguments.out_of_place_only ? 1 : 2),
        only_in_place_(arguments.in_place_only),
        calls_(static_cast<std::uint64_t>(arguments.iterations)) {}

  struct Step {
    std::size_t row = 0;
    std::size_t side = 0;  // counted over all rows
    bool in_place = false;
    bool last = false;  // of its side
  };
  [[nodiscard]] Step at(std::uint64_t position) const {
    const std::size_t side = position / calls_;
    return {side / sides_, side, sides_ == 1 ? only_in_place_ : side % 2 == 1, position % calls_ == calls_ - 1};
  }
  [[nodiscard]] std::uint64_t total() const { return rows_.size() * sides_ * calls_; }
  [[nodiscard]] std::size_t sides() const { return rows_.size() * sides_; }
  // The first position behind a row.
  [[nodiscard]] std::uint64_t end_of(std::size_t row) const { return (row + 1) * sides_ * calls_; }
  // The side of a row: out of place or in place; the total number of sides where it is not run.
  [[nodiscard]] std::size_t side_of(std::size_t row, bool in_place) const {
    if (sides_ == 1) return in_place == only_in_place_ ? row : sides();
    return row * 2 + (in_place ? 1 : 0);
  }
  [[nodiscard]] const std::vector<RowSpec>& rows() const { return rows_; }

 private:
  std::vector<RowSpec> rows_;
  std::size_t sides_;
  bool only_in_place_;
  std::uint64_t calls_;
};

}  // namespace regroup::bench
