// A peer that says nothing, and one that only takes nothing: what a set of links makes of them. What is cut off here is
// cut off by a filter on the peer's sockets that drops every packet, so not even its kernel answers.
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "transport/tcp/link_set.h"

using namespace regroup;
using namespace regroup::tcp;

namespace {

constexpr Duration kSilence = Duration::from_ms(300);
constexpr Duration kBound = Duration::from_s(20);

// Has frames of a chunk for ever.
struct Talker : FrameUser, LinkUser {
  std::vector<std::byte> chunk = std::vector<std::byte>(256u << 10, std::byte{7});
  std::optional<std::size_t> to;  // of links: whom
  void fill(Outgoing& out) {
    out.frame = {};
    out.frame.type = kFirstUserType;
    wire::fill(out.frame, chunk);
    out.payload = chunk.data();
  }
  Placement place(const wire::Frame&) override { return {Take::kDiscard, nullptr}; }
  bool arrived(const wire::Frame&) override { return true; }
  bool next(Outgoing& out) override { return fill(out), true; }
  Placement place(std::size_t, const wire::Frame&) override { return {Take::kDiscard, nullptr}; }
  bool arrived(std::size_t, const wire::Frame&) override { return true; }
  bool next(std::size_t peer, Outgoing& out) override { return to == peer ? fill(out), true : false; }
  bool flushed() override { return false; }
  bool flushed(std::size_t) override { return false; }
};

bool within_bound(const std::function<bool()>& done) {
  for (const Instant until = now() + kBound; now() < until;)
    if (done()) return true;
  return false;
}

struct Party {
  std::unique_ptr<LinkSet> links;
  Talker user;
  Peer peer;
};

Party party(std::uint32_t id) {
  LinkOptions options;
  options.self = {"silence_test", "", {id, 0}, {id + 1, 7}};
  options.host = "127.0.0.1";
  options.suspicion = kSilence;
  Result<std::unique_ptr<LinkSet>> links = LinkSet::listen(options);
  REQUIRE(links.ok());
  Party made{std::move(*links), {}, {options.self.id, options.self.inc, {}}};
  made.peer.at = made.links->endpoint();
  return made;
}

}  // namespace

TEST_CASE("the other end that closes is no silence") {
  Result<Fd> listener = listen_at("127.0.0.1", 0);
  REQUIRE(listener.ok());
  Result<Fd> here = start_connect(*local_endpoint(listener->get()));
  REQUIRE(here.ok());
  REQUIRE(wait_readable(listener->get(), now() + kBound).ok());
  accept_next(listener->get()).reset();
  Framed conn(std::move(*here));
  Talker talker;
  std::vector<std::byte> scratch(4096);
  REQUIRE(within_bound([&] { return conn.read(talker, 4096, scratch) == Io::kClosed; }));
  CHECK(conn.fault() == Framed::Fault::kEnd);
}

namespace {

std::uint16_t peer_port(int fd) {
  sockaddr_in at{};
  socklen_t length = sizeof at;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&at), &length) == 0 ? ntohs(at.sin_port) : std::uint16_t{0};
}

// No packet reaches a connection to this party's port any more, at either end: a host that is cut off.
void cut_off(const Party& party) {
  sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{1, &drop};
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename().string());
    const Result<Endpoint> at = local_endpoint(fd);
    if (at.ok() && (at->port == party.peer.at.port || peer_port(fd) == party.peer.at.port))
      REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
  }
}

// Three parties, all links up; what the first one makes of the others is looked at. (The lower id connects.)
struct Three {
  std::vector<Party> all;
  LinkSet* mine;
  Three() {
    for (std::uint32_t id = 0; id < 3; ++id) all.push_back(party(id));
    std::vector<Peer> peers;
    for (const Party& p : all) peers.push_back(p.peer);
    for (std::size_t i = 0; i < all.size(); ++i) all[i].links->enter(1, peers, i, all[i].user);
    mine = all[0].links.get();
    const bool up = within_bound([&] {
      for (Party& p : all) p.links->pump({});
      return mine->state(1).up && mine->state(2).up;
    });
    REQUIRE(up);
    CHECK(mine->first_broken() == 3);
    CHECK(mine->out_of_reach().empty());
  }
  void turn() {  // of all but the second
    all[2].links->pump({});
    mine->pump(Duration::from_ms(1));
  }
};

}  // namespace

TEST_CASE("a peer that is cut off is out of reach when the suspicion time has passed, once; who answers is not") {
  Three t;
  t.all[0].user.to = 1;
  const Instant begin = now();
  cut_off(t.all[1]);
  const bool found = within_bound([&] { return t.turn(), t.mine->first_broken() != 3; });
  REQUIRE(found);
  CHECK(now() - begin >= kSilence);
  CHECK(t.mine->first_broken() == 1);
  CHECK(t.mine->out_of_reach() == std::vector<std::size_t>{1});
  const LinkState state = t.mine->state(1);
  CHECK(state.lost);
  CHECK(state.unreachable);  // at once: it is not connected to again for another suspicion time first
  CHECK_FALSE(t.mine->state(2).lost);
}

TEST_CASE("a host that is cut off is found whole: also the peer there to which nothing was to be sent") {
  Three t;
  t.all[0].user.to = 1;
  cut_off(t.all[1]), cut_off(t.all[2]);
  const bool found = within_bound([&] { return t.mine->pump(Duration::from_ms(1)), t.mine->first_broken() != 3; });
  REQUIRE(found);
  CHECK(t.mine->first_broken() == 1);
  CHECK(t.mine->out_of_reach() == std::vector<std::size_t>{1, 2});
}

TEST_CASE("a peer that takes nothing for long, and whose kernel answers, is in reach") {
  Three t;
  t.all[0].user.to = 1;  // it does not read, and its window shuts
  for (const Instant until = now() + kSilence * 4; now() < until;) t.turn();
  CHECK(t.mine->sending());
  CHECK(t.mine->first_broken() == 3);
  CHECK(t.mine->out_of_reach().empty());
}

TEST_CASE("time in which nobody looked is not held against a peer") {
  Three t;
  t.all[0].user.to = 1;
  cut_off(t.all[1]);
  t.turn();
  for (const Instant until = now() + kSilence * 2; now() < until;) {
  }
  t.turn();
  CHECK(t.mine->first_broken() == 3);
}
