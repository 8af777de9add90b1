#include "tools/chaos/network.h"

#include <catch2/catch.hpp>
#include <csignal>

#include "tools/chaos/command.h"
#include "tools/launch/child.h"

using namespace regroup;
using namespace regroup::chaos;

TEST_CASE("hosts of a network reach each other until one is cut off, and again when it is healed") {
  if (const std::string why = Network::why_not(); !why.empty()) {
    WARN("left out: " << why);
    return;
  }
  auto made = Network::make(3);
  REQUIRE(made.ok());
  Network& net = **made;
  // A listener where the coordinator lives, and connections from host 0 and from the last host, through the proxy.
  const std::string listen =
      "import socket,threading\n"
      "s=socket.create_server(('10.99.0.1',7777))\n"
      "def serve(c):\n c.sendall(c.recv(100)); c.close()\n"
      "while True:\n threading.Thread(target=serve,args=(s.accept()[0],),daemon=True).start()\n";
  launch::ChildSetup setup;
  setup.argv = net.on(-1, {"python3", "-c", listen});
  auto listener = launch::Child::start(setup);
  REQUIRE(listener.ok());
  const auto reaches = [&](int host) {
    const std::string say = "import socket\ns=socket.create_connection(('10.99.0.1',7777),timeout=1); s.settimeout(1)\n"
                            "s.sendall(b'hello'); d=s.recv(100)\nraise SystemExit(0 if d==b'hello' else 1)\n";
    return run_command(net.on(host, {"python3", "-c", say})).ok();
  };
  bool up = false;
  for (int i = 0; i < 100 && !up; ++i) up = reaches(0);  // it needs a moment to listen
  REQUIRE(up);
  CHECK(reaches(net.delayed_host()));
  for (const CutKind kind : {CutKind::kBoth, CutKind::kIn, CutKind::kOut}) {
    REQUIRE(net.cut(0, kind).ok());
    CHECK_FALSE(reaches(0));
    CHECK(reaches(1));
    REQUIRE(net.heal(0).ok());
    CHECK(reaches(0));
  }
  REQUIRE(net.cut(0, CutKind::kPeers).ok());
  CHECK(reaches(0));  // the coordinator, still
  REQUIRE(net.cut(2, CutKind::kDelay, Duration::from_ms(3000)).ok());
  CHECK_FALSE(reaches(2));  // not within a second
  REQUIRE(net.heal(2).ok());
  CHECK(reaches(2));
  listener->send_group(SIGKILL);
  for (int i = 0; i < 1000 && listener->running(); ++i) (void)listener->poll();
}
