// How `prepared` travels: to every peer; or among many members by dissemination, each telling those 1, 2, 4, ... places on
// what it knows of as many members up to itself, so that ceil(log2 n) frames a member bring everybody's word to all. What is
// passed on is an observation of a word that only rises: as good as the word itself, and of no use to a later epoch.
#include <algorithm>
#include <bit>

#include "runtime/exec/net_plane.h"

namespace regroup {

void NetPlane::lay_ways() {
  const std::size_t n = peers_.size();
  if (!algo::passes_prepared_on(n, config_.rules)) {
    for (PeerState& p : peers_) p.relayed = 1;
    return;
  }
  for (std::size_t far = 1; far < n; far *= 2) peers_[(self_ + far) % n].relayed = static_cast<std::uint32_t>(far);
}

// After any word that I know has risen.
void NetPlane::tell_prepared() {
  const std::size_t n = peers_.size();
  OpId least = announce_;  // of myself and those before me
  for (std::size_t covers = 1; covers < n; ++covers) {
    if (covers > 1) least = std::min(least, peers_[(self_ + n - (covers - 1)) % n].prepared_seen);
    PeerState& p = peers_[(self_ + covers) % n];
    if (std::has_single_bit(covers) && p.relayed == covers) p.prepared_due = std::max(p.prepared_due, least);
  }
  for (std::size_t i = 0; i < n; ++i)
    if (peers_[i].relayed == 1) peers_[i].prepared_due = std::max(peers_[i].prepared_due, announce_);
}

// False: it speaks of more members than there are.
bool NetPlane::hear_prepared(std::size_t peer, const wire::Frame& frame) {
  const std::size_t n = peers_.size();
  if (frame.chunk == 0 || frame.chunk >= n) return false;
  bool news = false;
  for (std::size_t k = 0; k < frame.chunk; ++k) {
    PeerState& p = peers_[(peer + n - k) % n];
    if (p.prepared_seen >= frame.op) continue;
    p.prepared_seen = frame.op;
    news = true;
  }
  if (news) tell_prepared();
  return true;
}

}  // namespace regroup
