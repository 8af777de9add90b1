// Peers: maps the segments of other members of this host. A descriptor is asked for over an abstract unix socket
// (SCM_RIGHTS), which exists only inside one network namespace: who cannot be reached, or whose segment cannot be opened,
// is not on this host, whatever its name says. Every call is bounded. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "transport/shm/segment.h"

namespace regroup::shm {

inline constexpr std::uint32_t kWordsSegment = 1;  // every member's words page; 0 is no segment

class Peer {
 public:
  // `failpoints` may be null, and outlives the peer.
  Peer(Incarnation who, std::string socket, Failpoints* failpoints = nullptr)
      : who_(who), socket_(std::move(socket)), failpoints_(failpoints) {}
  // The mapping of one of its segments; stays valid until forget(id) or destruction. Asks the owner once.
  Result<const Mapping*> map(std::uint32_t segment);
  void forget(std::uint32_t segment);
  [[nodiscard]] const Incarnation& who() const { return who_; }

 private:
  Result<Fd> ask(std::uint32_t segment);
  Incarnation who_;
  std::string socket_;
  Failpoints* failpoints_;
  std::mutex mutex_;
  Fd connection_;
  std::map<std::uint32_t, Mapping> mappings_;
};

}  // namespace regroup::shm
