#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"
#include "ft/driver/death_page.h"
#include "ft/driver/death_watch.h"
#include "ft/driver/dying.h"
#include "ft/driver/net.h"

using namespace regroup;

namespace {

// A process that lives the life of `inc` until it is killed: page, words, socket.
class Victim {
 public:
  explicit Victim(const Incarnation& inc, bool in_table = false) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) live(inc, in_table, ready[1]);
    ::close(ready[1]);
    char byte = 0;
    const bool lives = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
    REQUIRE(lives);
  }
  ~Victim() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void signal(int sig) const { ::kill(pid_, sig); }

 private:
  [[noreturn]] static void live(const Incarnation& inc, bool in_table, int ready) {
    auto table = DeathTable::inherited();  // its own mapping: that of the parent is not there after a fork
    DeathSlot* table_slot = in_table && table.ok() ? &table->slot(0) : nullptr;
    if (in_table && table_slot == nullptr) ::_exit(1);
    auto page = DeathPage::create();
    Poller poller;
    DeathServer server(poller);
    if (!page || !poller.open() || !server.open(inc, page->read_only_fd())) ::_exit(1);
    if (!begin_life(page->slot(), inc) || (table_slot != nullptr && !begin_life(*table_slot, inc))) ::_exit(1);
    if (::write(ready, "x", 1) != 1) ::_exit(1);
    while (::getppid() != 1) poller.wait(100);
    ::_exit(0);
  }
  pid_t pid_ = -1;
};

struct Watcher {
  Watcher() : watch(poller, [this](const Incarnation& inc) { dead.insert(inc); }) { REQUIRE(poller.open().ok()); }
  template <class Until>
  bool run_until(Until until, Duration bound = Duration::from_s(5)) {
    const Instant end = now() + bound;
    while (!until() && now() < end) poller.wait(5), watch.check();
    return until();
  }
  void follow(const Incarnation& inc) { watch.watch({{inc, death_socket_name(inc)}}); }
  Poller poller;
  std::set<Incarnation> dead;
  DeathWatch watch;
};

}  // namespace

TEST_CASE("a thread that ends without unlocking leaves its word marked, one that unlocks leaves it free") {
  auto page = DeathPage::create();
  REQUIRE(page.ok());
  const Incarnation first = random_incarnation(), second = random_incarnation();
  CHECK(!read_slot(page->slot()).alive);
  for (const bool abrupt : {true, false}) {
    const Incarnation inc = abrupt ? first : second;
    std::atomic<int> state{0};
    bool began = false;
    std::thread thread([&] {
      began = begin_life(page->slot(), inc);
      state.store(1), state.notify_all();
      state.wait(1);
      if (!abrupt) end_life(page->slot());
    });
    state.wait(0);
    REQUIRE(began);
    CHECK(!begin_life(page->slot(), random_incarnation()));  // taken
    CHECK(is_alive(page->slot(), inc));
    CHECK(!is_alive(page->slot(), abrupt ? second : first));
    state.store(2), state.notify_all();
    thread.join();
    CHECK(!is_alive(page->slot(), inc));
    CHECK(read_slot(page->slot()).inc == inc);
  }
}

TEST_CASE("peers get a page that they can read and not write") {
  auto page = DeathPage::create();
  REQUIRE(page.ok());
  CHECK(SlotMap::map(page->read_only_fd(), false).ok());
  CHECK(!SlotMap::map(page->read_only_fd(), true).ok());
}

TEST_CASE("a descriptor that is no sealed page of words is refused") {
  const Fd null(::dup(STDERR_FILENO));
  CHECK(!SlotMap::map(null.get(), false).ok());
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const Fd a(ends[0]), b(ends[1]);
  CHECK(SlotMap::map(a.get(), false).code() == Code::kConfig);
}

TEST_CASE("the death of another process is seen by its word") {
  const Incarnation inc = random_incarnation();
  Victim victim(inc);
  Watcher w;
  w.follow(inc);
  REQUIRE(w.run_until([&] { return w.watch.known_alive(inc); }));
  CHECK(w.dead.empty());
  victim.kill();
  w.watch.check();  // no event of the poller is needed: the word alone tells
  CHECK(w.dead.contains(inc));
  CHECK(w.watch.known_dead(inc));
}

TEST_CASE("a stopped process is not dead") {
  const Incarnation inc = random_incarnation();
  Victim victim(inc);
  Watcher w;
  w.follow(inc);
  REQUIRE(w.run_until([&] { return w.watch.known_alive(inc); }));
  victim.signal(SIGSTOP);
  CHECK(!w.run_until([&] { return !w.dead.empty(); }, Duration::from_ms(100)));
  victim.signal(SIGCONT);
}

TEST_CASE("a peer whose page was never handed over is seen dead by its pidfd, or by its closed socket") {
  const Incarnation inc = random_incarnation();
  Victim victim(inc);
  victim.signal(SIGSTOP);  // it will not answer
  Watcher w;
  w.follow(inc);
  CHECK(!w.run_until([&] { return w.watch.known_alive(inc); }, Duration::from_ms(50)));
  victim.kill();
  CHECK(w.run_until([&] { return w.dead.contains(inc); }));
  Watcher late;  // who begins to watch when it is gone
  late.follow(inc);
  CHECK(late.run_until([&] { return late.dead.contains(inc); }));
}

TEST_CASE("a process that is ending is set back, one that lives is not, and none whose pid is free again") {
  const auto nice_of = [](pid_t pid) { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(pid)); };
  const int mine = nice_of(0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    for (;;) ::pause();
  }
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  CHECK(set_dying_back(pid, pidfd.get()) == 0);
  CHECK(nice_of(pid) == mine);
  ::kill(pid, SIGKILL);
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);  // dead, and not reaped
  CHECK(set_dying_back(pid, pidfd.get()) == (mine < 10 ? 1 : 0));
  CHECK(nice_of(pid) == std::max(mine, 10));
  REQUIRE(::waitpid(pid, nullptr, 0) == pid);
  CHECK(set_dying_back(pid, pidfd.get()) == 0);
}

TEST_CASE("who is no longer watched is not reported") {
  const Incarnation inc = random_incarnation();
  Victim victim(inc);
  Watcher w;
  w.follow(inc);
  REQUIRE(w.run_until([&] { return w.watch.known_alive(inc); }));
  w.watch.watch({});
  victim.kill();
  CHECK(!w.run_until([&] { return !w.dead.empty(); }, Duration::from_ms(50)));
}

TEST_CASE("lives_here tells a living member from a dead, a stopped and an unknown one") {
  const Incarnation inc = random_incarnation();
  const std::string socket = death_socket_name(inc);
  const Duration bound = Duration::from_ms(200);
  CHECK(!lives_here(inc, socket, bound));
  Victim victim(inc);
  CHECK(lives_here(inc, socket, bound));
  CHECK(!lives_here(random_incarnation(), socket, bound));
  victim.kill();
  CHECK(!lives_here(inc, socket, bound));
}

TEST_CASE("the launcher's table shows who began, who died and who came back") {
  auto table = DeathTable::create(3);
  REQUIRE(table.ok());
  REQUIRE(table->count() == 3);
  CHECK(table->read(1).inc.is_null());
  ::setenv(DeathTable::kVariable, std::to_string(table->fd()).c_str(), 1);
  auto same = DeathTable::inherited();
  ::unsetenv(DeathTable::kVariable);
  REQUIRE(same.ok());
  for (int life = 0; life < 2; ++life) {
    const Incarnation inc = random_incarnation();
    std::atomic<int> state{0};
    bool began = false;
    std::thread thread([&] {
      began = begin_life(same->slot(1), inc);
      state.store(1), state.notify_all();
      state.wait(1);
    });
    state.wait(0);
    REQUIRE(began);
    CHECK((table->read(1).alive && table->read(1).inc == inc));
    CHECK(table->read(1).pid == ::getpid());
    CHECK(!table->read(0).alive);
    state.store(2), state.notify_all();
    thread.join();
    CHECK((!table->read(1).alive && table->read(1).inc == inc));
    table->reset(1);
    CHECK(table->read(1).inc.is_null());
  }
}

TEST_CASE("the launcher sees in its table that a process died before it is reaped") {
  auto table = DeathTable::create(1);
  REQUIRE(table.ok());
  ::setenv(DeathTable::kVariable, std::to_string(table->fd()).c_str(), 1);
  for (int life = 0; life < 2; ++life) {
    const Incarnation inc = random_incarnation();
    Victim victim(inc, true);
    CHECK((table->read(0).alive && table->read(0).inc == inc));
    victim.kill();
    CHECK((!table->read(0).alive && table->read(0).inc == inc));
    table->reset(0);
  }
  ::unsetenv(DeathTable::kVariable);
}

TEST_CASE("a table variable that is no table is an error that names it") {
  ::unsetenv(DeathTable::kVariable);
  CHECK(DeathTable::inherited().code() == Code::kUnavailable);
  for (const char* text : {"12x", "-1", "9999", "2"}) {
    ::setenv(DeathTable::kVariable, text, 1);
    const auto table = DeathTable::inherited();
    CHECK(table.code() == Code::kConfig);
    CHECK(table.error().detail.find("REGROUP_DEATH_FD") != std::string::npos);
  }
  ::unsetenv(DeathTable::kVariable);
}
