#include "ft/driver/death_page.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/check.h"
#include "ft/driver/net.h"

namespace regroup {
namespace {

// glibc keeps the futex word, which the kernel marks, at the beginning of the mutex.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

std::uint32_t word_of(const DeathSlot& slot) {
  return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(&slot.mutex), __ATOMIC_ACQUIRE);
}

void init_slot(DeathSlot& slot) {
  pthread_mutexattr_t attr;
  RG_CHECK(::pthread_mutexattr_init(&attr) == 0);
  RG_CHECK(::pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
  RG_CHECK(::pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
  RG_CHECK(::pthread_mutex_init(&slot.mutex, &attr) == 0);
  ::pthread_mutexattr_destroy(&attr);
}

Result<Fd> make_memfd(const char* name, std::size_t slots) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto bytes = static_cast<off_t>(slots * sizeof(DeathSlot));
  if (!fd || ::ftruncate(fd.get(), bytes) != 0 || ::fallocate(fd.get(), 0, 0, bytes) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return net::system_error("cannot make the page of death words", errno);
  return fd;
}

}  // namespace

DeathReading read_slot(const DeathSlot& slot) {
  // The word last: a slot that is given to a new incarnation in between shows that incarnation to a second read.
  DeathReading r;
  r.inc = {slot.inc_hi.load(std::memory_order_acquire), slot.inc_lo.load(std::memory_order_acquire)};
  r.pid = slot.pid.load(std::memory_order_relaxed);
  const std::uint32_t word = word_of(slot);
  r.died = (word & FUTEX_OWNER_DIED) != 0;
  r.alive = (word & FUTEX_TID_MASK) != 0 && !r.died;
  return r;
}

bool is_alive(const DeathSlot& slot, const Incarnation& inc) {
  const DeathReading r = read_slot(slot);
  return r.alive && r.inc == inc;
}

bool begin_life(DeathSlot& slot, const Incarnation& inc) {
  const int locked = ::pthread_mutex_trylock(&slot.mutex);
  if (locked == EBUSY) return false;
  RG_CHECK(locked == 0 || locked == EOWNERDEAD);
  if (locked == EOWNERDEAD) RG_CHECK(::pthread_mutex_consistent(&slot.mutex) == 0);  // a life before this one
  slot.pid.store(static_cast<std::int32_t>(::getpid()), std::memory_order_relaxed);
  slot.inc_hi.store(inc.hi, std::memory_order_release);
  slot.inc_lo.store(inc.lo, std::memory_order_release);
  return true;
}

void end_life(DeathSlot& slot) { RG_CHECK(::pthread_mutex_unlock(&slot.mutex) == 0); }

SlotMap::~SlotMap() {
  if (at_ != nullptr) ::munmap(at_, bytes_);
}

Result<SlotMap> SlotMap::map(int fd, bool writable) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return net::system_error("cannot look at the page of death words", errno);
  const int seals = ::fcntl(fd, F_GET_SEALS);
  const auto bytes = static_cast<std::size_t>(st.st_size);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || bytes == 0 || bytes % sizeof(DeathSlot) != 0)
    return {Code::kConfig, "this descriptor is not a page of death words"};
  SlotMap m;
  void* at = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return net::system_error("cannot map the page of death words", errno);
  ::madvise(at, bytes, MADV_DONTFORK);  // a child must not look alive for its parent
  m.at_ = at;
  m.bytes_ = bytes;
  m.count_ = bytes / sizeof(DeathSlot);
  return m;
}

Result<DeathPage> DeathPage::create() {
  auto fd = make_memfd("regroup-death", 1);
  if (!fd) return fd.error();
  auto map = SlotMap::map(fd->get(), true);
  if (!map) return map.error();
  DeathPage page;
  page.map_ = std::move(*map);
  init_slot(page.slot());
  page.read_only_.reset(::open(("/proc/self/fd/" + std::to_string(fd->get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!page.read_only_) return net::system_error("cannot open the page of death words for reading", errno);
  return page;
}

Result<DeathTable> DeathTable::create(std::size_t n) {
  auto fd = make_memfd("regroup-deaths", n);
  if (!fd) return fd.error();
  auto map = SlotMap::map(fd->get(), true);
  if (!map) return map.error();
  DeathTable table;
  table.map_ = std::move(*map);
  table.fd_ = std::move(*fd);
  for (std::size_t i = 0; i < n; ++i) init_slot(table.slot(i));
  return table;
}

Result<DeathTable> DeathTable::inherited() {
  const char* text = std::getenv(kVariable);
  if (text == nullptr || *text == '\0') return {Code::kUnavailable, "no table of death words"};
  int fd = -1;
  const char* end = text + std::strlen(text);
  const auto [at, ec] = std::from_chars(text, end, fd);
  auto map = ec == std::errc() && at == end ? SlotMap::map(fd, true) : Result<SlotMap>(Code::kConfig, "not a number");
  if (!map) return {Code::kConfig, std::string(kVariable) + "=" + text + ": " + map.error().detail};
  DeathTable table;
  table.map_ = std::move(*map);
  return table;
}

void DeathTable::reset(std::size_t rank) {
  DeathSlot& s = map_.slot(rank);
  s.inc_hi.store(0, std::memory_order_release);
  s.inc_lo.store(0, std::memory_order_release);
  s.pid.store(0, std::memory_order_relaxed);
}

}  // namespace regroup
