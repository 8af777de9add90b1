// PairMessage: one send or recv, from its call to its end at this member. PairBook: with whom messages are exchanged.
//
// Ownership: a message belongs to its op; the book, and everything of a message but what the call gave, to the holder
// of the execution token. Both outlive planes: the counts of a pair hold from epoch to epoch (ft/core/pair_counter.h),
// and a message that a receiver has prepared keeps its bytes (`held`) whatever plane brought them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "base/dtype.h"
#include "base/ids.h"
#include "base/result.h"
#include "ft/core/pair_counter.h"
#include "ft/core/view.h"

namespace regroup {

// The other end of a pair, as one incarnation of it.
struct PairEnd {
  MemberId id;
  Incarnation inc;
  Epoch since = 0;  // the first epoch that it was in with us
  PairCounter counter;
};

struct PairMessage {
  // Of the call.
  bool send = false;
  MemberId peer;
  DataType type = DataType::kU8;
  std::uint64_t count = 0;
  const std::byte* in = nullptr;  // send
  std::byte* out = nullptr;       // recv
  Epoch seen_epoch = 0;           // that the caller last saw
  [[nodiscard]] std::size_t bytes() const { return count * size_of(type); }

  std::atomic<bool> cancel{false};  // asked for, by any thread

  // Of the pair, from when it is first looked at.
  bool bound = false;
  std::shared_ptr<PairEnd> pair;  // null: the peer is not who the caller saw
  std::uint64_t number = 0;

  // How far it is.
  Epoch epoch = 0;           // in which it was last worked on
  bool prepared = false;     // recv: the bytes stand at `data`, or the verdict is known
  Code verdict = Code::kOk;  // of the receiver; kMismatch, kNoMemory
  std::shared_ptr<const void> held;
  const std::byte* data = nullptr;
  bool done = false;        // settled, or committed
  std::uint32_t stage = 0;  // NetPairs: in this epoch
};

class PairBook {
 public:
  // A view was installed: pairs with who is not in it have ended.
  void enter(const View& view, std::size_t self) {
    for (const MemberInfo& m : view.members)
      if (m.inc != view.members[self].inc && !ends_.contains(m.inc))
        ends_[m.inc] = std::make_shared<PairEnd>(PairEnd{m.id, m.inc, view.epoch, {}});
    std::erase_if(ends_, [&](auto& entry) {
      if (view.contains(entry.first)) return false;
      entry.second->counter.end();
      return true;
    });
  }
  [[nodiscard]] std::shared_ptr<PairEnd> with(const Incarnation& inc) const {
    const auto it = ends_.find(inc);
    return it == ends_.end() ? nullptr : it->second;
  }
  [[nodiscard]] const std::map<Incarnation, std::shared_ptr<PairEnd>>& ends() const { return ends_; }
  // Something was settled here that the other end must hear of in a new epoch, whether or not anything is pending.
  [[nodiscard]] bool owes() const {
    for (const auto& [inc, end] : ends_)
      if (end->counter.settled() != 0) return true;
    return false;
  }

 private:
  std::map<Incarnation, std::shared_ptr<PairEnd>> ends_;
};

}  // namespace regroup
