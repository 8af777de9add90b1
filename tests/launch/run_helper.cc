#include "tests/launch/run_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/clock.h"

namespace launch_test {
namespace {

using regroup::Instant;
using regroup::now;

std::string make_folder() {
  char name[] = "/tmp/regroup-launch-test-XXXXXX";
  return ::mkdtemp(name) != nullptr ? name : "";
}

}  // namespace

TempDir::TempDir() : path(make_folder()) { REQUIRE_FALSE(path.empty()); }
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

std::string bin(const std::string& program) {
  const char* folder = std::getenv("REGROUP_TEST_BIN_DIR");
  return std::string(folder != nullptr ? folder : "build/bin") + "/" + program;
}

int count_of(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++n;
  return n;
}

bool exists(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(in, line)) return false;
  const std::size_t state = line.rfind(") ");
  return state != line.npos && line[state + 2] != 'Z' && line[state + 2] != 'X';
}

bool wait_gone(pid_t pid) {
  for (const Instant until = now() + kBound; exists(pid);) {
    if (now() > until) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

Runner::Runner(std::vector<std::string> arguments) {
  std::vector<std::string> args{bin("regroup"), "run", "--events", folder_.path + "/events"};
  args.insert(args.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  from_.reset(ends[0]);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::setenv("TMPDIR", tmp_.path.c_str(), 1);
    ::setenv("WORK", folder_.path.c_str(), 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  REQUIRE(pid_ > 0);
}

Runner::~Runner() {
  if (status_ != -1) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  for (const pid_t pid : pids()) wait_gone(pid);
}

bool Runner::pump(Duration patience) {
  if (!from_) return false;
  pollfd p{from_.get(), POLLIN, 0};
  if (::poll(&p, 1, static_cast<int>(patience.ns / 1'000'000)) <= 0) return true;
  char part[4096];
  const ssize_t n = ::read(from_.get(), part, sizeof part);
  if (n > 0)
    output_.append(part, static_cast<std::size_t>(n));
  else
    from_.reset();
  return n > 0;
}

bool Runner::wait_for(const std::string& text, int times) {
  for (const Instant until = now() + kBound; count_of(output_, text) < times;)
    if (!pump(Duration::from_ms(50)) || now() > until) return count_of(output_, text) >= times;
  return true;
}

bool Runner::wait_for_event(const std::string& name, int times) {
  for (const Instant until = now() + kBound; static_cast<int>(events(name).size()) < times;) {
    if (now() > until) return false;
    if (!pump(Duration::from_ms(5))) ::poll(nullptr, 0, 5);
  }
  return true;
}

void Runner::send(int signal) const { ::kill(pid_, signal); }

int Runner::wait() {
  const Instant until = now() + kBound;
  while (pump(Duration::from_ms(50)))
    if (now() > until) return -1;
  for (int status = 0; now() < until; ::poll(nullptr, 0, 5))
    if (::waitpid(pid_, &status, WNOHANG) == pid_)
      return status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return -1;
}

std::vector<Json> Runner::events() const {
  std::vector<Json> list;
  std::ifstream in(folder_.path + "/events");
  for (std::string line; std::getline(in, line);)
    if (Json j = Json::parse(line, nullptr, false); j.is_object()) list.push_back(std::move(j));
  return list;
}

std::vector<Json> Runner::events(const std::string& name) const {
  std::vector<Json> list = events();
  std::erase_if(list, [&](const Json& j) { return j.at("event") != name; });
  return list;
}

std::vector<pid_t> Runner::pids() const {
  std::vector<pid_t> list;
  for (const char* name : {"start", "coordinator_start"})
    for (const Json& j : events(name)) list.push_back(j.at("pid"));
  return list;
}

bool Runner::left_files() const { return !std::filesystem::is_empty(tmp_.path); }

Ended run_script(std::vector<std::string> options, const std::string& script) {
  options.insert(options.end(), {"--", "sh", "-c", script});
  Runner run(options);
  const int status = run.wait();
  for (const pid_t pid : run.pids()) CHECK_FALSE(exists(pid));
  CHECK_FALSE(run.left_files());
  return {status, run.output(), run.events()};
}

}  // namespace launch_test
