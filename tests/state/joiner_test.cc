// A joiner against one holder, both of production, over loopback; the test is the holder's owner.
#include "runtime/state/joiner.h"

#include <catch2/catch.hpp>
#include <random>

#include "base/clock.h"
#include "runtime/state/state_server.h"
#include "transport/wire/address.h"

using namespace regroup;
using namespace regroup::state;

namespace {

const Duration kPatience = Duration::from_s(20);  // a bound, not a wait

struct Owner {
  std::vector<std::byte> memory{4096};
  std::atomic<bool> given{false};  // a snapshot: whoever serves it looks whether the owner is busy
  std::unique_ptr<Holder> holder;
  std::unique_ptr<StateServer> server;

  explicit Owner(const std::string& group) {
    Holder::Config config;
    config.state = {{"w", memory.data(), memory.size()}};
    config.busy = [this] { return given = true, false; };
    holder = std::make_unique<Holder>(config);
    StateServer::Config serving;
    serving.group = group, serving.host = "127.0.0.1", serving.state = config.state, serving.holder = holder.get();
    server = StateServer::start(std::move(serving)).value();
  }
  OpId op = 0;  // the last one settled
  void settle(std::uint64_t step, bool mark = false) {
    Entry e;
    e.op = ++op, e.mark = mark, e.whole = true, e.contributors = 1, e.step = step;
    holder->feed().publish(std::move(e), memory);
  }
  [[nodiscard]] MemberInfo info() const {
    MemberInfo m;
    m.id = MemberId{0}, m.inc = Incarnation{1};
    wire::MemberAddress address;
    address.data_host = "127.0.0.1", address.state_port = server->port();
    m.address = wire::encode(address);
    return m;
  }
};

void wait_for(const std::function<bool()>& seen) {
  const Instant until = now() + kPatience;
  while (!seen() && now() < until) std::this_thread::yield();
  REQUIRE(seen());
}

}  // namespace

TEST_CASE("the feed begins inside a step: nothing is replayed before a whole one, from a state that reaches to it") {
  const std::string group = "joiner_test." + std::to_string(std::random_device{}());
  Owner owner(group);
  owner.holder->set_version(24, 72);
  owner.holder->feed().begin(owner.op = 75);  // step 25 is settled, its update has not ended

  std::vector<std::byte> memory(4096);
  std::mutex mutex;
  std::vector<std::pair<std::uint64_t, std::size_t>> applied;  // step, ops
  std::atomic<std::size_t> steps{0};
  Joiner::Config config;
  config.group = group;
  config.state = {{"w", memory.data(), memory.size()}};
  config.apply = [&](std::uint64_t step, std::span<const StepResult> results) {
    std::lock_guard lock(mutex);
    applied.emplace_back(step, results.size());
    ++steps;
    return Status{};
  };
  config.ready = [](bool) {};
  config.handed_over = [](const Fetch&, bool, std::uint64_t) {};
  config.refused = [](const Error& e) { FAIL_CHECK(e.detail); };
  {
    Joiner joiner(std::move(config));
    Welcome view;
    view.epoch = 1, view.members = {owner.info()};
    joiner.follow(view);
    joiner.begin();
    do owner.settle(26);  // the first ops of step 26, until the joiner listens
    while (owner.holder->feed().first() > owner.op);
    owner.holder->set_version(25, 75);
    wait_for([&] { return owner.given.load(); });  // it asked for the mark of step 25: what was settled since then it has not
    owner.settle(26, true);
    owner.holder->set_version(26, owner.op);
    wait_for([&] { return joiner.progress().step == 26 || steps > 0; });
    for (int i = 0; i < 3; ++i) owner.settle(27, i == 2);
    owner.holder->set_version(27, owner.op);
    wait_for([&] { return steps > 0; });
    joiner.stop();
  }
  REQUIRE_FALSE(applied.empty());
  CHECK(applied[0].first == 27);
  CHECK(applied[0].second == 3);
}
