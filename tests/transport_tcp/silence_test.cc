// A peer that says nothing: what a connection and a set of links make of it. The other end keeps its socket open but
// takes no byte, so its window stays shut and the kernel gives the connection up after TCP_USER_TIMEOUT.
#include <catch2/catch.hpp>
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

TEST_CASE("a connection whose other end takes nothing for the time that was set ends by silence, not by an error") {
  Result<Fd> listener = listen_at("127.0.0.1", 0);
  REQUIRE(listener.ok());
  Result<Fd> here = start_connect(*local_endpoint(listener->get()));
  REQUIRE(here.ok());
  REQUIRE(wait_readable(listener->get(), now() + kBound).ok());
  const Fd there = accept_next(listener->get());
  REQUIRE(there);
  tune(here->get(), kSilence);
  Framed conn(std::move(*here));
  Talker talker;
  std::vector<std::byte> scratch(4096);
  const Instant begin = now();
  REQUIRE(within_bound([&] {
    if (conn.write(talker, 1u << 20) == Io::kClosed) return true;
    conn.unblock();
    return conn.read(talker, 4096, scratch) == Io::kClosed;
  }));
  CHECK(conn.fault() == Framed::Fault::kSilence);
  CHECK(now() - begin >= kSilence);
}

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

TEST_CASE("a peer that falls silent is out of reach when the suspicion time has passed, once; who answers is not") {
  std::vector<Party> all;
  for (std::uint32_t id = 0; id < 3; ++id) all.push_back(party(id));
  std::vector<Peer> peers;
  for (const Party& p : all) peers.push_back(p.peer);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].links->enter(1, peers, i, all[i].user);
  LinkSet& mine = *all[0].links;
  REQUIRE(within_bound([&] {
    for (Party& p : all) p.links->pump({});
    return mine.state(1).up && mine.state(2).up;
  }));
  CHECK(mine.first_broken() == 3);
  CHECK(mine.out_of_reach().empty());
  all[0].user.to = 1;  // who is not served any more
  REQUIRE(within_bound([&] {
    all[2].links->pump({});
    mine.pump(Duration::from_ms(1));
    return mine.first_broken() != 3;
  }));
  CHECK(mine.first_broken() == 1);
  CHECK(mine.out_of_reach() == std::vector<std::size_t>{1});
  const LinkState state = mine.state(1);
  CHECK(state.lost);
  CHECK(state.unreachable);  // at once: it is not connected to again for another suspicion time first
  CHECK_FALSE(mine.state(2).lost);
}
