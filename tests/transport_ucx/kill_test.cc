// A peer in a process of its own that is killed or stopped while it sends: it is noticed, and those who are left go on.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/transport_ucx/party.h"

using namespace regroup;
using namespace regroup::ucx::testing;

namespace {

// Its party tells where it listens, hears of all peers, and then sends for ever.
struct Child {
  pid_t pid = -1;
  int to = -1, from = -1;
  tcp::Peer peer;

  explicit Child(std::uint32_t id) {
    int down[2], up[2];
    REQUIRE((::pipe(down) == 0 && ::pipe(up) == 0));
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::close(down[1]), ::close(up[0]);
      live(id, down[0], up[1]);
      ::_exit(0);
    }
    ::close(down[0]), ::close(up[1]);
    to = down[1], from = up[0];
    std::uint16_t port = 0;
    REQUIRE(::read(from, &port, sizeof port) == sizeof port);
    peer = {{id, 0}, {id + 1, 7}, {"127.0.0.1", port}};
  }
  Child(const Child&) = delete;
  ~Child() {
    end(SIGKILL);
    ::close(to), ::close(from);
  }
  void end(int signal) {
    if (pid <= 0) return;
    ::kill(pid, signal);
    if (signal != SIGKILL) return;
    ::waitpid(std::exchange(pid, -1), nullptr, 0);
  }
  void tell(const std::vector<tcp::Peer>& peers) const {
    for (const tcp::Peer& p : peers) REQUIRE(::write(to, &p.at.port, sizeof p.at.port) == sizeof p.at.port);
  }

  static void live(std::uint32_t id, int down, int up) {
    Party self = Party::make(id);
    std::uint16_t port = self.peer.at.port;
    if (::write(up, &port, sizeof port) != sizeof port) ::_exit(1);
    std::vector<tcp::Peer> peers;
    for (std::uint32_t i = 0; i < 3; ++i) {
      if (::read(down, &port, sizeof port) != sizeof port) ::_exit(1);
      peers.push_back({{i, 0}, {i + 1, 7}, {"127.0.0.1", port}});
    }
    self.count = SIZE_MAX;
    self.enter(1, peers, id);
    for (const Instant until = now() + kBound * 2; now() < until;) self.links->pump(Duration::from_ms(1));
  }
};

// Ours is 0; the victim and a bystander are children.
void go_on_after(int signal) {
  Child victim(1), bystander(2);  // before UCX is in this process
  Party ours = Party::make(0);
  const std::vector<tcp::Peer> peers = {ours.peer, victim.peer, bystander.peer};
  victim.tell(peers);
  bystander.tell(peers);
  ours.count = SIZE_MAX;
  ours.enter(1, peers, 0);
  REQUIRE(within_bound([&] { return ours.links->pump(Duration::from_ms(1)), ours.got[1] > 20 && ours.got[2] > 20; }));
  victim.end(signal);
  const Instant begin = now();
  if (signal == SIGKILL) {
    REQUIRE(within_bound([&] { return ours.links->pump(Duration::from_ms(1)), ours.links->state(1).lost; }));
    CHECK(now() - begin < Duration::from_s(2));
    CHECK(ours.links->first_broken() == 1);
  } else {
    for (const Instant until = now() + Duration::from_ms(300); now() < until;) ours.links->pump(Duration::from_ms(1));
    CHECK_FALSE(ours.links->state(1).lost);  // its kernel answers: what becomes of it is the detector's business
  }
  CHECK_FALSE(ours.links->state(2).lost);
  const Instant fence = now();
  ours.links->leave(ours);
  CHECK(now() - fence < Duration::from_s(2));
  CHECK(ours.wrong == 0);
  // Another life of both in a view without the victim.
  Party other = Party::make(3);
  const std::vector<tcp::Peer> after = {ours.peer, other.peer};
  ours.count = other.count = 5;
  ours.enter(2, after, 0);
  other.enter(2, after, 1);
  REQUIRE(within_bound([&] {
    ours.links->pump({});
    other.links->pump({});
    return ours.got[1] == 5 && other.got[0] == 5;
  }));
  CHECK(ours.wrong == 0);
  CHECK(other.wrong == 0);
}

}  // namespace

TEST_CASE("a peer that is killed while it sends is lost at once, and the others go on in the next epoch") { go_on_after(SIGKILL); }

TEST_CASE("a peer that is stopped while it sends holds nobody up who leaves its epoch") { go_on_after(SIGSTOP); }
