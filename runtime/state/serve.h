// The holder's side of one connection of a joiner: data or feed (wire.h). Returns when the joiner goes, the snapshot ends or
// the group closes. On a thread of its own, of low priority: collectives come first.
#pragma once

#include <atomic>
#include <vector>

#include "runtime/state/holder.h"
#include "runtime/state/stream.h"

namespace regroup::state {

// `open`: the payload of the first frame, a table (kOpen) or a FollowAsk (kFollow).
void serve_data(Stream& stream, Holder& holder, std::span<const std::byte> open, const std::atomic<bool>& stop);
void serve_feed(Stream& stream, Holder& holder, std::span<const std::byte> open, const std::atomic<bool>& stop);
// Of the calling thread.
void yield_to_collectives();

}  // namespace regroup::state
