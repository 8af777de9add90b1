// The coordinator as a process that members start themselves.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "ft/driver/client.h"
#include "ft/driver/coordinator_process.h"
#include "ft/driver/net.h"
#include "tests/ft_driver/world.h"

using namespace regroup;
using namespace regroup::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string free_address() {
  auto listener = net::listen_tcp({"127.0.0.1", 0});
  REQUIRE(listener.ok());
  return net::to_string(net::local_address(listener->get()));
}

struct AutostartWorld : World {
  AutostartWorld() {
    ::setenv("TMPDIR", folder.path().c_str(), 1);
    control_options.coordinator = free_address();
    auto how = autostart_at(control_options.coordinator, control_options.group);
    ::unsetenv("TMPDIR");
    INFO((how.ok() ? std::string() : how.error().detail));
    REQUIRE(how.ok());
    control_options.autostart = *how;
    control_options.autostart.idle_exit = Duration::from_s(1);  // whatever a test leaves behind goes away soon
  }
  ~AutostartWorld() {
    members.clear();
    if (const pid_t pid = coordinator_pid(); pid > 0) ::kill(pid, SIGTERM);
  }
  nlohmann::json status() const {
    auto text = fetch_status({control_options.coordinator, control_options.group, ""}, Duration::from_s(1));
    return text.ok() ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
  }
  pid_t coordinator_pid() const {
    const nlohmann::json j = status();
    return j.is_object() ? j.value("pid", -1) : -1;
  }
  // Kills it and waits until another one answers.
  bool kill_and_await_another() {
    const pid_t before = coordinator_pid();
    if (before <= 0 || ::kill(before, SIGKILL) != 0) return false;
    return eventually([&] {
      const pid_t after = coordinator_pid();
      return after > 0 && after != before;
    });
  }
  void form() {
    for (std::uint32_t i = 0; i < world_size; ++i) add(i).control->post(Parked{});
    REQUIRE(wait_view({0, 1, 2}, 1, 3));
  }
};

}  // namespace

TEST_CASE("replica 0 starts the coordinator, which outlives it and is continued on the same log") {
  AutostartWorld w;
  w.form();
  const nlohmann::json first = w.status();
  REQUIRE(first.is_object());
  CHECK(first["pid"] != ::getpid());
  REQUIRE(w.kill_and_await_another());
  CHECK(w.status()["log_id"] == first["log_id"]);
  CHECK(eventually([&] { return w[0].control->counters().coordinators_started == 1; }));

  w[0].control->stop(true);
  REQUIRE(w.wait_view({1, 2}, 2, 2));
  REQUIRE(w.kill_and_await_another());  // now it is the lowest living member that starts it
  CHECK(eventually([&] { return w[1].control->counters().coordinators_started == 1; }));
  CHECK(w[2].control->counters().coordinators_started == 0);
  CHECK(w.status()["log_id"] == first["log_id"]);
  CHECK(w.status()["epoch"] == 2);
  w[2].control->stop(true);
  CHECK(w.wait_view({1}, 3, 1));
}

TEST_CASE("coordinator and replica 0 die at the same moment, and the others go on") {
  AutostartWorld w;
  w.form();
  REQUIRE(::kill(w.coordinator_pid(), SIGKILL) == 0);
  w[0].control->stop(true);
  CHECK(w.wait_view({1, 2}, 2, 2));
}

TEST_CASE("an autostarted coordinator ends when all have left, and leaves nothing behind") {
  AutostartWorld w;
  w.form();
  for (std::size_t i = 0; i < 3; ++i) w[i].control->post(LeaveWanted{});
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(w[i].data.wait([](auto& s) { return s.ended == Code::kClosed; }));
  CHECK(eventually([&] { return w.status().is_null(); }));
  CHECK(!std::filesystem::exists(w.control_options.autostart.log_file));
}

TEST_CASE("a job that was killed whole does not stand in the way of the next one") {
  AutostartWorld w;
  w.form();
  const pid_t before = w.coordinator_pid();
  const std::string log = w.status()["log_id"];
  REQUIRE(::kill(before, SIGKILL) == 0);
  w.members.clear();
  w.form();
  CHECK(w.status()["log_id"] != log);
}

TEST_CASE("a second job's replica 0 finds the coordinator that is there") {
  AutostartWorld w;
  w.form();
  const pid_t before = w.coordinator_pid();
  w[0].control->stop(true);
  REQUIRE(w.wait_view({1, 2}, 2, 2));
  TestMember& again = w.add(0);  // replica 0 returns: the address is in use, and that is well
  again.control->post(Parked{});
  CHECK(again.data.wait([](auto& s) { return s.decision.view.members.size() == 3; }));
  CHECK(w.coordinator_pid() == before);
}

TEST_CASE("why a coordinator could not be started is told at once") {
  AutostartWorld w;
  SECTION("no folder for its log") {
    w.control_options.autostart.log_file = w.folder.file("no/such/folder/log");
    TestMember m;
    const Status s = m.start(w.control_options, w.config(0));
    REQUIRE(s.code() == Code::kUnavailable);
    CHECK(has(s.error().detail, "no/such/folder"));
    CHECK(has(s.error().detail, w.control_options.coordinator));
  }
  SECTION("no program") {
    w.control_options.autostart.program = w.folder.file("regroup");
    TestMember m;
    CHECK(m.start(w.control_options, w.config(0)).code() == Code::kSystem);
  }
  SECTION("an address of another host") {
    const auto how = autostart_at("192.0.2.1:29500", "g");
    REQUIRE(how.code() == Code::kConfig);
    CHECK(has(how.error().detail, "REGROUP_COORDINATOR"));
  }
  SECTION("a named program that is none") {
    ::setenv("REGROUP_BIN", "/nonexistent/regroup", 1);
    const auto how = autostart_at("127.0.0.1:29500", "g");
    ::unsetenv("REGROUP_BIN");
    REQUIRE(how.code() == Code::kConfig);
    CHECK(has(how.error().detail, "REGROUP_BIN"));
  }
}

TEST_CASE("an address that another program holds costs the member no hang, and is named") {
  AutostartWorld w;
  auto where = net::parse_host_port(w.control_options.coordinator);
  auto squatter = net::listen_tcp(*where);
  REQUIRE(squatter.ok());
  w.control_options.coordinator_silence = Duration::from_ms(200);
  TestMember& m = w.add(0);
  CHECK(eventually([&] { return has(m.control->trouble(), "does not answer"); }));
}

TEST_CASE("a coordinator whose log cannot be written tells nobody of the view, and ends") {
  World w;
  w.control_options.coordinator = free_address();
  auto program = find_regroup_program();
  REQUIRE(program.ok());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit bound{512, 512};  // the header fits, the first record does not
    (void)::setrlimit(RLIMIT_FSIZE, &bound);
    ::execl(program->c_str(), "regroup", "coordinator", "--listen", w.control_options.coordinator.c_str(), "--log",
            w.coordinator_options.log_file.c_str(), "--group", w.control_options.group.c_str(), "--create", nullptr);
    ::_exit(127);
  }
  for (std::uint32_t i = 0; i < 3; ++i) w.add(i).control->post(Parked{});
  int status = 0;
  const bool ended = eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; });
  if (!ended) ::kill(child, SIGKILL), ::waitpid(child, &status, 0);
  CHECK((ended && WIFEXITED(status) && WEXITSTATUS(status) == 1));
  for (std::size_t i = 0; i < 3; ++i) CHECK(w[i].data.state().installs.empty());
}

TEST_CASE("groups and ports have logs of their own, the same for every member") {
  const auto a = autostart_at("127.0.0.1:29500", "a"), b = autostart_at("127.0.0.1:29500", "b");
  const auto c = autostart_at("127.0.0.1:29501", "a"), a2 = autostart_at("127.0.0.1:29500", "a");
  REQUIRE((a.ok() && b.ok() && c.ok() && a2.ok()));
  CHECK(a->log_file == a2->log_file);
  CHECK(a->log_file != b->log_file);
  CHECK(a->log_file != c->log_file);
}
