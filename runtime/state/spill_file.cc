#include "runtime/state/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace regroup::state {
namespace {

Status failed(const std::string& what, int error) {
  return {Code::kSystem, "the journal's file: " + what + ": " + std::strerror(error)};
}

}  // namespace

Status SpillFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!fd_) {
    if (folder_.empty()) folder_ = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp";
    fd_.reset(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fd_) {
      std::string name = folder_ + "/regroup-journal-XXXXXX";
      fd_.reset(::mkostemp(name.data(), O_CLOEXEC));
      if (!fd_) return failed("cannot be made in " + folder_, errno);
      ::unlink(name.c_str());
    }
  }
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status SpillFile::read(std::uint64_t offset, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = fd_ ? ::pread(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) : 0;
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("read", n < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace regroup::state
