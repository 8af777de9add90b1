#include "tests/ft_driver/world.h"

#include <catch2/catch.hpp>
#include <chrono>

#include "base/clock.h"
#include "base/rng.h"
#include "transport/wire/address.h"

namespace regroup::test {

void FakeData::set_control(Control* control) {
  std::lock_guard lock(mutex_);
  control_ = control;
}

void FakeData::post(MemberInput input) {
  std::unique_lock lock(mutex_);
  // Orders may come before start() has returned to who sets the control: it is a matter of microseconds.
  changed_.wait_for(lock, std::chrono::seconds(5), [this] { return control_ != nullptr; });
  Control* control = control_;
  lock.unlock();
  if (control != nullptr) control->post(std::move(input));
}

void FakeData::freeze(Epoch epoch) {
  bool answer = false;
  OpId op = 0;
  change([&](State& s) {
    ++s.freezes;
    answer = s.answers;
    op = s.decision.trim;
  });
  if (answer) post(Frozen{Report{epoch, op, op, op}});
}

void FakeData::install(const Decision& decision, std::size_t) {
  change([&](State& s) {
    s.decision = decision;
    s.installs.push_back(decision);
  });
}

void FakeData::cut(Epoch epoch) { post(CutReached{epoch, state().decision.trim}); }

void FakeData::fetch(const Fetch& what) {
  change([](State& s) { ++s.fetches; });
  post(LevelReached{what.plan, what.op, true});
}

void FakeData::ended(Code code, const std::string& detail) {
  change([&](State& s) {
    s.ended = code;
    s.detail = detail;
  });
}

void FakeData::coordinator_link(bool up) {
  change([&](State& s) { s.link = up; });
}

void FakeData::tick(Instant) {
  change([](State& s) { ++s.ticks; });
}

DataSide::Progress FakeData::progress() const {
  std::lock_guard lock(mutex_);
  return {state_.decision.view.epoch, state_.decision.trim};
}

FakeData::State FakeData::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

void FakeData::set_answers(bool answers) {
  change([&](State& s) { s.answers = answers; });
}

void FakeData::forget_end() {
  change([](State& s) {
    s.ended.reset();
    s.decision = {};
  });
}

bool FakeData::wait(const std::function<bool(const State&)>& until, Duration bound) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::nanoseconds(bound.ns), [&] { return until(state_); });
}

Status TestMember::start(ControlOptions options, MemberConfig with) {
  replica = with.self.id.replica;
  config = with;
  auto started = Control::start(std::move(options), std::move(with), data);
  if (!started) return started.error();
  control = std::move(*started);
  data.set_control(control.get());
  return {};
}

TestCoordinator::TestCoordinator(CoordinatorOptions options) {
  auto server = CoordinatorServer::open(std::move(options));
  INFO((server.ok() ? std::string() : server.error().detail));
  REQUIRE(server.ok());
  server_ = std::move(*server);
  thread_ = std::thread([this] { result_ = server_->run(); });
}

void TestCoordinator::stop() {
  if (server_) server_->stop();
  if (thread_.joinable()) thread_.join();
}

World::World() {
  coordinator_options.group = control_options.group = "test-" + to_string(random_incarnation()).substr(0, 12);
  coordinator_options.log_file = folder.file("views.log");
  coordinator_options.log = CoordinatorOptions::Log::kCreate;
}

void World::start_coordinator() {
  coordinator = std::make_unique<TestCoordinator>(coordinator_options);
  coordinator_options.listen = control_options.coordinator = coordinator->server().address();
  coordinator_options.log = CoordinatorOptions::Log::kOpen;
}

MemberConfig World::config(std::uint32_t replica) const {
  MemberConfig c;
  c.group = control_options.group;
  c.self.id = {replica, 0};
  c.self.inc = random_incarnation();
  c.self.locality = wire::host_locality();
  c.self.address = wire::encode(wire::MemberAddress{"127.0.0.1", 0, 0, "", "", 0, wire::host_locality()});
  c.config_hash = 1;
  c.config = "window=8";
  c.world_size = world_size;
  return c;
}

TestMember& World::add(std::uint32_t replica) {
  auto& m = members.emplace_back(std::make_unique<TestMember>());
  const Status started = m->start(control_options, config(replica));
  INFO((started.ok() ? std::string() : started.error().detail));
  REQUIRE(started.ok());
  return *m;
}

void World::form() {
  start_coordinator();
  std::vector<std::uint32_t> all;
  for (std::uint32_t i = 0; i < world_size; ++i) {
    add(i).control->post(Parked{});
    all.push_back(i);
  }
  REQUIRE(wait_view(all, 1, world_size));
}

bool World::wait_view(const std::vector<std::uint32_t>& replicas, Epoch epoch, std::size_t count, Duration bound) {
  const Instant until = now() + bound;
  for (const std::uint32_t r : replicas) {
    const bool in_time = members.at(r)->data.wait(
        [&](const FakeData::State& s) {
          return s.decision.view.epoch == epoch && s.decision.view.members.size() == count;
        },
        std::max(until - now(), Duration::from_ms(1)));
    if (!in_time) return false;
  }
  return true;
}

bool eventually(const std::function<bool()>& condition, Duration bound) {
  const Instant until = now() + bound;
  while (!condition()) {
    if (now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace regroup::test
