// A peer that is killed while its lanes are being made: between what it told of itself and its first message. Who is left
// hears of it at once, goes on with the others, leaves within its bound, keeps nothing, and never ends with it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "tests/transport_ucx/victims.h"
#include "transport/ucx/lanes.h"

using namespace regroup;
using namespace regroup::ucx;
using namespace regroup::ucx::testing;

namespace {

std::size_t entries(const char* folder) {
  const auto all = std::filesystem::directory_iterator(folder);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

bool over_tcp() {
  const char* tls = std::getenv("UCX_TLS");
  return tls != nullptr && std::string_view(tls) == "tcp";
}

struct Survivors {
  std::array<Party, 2> all = {Party::make(0, Duration::from_ms(30)), Party::make(1, Duration::from_ms(30))};
  void pump() {
    for (Party& p : all) p.links->pump({});
  }
  bool lost() const {
    return std::all_of(all.begin(), all.end(), [](const Party& p) { return p.links->first_broken() == 2; });
  }
  // Each takes `more` of the other.
  bool go_on(std::size_t more) {
    const std::size_t a = all[0].got[1] + more, b = all[1].got[0] + more;
    return within_bound([&] { return pump(), all[0].got[1] >= a && all[1].got[0] >= b; });
  }
};

}  // namespace

TEST_CASE("a peer that is killed while it connects is lost at once, and the others go on") {
  Victims victims;
  Survivors left;
  for (Party& p : left.all) p.count = SIZE_MAX, p.bytes = 8200, p.waits = false;
  constexpr unsigned kRounds = 72;
  std::size_t descriptors = 0, threads = 0, half_made = 0;
  for (unsigned round = 0; round < kRounds; ++round) {
    using enum Moment::Since;
    const Moment moment{round % 8 == 0 ? kEntered : round % 8 == 5 ? kHeard : kConnected, round % 3 == 0, round % 48 * 200};
    const bool leaves_first = round % 6 == 0;
    CAPTURE(round, moment.stands, moment.after_us);
    const tcp::Peer victim = victims.next(static_cast<std::uint32_t>(round) + 10);
    const std::vector<tcp::Peer> peers = {left.all[0].peer, left.all[1].peer, victim};
    const Epoch epoch = static_cast<Epoch>(round) + 1;
    for (std::size_t i = 0; i < 2; ++i) left.all[i].enter(epoch, peers, i);
    victims.enter(epoch, {left.all[0].peer.at.port, left.all[1].peer.at.port}, moment);
    if (moment.stands) {
      REQUIRE(left.go_on(20));
      if (!leaves_first) victims.kill();
    }
    if (!leaves_first) {
      REQUIRE(within_bound([&] { return left.pump(), left.lost(); }));
      REQUIRE(victims.ended() == SIGKILL);  // not by what the survivors did
      REQUIRE(left.go_on(20));
    }
    for (Party& p : left.all) {
      half_made += p.got[2] == 0;
      const Instant begin = now();
      p.links->leave(p);
      CHECK(now() - begin < Duration::from_s(1));
      CHECK(p.wrong == 0);
    }
    if (leaves_first) {
      victims.kill();
      REQUIRE(victims.ended() == SIGKILL);
    }
    if (round < kRounds / 2) {  // what one epoch keeps of the one before differs from round to round
      descriptors = std::max(descriptors, entries("/proc/self/fd"));
      threads = std::max(threads, entries("/proc/self/task"));
    }
  }
  // UCX cannot be rid of a worker that owes a word to a peer of shared memory that takes none: those stay (5 descriptors each).
  const std::size_t stay = over_tcp() ? 0 : kRounds / 5 * 5;
  CHECK(entries("/proc/self/fd") <= descriptors + stay);
  CHECK(entries("/proc/self/task") <= threads);
  CHECK(half_made > kRounds / 8);
}

TEST_CASE("what a peer said before it died does no harm where nobody had known its address yet") {
  int told[2];
  REQUIRE(::pipe(told) == 0);
  const auto open = [] { return std::static_pointer_cast<UcxLanes>(*UcxLanes::open(1, "127.0.0.1", 0)); };
  struct Place {
    std::uint64_t key = 0;
    std::size_t bytes = 0;
    std::array<std::byte, 4096> address;
  };
  const pid_t victim = ::fork();
  REQUIRE(victim >= 0);
  if (victim == 0) {
    Place place;
    if (::read(told[0], &place, sizeof place) != sizeof place) ::_exit(1);
    const auto lanes = open();
    lanes->begin(1);
    lanes->connect(*lanes->lane(), std::span(place.address).first(place.bytes), place.key);
    for (const Instant until = now() + Duration::from_ms(20); now() < until;) (void)lanes->progress();
    ::raise(SIGKILL);
  }
  const auto lanes = open();
  lanes->begin(1);
  Lane* lane = lanes->lane();
  lane->invite();
  Place place{lane->key(), lanes->address().size(), {}};
  REQUIRE(place.bytes <= place.address.size());
  std::copy(lanes->address().begin(), lanes->address().end(), place.address.begin());
  REQUIRE(::write(told[1], &place, sizeof place) == sizeof place);
  int status = 0;
  REQUIRE(::waitpid(victim, &status, 0) == victim);
  REQUIRE(WIFSIGNALED(status));
  for (const Instant until = now() + Duration::from_ms(20); now() < until;) (void)lanes->progress();
  CHECK_FALSE(lane->up());
  ::close(told[0]), ::close(told[1]);
}
