// What must not get in: wrong secrets, groups and configurations, garbage, too much of anything.
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "base/clock.h"
#include "base/rng.h"
#include "ft/driver/client.h"
#include "ft/driver/codec.h"
#include "ft/driver/json_depth.h"
#include "ft/driver/net.h"
#include "tests/ft_driver/world.h"
#include "transport/wire/auth.h"
#include "transport/wire/frame.h"

using namespace regroup;
using namespace regroup::test;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A stranger's connection that says what it likes.
class Stranger {
 public:
  explicit Stranger(const World& w) {
    auto where = net::parse_host_port(w.control_options.coordinator);
    auto fd = net::begin_connect(net::resolve(*where)->front());
    REQUIRE(fd.ok());
    fd_ = std::move(*fd);
    REQUIRE(eventually([&] { return ::send(fd_.get(), "", 0, MSG_NOSIGNAL) == 0; }));
  }
  void say(std::span<const std::byte> bytes) { (void)::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void frame(std::uint16_t type, std::span<const std::byte> payload, const std::string& group) {
    wire::Frame f;
    f.type = type;
    f.group = wire::group_hash(group);
    wire::fill(f, payload);
    wire::HeaderBytes header;
    wire::encode(f, header);
    say(header);
    say(payload);
  }
  void header(std::uint16_t type, std::uint32_t length, std::uint64_t payload_sum) {
    wire::Frame f;
    f.type = type;
    f.length = length;
    f.payload_sum = payload_sum;
    wire::HeaderBytes bytes;
    wire::encode(f, bytes);
    say(bytes);
  }
  void authenticate(const std::string& group) {
    frame(1, wire::AuthClient(group, "", wire::random_nonce()).open(), group);
    char first = 0;
    REQUIRE(eventually([&] { return ::recv(fd_.get(), &first, 1, 0) == 1; }));
  }
  // The other side has closed.
  bool closed(Duration bound = Duration::from_s(5)) {
    return eventually(
        [&] {
          char buffer[4096];
          ssize_t n = 0;
          while ((n = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0) {
          }
          return n == 0 || (n < 0 && errno != EAGAIN);
        },
        bound);
  }

 private:
  Fd fd_;
};

}  // namespace

TEST_CASE("with the same secret everything works; with a wrong one or none the join is refused and says so") {
  World w;
  w.coordinator_options.secret = w.control_options.secret = "right";
  w.form();
  for (const char* secret : {"wrong", ""}) {
    w.control_options.secret = secret;
    TestMember& m = w.add(7);
    REQUIRE(m.data.wait([](auto& s) { return s.ended.has_value(); }));
    CHECK(m.data.state().ended == Code::kRefused);
    CHECK(has(m.data.state().detail, "secret"));
  }
  CHECK(w[0].data.state().decision.view.epoch == 1);
}

TEST_CASE("a secret where the coordinator has none is refused") {
  World w;
  w.form();
  w.control_options.secret = "unasked";
  TestMember& m = w.add(7);
  REQUIRE(m.data.wait([](auto& s) { return s.ended == Code::kRefused; }));
}

TEST_CASE("another group's member is refused, with both names") {
  World w;
  w.form();
  World other;
  other.control_options.coordinator = w.control_options.coordinator;
  TestMember& m = other.add(0);
  REQUIRE(m.data.wait([](auto& s) { return s.ended == Code::kRefused; }));
  CHECK(has(m.data.state().detail, other.control_options.group));
  CHECK(has(m.data.state().detail, w.control_options.group));
}

TEST_CASE("a member with another configuration is refused, with both texts") {
  World w;
  w.form();
  MemberConfig c = w.config(5);
  c.config_hash = 2;
  c.config = "window=16";
  TestMember m;
  REQUIRE(m.start(w.control_options, c).ok());
  REQUIRE(m.data.wait([](auto& s) { return s.ended == Code::kConfig; }));
  CHECK(has(m.data.state().detail, "window=16"));
  CHECK(has(m.data.state().detail, "window=8"));
}

TEST_CASE("garbage, oversized and truncated frames close their own connection and disturb nobody") {
  World w;
  w.form();
  const std::string& group = w.control_options.group;
  Rng rng(9);
  std::vector<std::byte> garbage(4096);
  for (std::byte& b : garbage) b = static_cast<std::byte>(rng.next());
  SECTION("garbage before the handshake") {
    Stranger s(w);
    s.say(garbage);
    CHECK(s.closed());
  }
  SECTION("garbage after the handshake") {
    Stranger s(w);
    s.authenticate(group);
    s.say(garbage);
    CHECK(s.closed());
  }
  SECTION("a frame over the bound of the handshake, before its payload has come") {
    Stranger s(w);
    s.header(1, 4096, 0);
    CHECK(s.closed());
  }
  SECTION("a payload that differs from its checksum") {
    Stranger s(w);
    s.authenticate(group);
    const auto hello = encode(ToCoordinator{Hello{group, 0, w.config(9).self, 1, "window=8", 3, 0, false, Readiness::kNo}});
    s.header(2, static_cast<std::uint32_t>(hello.size()), wire::checksum(hello) ^ 1);
    s.say(hello);
    CHECK(s.closed());
  }
  SECTION("a header that promises more than the format allows") {
    Stranger s(w);
    s.authenticate(group);
    s.header(2, 0xffffffff, 0);
    CHECK(s.closed());
  }
  SECTION("a whole frame around a malformed message") {
    Stranger s(w);
    s.authenticate(group);
    s.frame(2, std::span(garbage).first(100), group);
    CHECK(s.closed());
  }
  SECTION("a member's message from who has not said hello") {
    Stranger s(w);
    s.authenticate(group);
    s.frame(2, encode(ToCoordinator{Leave{}}), group);
    CHECK(s.closed());
  }
  SECTION("an unknown frame type") {
    Stranger s(w);
    s.authenticate(group);
    s.frame(99, {}, group);
    CHECK(s.closed());
  }
  const bool counted = eventually([&] { return w.coordinator->server().counters().bad_messages == 1; });
  const auto counters = w.coordinator->server().counters();
  CAPTURE(counters.accepted, counters.bad_messages, counters.refused);
  CHECK(counted);
  w[2].control->stop(true);
  CHECK(w.wait_view({0, 1}, 2, 2));
}

TEST_CASE("a frame of another group is dropped, and the connection lives") {
  World w;
  w.form();
  Stranger s(w);
  s.authenticate(w.control_options.group);
  s.frame(2, encode(ToCoordinator{Leave{}}), "another group");
  CHECK(!s.closed(Duration::from_ms(100)));
  CHECK(w.coordinator->server().counters().bad_messages == 0);
}

TEST_CASE("who does not say hello in time, or comes when the house is full, is closed") {
  World w;
  w.coordinator_options.hello_deadline = Duration::from_ms(150);
  w.coordinator_options.max_connections = 5;
  w.form();
  Stranger silent(w), half(w);
  half.authenticate(w.control_options.group);
  Stranger surplus(w);
  CHECK(surplus.closed());
  CHECK(silent.closed());
  CHECK(half.closed());
  CHECK(eventually([&] { return w.coordinator->server().counters().refused == 3; }));
  CHECK(!w[0].data.wait([](auto& s) { return !s.link; }, Duration::from_ms(100)));  // members are not touched
}

TEST_CASE("a zombie's late messages change nothing in the new view") {
  World w;
  w.form();
  const MemberConfig old = w[2].config;
  const LogId log = w.coordinator->server().log_id();
  w[2].control->stop(true);
  REQUIRE(w.wait_view({0, 1}, 2, 2));
  Stranger s(w);
  const std::string& group = w.control_options.group;
  s.authenticate(group);
  const Hello hello{group, log, old.self, old.config_hash, old.config, 3, 1, true, Readiness::kNo};
  s.frame(2, encode(ToCoordinator{hello}), group);
  s.frame(2, encode(ToCoordinator{Wedged{1, {1, 0, 0, 0}}}), group);
  s.frame(2, encode(ToCoordinator{Suspect{w[0].config.self.inc, SuspectKind::kDead}}), group);
  s.frame(2, encode(ToCoordinator{AskChange{1, true, "zombie"}}), group);
  s.frame(2, encode(ToCoordinator{CutDone{1, 1, 0}}), group);
  s.frame(2, encode(ToCoordinator{Leave{}}), group);
  CHECK(!w[0].data.wait([](auto& st) { return st.decision.view.epoch != 2 || st.ended; }, Duration::from_ms(300)));
  CHECK(w[0].data.state().freezes == 1);
}

TEST_CASE("a coordinator that cannot be reached is named, and costs only time") {
  World w;
  w.start_coordinator();
  w.stop_coordinator();
  TestMember& m = w.add(0);
  REQUIRE(eventually([&] { return has(m.control->trouble(), w.control_options.coordinator); }));
  CHECK(!m.data.state().ended);
  w.world_size = 1;
  w.start_coordinator();
  CHECK(m.data.wait([](auto& s) { return s.link; }));
}

TEST_CASE("a coordinator that accepts and says nothing is left after a bounded time") {
  auto listener = net::listen_tcp({"127.0.0.1", 0});
  REQUIRE(listener.ok());
  World w;
  w.control_options.coordinator = net::to_string(net::local_address(listener->get()));
  w.control_options.coordinator_silence = Duration::from_ms(200);
  TestMember& m = w.add(0);
  CHECK(eventually([&] { return has(m.control->trouble(), "does not answer"); }));
}

TEST_CASE("a bad coordinator address is an error at once") {
  World w;
  for (const char* where : {"", "here", "127.0.0.1", "127.0.0.1:x", "host.invalid:1"}) {
    w.control_options.coordinator = where;
    TestMember m;
    CHECK(m.start(w.control_options, w.config(0)).code() == Code::kConfig);
  }
}

TEST_CASE("a member's status that is nested deeper than any of ours is refused, not written out again") {
  World w;
  w.form();
  const std::string group = w.control_options.group;
  Stranger s(w);
  s.authenticate(group);
  const std::string nested = std::string(8000, '[') + std::string(8000, ']');
  s.frame(7, std::as_bytes(std::span(nested)), group);
  CHECK(s.closed());
  CHECK(json_depth(nested) == 8000);
  CHECK(json_depth(R"({"a":["[[[[", "\"[[", {}]})") == 3);
  CHECK(fetch_status({w.control_options.coordinator, group, ""}, Duration::from_s(2)).ok());
}
