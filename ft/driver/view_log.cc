#include "ft/driver/view_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/rng.h"
#include "ft/driver/codec.h"
#include "ft/driver/net.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

// File: header (kHeaderBytes), then records. Record: u32 payload bytes, u32 checksum of that length, u64 checksum of
// the payload, payload. The length has a checksum of its own, so that a corrupt one is not taken for a torn record.
constexpr std::uint32_t kMagic = 0x4c564752;  // "RGVL"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 512;
constexpr std::size_t kRecordHeader = 16;
constexpr std::size_t kMaxGroup = 255;
constexpr std::uint64_t kMaxFileBytes = 1u << 30;

std::uint32_t length_sum(std::uint32_t length) {
  Writer w;
  w.u32(length);
  return static_cast<std::uint32_t>(wire::checksum(w.bytes())) ^ kMagic;
}

std::vector<std::byte> header_bytes(LogId id, const std::string& group) {
  Writer w;
  w.u32(kMagic);
  w.u32(kVersion);
  w.u64(id);
  w.text(group);
  std::vector<std::byte> bytes = w.take();
  bytes.resize(kHeaderBytes - 8);
  Writer sum;
  sum.u64(wire::checksum(bytes));
  bytes.insert(bytes.end(), sum.bytes().begin(), sum.bytes().end());
  return bytes;
}

Status write_all(int fd, std::span<const std::byte> bytes, std::uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return net::system_error("cannot write the view log " + path, n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<std::vector<std::byte>> read_all(int fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return net::system_error("cannot read the view log " + path, errno);
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (size > kMaxFileBytes) return {Code::kRefused, "view log " + path + " is over 1 GiB"};
  std::vector<std::byte> bytes(size);
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t n = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return net::system_error("cannot read the view log " + path, errno);
    if (n == 0) break;
    at += static_cast<std::size_t>(n);
  }
  bytes.resize(at);
  return bytes;
}

// The record at the beginning of `bytes`; its payload, or why there is none.
enum class Found : std::uint8_t { kWhole, kShort, kBadLength, kBadPayload };
Found record_at(std::span<const std::byte> bytes, std::span<const std::byte>& payload) {
  if (bytes.size() < kRecordHeader) return Found::kShort;
  Reader r(bytes.first(kRecordHeader));
  const std::uint32_t length = r.u32();
  const std::uint32_t sum_of_length = r.u32();
  const std::uint64_t sum = r.u64();
  if (sum_of_length != length_sum(length) || length == 0) return Found::kBadLength;
  if (bytes.size() - kRecordHeader < length) return Found::kShort;
  payload = bytes.subspan(kRecordHeader, length);
  return wire::checksum(payload) == sum ? Found::kWhole : Found::kBadPayload;
}

// A torn record is the last thing in the file. If a whole record stands anywhere behind the damage, it is corruption.
bool whole_record_behind(std::span<const std::byte> bytes) {
  std::span<const std::byte> payload;
  for (std::size_t at = 1; at + kRecordHeader < bytes.size(); ++at)
    if (record_at(bytes.subspan(at), payload) == Found::kWhole) return true;
  return false;
}

Status sync_folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return net::system_error("cannot sync folder " + folder, errno);
  return {};
}

}  // namespace

Result<ViewLog> ViewLog::lock(const std::string& path) {
  ViewLog log;
  log.path_ = path;
  log.file_.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));  // it may lie in a folder of all
  if (!log.file_) return net::system_error("cannot open the view log " + path, errno);
  if (::flock(log.file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return {Code::kRefused, "view log " + path + " is in use by another coordinator"};
    return net::system_error("cannot lock the view log " + path, errno);
  }
  return log;
}

// The file gets its name only when its header is on disk, so that a half-made log is never found.
Result<ViewLog> ViewLog::create(const std::string& path, const std::string& group) {
  if (group.size() > kMaxGroup) return {Code::kConfig, "group name is over 255 bytes"};
  const LogId id = random_u64();
  const std::string fresh = path + ".new-" + std::to_string(id);
  {
    const Fd fd(::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return net::system_error("cannot make the view log " + path, errno);
    Status written = write_all(fd.get(), header_bytes(id, group), 0, path);
    if (written.ok() && ::fsync(fd.get()) != 0) written = net::system_error("cannot sync the view log " + path, errno);
    if (written.ok() && ::link(fresh.c_str(), path.c_str()) != 0)
      written = errno == EEXIST ? Error{Code::kRefused, "view log " + path + " exists already: open it, or remove it"}
                                : net::system_error("cannot make the view log " + path, errno);
    ::unlink(fresh.c_str());
    if (!written) return written.error();
  }
  if (Status synced = sync_folder(path); !synced) return synced.error();
  return open(path, group);
}

Result<ViewLog> ViewLog::open(const std::string& path, const std::string& group) {
  auto log = lock(path);
  if (!log) return log;
  if (Status status = log->read_back(group); !status) return status.error();
  return log;
}

Status ViewLog::read_back(const std::string& group) {
  auto file = read_all(file_.get(), path_);
  if (!file) return file.error();
  const std::span<const std::byte> bytes(*file);
  const Error bad_header{Code::kRefused, path_ + " is not a view log, or its header is damaged"};
  if (bytes.size() < kHeaderBytes) return bad_header;
  Reader sum(bytes.subspan(kHeaderBytes - 8, 8));
  if (sum.u64() != wire::checksum(bytes.first(kHeaderBytes - 8))) return bad_header;
  Reader r(bytes.first(kHeaderBytes));
  if (r.u32() != kMagic) return bad_header;
  if (const std::uint32_t version = r.u32(); version != kVersion)
    return {Code::kRefused, "view log " + path_ + " has version " + std::to_string(version)};
  id_ = r.u64();
  const std::string its_group = r.text(kMaxGroup);
  if (!r.ok() || id_ == 0) return bad_header;
  if (its_group != group)
    return {Code::kRefused, "view log " + path_ + " is of group '" + its_group + "', not '" + group + "'"};

  end_ = kHeaderBytes;
  while (end_ < bytes.size()) {
    const auto rest = bytes.subspan(end_);
    std::span<const std::byte> payload;
    const std::string place = path_ + " at byte " + std::to_string(end_);
    if (record_at(rest, payload) != Found::kWhole) {
      if (whole_record_behind(rest)) return {Code::kRefused, "view log " + place + " is corrupt"};
      if (::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0 || ::fsync(file_.get()) != 0)
        return net::system_error("cannot cut the torn record of view log " + path_, errno);
      cut_torn_record_ = true;
      return {};
    }
    auto decision = decode_decision(payload);
    const bool follows =
        decision.ok() && decision->view.log == id_ && decision->view.epoch == (last_ ? last_->view.epoch : 0) + 1;
    if (!follows) return {Code::kRefused, "view log " + place + " does not follow from what stands before it"};
    last_ = std::move(*decision);
    end_ += kRecordHeader + payload.size();
  }
  return {};
}

Status ViewLog::append(const Decision& decision) {
  RG_CHECK(decision.view.log == id_ && decision.view.epoch == (last_ ? last_->view.epoch : 0) + 1);
  if (failed_) return {Code::kSystem, "view log " + path_ + " has failed before"};
  const std::vector<std::byte> payload = encode(decision);
  const auto length = static_cast<std::uint32_t>(payload.size());
  Writer w;
  w.u32(length);
  w.u32(length_sum(length));
  w.u64(wire::checksum(payload));
  std::vector<std::byte> record = w.take();
  record.insert(record.end(), payload.begin(), payload.end());
  Status written = write_all(file_.get(), record, end_, path_);
  if (written.ok() && ::fdatasync(file_.get()) != 0)
    written = net::system_error("cannot sync the view log " + path_, errno);
  if (!written) return failed_ = true, written;
  end_ += record.size();
  last_ = decision;
  return {};
}

}  // namespace regroup
