#include "transport/shm/domain.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "transport/shm/cores.h"

namespace regroup::shm {

Result<std::unique_ptr<Domain>> Domain::create(const Incarnation& self, std::uint32_t window, std::size_t small_bytes,
                                               Failpoints* failpoints) {
  std::unique_ptr<Domain> domain(new Domain);
  domain->failpoints_ = failpoints;
  Result<Segment> memory = Segment::create("words", WordsPage::bytes(window, small_bytes));
  if (!memory) return memory.error();
  domain->words_ = Owned{kWordsSegment, std::move(*memory)};
  domain->words_page_ = new (domain->words_.memory.data()) WordsPage;
  domain->words_page_->owner = self;
  domain->words_page_->window = window;
  domain->words_page_->small_bytes = small_bytes;
  add_own_cores(domain->words_page_->cores);
  for (OpId op = 0; op < window; ++op) new (&domain->words_page_->line(op)) OpLine{};
  Result<std::unique_ptr<SegmentServer>> server = SegmentServer::start(self);
  if (!server) return server.error();
  domain->server_ = std::move(*server);
  domain->server_->add(kWordsSegment, domain->words_.memory.read_only_fd());
  return domain;
}

Domain::~Domain() {
  worker_.stop();
  freeing_.clear();
  registered_.clear(), spares_.clear();  // their last references use the worker
}

std::shared_ptr<Peer> Domain::peer(const Incarnation& who, const std::string& socket) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Peer>& peer = peers_[who];
  if (!peer) peer = std::make_shared<Peer>(who, socket, failpoints_);
  return peer;
}

void Domain::keep_peers(const std::vector<Incarnation>& who) {
  std::vector<std::shared_ptr<Peer>> gone;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(peers_, [&](auto& entry) {
      const bool stays = std::find(who.begin(), who.end(), entry.first) != who.end();
      if (!stays) gone.push_back(std::move(entry.second));
      return !stays;
    });
  }
  if (!gone.empty()) defer_until_calm([gone = std::move(gone)] {});  // unmapped with the job
}

void Domain::defer_until_calm(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  freeing_.push_back(std::move(job));
  freeing_waits_.store(true, std::memory_order_relaxed);
}

void Domain::post_freeing() {
  std::vector<std::function<void()>> jobs;
  {
    std::lock_guard lock(mutex_);
    jobs.swap(freeing_);
    freeing_waits_.store(false, std::memory_order_relaxed);
  }
  for (std::function<void()>& job : jobs) worker_.post(std::move(job));
}

Result<OwnedPtr> Domain::make(const std::string& what, std::size_t bytes, Pages pages) {
  Result<Segment> memory = Segment::create(what, bytes, pages);
  if (!memory) return memory.error();
  auto* owned = new Owned{0, std::move(*memory)};
  {
    std::lock_guard lock(mutex_);
    owned->id = ++next_id_;
  }
  server_->add(owned->id, owned->memory.read_only_fd());
  // Freeing tens of MiB takes milliseconds: not on the thread that drops the last reference.
  OwnedPtr made(owned, [this](Owned* gone) {
    server_->remove(gone->id);
    worker_.post([held = std::shared_ptr<Owned>(gone)] {});  // a job that is dropped lets go too
  });
  if (pages == Pages::kSmall) move_to_huge_pages(made);
  return made;
}

void Domain::move_to_huge_pages(const OwnedPtr& owned) {
  if (!huge_pages_.load(std::memory_order_relaxed)) return;
  defer([this, weak = std::weak_ptr<Owned>(owned)] {
    const OwnedPtr held = weak.lock();
    if (held && !held->memory.use_huge_pages()) huge_pages_.store(false, std::memory_order_relaxed);
  });
}

Result<OwnedPtr> Domain::take_scratch(std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    auto fits = std::find_if(spares_.begin(), spares_.end(), [&](const OwnedPtr& s) { return s->memory.size() >= bytes; });
    if (fits != spares_.end()) {
      OwnedPtr taken = std::move(*fits);
      spares_.erase(fits);
      return taken;
    }
  }
  return make("scratch", bytes);
}

void Domain::keep_spares(std::size_t count, std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    spare_count_ = std::min(count, kSpares);
    spare_bytes_ = bytes;
  }
  defer([this] {
    for (;;) {
      std::size_t bytes_wanted;
      {
        std::lock_guard lock(mutex_);
        std::erase_if(spares_, [&](const OwnedPtr& s) { return s->memory.size() < spare_bytes_; });
        if (spares_.size() >= spare_count_) break;
        bytes_wanted = spare_bytes_;
      }
      Result<OwnedPtr> spare = make("spare", bytes_wanted);
      if (!spare) break;  // a shortage is reported when scratch is really needed
      std::lock_guard lock(mutex_);
      spares_.push_back(std::move(*spare));
    }
    announce_spares();
  });
}

void Domain::announce_spares() {
  std::lock_guard lock(mutex_);
  SpareLine& line = words_page_->spares;
  for (std::size_t i = 0; i < kSpares; ++i)
    line.segment[i].store(i < spares_.size() ? spares_[i]->id : 0, std::memory_order_relaxed);
  line.version.fetch_add(1, std::memory_order_release);
}

void Domain::map_ahead(std::shared_ptr<Peer> peer, std::vector<std::uint32_t> segments) {
  defer([peer = std::move(peer), segments = std::move(segments)] {
    for (std::uint32_t id : segments)
      if (id != 0) (void)peer->map(id).ok();  // failing here only costs the executor a call later
  });
}

Result<void*> Domain::allocate(std::size_t bytes) {
  Result<OwnedPtr> owned = make("buffer", std::max<std::size_t>(bytes, 1), Pages::kHuge);
  if (!owned) return owned.error();
  std::lock_guard lock(mutex_);
  std::byte* at = (*owned)->memory.data();
  registered_[at] = std::move(*owned);
  return static_cast<void*>(at);
}

Status Domain::deallocate(void* memory) {
  OwnedPtr gone;
  std::lock_guard lock(mutex_);
  auto it = registered_.find(static_cast<std::byte*>(memory));
  if (it == registered_.end()) return {Code::kInvalid, "deallocate: this address was not allocated here"};
  gone = std::move(it->second);  // freed on the memory thread, when the last reader of ours has let go
  registered_.erase(it);
  return {};
}

std::optional<Location> Domain::find(const void* at, std::size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(at);
  std::lock_guard lock(mutex_);
  auto it = registered_.upper_bound(begin);
  if (it == registered_.begin()) return std::nullopt;
  const Owned& owned = *std::prev(it)->second;
  const auto offset = static_cast<std::size_t>(begin - owned.memory.data());
  if (offset >= owned.memory.size() || bytes > owned.memory.size() - offset) return std::nullopt;
  return Location{owned.id, offset};
}

}  // namespace regroup::shm
