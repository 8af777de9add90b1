// Silence: which peers' kernels do not answer. Looked at while somebody waits for frames, a few times in a suspicion time.
//
// A peer that does not run, or does not read, is not silent: its kernel answers for it, and what becomes of it is the
// detector's business. A link on which nothing waits for an answer gets a probe, so that all links to a host that is cut
// off fall silent together and are accused together. Counts only time in which we looked.
#include <algorithm>

#include "transport/tcp/link.h"

namespace regroup::tcp {

Outgoing LinkSet::probe() const {
  Outgoing out;
  out.frame.type = kProbe;
  wire::fill(out.frame, {});
  return out;
}

void LinkSet::watch(Instant at) {
  const Duration pace = options_.suspicion / 10, gap = at - watched_;
  if (gap < pace) return;
  const bool first = watched_ == Instant{} || gap > options_.suspicion;  // of a wait: what was before is not held against anybody
  watched_ = at;
  for (Link* link : peers_) {
    if (link == nullptr || link->phase != Link::Phase::kUp) continue;
    const Answers got = answers(link->conn->fd());
    if (first || !got.owed) link->answered = at;
    else if (gap > pace * 2) link->answered = std::min(at, link->answered + (gap - pace * 2));
    link->answered = std::max(link->answered, Instant{at.ns - got.since.ns});
    link->waits = got.waiting ? link->waits + 1 : 0;
    // Twice, for what was sent a moment ago, after a long silence of ours, has its answer under way.
    if (link->waits > 1 && at - link->answered >= options_.suspicion) {
      link->why = "no acknowledgement for " + std::to_string((at - link->answered).ns / 1'000'000) + " ms";
      link->unreachable = true;
      ++counters_.truncated;
      closed(*link);
    } else if (!got.owed && at >= link->probe_after && !link->conn->write_blocked()) {
      link->probe = true;
      link->probe_after = at + options_.suspicion / 4;
    }
  }
}

std::vector<std::size_t> LinkSet::out_of_reach() const {
  std::vector<std::size_t> peers;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const Link* link = peers_[i];
    if (link == nullptr) continue;
    const bool silent = link->phase == Link::Phase::kUp && link->waits > 1 && watched_ - link->answered >= options_.suspicion * 7 / 10;
    if (link->unreachable || silent) peers.push_back(i);
  }
  return peers;
}

}  // namespace regroup::tcp
