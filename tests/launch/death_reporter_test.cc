// DeathReporter with a real table, a victim process and a real coordinator server.
#include "tools/launch/death_reporter.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"
#include "ft/driver/coordinator_server.h"
#include "tests/launch/run_helper.h"

using namespace regroup;
using launch::DeathReporter;

namespace {

// A process that lives as `inc` in slot 0 of the table, until it is told to end (in order), or killed.
class Victim {
 public:
  Victim(const DeathTable& table, Incarnation inc) {
    int up[2], down[2];
    REQUIRE((::pipe(up) == 0 && ::pipe(down) == 0));
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setenv(DeathTable::kVariable, std::to_string(table.fd()).c_str(), 1);
      auto mine = DeathTable::inherited();
      if (!mine.ok() || !begin_life(mine->slot(0), inc)) ::_exit(1);
      char c = 0;
      (void)!::write(up[1], &c, 1);
      (void)!::read(down[0], &c, 1);
      end_life(mine->slot(0));
      ::_exit(0);
    }
    end_ = Fd(down[1]);
    Fd ready(up[0]), a(up[1]), b(down[0]);
    char c;
    REQUIRE(::read(ready.get(), &c, 1) == 1);
  }
  ~Victim() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void end_in_order() {
    (void)!::write(end_.get(), "x", 1);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  Fd end_;
};

struct Server {
  Server(const std::string& listen, const std::string& log, CoordinatorOptions::Log how) {
    CoordinatorOptions options;
    options.listen = listen;
    options.log_file = log;
    options.log = how;
    auto opened = CoordinatorServer::open(options);
    REQUIRE(opened.ok());
    server = std::move(*opened);
    thread = std::thread([this] { ended = server->run(); });
  }
  ~Server() {
    server->stop();
    thread.join();
  }
  std::unique_ptr<CoordinatorServer> server;
  Status ended;
  std::thread thread;
};

}  // namespace

TEST_CASE("a marked word is a death once; a life that ended in order is none") {
  auto table = DeathTable::create(1);
  REQUIRE(table.ok());
  DeathReporter reporter(*table, {"127.0.0.1:1", "default", ""});
  CHECK_FALSE(reporter.look(0, now()).has_value());  // nobody has begun
  const Incarnation first = random_incarnation(), second = random_incarnation();
  {
    Victim orderly(*table, first);
    CHECK_FALSE(reporter.look(0, now()).has_value());
    orderly.end_in_order();
    CHECK_FALSE(reporter.look(0, now()).has_value());
  }
  table->reset(0);
  Victim victim(*table, second);
  CHECK_FALSE(reporter.look(0, now()).has_value());
  victim.kill();
  CHECK(reporter.look(0, now()) == second);
  CHECK_FALSE(reporter.look(0, now()).has_value());
}

TEST_CASE("a death while the coordinator is away is told when it is back") {
  const launch_test::TempDir folder;
  const std::string log = folder.path + "/log";
  std::string address;
  {
    Server server("127.0.0.1:0", log, CoordinatorOptions::Log::kCreate);
    address = server.server->address();
  }
  auto table = DeathTable::create(1);
  REQUIRE(table.ok());
  const Incarnation inc = random_incarnation();
  Victim victim(*table, inc);
  victim.kill();
  DeathReporter reporter(*table, {address, "default", ""});
  REQUIRE(reporter.look(0, now()) == inc);
  CHECK(reporter.tell(now()).empty());
  CHECK(reporter.tell(now()).empty());  // not before its pause is over, and nobody is there anyway
  Server back(address, log, CoordinatorOptions::Log::kOpen);
  std::vector<Incarnation> told;
  for (const Instant until = now() + Duration::from_s(10); told.empty() && now() < until;) told = reporter.tell(now());
  CHECK(told == std::vector<Incarnation>{inc});
  CHECK(reporter.tell(now() + Duration::from_s(1)).empty());
}

TEST_CASE("a death that nobody wants to hear of is given up") {
  auto table = DeathTable::create(1);
  REQUIRE(table.ok());
  const Incarnation inc = random_incarnation();
  Victim(*table, inc).kill();
  DeathReporter reporter(*table, {"127.0.0.1:1", "default", ""});
  const Instant begin = now();
  REQUIRE(reporter.look(0, begin) == inc);
  CHECK(reporter.tell(begin).empty());
  const launch_test::TempDir folder;
  CHECK(reporter.tell(begin + DeathReporter::kGiveUp + Duration::from_ms(1)).empty());
}
