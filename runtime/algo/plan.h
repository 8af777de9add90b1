// Plan: what one member does for one collective in one view. A pure function of the descriptor, the members and the
// tables; so it can be printed, tested byte by byte and costed without running it.
//
// Every collective is the same two steps. *Place*: a member makes something of inputs (a fold of everybody's range, or
// a copy of one member's) and lets it stand where peers can have it. *Take*: after the commit each member copies what
// it needs of what the others placed into its output. Between the two lies the commit rule. The executors know no op by
// name: shared memory pulls inputs and placed bytes, the network sends them; a small op skips `place` and makes its
// whole output from the inputs (`result`). Ownership: values. A Plan is rebuilt in place without allocation once its
// vectors have grown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/algo/op.h"
#include "runtime/algo/shards.h"

namespace regroup::algo {

struct Piece {        // of inputs, to be made
  bool fold = false;  // of everybody's inputs, in member order; else a copy of member `from`'s
  std::uint32_t from = 0;
  std::size_t at = 0;  // in the input(s)
  std::size_t bytes = 0;
  std::size_t to = 0;  // in what is made: my placed bytes, or my output
  bool operator==(const Piece&) const = default;
};

struct Take {  // of what one member placed, to my output
  std::size_t at = 0;
  std::size_t to = 0;
  std::size_t bytes = 0;
  bool operator==(const Take&) const = default;
};

struct Plan {
  std::vector<Piece> place;               // what I place, one after the other
  std::vector<std::size_t> placed_bytes;  // by member; of a told op only my own is known
  std::vector<Span> reads;                // by member: what of my input it reads to make what it places
  std::vector<Span> gives;                // by member: what it takes of what I placed
  std::vector<Take> takes;                // by member; of a told op `at` stands in the giver's table
  std::vector<Piece> result;              // my output straight from the inputs (not of told ops)
  std::vector<std::size_t> inputs;        // by member: bytes of its input (not of told ops)
  std::size_t input_bytes = 0;            // that my input has
  std::size_t output_bytes = 0;           // end of what is written to my output
  std::size_t largest_bytes = 0;          // of any member's input or output, the same number at all; told: unknown, max
  bool told = false;

  bool reads_inputs = false;  // peers read inputs, so they must be where peers can read
};

// How a broadcast is placed: by the root alone, or spread over all members, each a shard (less for the root to send).
enum class Spread : std::uint8_t { kRoot, kAll };

// Over a network the root of many deals its buffer out and everybody passes its shard on: it sends it less than twice, not n - 1
// times. In shared memory all read the root's copy.
inline Spread spread_for(std::size_t members, bool shared) {
  return !shared && members > 2 ? Spread::kAll : Spread::kRoot;
}

struct Request {
  OpDesc desc;
  std::size_t members = 1;
  std::size_t self = 0;
  std::size_t root = 0;  // index, where the op has one
  const Tables* tables = nullptr;
  Spread spread = Spread::kRoot;
  const std::vector<std::uint32_t>* leaders = nullptr;  // by index, rising: who carries a hierarchical op across
};

// Requires self, root < members and tables of that size where the op has them.
void make_plan(const Request& request, Plan& plan);
// The tables fit a view of n members and no block lies outside what a buffer can be. For told ops and agreed counts.
[[nodiscard]] bool fits(const OpDesc& desc, const Tables* tables, std::size_t n);
// For people: one line a step.
[[nodiscard]] std::string to_text(const Plan& plan);

}  // namespace regroup::algo
