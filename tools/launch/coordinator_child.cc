#include "tools/launch/coordinator_child.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "ft/driver/coordinator_exit.h"

namespace regroup::launch {
namespace {

constexpr Duration kLongLife = Duration::from_s(5);
constexpr Duration kStartBound = Duration::from_s(10);
constexpr std::string_view kSays = "coordinator ";

Duration pause_before(int start) {
  return std::min(Duration::from_ms(25) * (1 << std::min(start, 6)), Duration::from_s(1));
}

}  // namespace

CoordinatorChild::~CoordinatorChild() {
  end();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

void CoordinatorChild::end() {
  given_up_ = true;
  for (int i = 0; child_.running() && i < 2500; ++i) {
    child_.send_group(SIGKILL);
    if (!child_.poll()) ::poll(nullptr, 0, 2);
  }
}

Status CoordinatorChild::spawn(Instant at) {
  const bool first = address_.empty();
  ChildSetup setup;
  setup.argv = {program_, "coordinator",         "--listen", first ? listen_ : address_,
                "--log",  folder_ + "/view-log", "--group",  group_, "--exit-when-lost"};
  if (std::exchange(anew_, false)) {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
    std::filesystem::create_directory(folder_, ignored);
    setup.argv.push_back("--create");
  }
  if (first) setup.argv.push_back("--create");
  setup.prefix = "[coordinator] ";
  setup.out_to = 2;
  Result<Child> child = Child::start(setup);
  if (!child) return child.error();
  child_ = std::move(*child);
  started_ = at;
  listens_ = told_up_ = false;
  child_.out().set_tap([this](std::string_view line) {
    if (listens_ || !line.starts_with(kSays)) return false;
    address_ = line.substr(kSays.size());
    return listens_ = true;
  });
  return {};
}

Status CoordinatorChild::start(Duration bound) {
  const char* tmp = std::getenv("TMPDIR");
  folder_ = std::string(tmp != nullptr && *tmp != '\0' ? tmp : "/tmp") + "/regroup-run-XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) {
    const std::string where = std::exchange(folder_, {});
    return {Code::kSystem, "cannot make the folder " + where + ": " + std::strerror(errno)};
  }
  if (Status s = spawn(now()); !s) return s;
  for (const Instant until = now() + bound; !listens_ && child_.running() && now() < until; child_.poll()) {
    pollfd ends[] = {{child_.out().fd(), POLLIN, 0}, {child_.err().fd(), POLLIN, 0}};
    ::poll(ends, 2, 20);
    child_.err().pump(), child_.out().pump();
  }
  if (!child_.running()) return {Code::kUnavailable, "the coordinator ended before it listened at " + listen_};
  if (!listens_) return {Code::kUnavailable, "the coordinator did not listen at " + listen_ + " in time"};
  return {};
}

CoordinatorChild::Change CoordinatorChild::poll(Instant at) {
  if (given_up_) return Change::kNone;
  child_.out().pump(), child_.err().pump();
  if (listens_ && !told_up_) return told_up_ = true, Change::kUp;
  if (child_.running() && !listens_ && at - started_ > kStartBound) child_.send_group(SIGKILL);
  if (const auto change = child_.poll()) {
    if (change->kind == ChildChange::Kind::kStopped) return Change::kStopped;
    if (change->kind == ChildChange::Kind::kContinued) return Change::kContinued;
    anew_ = change->signal == 0 && change->status == kCoordinatorAllLost;
    short_lives_ = anew_ || (listens_ && at - started_ >= kLongLife) ? 0 : short_lives_ + 1;
    again_at_ = at + pause_before(short_lives_);
    trouble_ = anew_ ? "saw the death of all members, and goes with its log"
               : change->signal != 0 ? std::string("died by SIG") + ::sigabbrev_np(change->signal)
                                   : "ended with status " + std::to_string(change->status);
    return Change::kDied;
  }
  if (child_.running() || at < again_at_) return Change::kNone;
  if (short_lives_ >= kMaxStarts) return given_up_ = true, Change::kGivenUp;
  again_at_ = Instant::never();
  if (Status s = spawn(at); !s) {
    trouble_ = s.error().detail;
    again_at_ = at + pause_before(++short_lives_);
  }
  return Change::kNone;
}

}  // namespace regroup::launch
