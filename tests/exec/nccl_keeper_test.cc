// Keepers of several members in one thread, their letters moved by hand: who leads, what is shrunk and what made anew,
// and what is kept for how long.
#include "runtime/exec/nccl_keeper.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"
#include "tests/transport_nccl/told.h"

using namespace regroup;
using regroup::testing::Told;

namespace {

constexpr Duration kBound = Duration::from_s(20);

struct Party {
  std::set<std::uint64_t> dead;   // before the keepers, who ask for it to their end
  std::set<std::size_t> elsewhere;  // keepers that cannot see who is dead
  std::vector<std::uint64_t> lives;  // incarnations before this one
  std::vector<std::unique_ptr<NcclKeeper>> keepers;
  std::vector<std::size_t> here;  // members of the view, by index in keepers
  Epoch epoch = 0;

  Party(const std::string& file, std::size_t n) {
    const auto library = nccl::load(file);
    REQUIRE(library.ok());
    for (std::size_t i = 0; i < n; ++i) {
      NcclKeeper::Config config;
      config.library = *library;
      config.device = device::make_host_device();
      config.known_dead = [this, i](const MemberInfo& m) { return elsewhere.count(i) == 0 && dead.count(m.inc.hi) != 0; };
      lives.push_back(0);
      keepers.push_back(std::make_unique<NcclKeeper>(std::move(config)));
    }
  }
  void enter(std::vector<std::size_t> members) {
    View view;
    view.epoch = ++epoch;
    here = std::move(members);
    for (std::size_t m : here) view.members.push_back({{static_cast<std::uint32_t>(m), 0}, {m + 1, 7 + lives[m]}, 0, ""});
    for (std::size_t i = 0; i < here.size(); ++i) keepers[here[i]]->enter(view, i);
  }
  void turn() {
    for (std::size_t i = 0; i < here.size(); ++i) {
      keepers[here[i]]->step();
      for (auto& letter : keepers[here[i]]->take_letters()) keepers[here[letter.to]]->heard(i, letter.letter);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  template <class F>
  bool until(F holds, Duration bound = kBound) {
    for (const Instant end = now() + bound; now() < end; turn())
      if (holds()) return true;
    return false;
  }
  bool ready() {
    return until([&] {
      const std::uint32_t first = keepers[here[0]]->ready();
      return first != 0 &&
             std::all_of(here.begin(), here.end(), [&](std::size_t m) { return keepers[m]->ready() == first; });
    });
  }
  void use() {
    for (std::size_t m : here) keepers[m]->made().used = true;
  }
  // All use a communicator; then member 1 is in the view no more.
  void lose_one() {
    enter({0, 1, 2});
    REQUIRE(ready());
    use();
    enter({0, 2});
    REQUIRE(ready());
  }
  std::size_t aside() {
    std::size_t all = 0;
    for (std::size_t m : here) all += keepers[m]->aside();
    return all;
  }
};

}  // namespace

TEST_CASE("what a lost member may still write into is kept until it is known to be dead") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.lose_one();
  for (std::size_t m : party.here) CHECK(party.keepers[m]->counters().shrunk == 1);
  CHECK_FALSE(party.until([&] { return party.aside() < 2; }, Duration::from_ms(200)));
  party.dead.insert(2);  // member 1
  CHECK(party.until([&] { return party.aside() == 0; }));
  for (std::size_t m : party.here) CHECK(party.keepers[m]->counters().freed == 1);
}

TEST_CASE("a member that lives where a lost one did tells the others that it is dead") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.elsewhere = {0};
  party.lose_one();
  CHECK_FALSE(party.until([&] { return party.aside() < 2; }, Duration::from_ms(700)));  // asked once
  party.dead.insert(2);
  CHECK(party.until([&] { return party.aside() == 0; }));
}

TEST_CASE("who was evicted and has come back tells that what it had has ended, and nobody else keeps it longer") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.lose_one();
  CHECK_FALSE(party.until([&] { return party.aside() < 2; }, Duration::from_ms(100)));
  party.lives[1]++;
  told.tell("abort@1=hang");  // its own of what it had, and another member's of what that had meanwhile
  party.enter({0, 1, 2});
  CHECK_FALSE(party.until([&] { return party.keepers[0]->aside() == 0; }, Duration::from_ms(300)));
  told.tell("");
  REQUIRE(party.ready());
  CHECK(party.until([&] { return party.aside() == 0; }));
}

TEST_CASE("what only members of the view knew, or nobody used, is freed when its abort has returned") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.enter({0, 1});
  REQUIRE(party.ready());
  party.use();
  party.enter({0, 1, 2});  // a joiner: made anew
  REQUIRE(party.ready());
  for (std::size_t m : party.here) CHECK(party.keepers[m]->counters().shrunk == 0);
  CHECK(party.until([&] { return party.aside() == 0; }));
  party.enter({0, 2});  // what 1 leaves was not used
  REQUIRE(party.ready());
  CHECK(party.until([&] { return party.aside() == 0; }));
}

TEST_CASE("where too much is kept no other communicator is made, until the dead are known to be dead") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 8);
  std::vector<std::size_t> members{0, 1, 2, 3, 4, 5, 6, 7};
  for (int round = 0; round < 5; ++round) {
    party.enter(members);
    REQUIRE(party.ready());
    party.use();
    members.pop_back();
  }
  party.enter(members);
  CHECK_FALSE(party.until([&] { return party.keepers[0]->ready() != 0; }, Duration::from_ms(300)));
  CHECK(party.keepers[0]->aside() == 4);
  party.dead = {4, 5, 6, 7, 8};
  CHECK(party.ready());
}

TEST_CASE("an attempt that fails at one member is followed by another at all, a rebuild") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.enter({0, 1, 2});
  REQUIRE(party.ready());
  told.tell("shrink@2=fail:5 init@1#1=fail:3");
  party.enter({0, 2});
  REQUIRE(party.ready());
  CHECK(party.keepers[0]->ready() == 3);  // shrink, rebuild that failed at rank 1, rebuild
  CHECK(party.keepers[2]->counters().rebuilt == 2);
}

TEST_CASE("letters that are malformed, of another attempt or from who does not lead change nothing") {
  Told told(NCCL_STAND_IN);
  Party party(told.file(), 3);
  party.enter({0, 1, 2});
  REQUIRE(party.ready());
  const std::uint32_t before = party.keepers[1]->ready();
  NcclBegin begin;
  begin.attempt = before + 1;
  const std::vector<std::byte> whole = encode(begin);
  party.keepers[1]->heard(2, whole);
  for (std::size_t n = 0; n < whole.size(); ++n) party.keepers[1]->heard(0, std::span(whole).first(n));
  begin.attempt = before;
  party.keepers[1]->heard(0, encode(begin));
  party.keepers[0]->heard(1, encode(NcclReport{before + 1, false, true, "x"}));
  for (int i = 0; i < 50; ++i) party.turn();
  for (std::size_t m : party.here) CHECK(party.keepers[m]->ready() == before);
}
