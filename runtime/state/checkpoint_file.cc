#include "runtime/state/checkpoint_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace regroup::state {
namespace {

constexpr std::uint64_t kMagic = 0x3130'5450'4b43'4752;  // "RGCKPT01"
constexpr std::uint64_t kMaxHeadBytes = 16u << 20;
constexpr std::uint32_t kMaxBlobs = 65536;
constexpr std::uint64_t kFlushBytes = 32u << 20;  // handed to the disk as we go, so that the end is no burst

Status failed(const char* what, int error) { return {Code::kSystem, std::string(what) + ": " + std::strerror(error)}; }

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status read_at(int fd, std::uint64_t at, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? failed("read", errno) : Status(Code::kConfig, "truncated");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

std::vector<std::byte> encode(const CheckpointHead& head) {
  Writer w;
  w.text(head.job);
  head.table.encode(w);
  w.u64(head.step);
  w.u32(static_cast<std::uint32_t>(head.blobs.size()));
  for (const SavedBlob& b : head.blobs) w.text(b.name), w.text({reinterpret_cast<const char*>(b.bytes.data()), b.bytes.size()});
  return w.take();
}

std::optional<CheckpointHead> decode(std::span<const std::byte> bytes) {
  Reader r(bytes);
  CheckpointHead head;
  head.job = r.text(255);
  Result<StripeTable> table = StripeTable::decode(r);
  if (!table) return std::nullopt;
  head.table = std::move(*table);
  head.step = r.u64();
  const std::uint32_t blobs = r.count(kMaxBlobs);
  for (std::uint32_t i = 0; i < blobs && r.ok(); ++i) {
    SavedBlob b;
    b.name = r.text(255);
    const std::string text = r.text(kMaxHeadBytes);
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    b.bytes.assign(data, data + text.size());
    head.blobs.push_back(std::move(b));
  }
  if (!r.done()) return std::nullopt;
  return head;
}

std::uint64_t stripes_at(const CheckpointHead& head) { return 16 + encode(head).size() + 8; }
Error damaged(const std::string& name, const std::string& what) { return {Code::kConfig, "checkpoint " + name + ": " + what}; }

}  // namespace

Status write_checkpoint(int fd, const CheckpointHead& head, const StripeSource& source) {
  const std::vector<std::byte> text = encode(head);
  if (text.size() > kMaxHeadBytes) return {Code::kNoMemory, "the names and blobs of the state are over 16 MiB"};
  Writer begin;
  begin.u64(kMagic), begin.u64(text.size());
  Writer sum;
  sum.u64(digest_of(text));
  for (const std::span<const std::byte> part : {begin.bytes(), std::span<const std::byte>(text), sum.bytes()})
    if (Status s = write_all(fd, part); !s) return s;
  Writer digests;
  std::vector<std::byte> stripe;
  std::uint64_t written = 0, flushed = 0;
  for (std::uint32_t i = 0; i < head.table.size(); ++i) {
    stripe.resize(head.table[i].bytes);
    if (Status s = source(i, stripe); !s) return s;
    digests.u64(digest_of(stripe));
    if (Status s = write_all(fd, stripe); !s) return s;
    written += stripe.size();
    if (written - flushed < kFlushBytes) continue;
    (void)::sync_file_range(fd, static_cast<off_t>(flushed), static_cast<off_t>(written - flushed), SYNC_FILE_RANGE_WRITE);
    flushed = written;
  }
  Writer end;
  end.u64(digest_of(digests.bytes()));
  for (const std::span<const std::byte> part : {digests.bytes(), end.bytes()})
    if (Status s = write_all(fd, part); !s) return s;
  if (::fsync(fd) != 0) return failed("fsync", errno);
  return {};
}

Result<CheckpointHead> read_head(int fd, const std::string& name) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return failed("stat", errno).error();
  const auto size = static_cast<std::uint64_t>(st.st_size);
  std::vector<std::byte> begin(16);
  if (size < 24 || !read_at(fd, 0, begin).ok()) return damaged(name, "truncated: " + std::to_string(size) + " bytes");
  Reader r(begin);
  if (r.u64() != kMagic) return damaged(name, "is none");
  const std::uint64_t bytes = r.u64();
  if (bytes > kMaxHeadBytes) return damaged(name, "its head is damaged");
  if (size < 24 + bytes) return damaged(name, "truncated: " + std::to_string(size) + " bytes");
  std::vector<std::byte> text(bytes), sum(8);
  if (Status s = read_at(fd, 16, text); !s) return s.error();
  if (Status s = read_at(fd, 16 + bytes, sum); !s) return s.error();
  if (Reader(sum).u64() != digest_of(text)) return damaged(name, "its head is damaged");
  std::optional<CheckpointHead> head = decode(text);
  if (!head) return damaged(name, "its head is damaged");
  const std::uint64_t whole = 24 + bytes + head->table.bytes() + 8ull * head->table.size() + 8;
  if (size != whole)
    return damaged(name, (size < whole ? "truncated: " : "too long: ") + std::to_string(size) + " of " + std::to_string(whole) + " bytes");
  return std::move(*head);
}

Status load_checkpoint(int fd, const std::string& name, const CheckpointHead& head, std::span<const StateBuffer> state) {
  const StripeTable& table = head.table;
  const std::uint64_t first = stripes_at(head);
  std::vector<std::byte> digests(8ull * table.size()), end(8);
  if (Status s = read_at(fd, first + table.bytes(), digests); !s) return s;
  if (Status s = read_at(fd, first + table.bytes() + digests.size(), end); !s) return s;
  if (Reader(end).u64() != digest_of(digests)) return damaged(name, "its digests are damaged");
  std::vector<std::byte> aside;
  for (const bool fill : {false, true}) {  // nothing of a damaged one is used
    Reader r(digests);
    std::uint64_t at = first;
    for (std::uint32_t i = 0; i < table.size(); ++i) {
      const Stripe& s = table[i];
      aside.resize(s.bytes);
      const std::span<std::byte> into =
          fill ? std::span(static_cast<std::byte*>(state[s.tensor].data) + s.offset, s.bytes) : std::span(aside);
      if (Status got = read_at(fd, at, into); !got) return got;
      if (digest_of(into) != r.u64()) return damaged(name, "'" + table.tensors()[s.tensor].name + "' is damaged: its digest differs");
      at += s.bytes;
    }
  }
  return {};
}

}  // namespace regroup::state
