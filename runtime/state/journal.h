// Journal: the committed results that a joiner holds until it can replay them, in order, without gaps. In memory up to one
// bound, beyond it in a spill store up to another; where that is reached push() says so and the joiner takes a newer
// snapshot (clear()). Pure but for the store, which is an interface. One thread at a time; nothing is lost silently.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace regroup::state {

// What an op did, as an observer needs it. `data`: the whole result, where it is the same at every member (PROTOCOL.md).
struct Entry {
  OpId op = 0;
  Code code = Code::kOk;    // what a decision failed it with; data is empty then
  bool mark = false;        // ends a step
  bool whole = false;       // data is the result that every member holds; false: each member has its own, data is empty
  std::uint32_t contributors = 0;
  std::uint64_t step = 0;   // marks settled, with this op
  std::vector<std::byte> data;
};

class Spill {
 public:
  virtual ~Spill() = default;
  virtual Status write(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  virtual Status read(std::uint64_t offset, std::span<std::byte> bytes) = 0;
};

class Journal {
 public:
  enum class Push : std::uint8_t { kOk, kKnown, kGap, kFull, kStore };  // kKnown: held or taken before; kStore: cannot write
  // spill_bytes 0, or no store: memory only.
  Journal(std::size_t memory_bytes, std::uint64_t spill_bytes, Spill* spill)
      : memory_bytes_(memory_bytes), spill_bytes_(spill == nullptr ? 0 : spill_bytes), spill_(spill) {}

  // Begins anew behind `op`.
  void clear(OpId op);
  Push push(Entry entry);
  // The oldest one, if it is of an op <= limit. An error: the store cannot be read; clear() then.
  Result<std::optional<Entry>> pop(OpId limit);
  [[nodiscard]] OpId last() const { return last_; }    // highest op pushed
  [[nodiscard]] OpId taken() const { return taken_; }  // highest op popped
  [[nodiscard]] std::size_t size() const { return held_.size(); }
  [[nodiscard]] std::size_t memory() const { return memory_; }
  [[nodiscard]] std::uint64_t spilled() const { return spilled_; }
  [[nodiscard]] OpId last_mark() const { return last_mark_; }  // highest mark pushed

 private:
  struct Held {
    Entry entry;
    bool spilled = false;
    std::uint64_t offset = 0, bytes = 0;
  };
  std::size_t memory_bytes_;
  std::uint64_t spill_bytes_;
  Spill* spill_;
  std::deque<Held> held_;
  OpId last_ = 0, taken_ = 0, last_mark_ = 0;
  std::size_t memory_ = 0;
  std::uint64_t spilled_ = 0;   // live bytes in the store
  std::uint64_t spill_end_ = 0; // where the next one goes; back to 0 when the store holds nothing
};

}  // namespace regroup::state
