#include "tools/chaos/command.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/clock.h"
#include "tools/launch/child.h"

namespace regroup::chaos {
namespace {

constexpr Duration kBound = Duration::from_s(10);
constexpr const char* kAdmin = "/usr/local/sbin:/usr/sbin:/sbin";

std::string path() {
  const char* set = std::getenv("PATH");
  return std::string(set != nullptr ? set : "/usr/bin:/bin") + ":" + kAdmin;
}

}  // namespace

Result<std::string> run_command(const std::vector<std::string>& argv) {
  launch::ChildSetup setup;
  setup.argv = argv;
  setup.environment["PATH"] = path();
  auto child = launch::Child::start(setup);
  if (!child.ok()) return child.error();
  std::string said;
  const auto tap = [&said](std::string_view line) { return said += std::string(line) + " ", true; };
  child->out().set_tap(tap), child->err().set_tap(tap);
  std::string text;
  for (const std::string& a : argv) text += a + " ";
  for (const Instant until = now() + kBound;;) {
    child->out().pump(), child->err().pump();
    if (auto change = child->poll(); change && change->kind == launch::ChildChange::Kind::kEnded) {
      if (change->status == 0) return said;
      return Error{Code::kSystem, text + "ended with status " + std::to_string(change->status) + ": " + said};
    }
    if (now() > until) break;
    pollfd ends[] = {{child->out().fd(), POLLIN, 0}, {child->err().fd(), POLLIN, 0}};
    ::poll(ends, 2, 1);
  }
  child->send_group(SIGKILL);
  for (int i = 0; i < 1000 && child->running(); ++i)
    if (!child->poll()) ::poll(nullptr, 0, 1);
  return Error{Code::kSystem, text + "did not end within 10 s: " + said};
}

bool has_program(const std::string& name) {
  const std::string folders = path();
  for (std::size_t at = 0; at < folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    if (::access((folders.substr(at, end - at) + "/" + name).c_str(), X_OK) == 0) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace regroup::chaos
