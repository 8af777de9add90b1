// Domain: all shared memory of one member, and what it has mapped of its peers.
//
// Three kinds of own memory, by who may still read it (DATA_PATH.md): the words page and inputs (registered buffers, staged
// copies) live as long as the incarnation; scratch belongs to one epoch, is never written after it and never recycled.
// Spare scratch for the next epoch is made and populated ahead by the memory thread, announced in the words page, and
// mapped ahead by the peers' memory threads, so a view change pays for no page. Nor for freeing any: what belonged to the
// ended epoch or to peers that are gone is freed on the memory thread after the first commit of the new view.
// Threading: create/find/destroy of buffers from any thread; scratch and staging from the holder of the execution token.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/worker.h"
#include "transport/shm/peers.h"
#include "transport/shm/segment.h"
#include "transport/shm/segment_server.h"
#include "transport/shm/words.h"

namespace regroup::shm {

// A segment of ours under its id.
struct Owned {
  std::uint32_t id = 0;
  Segment memory;
};
using OwnedPtr = std::shared_ptr<Owned>;

struct Location {
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
};

class Domain {
 public:
  // `failpoints` may be null, and outlives the domain.
  static Result<std::unique_ptr<Domain>> create(const Incarnation& self, std::uint32_t window, std::size_t small_bytes,
                                                Failpoints* failpoints = nullptr);
  ~Domain();

  [[nodiscard]] WordsPage& words() { return *words_page_; }
  [[nodiscard]] const std::string& socket_name() const { return server_->socket_name(); }

  // The peer's mappings; the same object for the life of the incarnation.
  std::shared_ptr<Peer> peer(const Incarnation& who, const std::string& socket);
  // Lets go of all peers but these.
  void keep_peers(const std::vector<Incarnation>& who);

  // Makes a segment and offers it to peers until the last reference goes (freed on the memory thread).
  // kSmall: it moves to 2 MiB pages later, on the memory thread.
  Result<OwnedPtr> make(const std::string& what, std::size_t bytes, Pages pages = Pages::kSmall);
  // Scratch of at least `bytes` for the current epoch: a spare if one is large enough, else made now.
  Result<OwnedPtr> take_scratch(std::size_t bytes);
  // Keeps `count` spares of `bytes` ready for the next epoch (made on the memory thread).
  void keep_spares(std::size_t count, std::size_t bytes);
  // Maps the peer's announced spares and this segment ahead, on the memory thread.
  void map_ahead(std::shared_ptr<Peer> peer, std::vector<std::uint32_t> segments);

  // Registered memory of the caller.
  Result<void*> allocate(std::size_t bytes);
  Status deallocate(void* memory);
  // Where [at, at + bytes) lies in registered memory; nullopt: it is private.
  [[nodiscard]] std::optional<Location> find(const void* at, std::size_t bytes) const;
  // Runs a job on the memory thread.
  void defer(std::function<void()> job) { worker_.post(std::move(job)); }
  // The same for what only frees memory, once the cores have time for it: not before calm().
  void defer_until_calm(std::function<void()> job);
  // An op has committed after a view change, or the next change has come.
  void calm() {
    if (freeing_waits_.load(std::memory_order_relaxed)) post_freeing();
  }
  // A new incarnation of this member begins: peers that look for it find its name.
  void set_owner(const Incarnation& self) { words_page_->owner = self; }

 private:
  Domain() = default;
  void announce_spares();
  void post_freeing();
  void move_to_huge_pages(const OwnedPtr& owned);
  Failpoints* failpoints_ = nullptr;
  std::atomic<bool> huge_pages_{true};  // to be had, as far as is known
  std::uint32_t next_id_ = kWordsSegment;
  Owned words_;
  WordsPage* words_page_ = nullptr;
  std::unique_ptr<SegmentServer> server_;
  mutable std::mutex mutex_;
  std::map<Incarnation, std::shared_ptr<Peer>> peers_;
  std::map<const std::byte*, OwnedPtr> registered_;  // by address
  std::vector<OwnedPtr> spares_;
  std::vector<std::function<void()>> freeing_;
  std::atomic<bool> freeing_waits_{false};  // freeing_ is not empty
  std::size_t spare_count_ = 0;
  std::size_t spare_bytes_ = 0;
  Worker worker_;  // last: its thread uses the rest
};

}  // namespace regroup::shm
