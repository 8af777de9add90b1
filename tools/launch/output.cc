#include "tools/launch/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace regroup::launch {
namespace {

constexpr std::size_t kMaxLineBytes = 64 * 1024;
// Of one pump, so that a child that never stops writing cannot keep the launcher from its other work.
constexpr int kReadsPerPump = 16;

}  // namespace

Output::Output(Fd from, int to, std::string prefix) : from_(std::move(from)), to_(to), prefix_(std::move(prefix)) {
  ::fcntl(from_.get(), F_SETFL, ::fcntl(from_.get(), F_GETFL) | O_NONBLOCK);
}

void Output::forward(std::string_view line) {
  if (tap_ && tap_(line)) return;
  const std::string text = prefix_ + std::string(line) + "\n";
  for (std::size_t at = 0; at < text.size() && to_ >= 0;) {
    const ssize_t n = ::write(to_, text.data() + at, text.size() - at);
    if (n >= 0)
      at += static_cast<std::size_t>(n);
    else if (errno != EINTR)
      to_ = -1;
  }
}

void Output::pump() {
  char buffer[16 * 1024];
  for (int i = 0; i < kReadsPerPump && from_; ++i) {
    const ssize_t n = ::read(from_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      if (!partial_.empty()) forward(std::exchange(partial_, {}));
      return from_.reset();
    }
    partial_.append(buffer, static_cast<std::size_t>(n));
    std::size_t begin = 0;
    for (std::size_t end; (end = partial_.find('\n', begin)) != partial_.npos; begin = end + 1)
      forward(std::string_view(partial_).substr(begin, end - begin));
    partial_.erase(0, begin);
    if (partial_.size() > kMaxLineBytes) forward(std::exchange(partial_, {}));
  }
}

void Output::finish() {
  pump();  // a pipe holds 64 KiB, less than one pump reads
  if (!partial_.empty()) forward(std::exchange(partial_, {}));
  from_.reset();
}

std::string rank_prefix(int rank, bool colour) {
  const std::string plain = "[" + std::to_string(rank) + "] ";
  if (!colour) return plain;
  constexpr int kColours[] = {36, 33, 32, 35, 34, 31};  // cyan, yellow, green, magenta, blue, red
  return "\033[" + std::to_string(kColours[rank % 6]) + "m" + plain + "\033[0m";
}

}  // namespace regroup::launch
