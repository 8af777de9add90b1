#include "transport/wire/auth.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/rng.h"

using namespace regroup;
using namespace regroup::wire;

namespace {

struct Outcome {
  bool client = false, server = false;
  std::string client_says, server_says;
};

// Carries messages to and fro until both sides are silent. `on_wire` may change what travels.
template <class OnWire>
Outcome shake(AuthClient client, AuthServer server, OnWire on_wire) {
  Outcome out;
  std::vector<std::byte> to_server = client.open();
  for (int i = 0; i < 8 && !to_server.empty(); ++i) {
    on_wire(to_server);
    AuthStep s = server.on(to_server);
    if (!s.status) out.server_says = s.status.error().detail;
    to_server.clear();
    if (s.reply.empty()) break;
    on_wire(s.reply);
    AuthStep c = client.on(s.reply);
    if (!c.status) out.client_says = c.status.error().detail;
    to_server = c.reply;
  }
  out.client = client.done();
  out.server = server.done();
  return out;
}

Outcome shake(const std::string& client_secret, const std::string& server_secret,
              const std::string& client_group = "g") {
  return shake(AuthClient(client_group, client_secret, random_nonce()), AuthServer("g", server_secret, random_nonce()),
               [](auto&) {});
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("without a secret on either side the server accepts at once") {
  const Outcome o = shake("", "");
  CHECK((o.client && o.server));
}

TEST_CASE("with the same secret both sides are convinced") {
  const Outcome o = shake("open sesame", "open sesame");
  CHECK((o.client && o.server));
}

TEST_CASE("a wrong secret is refused, and the client is told so") {
  const Outcome o = shake("open sesame", "open barley");
  CHECK((!o.client && !o.server));
  CHECK(has(o.client_says, "secret differs"));
}

TEST_CASE("a secret on one side only is refused with a text that says which side lacks it") {
  const Outcome none = shake("", "s");
  CHECK((!none.client && !none.server));
  CHECK(has(none.client_says, "a secret is needed"));
  const Outcome extra = shake("s", "");
  CHECK((!extra.client && !extra.server));
  CHECK(has(extra.client_says, "has none"));
}

TEST_CASE("another group is refused by name, with and without a secret") {
  CHECK(has(shake("", "", "other").client_says, "'other'"));
  CHECK(has(shake("s", "s", "other").client_says, "'other'"));
  CHECK(!shake("s", "s", "other").server);
}

TEST_CASE("an opening that names no group is accepted only where that was allowed") {
  CHECK(!shake("", "", "").server);
  const Outcome o =
      shake(AuthClient("", "s", random_nonce()), AuthServer("g", "s", random_nonce(), true), [](auto&) {});
  CHECK((o.client && o.server));
}

TEST_CASE("where an opening without a group is allowed, so is one that names a sub-group, and only of that group") {
  for (const std::string secret : {"", "s"}) {
    for (const std::string name : {"g/a", "g/a/b"}) {
      AuthServer server("g", secret, random_nonce(), true);
      CHECK(shake(AuthClient(name, secret, random_nonce()), AuthServer("g", secret, random_nonce(), true), [](auto&) {
            }).client);
      CHECK_FALSE(shake(AuthClient(name, secret, random_nonce()), AuthServer("g", secret, random_nonce()), [](auto&) {
                  }).client);
      (void)server.on(AuthClient(name, secret, random_nonce()).open());
      CHECK(server.peer_group() == name);
    }
    for (const std::string name : {"g/", "ga/b", "h/g", "/g"})
      CHECK_FALSE(
          shake(AuthClient(name, secret, random_nonce()), AuthServer("g", secret, random_nonce(), true), [](auto&) {
          }).client);
  }
}

TEST_CASE("a server that knows no secret cannot pass for one that does") {
  AuthClient client("g", "s", random_nonce());
  AuthServer real("g", "s", random_nonce());
  const AuthStep challenge = real.on(client.open());
  const AuthStep answer = client.on(challenge.reply);
  REQUIRE(!answer.reply.empty());
  SECTION("by accepting at once") {
    AuthServer open("g", "", random_nonce());
    AuthClient plain("g", "", random_nonce());
    const AuthStep accept = open.on(plain.open());
    CHECK(!client.on(accept.reply).status.ok());
    AuthClient fresh("g", "s", random_nonce());
    CHECK(!fresh.on(accept.reply).status.ok());
    CHECK(!fresh.done());
  }
  SECTION("by reflecting the client's own answer") {
    std::vector<std::byte> proof = answer.reply;
    proof[0] = std::byte{5};
    CHECK(!client.on(proof).status.ok());
  }
  CHECK(!client.done());
}

TEST_CASE("a recorded answer is worth nothing against another challenge") {
  AuthClient client("g", "s", random_nonce());
  AuthServer first("g", "s", random_nonce()), second("g", "s", random_nonce());
  const std::vector<std::byte> open = client.open();
  const AuthStep answer = client.on(first.on(open).reply);
  REQUIRE(first.on(answer.reply).status.ok());
  REQUIRE(second.on(open).status.ok());
  CHECK(!second.on(answer.reply).status.ok());
  CHECK(!second.done());
}

TEST_CASE("no changed or truncated message of a handshake convinces anybody") {
  Rng rng(5);
  for (int i = 0; i < 2000; ++i) {
    const int victim = static_cast<int>(rng.below(4));
    int at = 0;
    const Outcome o = shake(AuthClient("g", "s", random_nonce()), AuthServer("g", "s", random_nonce()),
                            [&](std::vector<std::byte>& m) {
                              if (at++ != victim || m.empty()) return;
                              if (rng.below(2) == 0)
                                m.resize(rng.below(m.size()));
                              else
                                m[rng.below(m.size())] ^= static_cast<std::byte>(1 + rng.below(255));
                            });
    CHECK(!(o.client && o.server));
  }
}

TEST_CASE("a side that has failed stays failed") {
  AuthServer server("g", "s", random_nonce());
  AuthClient wrong("g", "other", random_nonce()), right("g", "s", random_nonce());
  const AuthStep answer = wrong.on(server.on(wrong.open()).reply);
  REQUIRE(!server.on(answer.reply).status.ok());
  CHECK(!server.on(right.open()).status.ok());
  CHECK(!server.done());
}

TEST_CASE("a refusal without a word still has a reason here") {
  AuthClient client("g", "", Nonce{});
  const AuthStep step = client.on(auth_reject(""));
  REQUIRE_FALSE(step.status.ok());
  CHECK_FALSE(step.status.error().detail.empty());
}
