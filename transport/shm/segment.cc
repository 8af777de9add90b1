#include "transport/shm/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace regroup::shm {
namespace {

constexpr std::size_t kSmallPage = 4096;
constexpr std::size_t kHugePage = 2u << 20;
constexpr int kCollapse = 25;  // MADV_COLLAPSE, unknown to older headers
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Error system_error(const std::string& what, int code) {
  const bool memory = code == ENOMEM || code == ENOSPC || code == EFAULT;
  return {memory ? Code::kNoMemory : Code::kSystem, what + ": " + std::strerror(code)};
}

// What the kernel thinks can still be had without swapping; 0 if unknown.
std::size_t available_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  for (std::size_t kib; in >> key >> kib;) {
    if (key == "MemAvailable:") return kib * 1024;
    in.ignore(16, '\n');
  }
  return 0;
}

}  // namespace

Result<Segment> Segment::create(const std::string& what, std::size_t bytes, Pages pages) {
  const std::size_t page = bytes >= kHugePage / 2 ? kHugePage : kSmallPage;
  const std::size_t size = (bytes + page - 1) / page * page;
  const std::string name = "segment '" + what + "' of " + std::to_string(size) + " bytes";
  if (const std::size_t have = available_bytes(); size > (4u << 20) && have != 0 && size > have)
    return {Code::kNoMemory, name + ": only " + std::to_string(have) + " bytes of memory are available"};
  Fd fd(::memfd_create(("regroup-" + what).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return system_error(name + ": memfd_create", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return system_error(name + ": ftruncate", errno);
  // Aligned to 2 MiB, so that large pages can be used: reserve more, then map over an aligned part of it.
  const std::size_t slack = page == kHugePage ? kHugePage : 0;
  void* reserved = ::mmap(nullptr, size + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return system_error(name + ": mmap", errno);
  const auto base = reinterpret_cast<std::uintptr_t>(reserved);
  const std::uintptr_t aligned = (base + slack) / page * page;
  if (aligned > base) ::munmap(reserved, aligned - base);
  if (const std::size_t tail = base + slack - aligned; tail > 0) ::munmap(reinterpret_cast<void*>(aligned + size), tail);
  void* at = ::mmap(reinterpret_cast<void*>(aligned), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0);
  Segment segment;
  segment.data_ = reinterpret_cast<std::byte*>(aligned);
  segment.size_ = size;
  if (at == MAP_FAILED) return system_error(name + ": mmap", errno);
  if (page == kHugePage) ::madvise(at, size, MADV_HUGEPAGE);  // best effort
  ::madvise(at, size, MADV_DONTFORK);
  if (pages == Pages::kHuge && page == kHugePage) {  // one small page each: an empty file is refused
    for (std::size_t i = 0; i < size; i += kHugePage) const_cast<volatile std::byte&>(segment.data_[i]) = std::byte{0};
    segment.use_huge_pages();
  }
  if (::madvise(at, size, MADV_POPULATE_WRITE) != 0) return system_error(name + ": populate", errno);
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return system_error(name + ": seal", errno);
  segment.read_only_ = Fd(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!segment.read_only_) return system_error(name + ": open read-only", errno);
  return segment;
}

Segment::Segment(Segment&& o) noexcept
    : read_only_(std::move(o.read_only_)), data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}

Segment& Segment::operator=(Segment&& o) noexcept {
  std::swap(read_only_, o.read_only_);
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}

Segment::~Segment() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

bool Segment::use_huge_pages() const {
  if (size_ % kHugePage != 0 || reinterpret_cast<std::uintptr_t>(data_) % kHugePage != 0) return true;  // too small for it
  return ::madvise(data_, size_, kCollapse) == 0;
}

Result<Mapping> Mapping::map(Fd fd) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return system_error("peer segment: fstat", errno);
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return {Code::kRefused, "peer segment: not sealed against shrinking"};
  const auto size = static_cast<std::size_t>(st.st_size);
  if (size == 0) return {Code::kRefused, "peer segment: empty"};
  const std::size_t page = size >= kHugePage ? kHugePage : kSmallPage;
  void* hint = nullptr;
  if (page == kHugePage) {  // find an aligned place for large pages
    void* probe = ::mmap(nullptr, size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe != MAP_FAILED) {
      ::munmap(probe, size + page);
      hint = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(probe) + page - 1) / page * page);
    }
  }
  void* at = ::mmap(hint, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return system_error("peer segment: mmap", errno);
  ::madvise(at, size, MADV_HUGEPAGE);
  ::madvise(at, size, MADV_DONTFORK);
  ::madvise(at, size, MADV_POPULATE_READ);  // best effort: later faults are only slow
  Mapping mapping;
  mapping.data_ = static_cast<const std::byte*>(at);
  mapping.size_ = size;
  return mapping;
}

Mapping::Mapping(Mapping&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& o) noexcept {
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

bool has_huge_pages(const Segment& segment) {
  std::ifstream in("/proc/self/smaps");
  char start[32];
  std::snprintf(start, sizeof start, "%lx-", reinterpret_cast<unsigned long>(segment.data()));
  bool here = false;
  for (std::string line; std::getline(in, line);) {
    if (line.find('-') != line.npos && line.find(':') > line.find(' ')) here = line.starts_with(start);
    if (!here || !line.starts_with("ShmemPmdMapped:")) continue;
    return std::stoul(line.substr(line.find(':') + 1)) > 0;
  }
  return false;
}

}  // namespace regroup::shm
