// The words page of a member: one writer (its owner), read by every peer on the host. Monotonic tags, one line each.
//
// A tag is (epoch, op) in one 64-bit word, so a reader of one epoch never mistakes a word of another, and words rise
// over the whole life of an incarnation. In epoch e a word of an earlier epoch reads as "not yet" (the trim of e is
// known to all). The op lines are a ring over the window: line k % W is written again for op k + W only after k has
// settled here, which means that every member of the view was prepared for k, so nobody reads it any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/ids.h"

namespace regroup::shm {

using Tag = std::uint64_t;
inline constexpr int kOpBits = 40;

inline Tag make_tag(Epoch epoch, OpId op) {
  RG_CHECK(epoch < (1ull << 24) && op < (1ull << kOpBits));
  return epoch << kOpBits | op;
}
inline Epoch epoch_of(Tag tag) { return tag >> kOpBits; }
inline OpId op_of(Tag tag) { return tag & ((1ull << kOpBits) - 1); }
// True when a word says that its owner has reached op in this epoch.
inline bool reached(Tag word, Tag wanted) { return word >= wanted && epoch_of(word) == epoch_of(wanted); }

inline constexpr std::size_t kInlineBytes = 32;
inline constexpr std::size_t kSpares = 8;

// Where a large op's data lies, in the owner's segments. Read once, then checked against what was mapped.
struct Place {
  std::uint32_t input_segment;
  std::uint32_t scratch_segment;
  std::uint64_t input_offset;
  std::uint64_t scratch_offset;
  std::uint64_t scratch_kept;  // non-zero: it is registered memory, which outlives the epoch
};

struct alignas(64) OpLine {
  std::atomic<Tag> ready{0};     // my input of this op may be read
  std::byte desc[24];            // OpDesc, as the executor encodes it
  std::byte body[kInlineBytes];  // inputs up to 32 bytes travel with the flag; of a large op: its Place
};
static_assert(sizeof(OpLine) == 64 && sizeof(Place) <= kInlineBytes);

inline constexpr std::uint64_t kAllEpochs = ~std::uint64_t{0};

struct alignas(64) WordLine {
  std::atomic<Tag> placed{0};    // my shard stands in my scratch
  std::atomic<Tag> prepared{0};  // the whole result stands here
  std::atomic<Tag> released{0};  // I have copied out
  // My memory of the epochs below this may change: nothing that was read of it before this look counts. kAllEpochs:
  // this incarnation is finished.
  std::atomic<std::uint64_t> withdrawn{0};
};
struct alignas(64) SleepLine {
  std::atomic<std::uint32_t> sleeping{0};  // I sleep in the kernel on somebody's word
};
struct alignas(64) SpareLine {
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uint32_t>
      segment[kSpares];  // scratch made ahead for the next epoch, for peers to map ahead; 0: none
};

// The cores that a thread of this member may run on: who is bound to one core is not short of cores while others have theirs.
struct alignas(64) CoreLine {
  std::atomic<std::uint64_t> mask[16] = {};  // core c: bit c % 64 of word c / 64
};

// Head of the words segment; op lines and the data blocks of small ops follow.
struct WordsPage {
  WordLine words;
  SleepLine sleep;
  SpareLine spares;
  CoreLine cores;
  Incarnation owner;
  std::atomic<std::uint32_t> pairs{0};  // segment of my PairDirectory; 0: none yet
  std::atomic<std::uint32_t> device_board{0};  // segment of my DeviceBoard; 0: none, for good
  std::uint32_t window = 0;
  std::uint64_t small_bytes = 0;

  static constexpr std::size_t kHead = 384;
  static std::size_t bytes(std::uint32_t window, std::size_t small_bytes) {
    return kHead + window * (sizeof(OpLine) + small_bytes);
  }
  [[nodiscard]] OpLine& line(OpId op) const {
    return *reinterpret_cast<OpLine*>(base() + kHead + op % window * sizeof(OpLine));
  }
  // Data block of a small op.
  [[nodiscard]] std::byte* block(OpId op) const {
    return base() + kHead + window * sizeof(OpLine) + op % window * small_bytes;
  }

 private:
  [[nodiscard]] std::byte* base() const { return const_cast<std::byte*>(reinterpret_cast<const std::byte*>(this)); }
};
static_assert(sizeof(WordsPage) <= WordsPage::kHead);

}  // namespace regroup::shm
