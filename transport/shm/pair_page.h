// The page of a member for one other member: messages between the two. One writer (its owner), read by that peer alone.
//
// Numbers rise over the life of the pair (of incarnations), whatever the epoch; who reads a page checks that it is of
// the two that it thinks of. Slot n % kPairSlots is written again for n + kPairSlots only when the reader has released
// n.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "transport/shm/words.h"

namespace regroup::shm {

inline constexpr std::uint64_t kPairSlots = 16;        // messages in flight, each direction
inline constexpr std::size_t kPairInlineBytes = 2048;  // up to here a message stands in the page

struct alignas(64) PairSlot {  // of a message that I send
  std::uint64_t count;
  std::uint64_t offset;  // in `segment`
  std::uint32_t type;
  std::uint32_t verdict;  // Code: I have no memory for it
  std::uint32_t segment;  // 0: it stands inline
};

struct PairPage {
  Incarnation owner, peer;
  struct alignas(64) {
    std::atomic<std::uint64_t> sent{0};     // my messages up to here stand
    std::atomic<std::uint64_t> settled{0};  // and are committed here up to here
  } sender;
  struct alignas(64) {
    std::atomic<std::uint64_t> prepared{0};  // I have the peer's messages up to here, or a verdict on them
    std::atomic<std::uint64_t> released{0};  // and need its memory no more
    std::uint32_t verdict[kPairSlots] = {};  // Code, of prepared ones; before `prepared`
  } receiver;
  alignas(64) std::atomic<Tag> bell{0};  // rises with everything above: what the peer sleeps on
  PairSlot slots[kPairSlots] = {};
  std::byte inlined[kPairSlots][kPairInlineBytes];
};

// Where a member's pages are, by replica of the peer: ids of its segments, 0: none. Found by WordsPage::pairs.
using PairDirectory = std::atomic<std::uint32_t>;

}  // namespace regroup::shm
