// Segment: memory that this process owns and peers on the host may read: a memfd, sealed against resizing, populated when
// it is made (a shortage is kNoMemory now and never a SIGBUS later). On 2 MiB pages where they are to be had: where the
// system's setting gives them, or by MADV_COLLAPSE (Linux 6.1), which asks for them whatever the setting is.
// Peers get a read-only descriptor: nobody but the owner can write (a zombie hurts nobody, G7).
// Mapping: a peer's segment, read-only. Both are resources: they move. Any thread; no locks inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace regroup::shm {

// kHuge: 2 MiB pages before create() returns, which takes several times as long. kSmall: whatever the system gives.
enum class Pages : std::uint8_t { kSmall, kHuge };

class Segment {
 public:
  // `bytes` is rounded up to pages (to 2 MiB from 1 MiB on). `what` appears in errors and in /proc.
  static Result<Segment> create(const std::string& what, std::size_t bytes, Pages pages = Pages::kSmall);
  Segment() = default;
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Moves the memory to 2 MiB pages, as much of it as can be; its content stays, and it may be in use meanwhile (who touches
  // a page that is being moved waits). False: some of it stayed, and asking again is not worth it.
  bool use_huge_pages() const;
  [[nodiscard]] int read_only_fd() const { return read_only_.get(); }

 private:
  Fd read_only_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

class Mapping {
 public:
  // Maps a descriptor that a peer sent; its size is the file's. Refuses what is not sealed against shrinking.
  static Result<Mapping> map(Fd fd);
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// True when shared memory of this process really came in 2 MiB pages (read back from smaps).
[[nodiscard]] bool has_huge_pages(const Segment& segment);

}  // namespace regroup::shm
