// What the rooms of the shared-memory plane have in common: descriptors as they lie in an op line, ends of a run that
// are not kPrepared, and the template of a wait for everybody's word. Included by shm_plane.cc, shm_small.cc,
// shm_waist.cc and device_plane.cc only.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "runtime/exec/shm_plane.h"

namespace regroup::shm_detail {

inline void put_desc(std::byte* at, const OpDesc& d) {
  const std::uint8_t head[4] = {static_cast<std::uint8_t>(d.kind), static_cast<std::uint8_t>(d.type),
                                static_cast<std::uint8_t>(d.reduce), d.flags};
  std::memcpy(at, head, 4);
  std::memcpy(at + 4, &d.root, 4);
  std::memcpy(at + 8, &d.count, 8);
  std::memcpy(at + 16, &d.seen_epoch, 8);
}

inline bool same_desc(const std::byte* at, const OpDesc& d) {
  std::byte mine[24];
  put_desc(mine, d);
  return std::memcmp(at, mine, sizeof mine) == 0;
}

inline RunResult mismatch(std::size_t peer, const std::byte* theirs, OpDesc mine) {
  RunResult result;
  result.state = RunState::kMismatch;
  result.other = peer;
  std::memcpy(&mine.seen_epoch, theirs + 16, 8);
  result.stale_epoch = same_desc(theirs, mine);
  return result;
}

// What the peer gives and what I take of it differ in size.
inline RunResult differ(std::size_t peer) {
  RunResult result(RunState::kMismatch);
  result.other = peer;
  return result;
}

inline RunResult broken(std::size_t peer, std::string detail, bool ban_shared) {
  RunResult result;
  result.state = RunState::kBroken;
  result.other = peer;
  result.ban_shared = ban_shared;
  result.detail = std::move(detail);
  return result;
}

}  // namespace regroup::shm_detail

namespace regroup {

template <class WordOf>
bool ShmPlane::wait_all(OpId op, WordOf word_of, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op);
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && !wait_word(word_of(*peers_[i].page), false, tag, context, &exchange_)) return false;
  return true;
}

}  // namespace regroup
