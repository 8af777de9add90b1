// UCX as a way for the frames of links (tcp::Lanes): what the runtime sees of this room.
//
// A link stays a socket of ours: it authenticates, carries the addresses of UCX's workers, and its end or silence is how a
// lost peer is noticed, so that nothing hangs on what UCX notices (shared memory in UCX has no failure handler).
// Frames travel as active messages of a worker that lives for one epoch. The end of the epoch ends it, or where UCX cannot
// bear that retires it: nobody progresses it any more. Endpoints, keys and UCX's own queues end with it; nothing that was
// on its way can come afterwards, nor is memory of the epoch looked at (G7). Nobody writes into a peer's buffers: large
// frames are fetched (get) where the transport in use can, else sent in fragments. Which of UCX's transports are used is
// UCX's own business: UCX_TLS, UCX_NET_DEVICES. UCX's sockets and shared memory know no secret: what reaches a worker is
// accepted if it carries the epoch's random key.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "transport/tcp/conn.h"

namespace regroup::ucx {

// One for each LinkSet. `host`: a numeric address of ours, where UCX listens too. `rails`: over how many devices UCX may spread
// a payload; 0: its own setting (UCX_MAX_EAGER_RAILS, UCX_MAX_RNDV_RAILS). kUnsupported: built without UCX, or libucp.so.0 is
// missing or older than 1.13 (says which).
[[nodiscard]] Result<std::shared_ptr<tcp::Lanes>> open_lanes(std::uint64_t group, const std::string& host, std::uint32_t rails = 0);

}  // namespace regroup::ucx
