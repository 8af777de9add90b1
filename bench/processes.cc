#include "bench/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/clock.h"

namespace regroup::bench {
namespace {

constexpr double kCoordinatorStartS = 15;

// What the child does between fork and exec: only async-signal-safe calls.
[[noreturn]] void become(char* const* argv, char* const* envp, int output, pid_t parent, const sigset_t& mask) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  if (::getppid() != parent) ::_exit(127);
  if (output >= 0) {
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
  }
  ::execve(argv[0], argv, envp);
  ::_exit(127);
}

// This process's environment with `set` laid over it, as NAME=value.
std::vector<std::string> environment_with(const Environment& set) {
  std::vector<std::string> out;
  for (char** e = environ; *e != nullptr; ++e) {
    bool replaced = false;
    for (const auto& [name, value] : set) {
      if (std::strncmp(*e, (name + "=").c_str(), name.size() + 1) == 0) replaced = true;
    }
    if (!replaced) out.emplace_back(*e);
  }
  for (const auto& [name, value] : set) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::string program_folder() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return ".";
  path[n] = 0;
  return std::filesystem::path(path).parent_path().string();
}

Result<pid_t> start_process(const std::vector<std::string>& command, const Environment& set,
                            const std::string& output) {
  std::vector<std::string> words = command;
  std::vector<std::string> variables = environment_with(set);
  const std::vector<char*> argv = pointers_to(words), envp = pointers_to(variables);
  if (::access(argv[0], X_OK) != 0) return {Code::kSystem, command[0] + ": " + std::strerror(errno)};
  int fd = -1;
  if (!output.empty()) {
    fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return {Code::kSystem, output + ": " + std::strerror(errno)};
  }
  const pid_t parent = ::getpid();
  // Blocked over the fork: a signal must not run the parent's handlers in the child.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) become(argv.data(), envp.data(), fd, parent, before);
  const int error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (fd >= 0) ::close(fd);
  if (pid < 0) return {Code::kSystem, "fork: " + std::string(std::strerror(error))};
  return pid;
}

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr && *base != 0 ? base : "/tmp") + "/regroup-bench.XXXXXX";
  if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  if (path_.empty() || keep_) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Status CoordinatorProcess::start(const std::string& folder, const std::string& host) {
  const std::string output = folder + "/coordinator.out";
  const std::string prefix = "coordinator ";
  auto pid = start_process({program_folder() + "/regroup", "coordinator", "--listen", host + ":0", "--log",
                            folder + "/views.log", "--create"},
                           {}, output);
  if (!pid.ok()) return pid.error();
  pid_ = *pid;
  const double until = now_s() + kCoordinatorStartS;
  while (now_s() < until) {
    std::ifstream in(output);
    for (std::string line; std::getline(in, line);) {
      // The last line may be half written: take it only with its end of line.
      if (line.rfind(prefix, 0) == 0 && !in.eof()) {
        address_ = line.substr(prefix.size());
        return {};
      }
    }
    bool well = false;
    if (auto how = ended(pid_, well)) {
      pid_ = -1;
      return {Code::kSystem, "the coordinator ended at once (" + *how + "): " + tail_of(output)};
    }
    ::poll(nullptr, 0, 5);
  }
  return {Code::kTimeout, "the coordinator did not say its address within " +
                              std::to_string(static_cast<int>(kCoordinatorStartS)) + " s: " + tail_of(output)};
}

CoordinatorProcess::~CoordinatorProcess() {
  if (pid_ > 0) end_process(pid_);
}

std::optional<std::string> ended(pid_t pid, bool& well) {
  int status = 0;
  const pid_t got = ::waitpid(pid, &status, WNOHANG);
  if (got == 0) return std::nullopt;
  well = got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (got < 0) return "unknown";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

void end_process(pid_t pid) {
  ::kill(pid, SIGTERM);
  ::kill(pid, SIGCONT);
  const double until = now_s() + 2;
  bool well = false;
  while (now_s() < until) {
    if (ended(pid, well)) return;
    ::poll(nullptr, 0, 5);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

std::string tail_of(const std::string& path, std::size_t bytes) {
  std::ifstream in(path, std::ios::ate);
  if (!in) return "(no output)";
  const auto size = static_cast<std::size_t>(in.tellg());
  const std::size_t from = size > bytes ? size - bytes : 0;
  in.seekg(static_cast<std::streamoff>(from));
  std::string text(size - from, 0);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "(no output)" : text;
}

}  // namespace regroup::bench
