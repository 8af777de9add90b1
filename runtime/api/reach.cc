#include "runtime/api/reach.h"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace regroup {

Status readable(const void* buffer, const char* what) {
  if (buffer == nullptr) return {};
  thread_local std::array<std::uintptr_t, 64> known{};
  const std::uintptr_t page = reinterpret_cast<std::uintptr_t>(buffer) >> 12;
  std::uintptr_t& entry = known[page % known.size()];
  if (entry == page) return {};
  char byte = 0;
  iovec to{&byte, 1}, from{const_cast<void*>(buffer), 1};
  if (::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) < 0 && errno == EFAULT) {
    char text[160];
    std::snprintf(text, sizeof text, "the %s at %p cannot be read by the host: is it memory of a device? See Options::device",
                  what, buffer);
    return {Code::kInvalid, text};
  }
  entry = page;
  return {};
}

}  // namespace regroup
