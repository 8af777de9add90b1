#include <catch2/catch.hpp>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "ft/driver/client.h"
#include "ft/driver/net.h"
#include "tests/ft_driver/world.h"

using namespace regroup;
using namespace regroup::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What a thread must pass; closed, it stands there until the gate is opened, or for ten seconds.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    waiting_ = !open_;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return open_; });
  }
  bool wait_for_somebody() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return waiting_; });
  }
  void close() { set(false); }
  void open() { set(true); }

 private:
  void set(bool open) {
    std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true, waiting_ = false;
};

}  // namespace

TEST_CASE("a coordinator that is started again keeps epoch and log id, and the group goes on") {
  World w;
  w.form();
  const LogId log = w.coordinator->server().log_id();
  w.stop_coordinator();
  REQUIRE(w[0].data.wait([](auto& s) { return !s.link; }));
  CHECK(!w[0].control->trouble().empty());
  w.start_coordinator();
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(w[i].data.wait([](auto& s) { return s.link; }));
  CHECK(w.coordinator->server().log_id() == log);
  w[2].control->stop(true);
  REQUIRE(w.wait_view({0, 1}, 2, 2));
  CHECK(w[0].data.state().decision.view.log == log);
}

TEST_CASE("a death while no coordinator is there is decided when it is back") {
  World w;
  w.form();
  w.stop_coordinator();
  REQUIRE(w[0].data.wait([](auto& s) { return !s.link; }));
  w[1].control->stop(true);
  REQUIRE(eventually([&] { return w[0].control->counters().deaths_seen == 1; }));
  CHECK(w[0].data.state().decision.view.epoch == 1);
  w.start_coordinator();
  CHECK(w.wait_view({0, 2}, 2, 2));
}

TEST_CASE("while a disk stalls over a decision, members are answered; then they have the view") {
  Gate gate;
  World w;
  w.coordinator_options.before_log_write = [&] { gate.pass(); };
  w.form();
  gate.close();
  w[2].control->stop(true);
  REQUIRE(gate.wait_for_somebody());
  auto status = fetch_status({w.control_options.coordinator, "", ""}, Duration::from_s(5));
  gate.open();
  REQUIRE(status.ok());
  CHECK(nlohmann::json::parse(*status)["phase"] == "logging");
  CHECK(w.wait_view({0, 1}, 2, 2));
}

TEST_CASE("a coordinator with an emptied log is refused by members, and followed by nobody") {
  World w;
  w.form();
  const LogId log = w.coordinator->server().log_id();
  w.stop_coordinator();
  std::filesystem::remove(w.coordinator_options.log_file);
  w.coordinator_options.log = CoordinatorOptions::Log::kCreate;
  w.start_coordinator();
  REQUIRE(w.coordinator->server().log_id() != log);
  REQUIRE(eventually([&] { return has(w[0].control->trouble(), "log"); }));
  CHECK(!w[0].data.wait([](auto& s) { return s.decision.view.epoch != 1 || s.ended; }, Duration::from_ms(300)));
  CHECK(w[0].data.state().decision.view.log == log);
}

TEST_CASE("a log that lost its last view is refused by members that have installed it") {
  World w;
  w.form();
  const std::string early = w.folder.file("early.log");
  std::filesystem::copy_file(w.coordinator_options.log_file, early);
  w[2].control->stop(true);
  REQUIRE(w.wait_view({0, 1}, 2, 2));
  w.stop_coordinator();
  std::filesystem::remove(w.coordinator_options.log_file);
  std::filesystem::rename(early, w.coordinator_options.log_file);
  w.start_coordinator();  // same id, one epoch behind
  REQUIRE(eventually([&] { return has(w[0].control->trouble(), "view"); }));
  CHECK(!w[0].data.wait([](auto& s) { return s.decision.view.epoch != 2 || s.ended; }, Duration::from_ms(300)));
}

TEST_CASE("of two coordinators a member obeys the one whose log it knows") {
  World w;
  w.form();
  World other;  // same group name, another log
  other.coordinator_options.group = w.coordinator_options.group;
  other.start_coordinator();
  w.stop_coordinator();
  w.coordinator_options.log = CoordinatorOptions::Log::kOpen;
  // The stranger takes the address; then the real one is back.
  other.stop_coordinator();
  other.coordinator_options.listen = w.control_options.coordinator;
  other.start_coordinator();
  REQUIRE(eventually([&] { return has(w[0].control->trouble(), "log"); }));
  other.stop_coordinator();
  w.start_coordinator();
  REQUIRE(w[0].data.wait([](auto& s) { return s.link; }));
  w[2].control->stop(true);
  CHECK(w.wait_view({0, 1}, 2, 2));
}

TEST_CASE("a second coordinator on the same log, or at the same port, does not start") {
  World w;
  w.start_coordinator();
  CoordinatorOptions again = w.coordinator_options;
  const auto port = CoordinatorServer::open(again);
  REQUIRE(port.code() == Code::kSystem);
  CHECK(has(port.error().detail, "in use"));
  CHECK(has(port.error().detail, w.coordinator_options.listen));
  again.listen = "127.0.0.1:0";
  const auto log = CoordinatorServer::open(again);
  REQUIRE(log.code() == Code::kRefused);
  CHECK(has(log.error().detail, "in use"));
}

TEST_CASE("an address that is malformed, unknown or not this host's is an error that names it") {
  World w;
  for (const char* listen : {"nonsense", "127.0.0.1:x", "127.0.0.1:70000", "::1:80", "host.invalid:0"}) {
    CoordinatorOptions o = w.coordinator_options;
    o.listen = listen;
    const auto server = CoordinatorServer::open(o);
    CHECK(server.code() == Code::kConfig);
  }
  CoordinatorOptions o = w.coordinator_options;
  o.listen = "192.0.2.1:0";  // a documentation address: nobody has it
  CHECK(CoordinatorServer::open(o).code() == Code::kSystem);
  CHECK(!std::filesystem::exists(o.log_file));  // what cannot listen makes no log
}

TEST_CASE("members and coordinator also meet over IPv6") {
  World w;
  w.coordinator_options.listen = "[::1]:0";
  if (!net::listen_tcp({"::1", 0}).ok()) return;  // a host without IPv6
  w.form();
  CHECK(has(w.control_options.coordinator, "[::1]:"));
}

TEST_CASE("an autostarted coordinator ends when everybody has left, and takes its log with it") {
  World w;
  w.coordinator_options.exit_when_left = true;
  w.coordinator_options.remove_log_at_end = true;
  w.form();
  for (std::size_t i = 0; i < 3; ++i) w[i].control->post(LeaveWanted{});
  for (std::size_t i = 0; i < 3; ++i) REQUIRE(w[i].data.wait([](auto& s) { return s.ended == Code::kClosed; }));
  CHECK(eventually([&] { return !std::filesystem::exists(w.coordinator_options.log_file); }));
}

TEST_CASE("a coordinator to which nobody is connected ends after its idle time, not before a member's") {
  World w;
  w.coordinator_options.idle_exit = Duration::from_ms(300);
  w.coordinator_options.remove_log_at_end = true;
  w.start_coordinator();
  w.add(0);
  REQUIRE(w[0].data.wait([](auto& s) { return s.link; }));
  CHECK(!eventually([&] { return !std::filesystem::exists(w.coordinator_options.log_file); }, Duration::from_ms(600)));
  w[0].control->stop(false);
  w.members.clear();
  CHECK(eventually([&] { return !std::filesystem::exists(w.coordinator_options.log_file); }));
}

TEST_CASE("adopting continues the log of a living group, and replaces that of one that is gone") {
  World w;
  w.form();
  const LogId log = w.coordinator->server().log_id();
  w.stop_coordinator();
  CoordinatorOptions adopt = w.coordinator_options;
  adopt.log = CoordinatorOptions::Log::kAdopt;
  {
    TestCoordinator again(adopt);
    CHECK(again.server().log_id() == log);
  }
  w.members.clear();
  TestCoordinator fresh(adopt);
  CHECK(fresh.server().log_id() != log);
}

TEST_CASE("status tells members, states, epoch and events as JSON") {
  World w;
  w.control_options.secret = w.coordinator_options.secret = "s3cret";
  w.form();
  w[2].control->stop(true);
  REQUIRE(w.wait_view({0, 1}, 2, 2));
  const CoordinatorAddress to{w.control_options.coordinator, "", "s3cret"};
  auto text = fetch_status(to, Duration::from_s(2));
  REQUIRE(text.ok());
  const auto j = nlohmann::json::parse(*text, nullptr, false);
  REQUIRE(!j.is_discarded());
  CHECK(j["group"] == w.control_options.group);
  CHECK(j["epoch"] == 2);
  CHECK(j["log_id"] == std::to_string(w.coordinator->server().log_id()));
  REQUIRE(j["members"].size() == 2);
  CHECK(j["members"][1]["replica"] == 1);
  CHECK(j["members"][0]["state"] == "alive");
  CHECK(j["reason"] == "dead:2");
  CHECK(has(j["events"].dump(), "dead:2"));
  CHECK(!has(*text, "s3cret"));
  CHECK(eventually([&] {
    auto later = fetch_status(to, Duration::from_s(2));
    return later.ok() && has(*later, R"("window":"8")");  // what the member's data side says
  }));
  CHECK(fetch_status({w.control_options.coordinator, "other", "s3cret"}, Duration::from_s(2)).code() == Code::kRefused);
  CHECK(fetch_status({w.control_options.coordinator, "", "wrong"}, Duration::from_s(2)).code() == Code::kRefused);
  w.stop_coordinator();
  const auto nobody = fetch_status(to, Duration::from_s(2));
  CHECK(nobody.code() == Code::kUnavailable);
  CHECK(has(nobody.error().detail, w.control_options.coordinator));
}
