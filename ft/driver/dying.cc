#include "ft/driver/dying.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace regroup {
namespace {

constexpr int kNice = 10;  // a tenth of the usual weight: without privilege there is no way back, so it must not starve
constexpr unsigned long kExiting = 0x4;  // PF_EXITING, in the flags of /proc/.../stat

bool not_reaped(int pidfd) { return ::syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) == 0; }

std::string read_small(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const ssize_t n = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
  return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n)) : std::string();
}

// Flags are the seventh word behind the name, which stands in brackets and may hold anything.
bool exiting(const std::string& stat) {
  std::size_t at = stat.rfind(')');
  for (int word = 0; word < 7 && at != stat.npos; ++word) at = stat.find(' ', at + 1);
  return at != stat.npos && (std::strtoul(stat.c_str() + at, nullptr, 10) & kExiting) != 0;
}

bool killed(const std::string& status) {
  constexpr std::string_view kKey = "SigPnd:\t";
  const std::size_t at = status.find(kKey);
  return at != status.npos && (std::strtoull(status.c_str() + at + kKey.size(), nullptr, 16) >> (SIGKILL - 1) & 1) != 0;
}

}  // namespace

int set_dying_back(pid_t pid, int pidfd) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* folder = ::opendir(tasks.c_str());
  if (folder == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const auto tid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (tid <= 0 || ::getpriority(PRIO_PROCESS, static_cast<id_t>(tid)) >= kNice) continue;  // a peer was faster
    const std::string task = tasks + "/" + entry->d_name;
    if (!exiting(read_small(task + "/stat")) && !killed(read_small(task + "/status"))) continue;
    if (!not_reaped(pidfd)) break;
    count += ::setpriority(PRIO_PROCESS, static_cast<id_t>(tid), kNice) == 0;
  }
  ::closedir(folder);
  return count;
}

}  // namespace regroup
