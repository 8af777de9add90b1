// Links over UCX, both ends in one process: frames arrive whole and in order, an epoch that has ended moves nothing, the
// next one needs no new connection.
#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/rng.h"
#include "tests/transport_ucx/party.h"

using namespace regroup;
using namespace regroup::ucx::testing;

namespace {

struct Two {
  std::vector<Party> all;
  std::vector<tcp::Peer> peers;
  explicit Two(std::size_t n = 2) {
    for (std::uint32_t id = 0; id < n; ++id) all.push_back(Party::make(id));
    for (const Party& p : all) peers.push_back(p.peer);
  }
  void enter(Epoch epoch) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i].enter(epoch, peers, i);
  }
  void leave() {
    for (Party& p : all) p.links->leave(p);
  }
  bool exchange(std::size_t count, std::size_t bytes) {  // everybody to everybody
    for (Party& p : all) p.count = count, p.bytes = bytes;
    return within_bound([&] {
      bool done = true;
      for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].links->pump({});
        for (std::size_t j = 0; j < all.size(); ++j) done = done && (i == j || all[i].got[j] == count);
      }
      return done;
    });
  }
};

}  // namespace

TEST_CASE("frames of every size arrive at all peers, whole and in order") {
  const bool opaque = GENERATE(false, true);
  CAPTURE(opaque);
  Two t(3);
  for (Party& p : t.all) p.opaque = opaque;
  t.enter(1);
  std::size_t count = 0;
  for (const std::size_t bytes : {0u, 1u, 4096u, 4097u, 8200u, 65'536u, 1u << 20}) {
    CAPTURE(bytes);
    REQUIRE(t.exchange(count += 9, bytes));
  }
  for (const Party& p : t.all) CHECK(p.wrong == 0);
  CHECK(t.all[0].links->first_broken() == 3);
  CHECK(std::string(t.all[0].links->name()) == "ucx");
}

TEST_CASE("what is sent leaves without the other end, and who waits for it sleeps until it comes") {
  Two t;
  t.enter(1);
  REQUIRE(t.exchange(1, 100));
  REQUIRE(within_bound([&] { return !t.all[0].links->pump({}) && !t.all[1].links->pump({}); }));
  Party& from = t.all[0];
  Party& to = t.all[1];
  bool left = true;
  for (std::size_t n = 2; n < 6; ++n) {
    std::thread sender([&] {
      const Instant asleep = now() + Duration::from_ms(30);  // the other one has nothing to do but sleep
      left = left && within_bound([&] { return now() > asleep; });
      from.count = n;
      left = left && within_bound([&] { return from.links->pump({}), from.sent[1] == n && !from.links->unsettled(); });
    });
    const Instant begin = now();
    while (to.got[0] < n && now() - begin < kBound) to.links->pump(kBound);
    CHECK(now() - begin < Duration::from_s(5));  // not when the wait's bound had passed
    sender.join();
  }
  CHECK(left);
  CHECK(to.got[0] == 5);
  CHECK(to.wrong == 0);
}

TEST_CASE("an epoch that has ended moves no byte any more, and the next one takes the same connections") {
  Two t;
  t.enter(1);
  REQUIRE(t.exchange(3, kChunk));
  // The first one goes on sending, the second takes no more: what is under way when it leaves must not come.
  t.all[0].count = 1000;
  for (int i = 0; i < 50; ++i) t.all[0].links->pump({});
  t.all[1].links->leave(t.all[1]);
  std::vector<std::byte>& in = t.all[1].in[0];
  std::fill(in.begin(), in.end(), std::byte{0xee});
  const std::size_t got = t.all[1].got[0];
  for (int i = 0; i < 200; ++i) {
    t.all[0].links->pump({});
    t.all[1].links->pump({});
  }
  CHECK(t.all[1].got[0] == got);
  CHECK(std::count(in.begin(), in.end(), std::byte{0xee}) == static_cast<std::ptrdiff_t>(in.size()));
  CHECK(t.all[0].links->first_broken() == 2);  // whose peer has ended its epoch has not lost it
  t.all[0].links->leave(t.all[0]);
  std::memset(t.all[0].out.data(), 0x55, t.all[0].out.size());  // the sender's memory is its own again
  t.enter(2);
  REQUIRE(t.exchange(4, kChunk));
  CHECK(t.all[1].wrong == 0);
  CHECK(t.all[0].links->counters().connected == 1);
  CHECK(t.all[1].links->counters().connected == 1);
}

TEST_CASE("memory that rests with the links stays until the worker of its epoch is gone") {
  Two t;
  const char* tls = std::getenv("UCX_TLS");
  const bool retires = tls != nullptr && std::strcmp(tls, "tcp") != 0;  // it goes at the next epoch's end
  t.enter(1);
  REQUIRE(t.exchange(1, 100));
  t.leave();
  tcp::LinkSet& links = *t.all[1].links;
  CHECK(!links.late());  // no fetch was under way
  auto memory = std::make_shared<int>();
  const std::weak_ptr<int> seen = memory;
  links.keep(std::move(memory));
  CHECK(seen.expired() == !retires);
  t.enter(2);
  REQUIRE(t.exchange(2, 100));
  CHECK(seen.expired() == !retires);
  t.leave();
  CHECK(seen.expired());
}

TEST_CASE("who enters an epoch first waits for the other, and nothing is lost between") {
  Two t;
  for (Epoch epoch = 1; epoch < 6; ++epoch) {
    const std::size_t first = epoch % 2;
    t.all[first].count = 2;
    t.all[first].enter(epoch, t.peers, first);
    for (int i = 0; i < 100; ++i) t.all[first].links->pump({});
    t.all[1 - first].enter(epoch, t.peers, 1 - first);
    REQUIRE(t.exchange(2, 5000));
    t.leave();
  }
  for (const Party& p : t.all) CHECK(p.wrong == 0);
  CHECK(t.all[0].links->counters().connected == 1);
}

TEST_CASE("an epoch may end while its connections are being made") {
  Two t(4);
  const bool data = GENERATE(false, true);  // or markers only
  for (Party& p : t.all) p.count = data ? 1'000'000 : 0, p.bytes = 8200;
  constexpr Epoch kEpochs = 30;
  std::barrier together(static_cast<std::ptrdiff_t>(t.all.size()));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < t.all.size(); ++i)
    threads.emplace_back([&, i] {
      Rng rng(i + 1);
      for (Epoch epoch = 1; epoch <= kEpochs; ++epoch) {
        together.arrive_and_wait();
        t.all[i].enter(epoch, t.peers, i);
        const Instant until = now() + Duration::from_us(static_cast<std::int64_t>(rng.below(8'000)));
        while (now() < until) t.all[i].links->pump({});
        t.all[i].links->leave(t.all[i]);
      }
    });
  for (std::thread& thread : threads) thread.join();
  t.enter(kEpochs + 1);
  REQUIRE(t.exchange(3, 5000));
  for (const Party& p : t.all) CHECK(p.wrong == 0);
}
