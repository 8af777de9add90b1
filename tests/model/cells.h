// Cells: symbolic memory. A cell holds which incarnation's input of which op it is made of, and how often.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "tests/model/bounds.h"
#include "tests/model/bytes.h"

namespace regroup::model {

struct Cell {
  std::uint8_t op = 0;      // 0: nothing yet; kForeign: bytes that belong to no op
  std::uint8_t counts = 0;  // two bits a slot: how often its input is in here
  static constexpr std::uint8_t kForeign = 255;

  static Cell input(int slot, std::uint8_t op) { return {op, static_cast<std::uint8_t>(1u << (2 * slot))}; }
  static Cell foreign() { return {kForeign, 0}; }
  // What a fold over the members of `mask` must be.
  static Cell whole(unsigned mask, std::uint8_t op) {
    Cell c{op, 0};
    for (int s = 0; s < kMaxSlots; ++s)
      if (mask >> s & 1) c.counts = static_cast<std::uint8_t>(c.counts + (1u << (2 * s)));
    return c;
  }
  void fold(const Cell& other) {
    if (op != other.op)
      *this = foreign();
    else
      counts = static_cast<std::uint8_t>(counts + other.counts);
  }
  [[nodiscard]] Cell renamed(const Renaming& names) const {
    Cell c{op, 0};
    for (int s = 0; s < kMaxSlots; ++s)
      c.counts = static_cast<std::uint8_t>(c.counts | (counts >> (2 * s) & 3) << (2 * names.slot(s)));
    return c;
  }
  [[nodiscard]] std::uint16_t word() const { return static_cast<std::uint16_t>(op << 8 | counts); }
  static Cell from(std::uint64_t word) {
    return {static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
  }
  bool operator==(const Cell&) const = default;
};

inline constexpr int kMaxScratch = 4;
inline constexpr int kMaxOps = 4;

// What a member shows to its peers in one epoch. One writer; survives its writer (a mapping, or frames in flight).
struct Page {
  std::uint8_t ready = 0, placed = 0, prepared = 0, released = 0;
  bool withdrawn = false;
  std::uint8_t odd = 0;  // bit of each op whose digest is not the right one
  std::array<Cell, kMaxScratch> scratch{};
  // Network, after the writer's death: how much of the words still reaches slot s; the rest of its frames is lost.
  struct Reach {
    std::uint8_t ready = 255, placed = 255, prepared = 255;
    bool operator==(const Reach&) const = default;
  };
  std::array<Reach, kMaxSlots> reach{};
};

// How an op ended at a member.
struct Outcome {
  enum Kind : std::uint8_t { kOpen, kCommitted, kFailed };
  std::uint8_t kind = kOpen;
  std::uint8_t epoch = 0;  // committed: of the view that committed it
  std::uint8_t mask = 0;   // committed: the slots of that view; failed: the code
  bool operator==(const Outcome&) const = default;
};

}  // namespace regroup::model
