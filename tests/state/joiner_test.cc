// A joiner against one holder, both of production, over loopback; the test is the holder's owner.
#include "runtime/state/joiner.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <mutex>

#include "tests/state/owner.h"

using namespace regroup;
using namespace regroup::state;

namespace {

// A joiner that notes what it is asked to apply.
struct Replayer {
  std::vector<std::byte> memory;
  std::mutex mutex;
  std::vector<std::pair<std::uint64_t, std::size_t>> applied;  // step, ops
  std::atomic<std::size_t> steps{0};
  std::unique_ptr<Joiner> joiner;

  explicit Replayer(const Owner& owner) : memory(owner.memory.size()) {
    Joiner::Config config;
    config.group = owner.group;
    config.state = {{"w", memory.data(), memory.size()}};
    config.apply = [this](std::uint64_t step, std::span<const StepResult> results) {
      std::lock_guard lock(mutex);
      applied.emplace_back(step, results.size());
      ++steps;
      return Status{};
    };
    config.ready = [](bool) {};
    config.handed_over = [](const Fetch&, bool, std::uint64_t) {};
    config.refused = [](const Error& e) { FAIL_CHECK(e.detail); };
    joiner = std::make_unique<Joiner>(std::move(config));
    see({owner.info()});
    joiner->begin();
  }
  void see(std::vector<MemberInfo> members) {
    Welcome view;
    view.epoch = ++epoch, view.members = std::move(members);
    joiner->follow(view);
  }
  Epoch epoch = 0;
};

}  // namespace

TEST_CASE("the feed begins inside a step: nothing is replayed before a whole one, from a state that reaches to it") {
  Owner owner;
  owner.holder->set_version(24, 72);
  owner.holder->feed().begin(owner.op = 75);  // step 25 is settled, its update has not ended
  owner.settle(26);
  Replayer r(owner);
  do owner.settle(26);  // more ops of step 26, until the joiner listens
  while (owner.holder->feed().first() > owner.op);
  owner.holder->set_version(25, 75);
  // It had the mark of step 25, and what was settled since then it has not.
  wait_for([&] { return owner.holder->awaited(26) || r.joiner->progress().step == 25; });
  owner.settle(26, true);
  owner.holder->set_version(26, owner.op);
  wait_for([&] { return r.joiner->progress().step == 26 || r.steps > 0; });
  for (int i = 0; i < 3; ++i) owner.settle(27, i == 2);
  owner.holder->set_version(27, owner.op);
  wait_for([&] { return r.steps > 0; });
  r.joiner->stop();
  r.joiner->wait_over();
  REQUIRE_FALSE(r.applied.empty());
  CHECK(r.applied[0].first == 27);
  CHECK(r.applied[0].second == 3);
}

TEST_CASE("an op between a mark and the update that it ends belongs to the next step, and is replayed with it") {
  Owner owner;
  owner.settle(1, true);
  owner.settle(2);  // the first of step 2, before the owner updates its state by step 1
  owner.holder->set_version(1, owner.op);
  Replayer r(owner);
  for (std::uint64_t step = 2; r.steps < 3 && step < 5000;
       ++step) {  // three ops each, the first before the last one's update
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // computes
    owner.settle(step);
    owner.settle(step, true);
    owner.settle(step + 1);
    owner.holder->set_version(step, owner.op);
  }
  r.joiner->stop();
  r.joiner->wait_over();
  REQUIRE_FALSE(r.applied.empty());
  for (const auto& [step, ops] : r.applied) CHECK(ops == 3);
}

TEST_CASE(
    "what a lone source said in an attempt that failed does not count as a second opinion beside its own in the next") {
  constexpr std::size_t kState = 4 * kStripeBytes;  // source 0 is asked for the bytes of some, for the digest of others
  std::array<Owner, 3> owners{Owner(kState), Owner(kState), Owner(kState)};
  const auto all = [&](std::uint64_t step) {
    for (Owner& o : owners) o.settle(step, true), o.holder->set_version(step, o.op);
  };
  std::fill(owners[0].memory.begin(), owners[0].memory.end(), std::byte{0xbd});  // bad memory
  all(1);
  Replayer r(owners[0]);
  wait_for([&] { return r.joiner->progress().bytes == kState; });
  std::vector<MemberInfo> members;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    members.push_back(owners[i].info());
    members.back().id = MemberId{static_cast<std::uint32_t>(i), 0}, members.back().inc = Incarnation{i + 1};
  }
  r.see(members);
  for (Owner& o : owners) o.holder->feed().begin(o.op += 5);  // nobody has what the attempt would go on with
  for (std::uint64_t step = 2; r.steps == 0 && step < 5000; ++step) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // computes
    all(step);
  }
  r.joiner->stop();
  r.joiner->wait_over();
  CHECK(r.steps > 0);
  CHECK((r.memory == owners[1].memory));
}
