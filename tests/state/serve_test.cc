// What a source's server does beside giving: it makes way, and it lets go of what is not asked for any more.
#include "runtime/state/serve.h"

#include <time.h>

#include "runtime/state/source_link.h"
#include "tests/state/owner.h"

using namespace regroup;
using namespace regroup::state;

namespace {

struct Asker {
  StripeTable table;
  std::atomic<bool> stop{false};
  SourceLink link;
  std::uint64_t got = 0;

  explicit Asker(const Owner& owner) : table(owner.holder->table()), link({owner.group, "", &stop}, owner.info()) {
    REQUIRE(link.open(table, now() + kPatience).ok());
  }
  Result<SourceLink::Taken> take(std::uint64_t step) { return link.take({step, 0, 1}, now() + kPatience); }
  Duration get(const std::vector<std::uint32_t>& stripes) {
    SourceLink::Answers answers;
    answers.stripe = [this](std::uint32_t, std::span<const std::byte> bytes) { got += bytes.size(); };
    answers.gone = [](std::uint32_t) { FAIL_CHECK("gone"); };
    answers.told = [](const Told&) {};
    const Instant begin = now();
    REQUIRE(link.get(table, {stripes, {}}, answers, kPatience).ok());
    return now() - begin;
  }
};

Duration process_cpu_time() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return Duration{static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec};
}

}  // namespace

TEST_CASE("a transfer waits while an op of its member is under way, and no longer than half of the time") {
  Owner owner(2 * kStripeBytes);
  owner.holder->set_version(1, 1);
  Asker asker(owner);
  REQUIRE(asker.take(1).ok());
  owner.busy = true;
  CHECK(asker.get({0}) >= Duration::from_ms(19));  // and it comes, though the op does not end
  CHECK(asker.got == kStripeBytes);
}

TEST_CASE("a transfer waits while its member updates its state") {
  Owner owner(2 * kStripeBytes);
  owner.holder->set_version(1, 1);
  Asker asker(owner);
  REQUIRE(asker.take(1).ok());
  const StateRange range{0, 0, kStripeBytes};
  owner.holder->begin_update({&range, 1});
  CHECK(asker.get({1}) >= Duration::from_ms(19));
}

TEST_CASE("a transfer over its share of a core rests") {
  Owner owner(16 * kStripeBytes, 0.05);
  owner.holder->set_version(1, 1);
  Asker asker(owner);
  REQUIRE(asker.take(1).ok());
  const Duration before = process_cpu_time();
  const Instant begin = now();
  // Of what both ends use at least a quarter is the source's; 30 ms of that are free.
  while (process_cpu_time() - before < Duration::from_ms(400) && now() - begin < Duration::from_ms(900))
    asker.get({0, 1, 2, 3});
  CHECK(now() - begin > Duration::from_ms(800));
}

TEST_CASE("a transfer keeps to its rate") {
  Owner owner(16 * kStripeBytes, 0, 16 * kStripeBytes * 4);
  owner.holder->set_version(1, 1);
  Asker asker(owner);
  REQUIRE(asker.take(1).ok());
  CHECK(asker.get({0, 1, 2, 3, 4, 5, 6, 7}) > Duration::from_ms(80));  // at 64 stripes/s, 20 ms' worth at once
}

TEST_CASE("who asks for a newer mark is served that snapshot alone: its member keeps nothing for the older one") {
  Owner owner(4 * kStripeBytes);
  owner.holder->set_version(1, 1);
  Asker asker(owner);
  REQUIRE(asker.take(1).ok());
  owner.holder->set_version(2, 2);
  REQUIRE(asker.take(2).ok());
  CHECK(owner.holder->serving() == 1);
  asker.get({0});
  CHECK(asker.take(1).code() == Code::kUnavailable);
  CHECK(owner.holder->serving() == 0);
}
