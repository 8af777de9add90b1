// Owner: a holder of production behind its server, over loopback; the test is the member that owns the state. One
// thread drives it.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "ft/core/view.h"
#include "runtime/state/state_server.h"
#include "transport/wire/address.h"

namespace regroup::state {

inline const Duration kPatience = Duration::from_s(20);  // a bound, not a wait

inline const std::string kGroup = "state_test." + std::to_string(std::random_device{}());

struct Owner {
  std::string group = kGroup;
  std::vector<std::byte> memory;
  std::atomic<bool> busy{false};
  std::unique_ptr<Holder> holder;
  std::unique_ptr<StateServer> server;

  explicit Owner(std::size_t bytes = 4096, double share = 0, std::uint64_t rate = 0) : memory(bytes) {
    Holder::Config config;
    config.state = {{"w", memory.data(), memory.size()}};
    config.share = share, config.rate = rate;
    config.busy = [this] { return busy.load(); };
    holder = std::make_unique<Holder>(config);
    StateServer::Config serving;
    serving.group = group, serving.host = "127.0.0.1", serving.state = config.state, serving.holder = holder.get();
    server = StateServer::start(std::move(serving)).value();
  }
  OpId op = 0;  // the last one settled
  void settle(std::uint64_t step, bool mark = false) {
    Entry e;
    e.op = ++op, e.mark = mark, e.whole = true, e.contributors = 1, e.step = step;
    holder->feed().publish(std::move(e), std::span(memory).first(8));
  }
  [[nodiscard]] MemberInfo info() const {
    MemberInfo m;
    m.id = MemberId{0}, m.inc = Incarnation{1};
    wire::MemberAddress address;
    address.data_host = "127.0.0.1", address.state_port = server->port();
    m.address = wire::encode(address);
    return m;
  }
};

inline void wait_for(const std::function<bool()>& seen) {
  const Instant until = now() + kPatience;
  while (!seen() && now() < until) std::this_thread::yield();
  REQUIRE(seen());
}

}  // namespace regroup::state
